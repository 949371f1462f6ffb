"""`plain_stream` in columns, for millions of page views: another oracle of what a stream lets go of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.sessions.identifier import session_ids
from transforms.sessions.rules import SessionRules

_NEVER = -(2**62)
_SESSION = pl.col("_cut").cum_sum()


class Left(NamedTuple):
    """`sessions` that nothing in time can change any more, with their ids, and the positions of the `late` events."""

    sessions: pl.DataFrame
    late: pl.Series


def clocks(visitors: np.ndarray, times_us: np.ndarray) -> np.ndarray:
    """The clock behind each event: the latest time that two visitors have reached."""
    latest = np.append(_NEVER, np.maximum.accumulate(times_us)[:-1])  # before the event
    is_new = times_us > latest
    leaders = np.append(-1, visitors[np.maximum.accumulate(np.where(is_new, np.arange(len(times_us)), 0))][:-1])
    reached = np.where(visitors != leaders, np.minimum(times_us, latest), _NEVER)
    return np.maximum.accumulate(reached)


def cut_views(events: pa.Table, rules: SessionRules, late_seconds: float) -> Left:
    """As `cut_log`, of page views with a page and nothing else, each visitor's within the longest session.

    Args:
      events: EVENTS and POSITION of one log, in its order.
    """
    rows = pl.DataFrame(pl.from_arrow(events)).select("visitor", "event_time", "event_id", "page", "position")
    times, late_us = rows["event_time"].to_physical().to_numpy(), round(late_seconds * 1e6)
    clock = clocks(rows["visitor"].rank("dense").to_numpy().astype(np.int64), times)
    is_late = pl.Series(times < clock - late_us)
    kept = rows.filter(~is_late).sort("visitor", "event_time", "event_id")
    kept = kept.unique(["visitor", "event_time", "event_id"], keep="first", maintain_order=True)
    gap = pl.col("event_time").diff() >= pl.duration(microseconds=rules.gap_us)
    cut = kept.with_columns(_cut=(gap | (pl.col("visitor") != pl.col("visitor").shift())).fill_null(True))
    sessions = cut.group_by(_SESSION.alias("_number"), maintain_order=True).agg(
        pl.col("visitor").first(),
        pl.col("event_time").first().alias("started_at"),
        pl.col("event_time").last().alias("ended_at"),
        pl.len().cast(pl.Int64).alias("events"),
        pl.len().cast(pl.Int64).alias("page_views"),
        pl.col("page").first().alias("entry_page"),
        pl.col("page").last().alias("exit_page"),
        pl.col("event_id").first(),
    )
    length = pl.col("ended_at") - pl.col("started_at")
    sessions = sessions.with_columns(
        duration_seconds=length.dt.total_microseconds() / 1e6,
        is_bounce=pl.col("events") == 1,
        conversions=pl.lit(0, pl.Int64),
        **dict.fromkeys(("value", "channel", "source", "campaign", "tracker_session"), pl.lit(None)),
    )
    assert not (sessions["duration_seconds"] >= rules.max_seconds).any(), "too long for this oracle"
    closed = pl.col("ended_at").to_physical() + rules.gap_us <= (int(clock[-1]) if len(clock) else _NEVER) - late_us
    final = sessions.filter(closed)
    starts = final["started_at"].to_physical().to_numpy()
    names = (final[name].to_arrow().cast(pa.string()) for name in ("visitor", "event_id"))
    visitor, first = names
    ids = pl.Series("session_id", session_ids(visitor, starts, first), pl.String)
    return Left(final.drop("_number", "event_id").with_columns(ids), rows["position"].filter(is_late))
