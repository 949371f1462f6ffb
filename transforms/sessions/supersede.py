"""What became of session ids when late rows came and the sessions were cut again."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

SUPERSEDED = pa.schema([pa.field("session_id", pa.string(), nullable=False), pa.field("superseded_by", pa.string())])
_SPAN = ["session_id", "visitor", "started_at", "ended_at"]


def superseded_ids(before: pa.Table, after: pa.Table) -> pa.Table:
    """The ids of `before` that are not in `after` -> SUPERSEDED, ordered; one row for each session that takes their
    place: those of the visitor that overlap in time, or null where its events are gone.

    A late row in front of a session gives it another id; one between two merges them, and both ids lead to the new
    one; with campaigns that cut, one may split a session, and its id leads to all parts.

    Args:
      before, after: columns of SESSIONS, all sessions of the same visitors.
    """
    old, new = (pl.DataFrame(pl.from_arrow(table.select(_SPAN))) for table in (before, after))
    gone = old.join(new, "session_id", how="anti")
    pairs = gone.join_where(
        new,
        pl.col("visitor") == pl.col("visitor_right"),
        pl.col("started_at") <= pl.col("ended_at_right"),
        pl.col("ended_at") >= pl.col("started_at_right"),
    ).select("session_id", superseded_by="session_id_right")
    found = gone.select("session_id").join(pairs, "session_id", how="left").sort("session_id", "superseded_by")
    return found.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SUPERSEDED)
