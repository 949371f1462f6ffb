"""Daily, weekly and monthly sums per customer, product, category and channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold.frames import ID, cents, frame, until
from transforms.gold.orders import ATTACHED, COMPLETED, PURCHASE, RETURN

COUNTS = (
    "events_count",
    "page_views_count",
    "cart_adds_count",
    "searches_count",
    "orders_count",
    "returns_count",
    "units_count",
    "net_revenue_cents",
)
_KEYS = ("dimension", "key", "currency", "day")
DAILY: pa.Schema = pa.schema(
    [
        pa.field("dimension", pa.string(), nullable=False),  # customer, product, category, channel or all
        pa.field("key", pa.string(), nullable=False),
        pa.field("currency", pa.string()),  # of the money; null for what has none and for money of unknown currency
        pa.field("day", pa.date32(), nullable=False),  # UTC
        *(pa.field(name, pa.int64(), nullable=False) for name in COUNTS),
    ]
)
BEHAVIOUR: pa.Schema = pa.schema(
    [
        pa.field("dimension", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("currency", pa.string()),
        pa.field("period", pa.string(), nullable=False),  # day, week (from Monday) or month
        pa.field("starts_on", pa.date32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in COUNTS),
    ]
)
PERIODS = {"day": "1d", "week": "1w", "month": "1mo"}
INPUTS: Mapping[str, tuple[str, ...]] = {
    "CUSTOMER_BEHAVIORAL_EVENTS": (ID, "EVENT_DATE", "EVENT_TYPE", "PRODUCT_ID", "CATEGORY_VIEWED"),
    "CUSTOMER_TRANSACTIONS": (
        ID, "CHANNEL", "TRANSACTION_DATE", "TRANSACTION_TYPE", "TOTAL_AMOUNT", "CURRENCY_CODE", "TRANSACTION_STATUS",
    ),
    "CUSTOMER_TRANSACTION_ITEMS": (
        ID, "PRODUCT_ID", "CATEGORY", "QUANTITY", "TOTAL_PRICE", "ITEM_STATUS",
        "TRANSACTION_DATE", "TRANSACTION_TYPE", "TRANSACTION_STATUS", "CURRENCY_CODE",
    ),
}  # fmt: skip


def count_days(bucket: Mapping[str, pa.Table], as_of: datetime) -> pa.Table:
    """Daily sums over the rows of a bucket; schema DAILY, ordered by its keys.

    Events, page views, cart adds and searches come from behavioural events; orders, returns and revenue (completed
    purchases plus exchanges less returns and refunds) from transactions for customers, channels and `all`, and from
    items (units of completed purchases, TOTAL_PRICE) for products and categories, since a transaction has several.
    Rows of nobody known count everywhere but for customers; items of guests are not attached, and do not count. Rows
    after `as_of` are not seen.

    Args:
      bucket: silver tables with at least INPUTS; items as `attach_customers` gives them.
    """
    events, orders, items = (_rows(bucket, name, as_of) for name in INPUTS)
    parts = [
        _events(events, "customer", ID),
        _events(events, "product", "PRODUCT_ID"),
        _events(events, "category", "CATEGORY_VIEWED"),
        _events(events, "all", None),
        _orders(orders, "customer", ID),
        _orders(orders, "channel", "CHANNEL"),
        _orders(orders, "all", None),
        _items(items, "customer", ID, with_money=False),
        _items(items, "product", "PRODUCT_ID"),
        _items(items, "category", "CATEGORY"),
        _items(items, "all", None, with_money=False),
    ]
    return sum_days(pl.concat(parts))


def sum_days(rows: pl.DataFrame) -> pa.Table:
    """Rows of DAILY in any number as one table, ordered by its keys."""
    total = rows.group_by(_KEYS).agg(pl.col(COUNTS).sum())
    return total.sort(_KEYS).select(DAILY.names).to_arrow().cast(DAILY)


def merge_days(parts: Iterable[pa.Table]) -> pa.Table:
    """The sums of all buckets; neither order nor grouping matters."""
    tables = [part.cast(DAILY) for part in parts] or [DAILY.empty_table()]
    return sum_days(pl.DataFrame(pl.from_arrow(pa.concat_tables(tables))))


def sum_periods(daily: pa.Table) -> pa.Table:
    """Days, and the weeks and months they add up to; schema BEHAVIOUR, ordered by its keys.

    Args:
      daily: schema DAILY, ordered by its keys: then a period is a run of rows, and nothing is looked up or sorted.
    """
    rows = pl.DataFrame(pl.from_arrow(daily))
    series = rows.select(pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _KEYS[:-1]))
    opens = series.to_series().to_numpy().copy()
    opens[:1] = True
    number = np.cumsum(opens)
    parts: list[pl.DataFrame] = []
    numbers: list[np.ndarray] = []
    for name, every in sorted(PERIODS.items()):  # as they are ordered in the result
        starts_on = rows["day"].dt.truncate(every)
        first = np.flatnonzero(opens | (starts_on != starts_on.shift()).fill_null(True).to_numpy())
        sums = {count: np.add.reduceat(rows[count].to_numpy(), first) for count in COUNTS} if len(first) else {}
        named = rows[first].with_columns(pl.lit(name).alias("period"), starts_on[first].alias("starts_on"))
        parts.append(named.with_columns(pl.Series(count, total) for count, total in sums.items()))
        numbers.append(number[first])
    order = np.argsort(np.concatenate(numbers), kind="stable")
    return pl.concat(parts).select(BEHAVIOUR.names)[order].to_arrow().cast(BEHAVIOUR)


def _rows(bucket: Mapping[str, pa.Table], name: str, as_of: datetime) -> pl.DataFrame:
    attached = name == "CUSTOMER_TRANSACTION_ITEMS"
    schema = ATTACHED if attached else CONTRACTS[name].arrow
    time = "TRANSACTION_DATE" if attached else CONTRACTS[name].event_time
    assert time is not None
    rows = until(frame(bucket.get(name), schema, INPUTS[name]), time, as_of).drop_nulls(time)
    return rows.with_columns(pl.col(time).dt.date().alias("day"))


def _daily(rows: pl.DataFrame, dimension: str, key: str | None, currency: pl.Expr, **counts: pl.Expr) -> pl.DataFrame:
    named = rows.with_columns((pl.col(key) if key else pl.lit("")).alias("key"), currency.alias("currency"))
    zero = pl.lit(0, pl.Int64)
    return (
        named.filter(pl.col("key").is_not_null())
        .group_by("key", "currency", "day")
        .agg(*(counts.get(name, zero).sum().cast(pl.Int64).alias(name) for name in COUNTS))
        .with_columns(pl.lit(dimension).alias("dimension"))
        .select(DAILY.names)
    )


def _events(events: pl.DataFrame, dimension: str, key: str | None) -> pl.DataFrame:
    kind, none = pl.col("EVENT_TYPE"), pl.lit(None, pl.String)
    return _daily(
        events,
        dimension,
        key,
        none,
        events_count=pl.col("day").is_not_null(),
        page_views_count=(kind == "PAGE_VIEW").fill_null(False),
        cart_adds_count=(kind == "CART_ADD").fill_null(False),
        searches_count=(kind == "SEARCH").fill_null(False),
    )


def _orders(orders: pl.DataFrame, dimension: str, key: str | None) -> pl.DataFrame:
    done = orders.filter(COMPLETED)
    amount = cents("TOTAL_AMOUNT")
    money = pl.when(RETURN).then(-amount.abs()).otherwise(amount).fill_null(0)
    return _daily(
        done,
        dimension,
        key,
        pl.col("CURRENCY_CODE"),
        orders_count=PURCHASE,
        returns_count=RETURN,
        net_revenue_cents=money,
    )


def _items(items: pl.DataFrame, dimension: str, key: str | None, with_money: bool = True) -> pl.DataFrame:
    """Units and, unless the transactions have it, money of the lines of completed purchases that were not returned."""
    kept = items.filter(COMPLETED & PURCHASE & (pl.col("ITEM_STATUS").fill_null("SOLD") != "RETURNED"))
    counts = {"units_count": pl.col("QUANTITY").fill_null(0)}
    if with_money:
        counts["net_revenue_cents"] = cents("TOTAL_PRICE").fill_null(0)
    currency = pl.col("CURRENCY_CODE") if with_money else pl.lit(None, pl.String)
    return _daily(kept, dimension, key, currency, **counts)
