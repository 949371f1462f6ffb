"""Holds the sessions computed from events against those the tracker sends (CUSTOMER_SESSION_DATA)."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import pyarrow as pa

from transforms.contracts import contract
from transforms.sessions.behaviour import visitor_of
from transforms.sessions.summarise import SESSIONS

AGREES, DIFFERS, NOT_TRACKED, NOT_SEEN = "agrees", "differs", "not_tracked", "not_seen"
RECONCILED = pa.schema(
    [
        pa.field("session_id", pa.string()),  # computed; null: the tracker has a session without events
        pa.field("tracker_session", pa.string()),  # SESSION_ID; null: the tracker sent no session
        pa.field("verdict", pa.string(), nullable=False),  # agrees, differs, not_tracked, not_seen (in events)
        pa.field("matched_by", pa.string()),  # "session_id" or "overlap"
        pa.field("differing", pa.list_(pa.string()), nullable=False),  # start, end, page_views, conversion, value
    ]
)
_OF_COMPUTED = ("session_id", "visitor", "started_at", "ended_at", "page_views", "conversions", "value")
_OF_TRACKED = ("CUSTOMER_ID", "SESSION_START", "SESSION_END", "PAGE_VIEWS", "CONVERSION_EVENT", "CONVERSION_VALUE")
COMPUTED = pa.schema([SESSIONS.field(name) for name in (*_OF_COMPUTED, "tracker_session")])
TRACKED = pa.schema([contract("CUSTOMER_SESSION_DATA").arrow.field(name) for name in ("SESSION_ID", *_OF_TRACKED)])
MATCHED = pa.field("matched", pa.bool_(), nullable=False)  # by its id, with a session of the other side
VISITOR = pa.field("visitor", pa.string())  # of a tracked session
TOLERANCE_SECONDS = 60.0


class MatchedById(NamedTuple):
    """`pairs`: RECONCILED; all sessions of both sides, in order, with MATCHED, the tracked ones with VISITOR."""

    pairs: pa.Table
    computed: pa.Table
    tracked: pa.Table


def reconcile_sessions(computed: pa.Table, tracked: pa.Table, tolerance_seconds: float = TOLERANCE_SECONDS) -> pa.Table:
    """Every computed and every tracked session -> RECONCILED, ordered by both ids.

    A computed session is matched with the tracked one whose id its events carry; sessions left over on either side
    with those of the same visitor that overlap in time. One may match several: then they were cut in other places.
    Starts and ends agree within `tolerance_seconds`; what the tracker left out is not compared.

    Args:
      computed: SESSIONS.
      tracked: columns of CUSTOMER_SESSION_DATA; SESSION_ID is unique.
    """
    found = match_by_id(computed, tracked, tolerance_seconds)
    rest = match_by_overlap(found.computed, found.tracked, tolerance_seconds)
    order = [("session_id", "ascending"), ("tracker_session", "ascending")]
    return pa.concat_tables([found.pairs, rest]).sort_by(order)


def match_by_id(computed: pa.Table, tracked: pa.Table, tolerance_seconds: float = TOLERANCE_SECONDS) -> MatchedById:
    """The pairs whose ids say that they are one; all sessions that name one id, and it, are needed at once."""
    ours = pl.DataFrame(pl.from_arrow(computed.select(COMPUTED.names)))
    theirs = pl.DataFrame(pl.from_arrow(tracked.select(TRACKED.names))).with_columns(
        visitor=visitor_of("CUSTOMER_ID", "SESSION_ID")
    )
    pairs = ours.join(theirs, left_on="tracker_session", right_on="SESSION_ID", coalesce=False, suffix="_theirs")
    matched = pl.col("tracker_session").is_in(theirs["SESSION_ID"].implode()).fill_null(False)
    seen = pl.col("SESSION_ID").is_in(ours["tracker_session"].implode()).fill_null(False)
    return MatchedById(
        _told(pairs, "session_id", tolerance_seconds),
        _arrow(ours.with_columns(matched=matched), pa.schema([*COMPUTED, MATCHED])),
        _arrow(theirs.with_columns(matched=seen), pa.schema([*TRACKED, VISITOR, MATCHED])),
    )


def match_by_overlap(computed: pa.Table, tracked: pa.Table, tolerance_seconds: float = TOLERANCE_SECONDS) -> pa.Table:
    """The other pairs, and sessions of no pair -> RECONCILED; all sessions of a visitor are needed at once.

    Args:
      computed, tracked: of `MatchedById`.
    """
    ours = pl.DataFrame(pl.from_arrow(computed))
    theirs = pl.DataFrame(pl.from_arrow(tracked)).with_columns(stop=pl.coalesce("SESSION_END", "SESSION_START"))
    pairs = ours.join_where(
        theirs,
        pl.col("visitor") == pl.col("visitor_theirs"),
        pl.col("started_at") <= pl.col("stop"),
        pl.col("ended_at") >= pl.col("SESSION_START"),
        suffix="_theirs",
    ).filter(~(pl.col("matched") & pl.col("matched_theirs")))
    alone = ours.filter(~pl.col("matched")).join(pairs, "session_id", how="anti")
    unseen = theirs.filter(~pl.col("matched")).join(pairs, "SESSION_ID", how="anti")
    none, empty = pl.lit(None, pl.String), pl.lit([], pl.List(pl.String))
    lone = {"matched_by": none, "differing": empty}
    not_tracked = alone.select("session_id", tracker_session=none, verdict=pl.lit(NOT_TRACKED), **lone)
    not_seen = unseen.select(session_id=none, tracker_session="SESSION_ID", verdict=pl.lit(NOT_SEEN), **lone)
    singles = pl.concat([not_tracked, not_seen])
    return pa.concat_tables([_told(pairs, "overlap", tolerance_seconds), _arrow(singles, RECONCILED)])


def _told(pairs: pl.DataFrame, matched_by: str, tolerance_seconds: float) -> pa.Table:
    found = pairs.with_columns(differing=_differing(tolerance_seconds)).select(
        "session_id",
        tracker_session="SESSION_ID",
        verdict=pl.when(pl.col("differing").list.len() == 0).then(pl.lit(AGREES)).otherwise(pl.lit(DIFFERS)),
        matched_by=pl.lit(matched_by),
        differing="differing",
    )
    return _arrow(found, RECONCILED)


def _arrow(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


def _differing(tolerance_seconds: float) -> pl.Expr:
    near = pl.duration(microseconds=round(tolerance_seconds * 1e6))
    differ = {
        "start": (pl.col("started_at") - pl.col("SESSION_START")).abs() > near,
        "end": (pl.col("ended_at") - pl.col("SESSION_END")).abs() > near,
        "page_views": pl.col("page_views") != pl.col("PAGE_VIEWS"),
        "conversion": (pl.col("conversions") > 0) != pl.col("CONVERSION_EVENT"),
        "value": pl.col("value").cast(pl.Decimal(18, 4)) != pl.col("CONVERSION_VALUE").cast(pl.Decimal(18, 4)),
    }
    return pl.concat_list([pl.when(where).then(pl.lit(name)) for name, where in differ.items()]).list.drop_nulls()
