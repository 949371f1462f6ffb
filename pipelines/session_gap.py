"""The silence that ends a session: one for a lake, kept with its sessions, so that batch and stream cut alike."""

from __future__ import annotations

from pipelines.config import Lake
from transforms.errors import UserError
from transforms.io.delta_property import keep_property, table_property
from transforms.sessions.rules import SessionRules, parse_gaps
from transforms.sessions.summarise import SESSIONS

USUAL = "30m"
_KEPT = "c360.session_gap"


def gap_rules(gap: str) -> SessionRules:
    """The rules of a gap as `--gap` spells it."""
    return SessionRules(*parse_gaps(gap))


def kept_gap(lake: Lake) -> str | None:
    """The gap of the lake; None where none was kept yet."""
    return table_property(lake.sessions, _KEPT)


def gap_for(lake: Lake, asked: str = "") -> str:
    """The gap asked for; else the lake's; else the usual one."""
    return asked or kept_gap(lake) or USUAL


def keep_gap(lake: Lake, gap: str) -> str | None:
    """Makes a gap the lake's from now on; returns the lake's gap of before where that was another one."""
    before = kept_gap(lake)
    if before is not None and _same(before, gap):
        return None
    keep_property(lake.sessions, SESSIONS, _KEPT, gap)
    return before


def check_gap(lake: Lake, gap: str) -> None:
    """For who cannot cut the lake's sessions anew.

    Raises:
      UserError: the lake's gap is another one.
    """
    kept = kept_gap(lake)
    if kept is not None and not _same(kept, gap):
        what = f"the sessions of this lake end after a silence of {kept}, not {gap}"
        raise UserError(what, lake.uri, f"leave --gap out, or have them cut anew first: silver --gap {gap}")


def _same(one: str, other: str) -> bool:
    """Whether they say the same, however they are spelt."""
    first, second = gap_rules(one), gap_rules(other)
    return (first.gap_us, first.channel_gaps_us) == (second.gap_us, second.channel_gaps_us)
