"""Touchpoints as paths: what a person met, in order of time, up to a conversion or to nothing."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from transforms.errors import UsageError

# Values are whole numbers of 1/10,000 of the currency, so that sums do not depend on the order of rows.
VALUE_UNITS = 10_000
NO_TOUCH = "(no touchpoint)"  # takes the credit of conversions that nothing came before
TOUCHPOINTS: pa.Schema = pa.schema(
    [
        pa.field("person", pa.string(), nullable=False),
        pa.field("channel", pa.string()),  # null: the row is a conversion alone
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("conversion", pa.bool_()),  # null is none
        pa.field("value_units", pa.int64()),  # of the conversion, in 1/VALUE_UNITS; null is 0
    ]
)
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class AttributionRules:
    """How paths are cut and credit is shared.

    Attributes:
      lookback_days: a touch counts for a conversion at most so many days later, and a longer silence ends a path.
      half_life_days: of time decay: a touch so much earlier than the last one counts half.
      ends_share: of position: what the first and the last touch get each; those between share the rest.
      orders: of the Markov models.

    Raises:
      UsageError: a number is out of its range.
    """

    lookback_days: float = 90.0
    half_life_days: float = 7.0
    ends_share: float = 0.4
    orders: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        _check("--lookback", self.lookback_days, 1e-6, 36_500)
        _check("--half-life", self.half_life_days, 1e-6, 36_500)
        _check("--ends-share", self.ends_share, 0.0, 0.5)
        for order in self.orders:
            _check("--order", order, 1, 3)

    @property
    def lookback_us(self) -> int:
        return round(self.lookback_days * _DAY_US)

    @property
    def half_life_us(self) -> float:
        return self.half_life_days * _DAY_US


def _check(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{option} is {value:g}", remedy=f"give a number from {low:g} to {high:g}")


@dataclass(frozen=True)
class Paths:
    """Paths of some persons, as sorted rows.

    Attributes:
      touches: path, channel, at (microseconds), index (0 is first), count (touches of the path), last_at, converted,
        value_units (of the path); ordered by path and time.
      ends: path, converted, value_units, end_at of every path that converted or has a touch; count (touches, 0 or
        more).
    """

    touches: pl.DataFrame
    ends: pl.DataFrame


def cut_paths(touchpoints: pa.Table, rules: AttributionRules = AttributionRules()) -> Paths:
    """Cuts each person's touchpoints into paths.

    A path ends with a conversion, which includes the touch of its own row, or unconverted where nothing follows
    within `lookback_days`. Touches more than that before the conversion are left out. Rows of one person and time
    are taken by (conversion last, channel, value), so that the order of the input does not matter. A conversion
    without a touch is a path of none.

    Args:
      touchpoints: schema TOUCHPOINTS, all rows of a person together. Rows without person or time, and rows that are
        neither a touch nor a conversion, are left out.
    """
    rows = _ordered(touchpoints)
    at, silence = pl.col("at"), pl.lit(rules.lookback_us)
    opens = (
        pl.col("person").ne_missing(pl.col("person").shift())
        | pl.col("converted").shift(fill_value=False)
        | ((at - at.shift()) > silence).fill_null(False)
    )
    rows = rows.with_columns(opens.cum_sum().alias("path"))
    last = rows.group_by("path", maintain_order=True).agg(
        pl.col("converted", "value_units").last(), at.last().alias("end_at")
    )
    near = rows.select("path", "channel", "at").join(last, on="path", how="left", maintain_order="left")
    near = near.filter(pl.col("channel").is_not_null() & (pl.col("end_at") - at <= silence))
    touches = near.drop("end_at").with_columns(
        pl.int_range(pl.len()).over("path").alias("index"),
        pl.len().over("path").cast(pl.Int64).alias("count"),
        at.last().over("path").alias("last_at"),
    )
    counts = touches.group_by("path").agg(pl.len().cast(pl.Int64).alias("count"))
    ends = last.join(counts, on="path", how="left", maintain_order="left")
    ends = ends.with_columns(pl.col("count").fill_null(0)).filter(pl.col("converted") | (pl.col("count") > 0))
    return Paths(touches, ends)


def _ordered(touchpoints: pa.Table) -> pl.DataFrame:
    columns = {name: touchpoints[name].cast(TOUCHPOINTS.field(name).type) for name in TOUCHPOINTS.names}
    rows = pl.DataFrame(pl.from_arrow(pa.table(columns)))
    converted = pl.col("conversion").fill_null(False)
    return (
        rows.filter(pl.col("person").is_not_null() & pl.col("time").is_not_null())
        .select(
            "person",
            "channel",
            pl.col("time").to_physical().alias("at"),
            converted.alias("converted"),
            pl.when(converted).then(pl.col("value_units").fill_null(0)).otherwise(0).alias("value_units"),
        )
        .filter(pl.col("channel").is_not_null() | pl.col("converted"))
        .sort("person", "at", "converted", "channel", "value_units", nulls_last=True)
    )
