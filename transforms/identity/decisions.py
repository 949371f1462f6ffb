"""What people decided about two records: apart or together, for good, until they decide otherwise."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

APART, TOGETHER, WITHDRAWN = "apart", "together", "withdrawn"
KINDS = (APART, TOGETHER, WITHDRAWN)
DECISIONS = pa.schema(
    [
        pa.field("low", pa.string(), nullable=False),  # the two records, the smaller key first
        pa.field("high", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # one of KINDS
        pa.field("decided_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("decided_by", pa.string()),
        pa.field("run_id", pa.string()),
    ]
)


def decisions_in_force(decisions: pa.Table) -> pa.Table:
    """DECISIONS -> those that hold: the latest of each pair, without withdrawn ones, the newest first.

    Of two about one pair at one moment the one to keep apart holds, since it is the easier one to undo.
    """
    frame = pl.DataFrame(pl.from_arrow(decisions)).filter(pl.col("low") != pl.col("high"))
    ordered = frame.select(
        pl.min_horizontal("low", "high").alias("low"),
        pl.max_horizontal("low", "high").alias("high"),
        pl.exclude("low", "high"),
    ).sort("decided_at", "kind", "low", "high", descending=[True, False, False, False])
    latest = ordered.unique(["low", "high"], keep="first", maintain_order=True)
    held = latest.filter(pl.col("kind") != WITHDRAWN).select(DECISIONS.names)
    return held.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(DECISIONS)
