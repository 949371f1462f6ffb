"""Recency, frequency and monetary scores: exact quintiles over all customers, from summaries that can be merged.

Source: Arthur M. Hughes, Strategic Database Marketing (1994), quintile scoring; Bult and Wansbeek, "Optimal selection
for direct mail", Marketing Science 14(4), 1995, for the three measures.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.gold.fields import SCHEMA

SUMMARY = pa.schema(
    [
        pa.field("measure", pa.string(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("value", pa.int64(), nullable=False),
        pa.field("customers", pa.int64(), nullable=False),
    ]
)
THRESHOLDS = pa.schema(
    [
        pa.field("measure", pa.string(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("value", pa.int64(), nullable=False),
    ]
)
_STEPS = 5
_GROUP = ("measure", "currency")

# The name of (recency_score, frequency_score), each given as (lowest, highest); every pair has exactly one.
SEGMENTS: tuple[tuple[str, tuple[int, int], tuple[int, int]], ...] = (
    ("champions", (5, 5), (4, 5)),
    ("loyal", (3, 4), (4, 5)),
    ("potential loyalists", (4, 5), (2, 3)),
    ("new", (5, 5), (1, 1)),
    ("promising", (4, 4), (1, 1)),
    ("need attention", (3, 3), (3, 3)),
    ("about to sleep", (3, 3), (1, 2)),
    ("cannot lose", (1, 2), (5, 5)),
    ("at risk", (1, 2), (3, 4)),
    ("hibernating", (1, 2), (1, 2)),
)


def summarise(customers: pa.Table) -> pa.Table:
    """How many customers have each value of each measure, over customers with orders; schema `SUMMARY`.

    Measures, greater is better: recency (minus recency_days), frequency (orders_count), monetary (net_revenue in
    cents, for each revenue_currency by itself, since amounts of different currencies cannot be compared); recency and
    frequency also as they were 30 days ago, over those who had orders then.
    """
    counted = [
        values.group_by("currency", "value")
        .agg(pl.len().cast(pl.Int64).alias("customers"))
        .with_columns(pl.lit(measure).alias("measure"))
        for measure, values in _measures(customers).items()
    ]
    return _sorted(pl.concat(counted))


def merge(summaries: Iterable[pa.Table]) -> pa.Table:
    """The summary of all customers behind `summaries`; order and grouping do not matter."""
    parts = [pl.DataFrame(summary.cast(SUMMARY)) for summary in summaries] or [pl.DataFrame(SUMMARY.empty_table())]
    return _sorted(pl.concat(parts).group_by(*_GROUP, "value").agg(pl.col("customers").sum()))


def thresholds(summary: pa.Table) -> pa.Table:
    """The quintiles of each measure; schema `THRESHOLDS`.

    Step k (1 to 4) is the smallest value that at least k/5 of the customers do not exceed (the inverse of the
    empirical distribution function, type 1 of Hyndman and Fan, 1996).
    """
    rows = pl.DataFrame(summary).sort(*_GROUP, "value")
    running = rows.with_columns(
        pl.col("customers").cum_sum().over(_GROUP).alias("_below"), pl.col("customers").sum().over(_GROUP).alias("_all")
    )
    steps = [
        running.filter(_STEPS * pl.col("_below") >= step * pl.col("_all"))
        .group_by(_GROUP)
        .agg(pl.col("value").min())
        .with_columns(pl.lit(step, pl.Int64).alias("step"))
        for step in range(1, _STEPS)
    ]
    found = pl.concat(steps).sort(*_GROUP, "step").select(THRESHOLDS.names)
    return found.to_arrow().cast(THRESHOLDS)


def score(customers: pa.Table, limits: pa.Table) -> pa.Table:
    """`customers` with recency_score, frequency_score, monetary_score, rfm_segment, what the segment was 30 days ago
    and rfm_move filled; rows and order kept.

    A score is 1 + the number of thresholds below the value, so equal values have equal scores, and where many
    customers tie, the tie takes the lower score (with four in five customers at one order, one order scores 1).
    rfm_move: stayed in the segment; rose or fell by the sum of recency and frequency score, or else by recency; new
    without orders 30 days ago; null without orders.
    """
    scores = pl.DataFrame({f"{measure}_score": _score_one(customers, measure, limits) for measure in _MEASURES})
    recency, frequency = pl.col("recency_score"), pl.col("frequency_score")
    then = pl.col("recency_then_score"), pl.col("frequency_then_score")
    named = scores.with_columns(
        _segment(recency, frequency).alias("rfm_segment"), _segment(*then).alias("rfm_segment_30_days_ago")
    )
    rise = 10 * (recency + frequency - then[0] - then[1]) + (recency - then[0])
    moved = named.with_columns(
        pl.when(pl.col("rfm_segment").is_null()).then(None)
        .when(pl.col("rfm_segment_30_days_ago").is_null()).then(pl.lit("new"))
        .when(pl.col("rfm_segment") == pl.col("rfm_segment_30_days_ago")).then(pl.lit("stayed"))
        .when(rise > 0).then(pl.lit("rose")).otherwise(pl.lit("fell")).alias("rfm_move")
    )  # fmt: skip
    columns = {name: customers[name] for name in customers.column_names}
    made = [name for name in moved.columns if name in columns]
    columns |= {name: moved[name].to_arrow().cast(SCHEMA.field(name).type) for name in made}
    return pa.table([columns[name] for name in customers.column_names], schema=customers.schema)


_MEASURES: dict[str, pl.Expr] = {
    "recency": -pl.col("recency_days"),
    "frequency": pl.col("orders_count"),
    "monetary": pl.col("net_revenue").to_physical().cast(pl.Int64),
    "recency_then": -pl.col("recency_days_30_days_ago"),
    "frequency_then": pl.col("orders_count_30_days_ago"),
}
_READ = ("orders_count", "recency_days", "net_revenue", "revenue_currency", "orders_count_30_days_ago",
         "recency_days_30_days_ago")  # fmt: skip


def _measure(customers: pa.Table, measure: str) -> pl.DataFrame:
    needed = pl.DataFrame(customers.select(_READ))
    currency = pl.col("revenue_currency").fill_null("") if measure == "monetary" else pl.lit("")
    bought = pl.col("orders_count_30_days_ago" if measure.endswith("_then") else "orders_count") > 0
    return needed.select(currency.alias("currency"), pl.when(bought).then(_MEASURES[measure]).alias("value"))


def _measures(customers: pa.Table) -> dict[str, pl.DataFrame]:
    return {measure: _measure(customers, measure).drop_nulls("value") for measure in _MEASURES}


def _score_one(customers: pa.Table, measure: str, limits: pa.Table) -> pl.Series:
    rows = _measure(customers, measure)
    steps = pl.DataFrame(limits).filter(pl.col("measure") == measure).sort("currency", "step")
    result = np.zeros(rows.height, dtype=np.int64)
    values, currencies = rows["value"].fill_null(0).to_numpy(), rows["currency"]
    for (currency,), group in steps.group_by("currency", maintain_order=True):
        here = (currencies == currency).to_numpy()
        result[here] = 1 + np.searchsorted(group["value"].to_numpy(), values[here], side="left")
    known = rows["value"].is_not_null().to_numpy() & (result > 0)
    return pl.Series(result).set(pl.Series(~known), None)


def _segment(recency: pl.Expr, frequency: pl.Expr) -> pl.Expr:
    names = [pl.when(recency.is_between(*r) & frequency.is_between(*f)).then(pl.lit(name)) for name, r, f in SEGMENTS]
    return pl.coalesce(names)


def _sorted(summary: pl.DataFrame) -> pa.Table:
    return summary.select(SUMMARY.names).sort(*_GROUP, "value").to_arrow().cast(SUMMARY)
