"""What makes a session: how long a silence ends it, what else cuts it, and what counts in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from transforms.errors import UsageError

PAGE_VIEWS = ("PAGE_VIEW", "PAGEVIEW", "VIEW", "PAGE", "VIEW_ITEM", "SCREEN_VIEW", "SCREENVIEW", "PRODUCT_VIEW")
CONVERSIONS = ("PURCHASE", "ORDER", "ORDER_PLACED", "ORDER_COMPLETED", "TRANSACTION", "CHECKOUT_COMPLETE", "CONVERSION")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class SessionRules:
    """A session is cut from a visitor's events in order of time; ties are broken by event id, then by all else.

    The first event opens a session. The next one belongs to it unless one of these holds, and then opens the next:

    - **gap**: each event keeps its session open for the gap of its own channel. The next event finds it closed when
      it comes at or behind the latest of those deadlines. With one gap for all: when `gap_seconds` or more have
      passed since the event before. These are the unions of [time, time + gap) that Beam, Flink and Spark make.
    - **length**: it comes `max_seconds` or more behind the session's first event. That bounds what a stream keeps,
      and how far it reads back on restart; a robot that never pauses has one session a day.
    - **midnight**, if `midnight_zone` is given: its local date is not the session's.
    - **campaign**, if `campaign_cuts`: it names a campaign, and not the one the session runs under (the first that
      its events name; a session without one counts as another). An event without a campaign never cuts.

    Attributes:
      gap_seconds: for channels that `channel_gap_seconds` does not name, and events without a channel.
      channel_gap_seconds: (channel, seconds) pairs; channels are compared without case and outer spaces.
      page_views, conversions: event types, compared in upper case with "_" for spaces and dashes.
    """

    gap_seconds: float = 1800
    channel_gap_seconds: tuple[tuple[str, float], ...] = ()
    max_seconds: float = 86_400
    midnight_zone: str | None = None
    campaign_cuts: bool = False
    page_views: tuple[str, ...] = PAGE_VIEWS
    conversions: tuple[str, ...] = CONVERSIONS

    def __post_init__(self) -> None:
        for seconds in (self.gap_seconds, *(gap for _, gap in self.channel_gap_seconds)):
            if not 0.000_001 <= seconds <= self.max_seconds:
                raise UsageError(
                    f"a gap of {seconds:g} s is not above 0 and within the longest session, {self.max_seconds:g} s",
                    remedy="choose a gap that is above 0 and the shorter one of the two",
                )
        if self.max_seconds > 366 * 86_400:
            raise UsageError(
                f"a session of at most {self.max_seconds:g} s is more than a year", remedy="give --max-length 24h"
            )
        if self.midnight_zone is not None:
            try:
                ZoneInfo(self.midnight_zone)
            except (KeyError, ValueError, OSError):
                raise UsageError(
                    f"{self.midnight_zone!r} is no time zone", remedy="write it as Europe/Berlin or UTC"
                ) from None

    @property
    def gap_us(self) -> int:
        return round(self.gap_seconds * 1e6)

    @property
    def max_us(self) -> int:
        return round(self.max_seconds * 1e6)

    @property
    def longest_gap_us(self) -> int:
        return max(self.gap_us, *self.channel_gaps_us.values()) if self.channel_gap_seconds else self.gap_us

    @property
    def channel_gaps_us(self) -> dict[str, int]:
        return {channel_key(channel): round(seconds * 1e6) for channel, seconds in self.channel_gap_seconds}


def channel_key(channel: str) -> str:
    """A channel as it is compared."""
    return channel.strip().upper()


def type_key(event_type: str) -> str:
    """An event type as it is compared: "page view", "Page-View" and "PAGE_VIEW" are one."""
    return re.sub(r"[\s\-]+", "_", event_type.strip()).upper()


def parse_seconds(text: str) -> float:
    """ "30m", "1800", "1.5h", "500ms" -> seconds.

    Raises:
      UsageError: it is none of these.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if not found or (found[2] or "s") not in _UNITS:
        raise UsageError(f"{text!r} is no length of time", remedy="write it as 30m, 1800s, 1.5h or 1d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def parse_gaps(given: str) -> tuple[float, tuple[tuple[str, float], ...]]:
    """ "30m", or "web=30m,app=5m" with or without a part for all others -> (gap for all others, those by channel).

    Raises:
      UsageError: a part is not understood, or a channel has two gaps.
    """
    others, channels = SessionRules.gap_seconds, dict[str, float]()
    for part in filter(None, (part.strip() for part in given.split(","))):
        channel, equals, length = part.rpartition("=")
        if not equals:
            others = parse_seconds(length)
        elif not channel.strip() or channel_key(channel) in map(channel_key, channels):
            raise UsageError(
                f"--gap {given!r} is not understood", remedy="write it as --gap 30m or --gap web=30m,app=5m"
            )
        else:
            channels[channel.strip()] = parse_seconds(length)
    return others, tuple(channels.items())
