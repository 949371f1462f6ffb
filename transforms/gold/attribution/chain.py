"""Paths as counts: the steps of a Markov chain, and which channels were met together; both merge by adding."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.gold.attribution.touchpoints import Paths

LONGEST_MEMORY = 3
_BEFORE = tuple(f"before_{n}" for n in range(LONGEST_MEMORY, 0, -1))
# before_3, before_2, before_1: the channels met last, null before the start; next: the one met then, null at the end
# of the path, where `converted` says how it ended.
STEPS: pa.Schema = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in _BEFORE),
        pa.field("next", pa.string()),
        pa.field("converted", pa.bool_()),
        pa.field("paths", pa.int64(), nullable=False),
        pa.field("value_units", pa.int64(), nullable=False),
    ]
)
SETS: pa.Schema = pa.schema(
    [
        pa.field("channels", pa.string(), nullable=False),  # sorted, joined by SEPARATOR; empty: no touch
        pa.field("paths", pa.int64(), nullable=False),
        pa.field("conversions", pa.int64(), nullable=False),
        pa.field("value_units", pa.int64(), nullable=False),
    ]
)
SEPARATOR = "\x1f"


def count_steps(paths: Paths) -> pa.Table:
    """How often each channel followed the three before it, and how paths with a touch ended; schema STEPS."""
    channel = pl.col("channel")
    before = {name: channel.shift(n).over("path") for n, name in zip((3, 2, 1), _BEFORE, strict=True)}
    walked = paths.touches.select(
        *(expression.alias(name) for name, expression in before.items()),
        channel.alias("next"),
        pl.lit(None, pl.Boolean).alias("converted"),
        pl.lit(0, pl.Int64).alias("value_units"),
    )
    last = paths.touches.filter(pl.col("index") == pl.col("count") - 1)
    earlier = paths.touches.select("path", "index", "channel")
    for back, name in ((2, "before_3"), (1, "before_2")):
        then = earlier.select("path", (pl.col("index") + back).alias("index"), pl.col("channel").alias(name))
        last = last.join(then, on=["path", "index"], how="left")
    ended = last.select(
        "before_3",
        "before_2",
        channel.alias("before_1"),
        pl.lit(None, pl.String).alias("next"),
        "converted",
        "value_units",
    )
    rows = pl.concat([walked.with_columns(pl.lit(1, pl.Int64).alias("paths")).select(STEPS.names),
                      ended.with_columns(pl.lit(1, pl.Int64).alias("paths")).select(STEPS.names)])  # fmt: skip
    return sum_steps(rows)


def sum_steps(rows: pl.DataFrame) -> pa.Table:
    """Rows of STEPS in any number as one table, in the order of their columns."""
    keys = [*_BEFORE, "next", "converted"]
    total = rows.group_by(keys).agg(pl.col("paths", "value_units").sum())
    return total.sort(keys).select(STEPS.names).to_arrow().cast(STEPS)


def count_sets(paths: Paths) -> pa.Table:
    """How many paths met just these channels, and how many of them converted; schema SETS."""
    met = paths.touches.group_by("path").agg(pl.col("channel").unique().sort().str.join(SEPARATOR).alias("channels"))
    ends = paths.ends.join(met, on="path", how="left")
    return sum_sets(
        ends.select(
            pl.col("channels").fill_null(""),
            pl.lit(1, pl.Int64).alias("paths"),
            pl.col("converted").cast(pl.Int64).alias("conversions"),
            "value_units",
        )
    )


def sum_sets(rows: pl.DataFrame) -> pa.Table:
    """Rows of SETS in any number as one table, in the order of the channels."""
    total = rows.group_by("channels").agg(pl.col("paths", "conversions", "value_units").sum())
    return total.sort("channels").select(SETS.names).to_arrow().cast(SETS)
