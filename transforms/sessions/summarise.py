"""One row a session, from its events alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.sessions.cut import Cut, cut_sessions
from transforms.sessions.event import EVENTS, decimals_of, units_of
from transforms.sessions.identifier import session_ids
from transforms.sessions.rules import SessionRules, type_key

_TIME = EVENTS.field("event_time").type
SESSIONS = pa.schema(
    [
        pa.field("session_id", pa.string(), nullable=False),  # see `session_ids`
        pa.field("visitor", pa.string(), nullable=False),
        pa.field("started_at", _TIME, nullable=False),  # the first event
        pa.field("ended_at", _TIME, nullable=False),  # the last event
        pa.field("duration_seconds", pa.float64(), nullable=False),  # between the two; 0 for one event
        pa.field("events", pa.int64(), nullable=False),
        pa.field("page_views", pa.int64(), nullable=False),
        pa.field("is_bounce", pa.bool_(), nullable=False),  # one event, and no conversion
        pa.field("conversions", pa.int64(), nullable=False),  # orders, and conversions without an order's id
        pa.field("value", pa.decimal128(18, 4)),  # sum; an order's first value counts; null: no event has one
        pa.field("channel", pa.string()),  # of the first event that has one; so source, campaign, entry_page …
        pa.field("source", pa.string()),
        pa.field("campaign", pa.string()),
        pa.field("entry_page", pa.string()),
        pa.field("exit_page", pa.string()),  # of the last event that has one
        pa.field("tracker_session", pa.string()),
    ]
)
_FIRST = {
    "channel": "channel",
    "source": "source",
    "campaign": "campaign",
    "entry_page": "page",
    "tracker_session": "tracker_session",
}


def sessions_of(events: pa.Table | pl.DataFrame, rules: SessionRules) -> pa.Table:
    """Events (columns of EVENTS) -> sessions (SESSIONS), ordered by visitor and start."""
    return summarise_sessions(cut_sessions(events, rules), rules)


def summarise_sessions(cut: Cut, rules: SessionRules, only: np.ndarray | None = None) -> pa.Table:
    """The rows of SESSIONS, ordered by visitor and start.

    A page view is an event of one of the types `rules.page_views`, or one without a type but with a page. A
    conversion is an event of one of the types `rules.conversions` or with an order id, and an order is one conversion
    however many events name it.

    Args:
      only: the numbers of the sessions that are wanted, ascending; by default all.
    """
    starts, ends = (cut.starts, cut.ends) if only is None else (cut.starts[only], cut.ends[only])
    if len(starts) == 0:
        return SESSIONS.empty_table()
    rows = cut.events
    if only is not None:  # only their events, so that each session still ends where the next one starts
        lengths = ends - starts
        rows = rows[np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())]
        starts, ends = np.cumsum(lengths) - lengths, np.cumsum(lengths)
    times = rows["event_time"].to_physical().to_numpy()
    conversions, value = _conversions(rows, starts, rules)
    start_us, end_us = times[starts], times[ends - 1]
    columns = {
        "visitor": _text(rows["visitor"].gather(starts)),
        "started_at": pa.array(start_us).view(_TIME),
        "ended_at": pa.array(end_us).view(_TIME),
        "duration_seconds": (end_us - start_us) / 1e6,
        "events": ends - starts,
        "page_views": _sums(_page_views(rows, rules), starts),
        "is_bounce": (ends - starts == 1) & (conversions == 0),
        "conversions": conversions,
        "value": value,
        "exit_page": _last(rows["page"], starts, ends),
    } | {name: _first(rows[source], starts, ends) for name, source in _FIRST.items()}
    named = columns["campaign"] if rules.campaign_cuts else None
    columns["session_id"] = session_ids(columns["visitor"], start_us, _at(rows["event_id"], starts), named)
    return pa.table([pa.array(columns[f.name], f.type) for f in SESSIONS], schema=SESSIONS)


def _sums(counted: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(counted, starts, dtype=np.int64)


def _page_views(rows: pl.DataFrame, rules: SessionRules) -> np.ndarray:
    seen = _is_one_of(rows["event_type"], rules.page_views)
    if rows["event_type"].null_count():
        seen = seen | (rows["event_type"].is_null() & rows["page"].is_not_null()).to_numpy()
    return seen


def _is_one_of(types: pl.Series, wanted: tuple[str, ...]) -> np.ndarray:
    keys = set(map(type_key, wanted))
    spelt = [seen for seen in types.unique() if seen is not None and type_key(seen) in keys]
    return types.is_in(spelt).fill_null(False).to_numpy()


def _conversions(rows: pl.DataFrame, starts: np.ndarray, rules: SessionRules) -> tuple[np.ndarray, pa.Array]:
    """(how many a session, the sum of their values)."""
    converts = _is_one_of(rows["event_type"], rules.conversions)
    values = rows["value"].to_arrow(compat_level=pl.CompatLevel.oldest())
    units = units_of(values.cast(SESSIONS.field("value").type))
    there = rows["value"].is_not_null().to_numpy()
    orders = rows["order_id"]
    if orders.null_count() < rows.height:
        held = np.flatnonzero(orders.is_not_null())
        session = np.searchsorted(starts, held, side="right")
        seen = pl.DataFrame({"session": session, "order": orders.gather(held)})
        first = seen.select(pl.struct("session", "order").is_first_distinct()).to_series().to_numpy()
        converts = converts.copy()
        converts[held] = first
        valued = seen.with_columns(there=pl.Series(there[held])).filter("there")
        kept = valued.select(pl.struct("session", "order").is_first_distinct()).to_series().to_numpy()
        units = units.copy()
        units[held[there[held]][~kept]] = 0
    total = decimals_of(np.add.reduceat(units, starts), SESSIONS.field("value").type)
    if not there.all():
        total = pa.compute.if_else(pa.array(_sums(there, starts) > 0), total, pa.scalar(None, total.type))
    return _sums(converts, starts), total


def _first(values: pl.Series, starts: np.ndarray, ends: np.ndarray) -> pa.Array:
    """The first value of each session that is not null."""
    if values.null_count() == 0:
        return _at(values, starts)
    valid = np.flatnonzero(values.is_not_null())
    place = np.searchsorted(valid, starts)
    return _found(values, valid, place, ends)


def _last(values: pl.Series, starts: np.ndarray, ends: np.ndarray) -> pa.Array:
    if values.null_count() == 0:
        return _at(values, ends - 1)
    valid = np.flatnonzero(values.is_not_null())
    place = np.searchsorted(valid, ends) - 1
    before = place < 0
    rows = np.where(before, 0, valid[np.maximum(place, 0)] if len(valid) else 0)
    return _masked(values, rows, before | (rows < starts))


def _found(values: pl.Series, valid: np.ndarray, place: np.ndarray, ends: np.ndarray) -> pa.Array:
    behind = place >= len(valid)
    rows = np.where(behind, 0, valid[np.minimum(place, len(valid) - 1)] if len(valid) else 0)
    return _masked(values, rows, behind | (rows >= ends))


def _masked(values: pl.Series, rows: np.ndarray, absent: np.ndarray) -> pa.Array:
    if absent.all():
        return pa.nulls(len(rows), pa.string())
    return _text(values.gather(pl.Series(rows).set(pl.Series(absent), None)))


def _at(values: pl.Series, rows: np.ndarray) -> pa.Array:
    return pa.nulls(len(rows), pa.string()) if values.null_count() == len(values) else _text(values.gather(rows))


def _text(values: pl.Series) -> pa.Array:
    return values.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())
