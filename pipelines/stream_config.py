"""What one stream is: where its events come from, where they go, and how; checked once, and handed to the worker."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transforms.contracts import CONTRACTS, Contract, contract
from transforms.contracts.schema import Arrival
from transforms.errors import UsageError
from transforms.io.capture_files import is_capture
from transforms.io.event_hubs import HubConnection, Limits
from transforms.sessions.fold import Tolerance
from transforms.sessions.rules import SessionRules, parse_gaps, parse_seconds

# What each runner needs of the source. Flink cuts the pauses of a source to whole seconds: with less than one the
# watermark would stand still, and nothing would ever be committed. Prism mixes up the partitions' watermarks.
_LIMITS: Mapping[str, Mapping[str, Any]] = {
    "prism": {"one_clock": True},
    "flink": {"more_seconds": 1.0, "poll_seconds": 1.0},
}
_UNTIL_IDLE_SECONDS = 5.0


def default_hubs() -> dict[str, tuple[str, ...]]:
    """hub -> tables: a hub for each table that streams, named as the last folder of its bronze path."""
    streamed = [c for c in CONTRACTS.values() if c.arrival is Arrival.STREAM]
    return {c.path.rpartition("/")[2]: (c.name,) for c in streamed}


@dataclass(frozen=True)
class StreamConfig:
    """One stream.

    Attributes:
      lake: where the tables are.
      events: what `--events` named; see `HubConnection`, or `find_files` for `capture:FOLDER`.
      hubs: hub -> the tables whose rows it carries; events that name no table are of the first.
      name: tells this stream's positions in the tables from those of another one.
      window_seconds: how long rows are gathered for one commit.
      gap, lateness_seconds: of sessions: the silence that ends one, and how late a row may come.
      session_buckets: parts that the visitors of one partition are cut into; fixed for the life of a lake: another
        number is refused.
      features: keep near-real-time features of each person, too.
      until_idle_seconds: ends when no hub has had anything new for so long; None goes on for ever.
    """

    lake: str
    events: str = field(repr=False)
    hubs: Mapping[str, tuple[str, ...]] = field(default_factory=default_hubs)
    consumer_group: str = "$Default"
    name: str = "events"
    window_seconds: float = 1.0
    until_idle_seconds: float | None = None
    gap: str = "30m"
    lateness_seconds: float = 600
    session_buckets: int = 4
    features: bool = True
    runner: str = "prism"
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.window_seconds < 0.1:
            raise UsageError(f"a window of {self.window_seconds} s is too short", "--window", "give at least 0.1")
        self.rules  # noqa: B018 - says what is wrong with the gap
        Tolerance(self.lateness_seconds)
        if not self.hubs:
            raise UsageError("no hub is named", "--hub", "give --hub NAME=TABLE")
        for tables in self.hubs.values():
            for table in tables:
                contract(table)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> StreamConfig:
        given = json.loads(text)
        given["hubs"] = {hub: tuple(tables) for hub, tables in given["hubs"].items()}
        return StreamConfig(**given | {"beam_args": tuple(given["beam_args"])})

    @property
    def tables(self) -> tuple[Contract, ...]:
        return tuple(contract(name) for name in dict.fromkeys(t for tables in self.hubs.values() for t in tables))

    @property
    def rules(self) -> SessionRules:
        others, channels = parse_gaps(self.gap)
        return SessionRules(others, channels)

    @property
    def limits(self) -> Limits:
        return Limits(until_idle_seconds=self.until_idle_seconds, **_LIMITS[self.runner])

    @property
    def connection(self) -> HubConnection:
        return HubConnection(self.events, self.consumer_group)


def stream_config(
    lake: str,
    events: str,
    hubs: Mapping[str, tuple[str, ...]],
    group: str,
    name: str,
    window_seconds: float,
    until_idle: bool,
    runner: str,
    beam_args: Sequence[str],
    gap: str = "30m",
    lateness: str = "10m",
    features: bool = True,
) -> StreamConfig:
    """The command's options, checked.

    Raises:
      UserError: among others a runner that cannot run an endless source, or a connection string that is none.
    """
    engine = runner.lower().removesuffix("runner")
    if engine not in _LIMITS:
        raise UsageError(
            f"the runner {runner!r} cannot run an endless source here", remedy=f"give --runner {' or '.join(_LIMITS)}"
        )
    if "sharedaccess" in events.lower():
        raise UsageError(
            "a connection string on the command line can be read by everyone on this machine",
            "--events",
            "put it into a variable or a file, and give --events env:NAME or file:PATH",
        )
    if not is_capture(events):
        HubConnection.from_url(events, group)
    idle = _UNTIL_IDLE_SECONDS if until_idle else None
    return StreamConfig(
        lake,
        events,
        dict(hubs),
        group,
        name,
        window_seconds,
        idle,
        gap,
        parse_seconds(lateness),
        features=features,
        runner=engine,
        beam_args=tuple(beam_args),
    )
