"""Credit by rule: each converting path shares its conversion and its value among its touches."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.gold.attribution.touchpoints import NO_TOUCH, AttributionRules, Paths

# A conversion is shared in whole parts, so that credit adds up exactly and sums in any order are the same.
PARTS = 1_000_000_000
RULE_MODELS = ("first", "last", "linear", "position", "time_decay")
CREDITS: pa.Schema = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("conversion_parts", pa.int64(), nullable=False),  # 1/PARTS of a conversion
        pa.field("value_units", pa.int64(), nullable=False),
    ]
)
_DECAY_STEPS = float(2**40)  # weights as whole numbers: their sum is exact, and small enough for a million touches


def credit_by_rule(paths: Paths, rules: AttributionRules = AttributionRules()) -> pa.Table:
    """The credit of each channel under each of RULE_MODELS; schema CREDITS, ordered by model and channel.

    first, last: all to that touch. linear: equal shares. position: `ends_share` to the first and the last, the rest
    shared by those between (two touches: half each). time_decay: halved for each half-life before the last touch.
    What rounding leaves of a path goes to its last touch. Conversions without a touch are credited to NO_TOUCH.
    """
    touches = paths.touches.filter("converted")
    shared = [_shared(touches, name, share) for name, share in _shares(rules).items()]
    bare = paths.ends.filter(pl.col("converted") & (pl.col("count") == 0)).select(
        pl.lit(NO_TOUCH).alias("channel"), pl.lit(PARTS, pl.Int64).alias("conversion_parts"), "value_units"
    )
    none = [bare.with_columns(pl.lit(name).alias("model")) for name in RULE_MODELS]
    return sum_credits(pl.concat([part.select(CREDITS.names) for part in (*shared, *none)]))


def sum_credits(parts: pl.DataFrame) -> pa.Table:
    """Credits of several sets of persons, or rows of CREDITS in any number, as one table."""
    total = parts.group_by("model", "channel").agg(pl.col("conversion_parts", "value_units").sum())
    return total.sort("model", "channel").select(CREDITS.names).to_arrow().cast(CREDITS)


def _shares(rules: AttributionRules) -> dict[str, pl.Expr]:
    """Parts that each touch gets before rounding's rest goes to the last one."""
    index, count = pl.col("index"), pl.col("count")
    first, last = index == 0, index == count - 1
    # Products, since a division by a constant may round differently for a row alone and a row among others.
    age = (pl.col("last_at") - pl.col("at")) * (1 / rules.half_life_us)
    weight = (pl.lit(2.0).pow(-age) * _DECAY_STEPS).round().cast(pl.Int64)
    between = (1 - 2 * rules.ends_share) / (count - 2)
    ends = pl.when(count == 2).then(0.5).when(first | last).then(rules.ends_share).otherwise(between)
    shares = {
        "first": first.cast(pl.Float64),
        "last": last.cast(pl.Float64),
        "linear": 1.0 / count,
        "position": pl.when(count == 1).then(1.0).otherwise(ends),
        "time_decay": weight / weight.sum().over("path"),
    }
    return {name: (share * PARTS).floor().cast(pl.Int64) for name, share in shares.items()}


def _shared(touches: pl.DataFrame, model: str, parts: pl.Expr) -> pl.DataFrame:
    last = pl.col("index") == pl.col("count") - 1
    given, value = pl.col("_parts"), pl.col("value_units")
    rows = touches.with_columns(parts.alias("_parts"))
    rows = rows.with_columns((given * (1 / PARTS) * value).floor().cast(pl.Int64).alias("_value"))
    left_parts = PARTS - given.sum().over("path")
    left_value = value - pl.col("_value").sum().over("path")
    return rows.select(
        pl.lit(model).alias("model"),
        "channel",
        pl.when(last).then(given + left_parts).otherwise(given).alias("conversion_parts"),
        pl.when(last).then(pl.col("_value") + left_value).otherwise(pl.col("_value")).alias("value_units"),
    )
