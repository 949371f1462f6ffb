"""All that a customer meets and does, in every channel, as one path in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold.attribution.touchpoints import TOUCHPOINTS, VALUE_UNITS
from transforms.gold.frames import ID, cents, frame, until
from transforms.gold.orders import COMPLETED, PURCHASE, RETURN

INPUTS: Mapping[str, tuple[str, ...]] = {
    "CUSTOMER_SESSION_DATA": (ID, "SESSION_START", "TRAFFIC_SOURCE", "CAMPAIGN_ID"),
    "CUSTOMER_BEHAVIORAL_EVENTS": (ID, "EVENT_DATE", "EVENT_TYPE"),
    "CUSTOMER_ENGAGEMENT_EVENTS": (
        ID, "ENGAGEMENT_DATE", "ENGAGEMENT_TYPE", "ENGAGEMENT_ACTION", "ENGAGEMENT_STATUS", "CAMPAIGN_ID",
    ),
    "CUSTOMER_TRANSACTIONS": (
        ID, "TRANSACTION_DATE", "CHANNEL", "TRANSACTION_TYPE", "TRANSACTION_STATUS", "TOTAL_AMOUNT", "CURRENCY_CODE",
    ),
    "CUSTOMER_SERVICE_INTERACTIONS": (ID, "INTERACTION_DATE", "INTERACTION_TYPE"),
}  # fmt: skip
ORDER, VISIT = "ORDER", "VISIT"
TOUCH_STEPS = (VISIT, "OPENED", "CLICKED")  # those of marketing
_AT = pa.timestamp("us", tz="UTC")
TOUCHPOINT_ROWS: pa.Schema = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # 1 is the customer's first
        pa.field("started_at", _AT, nullable=False),
        pa.field("step", pa.string(), nullable=False),  # VISIT, PAGE_VIEW, CART_ADD, OPENED, ORDER, RETURN, SERVICE ...
        pa.field("channel", pa.string()),  # traffic source, message channel, shop channel or way of contact
        pa.field("campaign_id", pa.string()),
        pa.field("repeats_count", pa.int64(), nullable=False),  # the same step and channel within 30 minutes is one
        pa.field("value", pa.decimal128(18, 2)),  # of an order, in `currency`
        pa.field("currency", pa.string()),
    ]
)
_RUN = pl.duration(minutes=30)
_FIRST = {
    "OPENED": 0,
    "CLICKED": 1,
    VISIT: 2,
    "PAGE_VIEW": 3,
}  # of what bears one time: a visit begins before its first page


def read_touchpoints(bucket: Mapping[str, pa.Table], as_of: datetime) -> pl.DataFrame:
    """customer_id, started_at, step, channel, campaign_id, value_cents, currency, repeats_count, position; ordered by
    customer and time (then messages, the visit, what is done in it), each customer's rows together.

    Visits, page events, messages opened and clicked, completed orders and returns, contacts with support. The same step
    in the same channel again within 30 minutes is one touchpoint; orders never are.
    """
    parts = [_visits(bucket, as_of), _events(bucket, as_of), _messages(bucket, as_of), _orders(bucket, as_of)]
    rows = pl.concat([*parts, _contacts(bucket, as_of)]).drop_nulls(["customer_id", "started_at"])
    first_of_all = pl.col("step").replace_strict(_FIRST, default=len(_FIRST), return_dtype=pl.Int64).alias("_rank")
    keys = ["customer_id", "started_at", "_rank", "step", "channel", "campaign_id", "currency", "value_cents"]
    rows = rows.with_columns(first_of_all).sort(keys, nulls_last=False).drop("_rank")
    same = pl.all_horizontal(pl.col(n).eq_missing(pl.col(n).shift()) for n in ("customer_id", "step", "channel"))
    again = same & (pl.col("started_at") - pl.col("started_at").shift() < _RUN) & (pl.col("step") != ORDER)
    numbered = rows.with_columns((~again.fill_null(False)).cum_sum().alias("_run"))
    first = [pl.col(name).first() for name in rows.columns]
    merged = numbered.group_by("_run", maintain_order=True).agg(*first, pl.len().cast(pl.Int64).alias("repeats_count"))
    return merged.drop("_run").with_columns(pl.int_range(1, pl.len() + 1).over("customer_id").alias("position"))


def touchpoint_table(touchpoints: pl.DataFrame) -> pa.Table:
    """`read_touchpoints` as rows of TOUCHPOINT_ROWS."""
    value = pl.col("value_cents").cast(pl.Decimal(18, 2)) / pl.lit(100, pl.Decimal(18, 2))
    ready = touchpoints.with_columns(value.cast(pl.Decimal(18, 2)).alias("value"))
    return ready.select(TOUCHPOINT_ROWS.names).to_arrow().cast(TOUCHPOINT_ROWS)


def in_order(time: str = "started_at") -> pl.Expr:
    """The time, a microsecond later with each position: so that what bears one time stays in the order of the path."""
    return pl.col(time) + pl.duration(microseconds=pl.col("position"))


def steps_of(touchpoints: pl.DataFrame, currency: str | None) -> pa.Table:
    """Journeys as TOUCHPOINTS: every step is a touch ("OPENED EMAIL"), an order is a conversion and no touch.

    The value of orders in other currencies than `currency` is not counted.
    """
    named = pl.concat_str([pl.col("step"), pl.col("channel")], separator=" ", ignore_nulls=True)
    return _as_touches(touchpoints, pl.when(pl.col("step") != ORDER).then(named), currency)


def marketing_touches(touchpoints: pl.DataFrame, level: str, currency: str | None) -> pa.Table:
    """What attribution counts, as TOUCHPOINTS: visits by traffic source and messages opened or clicked by channel.

    `level`: "channel", or "campaign": the campaign's id, where there is none the channel in brackets. The value of
    orders in other currencies than `currency` is not counted, the conversion is.
    """
    touch = pl.col("step").is_in(TOUCH_STEPS)
    label = pl.col("channel").fill_null("UNKNOWN")
    if level == "campaign":
        label = pl.coalesce("campaign_id", pl.concat_str(pl.lit("("), label, pl.lit(")")))
    rows = touchpoints.filter(touch | (pl.col("step") == ORDER))
    return _as_touches(rows, pl.when(touch).then(label), currency)


def _as_touches(rows: pl.DataFrame, channel: pl.Expr, currency: str | None) -> pa.Table:
    sold = pl.col("step") == ORDER
    counted = pl.col("currency").eq_missing(pl.lit(currency, pl.String))
    units = pl.when(counted).then(pl.col("value_cents") * (VALUE_UNITS // 100)).otherwise(0)
    table = rows.select(
        pl.col("customer_id").alias("person"),
        channel.alias("channel"),
        in_order().alias("time"),
        sold.alias("conversion"),
        units.alias("value_units"),
    )
    return table.to_arrow().cast(TOUCHPOINTS)


def _rows(bucket: Mapping[str, pa.Table], name: str, time: str, as_of: datetime) -> pl.DataFrame:
    return until(frame(bucket.get(name), CONTRACTS[name].arrow, INPUTS[name]), time, as_of)


def _shaped(rows: pl.DataFrame, time: str, step: pl.Expr, channel: pl.Expr, campaign: bool = False) -> pl.DataFrame:
    text = pl.String
    return rows.select(
        pl.col(ID).alias("customer_id"),
        pl.col(time).cast(pl.Datetime("us", "UTC")).alias("started_at"),
        step.cast(text).alias("step"),
        channel.cast(text).alias("channel"),
        (pl.col("CAMPAIGN_ID") if campaign else pl.lit(None, text)).alias("campaign_id"),
        (cents("TOTAL_AMOUNT") if "TOTAL_AMOUNT" in rows.columns else pl.lit(None, pl.Int64)).alias("value_cents"),
        (pl.col("CURRENCY_CODE") if "CURRENCY_CODE" in rows.columns else pl.lit(None, text)).alias("currency"),
    )


def _visits(bucket: Mapping[str, pa.Table], as_of: datetime) -> pl.DataFrame:
    rows = _rows(bucket, "CUSTOMER_SESSION_DATA", "SESSION_START", as_of)
    return _shaped(rows, "SESSION_START", pl.lit(VISIT), pl.col("TRAFFIC_SOURCE"), campaign=True)


def _events(bucket: Mapping[str, pa.Table], as_of: datetime) -> pl.DataFrame:
    rows = _rows(bucket, "CUSTOMER_BEHAVIORAL_EVENTS", "EVENT_DATE", as_of)
    told = rows.filter(pl.col("EVENT_TYPE").is_in(["PAGE_VIEW", "SEARCH", "CART_ADD"]))
    return _shaped(told, "EVENT_DATE", pl.col("EVENT_TYPE"), pl.lit(None))


def _messages(bucket: Mapping[str, pa.Table], as_of: datetime) -> pl.DataFrame:
    rows = _rows(bucket, "CUSTOMER_ENGAGEMENT_EVENTS", "ENGAGEMENT_DATE", as_of)
    done = pl.col("ENGAGEMENT_STATUS").fill_null("SUCCESS") == "SUCCESS"
    answered = rows.filter(done & pl.col("ENGAGEMENT_ACTION").is_in(["OPENED", "CLICKED", "UNSUBSCRIBED"]))
    step, channel = pl.col("ENGAGEMENT_ACTION"), pl.col("ENGAGEMENT_TYPE")
    return _shaped(answered, "ENGAGEMENT_DATE", step, channel, campaign=True)


def _orders(bucket: Mapping[str, pa.Table], as_of: datetime) -> pl.DataFrame:
    rows = _rows(bucket, "CUSTOMER_TRANSACTIONS", "TRANSACTION_DATE", as_of)
    done = rows.filter(COMPLETED & (PURCHASE | RETURN))
    step = pl.when(PURCHASE).then(pl.lit(ORDER)).otherwise(pl.lit("RETURN"))
    return _shaped(done, "TRANSACTION_DATE", step, pl.col("CHANNEL"))


def _contacts(bucket: Mapping[str, pa.Table], as_of: datetime) -> pl.DataFrame:
    rows = _rows(bucket, "CUSTOMER_SERVICE_INTERACTIONS", "INTERACTION_DATE", as_of)
    return _shaped(rows, "INTERACTION_DATE", pl.lit("SERVICE"), pl.col("INTERACTION_TYPE"))
