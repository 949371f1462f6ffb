"""Facts about the customers from customer_360."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from transforms.gold.customer_360 import SCHEMA
from transforms.io.delta import read_table

_SUMMED = tuple(
    name
    for name in SCHEMA.names
    if name.endswith("_count") and not name.startswith(("distinct", "active", "external", "items"))
)
_MEANS = ("average_satisfaction_score", "average_resolution_minutes", "average_sentiment_score")
_SHARES = ("share_pos", "share_ecommerce", "share_mobile", "share_social")
_MONEY = ("gross_revenue", "returned_amount", "net_revenue")
_READ = (
    *_SUMMED,
    *_MEANS,
    *_SHARES,
    *_MONEY,
    "unsubscribed",
    "revenue_currency",
    "mixed_currency",
    "recency_score",
    "frequency_score",
    "rfm_segment",
    "last_order_at",
    "recency_days",
)
_POINTS = 200


def gather(uri: str, currency: str) -> dict[str, Any]:
    """totals, segments, grid, channels, concentration, satisfaction; amounts of customers who pay in `currency`."""
    people = pl.DataFrame(read_table(uri, columns=_READ))
    valued = people.filter(pl.col("revenue_currency") == currency)
    buyers = people.filter(pl.col("orders_count") > 0)
    satisfied = people.drop_nulls("average_satisfaction_score")
    band = ((pl.col("average_satisfaction_score") + 0.5).floor().clip(1, 5)).cast(pl.Int64).alias("score")
    return {
        "totals": _totals(people, valued, buyers),
        "segments": _segments(people, currency).to_arrow(),
        "grid": buyers.group_by("recency_score", "frequency_score")
        .agg(pl.len().cast(pl.Int64).alias("customers"))
        .drop_nulls()
        .sort("recency_score", "frequency_score")
        .to_arrow(),
        "channels": _channels(buyers).to_arrow(),
        "concentration": _concentration(valued["net_revenue"].cast(pl.Float64).to_numpy()).to_arrow(),
        "satisfaction": satisfied.group_by(band)
        .agg(pl.len().cast(pl.Int64).alias("customers"))
        .sort("score")
        .to_arrow(),
    }


def _totals(people: pl.DataFrame, valued: pl.DataFrame, buyers: pl.DataFrame) -> dict[str, float]:
    sums = people.select(pl.col(_SUMMED).sum()).row(0, named=True)
    money = valued.select(pl.col(_MONEY).sum().cast(pl.Float64)).row(0, named=True)
    means = {name: people[name].mean() for name in _MEANS}
    return {
        **sums,
        **money,
        **{name: round(float(value), 6) for name, value in means.items() if isinstance(value, float)},
        "customers": people.height,
        "buyers": buyers.height,
        "repeat_buyers": int((buyers["orders_count"] > 1).sum()),
        "other_currency_customers": int((people["revenue_currency"].is_not_null()).sum()) - valued.height,
        "unsubscribed": int(people["unsubscribed"].sum()),
    }


def _segments(people: pl.DataFrame, currency: str) -> pl.DataFrame:
    """All buyers by segment; revenue of those who pay in `currency`."""
    earned = pl.col("net_revenue").filter(pl.col("revenue_currency") == currency).sum()
    rows = people.drop_nulls("rfm_segment").group_by(pl.col("rfm_segment").alias("segment"))
    sums = rows.agg(pl.len().cast(pl.Int64).alias("customers"), earned)
    return sums.sort("net_revenue", "segment", descending=[True, False])


def _channels(buyers: pl.DataFrame) -> pl.DataFrame:
    orders = {
        name.removeprefix("share_").upper(): int((buyers[name] * buyers["orders_count"]).round().sum() or 0)
        for name in _SHARES
    }
    found = pl.DataFrame(
        {"channel": list(orders), "orders": list(orders.values())}, schema_overrides={"orders": pl.Int64}
    )
    return found.filter(pl.col("orders") > 0).sort("orders", "channel", descending=[True, False])


def _concentration(revenue: np.ndarray) -> pl.DataFrame:
    """Points of the share of revenue over the share of customers, best customers first; customers above zero only."""
    earning = np.sort(revenue[revenue > 0])[::-1]
    schema = {"share_customers": pl.Float64, "share_revenue": pl.Float64}
    if not earning.size:
        return pl.DataFrame(schema=schema)
    shares = np.concatenate([[0.0], np.cumsum(earning) / earning.sum()])
    at = np.linspace(0, 1, _POINTS + 1)
    return pl.DataFrame({"share_customers": at, "share_revenue": np.interp(at, np.linspace(0, 1, shares.size), shares)})
