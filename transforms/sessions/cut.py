"""Cuts each visitor's events into sessions by event time; the definition is in `SessionRules`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.sessions.event import EVENTS
from transforms.sessions.rules import SessionRules, channel_key

_TIME = "event_time"
_TYPES = dict(pl.Schema(EVENTS))


@dataclass(frozen=True)
class Cut:
    """Events in order and the row each session starts at.

    Attributes:
      events: the columns of EVENTS, and others that came along, ordered by visitor, event_time, event_id and then by
        all else; each event once.
      starts: int64, ascending; session k holds the rows starts[k] to starts[k + 1] - 1.
      bounds: int64 microseconds a session; no event at or behind it can still belong to the session. A session whose
        visitor has a later one is bounded by that one's first event, too.
      duplicates: rows that were the same event as another one.
    """

    events: pl.DataFrame
    starts: np.ndarray
    bounds: np.ndarray
    duplicates: int = 0

    @property
    def ends(self) -> np.ndarray:
        """The row behind the last of each session."""
        return np.append(self.starts[1:], self.events.height)


def cut_sessions(events: pa.Table | pl.DataFrame, rules: SessionRules) -> Cut:
    """Orders the events, counts each once and cuts them.

    Any order and any split of the same rows gives the same cut. Rows with the same visitor, time and event id are
    one event; of those the first by all other columns stays. Rows without an event id are events of their own.

    Args:
      events: columns of EVENTS, every row with a visitor and a time (`split_events`); columns that lack are null.
    """
    frame = events if isinstance(events, pl.DataFrame) else pl.from_arrow(events)
    assert isinstance(frame, pl.DataFrame)
    ordered = _complete(_once(_ordered(frame)))
    if ordered.height == 0:
        none = np.empty(0, np.int64)
        return Cut(ordered, none, none)
    times = ordered[_TIME].to_physical().to_numpy()
    visitors = _changes(ordered["visitor"])
    gaps = _gaps(ordered, rules)
    first = _first_rows(ordered, times, visitors, gaps, rules)
    starts = np.flatnonzero(first)
    bounds = np.minimum(np.maximum.reduceat(times + gaps, starts), times[starts] + rules.max_us)
    followed = ~visitors[starts[1:]]
    bounds[:-1][followed] = np.minimum(bounds[:-1], times[starts[1:]] + 1)[followed]
    return Cut(ordered, starts, bounds, frame.height - ordered.height)


def _ordered(frame: pl.DataFrame) -> pl.DataFrame:
    """In total order: by visitor and time for all, by the other columns only where those tie."""
    rows = frame.sort("visitor", _TIME)
    same = ~_changes(rows["visitor"]) & ~_changes(rows[_TIME])
    if not same.any():
        return rows
    tied = np.flatnonzero(same | np.append(same[1:], False))
    ties = rows[tied]
    held = [name for name in rows.columns if name in ("visitor", _TIME) or ties[name].null_count() < len(tied)]
    order = np.arange(rows.height)
    order[tied] = tied[ties.select(pl.arg_sort_by(held, nulls_last=False)).to_series().to_numpy()]
    return rows[order]


def _complete(rows: pl.DataFrame) -> pl.DataFrame:
    """With all columns of EVENTS; made after ordering, since columns of nulls are costly to carry."""
    absent = [pl.lit(None, kind).alias(name) for name, kind in _TYPES.items() if name not in rows.columns]
    more = [name for name in rows.columns if name not in _TYPES]
    return rows.with_columns(absent).select([*_TYPES, *more])


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    ids = rows["event_id"] if "event_id" in rows.columns else None
    if ids is None or ids.null_count() == len(ids):
        return rows
    again = ids.is_not_null().to_numpy() & ~_changes(ids) & ~_changes(rows[_TIME]) & ~_changes(rows["visitor"])
    return rows.filter(pl.Series(~again)) if again.any() else rows


def _changes(values: pl.Series) -> np.ndarray:
    """True where a value is not the one before, and at the first row."""
    changed = values.ne_missing(values.shift()).to_numpy(writable=True)
    changed[:1] = True
    return changed


def _gaps(rows: pl.DataFrame, rules: SessionRules) -> np.ndarray:
    """The gap of each event's channel, microseconds; one value where all are the same."""
    known = rules.channel_gaps_us
    if not known or rows["channel"].null_count() == rows.height:
        return np.array([rules.gap_us])
    seen = [channel for channel in rows["channel"].unique() if channel is not None]
    gaps = {channel: known.get(channel_key(channel), rules.gap_us) for channel in seen}
    found = rows["channel"].replace_strict(gaps, default=rules.gap_us, return_dtype=pl.Int64)
    return found.fill_null(rules.gap_us).to_numpy()


