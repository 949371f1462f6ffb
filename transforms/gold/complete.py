"""What the other tables of gold say of a person, in their row of customer_360."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa

from transforms.gold.attribution.touchpoints import NO_TOUCH
from transforms.gold.fields import FIELDS, SCHEMA
from transforms.gold.journeys.touchpoints import ORDER, TOUCH_STEPS

_PERSON = "person_id"
_TREND_DAYS, _LAST = 90, 5
# Table of gold -> its column -> the column of customer_360, where it is called otherwise.
_CALLED: Mapping[str, Mapping[str, str]] = {
    "customer_value": {"currency": "value_currency", "model": "value_model"},
    "churn": {"horizon_days": "churn_horizon_days"},
    "customer_risk": {},
    "customer_engagement": {
        "messages_count": "messages_sent_count",
        "delivered_count": "messages_delivered_count",
        "opened_count": "messages_opened_count",
        "clicked_count": "messages_clicked_count",
        "recent_open_rate": "open_rate_last_60_days",
        "earlier_open_rate": "open_rate_earlier",
        "preferred_channel": "message_channel",
        "preferred_channel_source": "message_channel_source",
    },
}


def complete_customers(
    people: pa.Table, tables: Mapping[str, pa.Table], as_of: datetime, lookback_days: float = 30.0
) -> pa.Table:
    """`people` with the columns that `fields` declares as later ones; schema `SCHEMA`, ordered by person_id.

    A row depends on nothing but the rows of its person, and what was fitted before.

    Args:
      people: schema `BASE_SCHEMA`; tables: the rows of `tables.CUSTOMER_TABLES` of the same persons.
      lookback_days: what attribution counts before an order.
    """
    rows = pl.DataFrame(pl.from_arrow(people))
    path = pl.DataFrame(pl.from_arrow(tables["touchpoints"])).sort(_PERSON, "position")
    days = pl.DataFrame(pl.from_arrow(tables["customer_behaviour"]))
    found = [_taken(name, tables[name], set(rows.columns)) for name in _CALLED]
    for part in (*found, _trend(days, as_of), _touches(path), _marketing(path, lookback_days)):
        rows = rows.join(part, on=_PERSON, how="left")
    defaults = [pl.col(field.name).fill_null(field.default) for field in FIELDS if field.default is not None]
    ready = rows.with_columns(defaults).sort(_PERSON).select(SCHEMA.names)
    return ready.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SCHEMA)


def _taken(name: str, table: pa.Table, there: set[str]) -> pl.DataFrame:
    """The columns of a table that customer_360 has of it."""
    rows = pl.DataFrame(pl.from_arrow(table)).rename(dict(_CALLED[name]))
    return rows.select(_PERSON, *(c for c in rows.columns if c in SCHEMA.names and c not in there and c != _PERSON))


def _trend(days: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Active days lately and before, and which way that goes."""
    today = as_of.date()
    began = [today - timedelta(days=_TREND_DAYS * n) for n in (1, 2)]
    active = days.filter(
        (pl.col("period") == "day")
        & (pl.col("starts_on") > began[1])
        & ((pl.col("events_count") > 0) | (pl.col("orders_count") > 0))
    )
    active = active.select(pl.col("key").alias(_PERSON), "starts_on").unique()
    late = pl.col("starts_on") > began[0]
    counts = active.group_by(_PERSON).agg(
        late.sum().cast(pl.Int64).alias("active_days_last_90_days_count"),
        (~late).sum().cast(pl.Int64).alias("active_days_previous_90_days_count"),
    )
    now, then = pl.col("active_days_last_90_days_count"), pl.col("active_days_previous_90_days_count")
    trend = (
        pl.when(then == 0).then(pl.lit("starting")).when(now == 0).then(pl.lit("silent"))
        .when(now * 4 >= then * 5).then(pl.lit("rising")).when(now * 5 <= then * 4).then(pl.lit("falling"))
        .otherwise(pl.lit("steady"))
    )  # fmt: skip
    return counts.with_columns(trend.alias("activity_trend"))


def _touches(path: pl.DataFrame) -> pl.DataFrame:
    named = pl.concat_str([pl.col("step"), pl.col("channel")], separator=" ", ignore_nulls=True)
    return path.group_by(_PERSON, maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("touchpoints_count"),
        pl.col("started_at").last().alias("last_touch_at"),
        pl.col("step").last().alias("last_touch_step"),
        pl.col("channel").last().alias("last_touch_channel"),
        named.tail(_LAST).str.join(" > ").alias("last_touches"),
    )


def _marketing(path: pl.DataFrame, lookback_days: float) -> pl.DataFrame:
    """The first touch of marketing on the way to the first order, and the last one before the last order.

    As in attribution: what came before an earlier order is that order's, and only `lookback_days` count.
    """
    sold = pl.col("step") == ORDER
    rows = path.filter(sold | pl.col("step").is_in(TOUCH_STEPS)).with_columns(
        sold.cast(pl.Int64).cum_sum().over(_PERSON).alias("_order") - sold.cast(pl.Int64),
        pl.col("channel").fill_null("UNKNOWN"),
    )
    orders = rows.filter(sold).select(_PERSON, "_order", pl.col("started_at").alias("_at"))
    touches = rows.filter(~sold).join(orders, on=[_PERSON, "_order"], how="inner", maintain_order="left")
    touches = touches.filter(pl.col("_at") - pl.col("started_at") <= timedelta(days=lookback_days))
    ends = touches.group_by(_PERSON, "_order", maintain_order=True).agg(
        pl.col("channel").first().alias("_first"), pl.col("channel").last().alias("_last")
    )
    whole = orders.join(ends, on=[_PERSON, "_order"], how="left", maintain_order="left").sort(_PERSON, "_order")
    return whole.group_by(_PERSON, maintain_order=True).agg(
        pl.col("_first").first().fill_null(NO_TOUCH).alias("attribution_first_channel"),
        pl.col("_last").last().fill_null(NO_TOUCH).alias("attribution_last_channel"),
    )
