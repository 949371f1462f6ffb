"""How customers moved between segments since the last run."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

# Where a customer was or is when they are in no segment.
NEW, GONE, NONE = "(new)", "(gone)", "(no orders)"
SEGMENT_MOVES: pa.Schema = pa.schema(
    [
        pa.field("from_segment", pa.string(), False, {"comment": "rfm_segment before; (new): not there then"}),
        pa.field("to_segment", pa.string(), False, {"comment": "rfm_segment now; (gone): not there now"}),
        pa.field("customers_count", pa.int64(), False, {"comment": "how many went this way, or stayed"}),
    ]
)  # fmt: skip
MEMBERS: pa.Schema = pa.schema([pa.field("person_id", pa.string()), pa.field("rfm_segment", pa.string())])


def count_moves(before: pa.Table | None, now: pa.Table) -> pa.Table:
    """SEGMENT_MOVES by from and to; they add up to the size of each segment before, and to that of each now.

    Args:
      before, now: at least the columns of MEMBERS, one row a customer; `before` None when there was no run.
    """
    then, there = _members(before, "from_segment"), _members(now, "to_segment")
    both = then.join(there, on="person_id", how="full", coalesce=True)
    moved = both.select(pl.col("from_segment").fill_null(NEW), pl.col("to_segment").fill_null(GONE))
    counted = moved.group_by("from_segment", "to_segment").agg(pl.len().cast(pl.Int64).alias("customers_count"))
    return counted.sort("from_segment", "to_segment").to_arrow().cast(SEGMENT_MOVES)


def _members(table: pa.Table | None, name: str) -> pl.DataFrame:
    rows = pl.DataFrame((MEMBERS.empty_table() if table is None else table).select(MEMBERS.names).cast(MEMBERS))
    return rows.select("person_id", pl.col("rfm_segment").fill_null(NONE).alias(name))
