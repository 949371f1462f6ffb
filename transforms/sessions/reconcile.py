"""Holds the sessions computed from events against those the tracker sends (CUSTOMER_SESSION_DATA)."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.sessions.behaviour import visitor_of

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
_COMPUTED = ["session_id", "visitor", "started_at", "ended_at", "page_views", "conversions", "value", "tracker_session"]


def reconcile_sessions(computed: pa.Table, tracked: pa.Table, tolerance_seconds: float = 60) -> pa.Table:
    """Every computed and every tracked session -> RECONCILED, ordered by both ids.

    A computed session is matched with the tracked one whose id its events carry; sessions left over on either side
    with those of the same visitor that overlap in time. One may match several: then they were cut in other places.
    Starts and ends agree within `tolerance_seconds`; what the tracker left out is not compared.

    Args:
      computed: SESSIONS.
      tracked: columns of CUSTOMER_SESSION_DATA; SESSION_ID is unique.
    """
    ours = pl.DataFrame(pl.from_arrow(computed.select(_COMPUTED)))
    theirs = pl.DataFrame(pl.from_arrow(tracked)).with_columns(
        visitor=visitor_of("CUSTOMER_ID", "SESSION_ID"), stop=pl.coalesce("SESSION_END", "SESSION_START")
    )
    by_id = ours.join(theirs, left_on="tracker_session", right_on="SESSION_ID", coalesce=False, suffix="_theirs")
    by_id = by_id.select("session_id", "SESSION_ID", matched_by=pl.lit("session_id"))
    overlap = ours.join_where(
        theirs,
        pl.col("visitor") == pl.col("visitor_right"),
        pl.col("started_at") <= pl.col("stop"),
        pl.col("ended_at") >= pl.col("SESSION_START"),
    ).select("session_id", "SESSION_ID", matched_by=pl.lit("overlap"))
    left = ~(
        pl.col("session_id").is_in(by_id["session_id"].implode())
        & pl.col("SESSION_ID").is_in(by_id["SESSION_ID"].implode())
    )
    pairs = pl.concat([by_id, overlap.filter(left)])
    found = (
        pairs.join(ours, "session_id", how="full", coalesce=True)
        .join(theirs, "SESSION_ID", how="full", coalesce=True, suffix="_theirs")
        .with_columns(differing=_differing(tolerance_seconds))
        .with_columns(verdict=_verdict())
        .with_columns(
            differing=pl.when(pl.col("verdict") == DIFFERS).then("differing").otherwise(pl.lit([], pl.List(pl.String)))
        )
        .select(
            "session_id",
            tracker_session="SESSION_ID",
            verdict="verdict",
            matched_by="matched_by",
            differing="differing",
        )
        .sort("session_id", "tracker_session", nulls_last=True)
    )
    return found.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(RECONCILED)


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


def _verdict() -> pl.Expr:
    return (
        pl.when(pl.col("SESSION_ID").is_null())
        .then(pl.lit(NOT_TRACKED))
        .when(pl.col("session_id").is_null())
        .then(pl.lit(NOT_SEEN))
        .when(pl.col("differing").list.len() == 0)
        .then(pl.lit(AGREES))
        .otherwise(pl.lit(DIFFERS))
    )