def _first_rows(
    rows: pl.DataFrame, times: np.ndarray, visitors: np.ndarray, gaps: np.ndarray, rules: SessionRules
) -> np.ndarray:
    """True where a session begins.

    Chains (cut by the gap alone) and the cuts inside them are found for all rows at once. Where one cut moves
    others, in a chain that is too long or where gaps differ, the chain is walked event by event: few are.
    """
    one_gap = len(gaps) == 1
    if one_gap:
        before = np.empty_like(times)
        before[:1], before[1:] = times[:1], times[:-1]
        chain = visitors | (times - before >= gaps[0])
    else:
        deadlines = pl.DataFrame({"visitor": np.cumsum(visitors), "deadline": times + gaps})
        reach = deadlines.select(pl.col("deadline").cum_max().over("visitor")).to_series()
        chain = visitors | (times >= reach.shift(1).fill_null(0).to_numpy())
    days = _days(rows, rules)
    campaigns = _campaigns(rows, rules)
    first = chain.copy()
    if days is not None:
        first[1:] |= days[1:] != days[:-1]
    if campaigns is not None:
        first |= _other_campaign(campaigns, first)
    starts, number = np.flatnonzero(first), np.cumsum(chain) - 1
    last = np.append(starts[1:], len(times)) - 1
    tangled = set(number[starts[times[last] - times[starts] >= rules.max_us]].tolist())
    if not one_gap:
        tangled |= set(number[first & ~chain].tolist())
    edges = np.append(np.flatnonzero(chain), len(times))
    for k in sorted(tangled):
        part = slice(edges[k], edges[k + 1])
        first[part] = _walk(
            times[part],
            np.broadcast_to(gaps, times.shape)[part],
            None if days is None else days[part],
            None if campaigns is None else campaigns[part],
            rules.max_us,
        )
    return first


def _days(rows: pl.DataFrame, rules: SessionRules) -> np.ndarray | None:
    if rules.midnight_zone is None:
        return None
    return rows[_TIME].dt.convert_time_zone(rules.midnight_zone).dt.date().to_physical().to_numpy()


def _campaigns(rows: pl.DataFrame, rules: SessionRules) -> np.ndarray | None:
    """A number for each campaign, -1 for none."""
    if not rules.campaign_cuts or rows["campaign"].null_count() == rows.height:
        return None
    return rows["campaign"].rank("dense").cast(pl.Int64).fill_null(-1).to_numpy()


def _other_campaign(campaigns: np.ndarray, first: np.ndarray) -> np.ndarray:
    """True where an event names another campaign than the last one named since the session's start."""
    place = np.arange(len(first))
    start = np.maximum.accumulate(np.where(first, place, 0))
    named = np.maximum.accumulate(np.where(campaigns >= 0, place, -1))
    before = np.append(-1, named[:-1])
    running = np.where(before >= start, campaigns[before], -1)
    return ~first & (campaigns >= 0) & (campaigns != running)


def _walk(
    times: np.ndarray, gaps: np.ndarray, days: np.ndarray | None, campaigns: np.ndarray | None, longest: int
) -> list[bool]:
    """Where sessions begin in one chain, by the definition word for word."""
    none = np.zeros(len(times), np.int64)
    day_of, campaign_of = (none if days is None else days), (none - 1 if campaigns is None else campaigns)
    begun, reach, day, running = 0, 0, 0, -1
    first: list[bool] = []
    for at, gap, date, campaign in zip(
        times.tolist(), gaps.tolist(), day_of.tolist(), campaign_of.tolist(), strict=True
    ):
        other = campaign >= 0 and campaign != running
        if not first or at >= reach or at - begun >= longest or date != day or other:
            first.append(True)
            begun, reach, day, running = at, at + gap, date, campaign
        else:
            first.append(False)
            reach = max(reach, at + gap)
    return first
