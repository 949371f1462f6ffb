"""What a customer bought and sent back."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.contracts.commerce import ITEMS, TRANSACTIONS
from transforms.gold.frames import ID, cents, frame, most_frequent

TRANSACTION_COLUMNS = (
    "TRANSACTION_ID",
    ID,
    "CHANNEL",
    "TRANSACTION_DATE",
    "TRANSACTION_TYPE",
    "TOTAL_AMOUNT",
    "CURRENCY_CODE",
    "DISCOUNT_AMOUNT",
    "TRANSACTION_STATUS",
)
ITEM_COLUMNS = ("TRANSACTION_ID", "PRODUCT_ID", "CATEGORY", "QUANTITY", "TOTAL_PRICE", "ITEM_STATUS")
_FROM_TRANSACTION = (ID, "TRANSACTION_DATE", "TRANSACTION_TYPE", "TRANSACTION_STATUS", "CURRENCY_CODE")

ATTACHED: pa.Schema = pa.schema(
    [*(ITEMS.arrow.field(name) for name in ITEM_COLUMNS), *(TRANSACTIONS.arrow.field(n) for n in _FROM_TRANSACTION)]
)

PURCHASE = pl.col("TRANSACTION_TYPE") == "PURCHASE"
RETURN = pl.col("TRANSACTION_TYPE").is_in(["RETURN", "REFUND"])
EXCHANGE = pl.col("TRANSACTION_TYPE") == "EXCHANGE"
# A till that exports no status exports what it sold.
COMPLETED = pl.col("TRANSACTION_STATUS").fill_null("COMPLETED") == "COMPLETED"
_CHANNELS = ("POS", "ECOMMERCE", "MOBILE", "SOCIAL")


def attach_customers(items: pa.Table, transactions: pa.Table) -> pa.Table:
    """Items with the customer, time, type, status and currency of their transaction, for a bucket of TRANSACTION_ID.

    Items of guests and items without a transaction are left out: they belong to no customer.

    Args:
      items: at least `ITEM_COLUMNS`; transactions: at least `TRANSACTION_COLUMNS`, TRANSACTION_ID unique.

    Returns: a table of schema `ATTACHED`, in the order of the items.
    """
    lines = frame(items, ITEMS.arrow, ITEM_COLUMNS)
    owners = frame(transactions, TRANSACTIONS.arrow, ("TRANSACTION_ID", *_FROM_TRANSACTION)).drop_nulls(ID)
    joined = lines.join(owners, on="TRANSACTION_ID", how="inner", maintain_order="left")
    return joined.select(ATTACHED.names).to_arrow().cast(ATTACHED)


def summarise_orders(transactions: pl.DataFrame) -> pl.DataFrame:
    """Counts, channels, order times and money of each customer with a completed transaction; money in cents.

    Only transactions in the customer's most frequent currency are summed (ties by name; rows of unknown currency
    are summed only for customers without any known one); counts take all currencies.
    """
    completed = transactions.filter(COMPLETED)
    channel = pl.col("CHANNEL").filter(PURCHASE)
    counts = completed.group_by(ID).agg(
        PURCHASE.sum().cast(pl.Int64).alias("orders_count"),
        RETURN.sum().cast(pl.Int64).alias("returns_count"),
        EXCHANGE.sum().cast(pl.Int64).alias("exchanges_count"),
        pl.col("TRANSACTION_DATE").filter(PURCHASE).min().alias("first_order_at"),
        pl.col("TRANSACTION_DATE").filter(PURCHASE).max().alias("last_order_at"),
        *((channel == name).mean().alias(f"share_{name.lower()}") for name in _CHANNELS),
    )
    favourite = most_frequent(completed.filter(PURCHASE), "CHANNEL").rename({"CHANNEL": "favourite_order_channel"})
    return counts.join(_sum_money(completed), on=ID, how="left").join(favourite, on=ID, how="left")


def _revenue_currencies(completed: pl.DataFrame) -> pl.DataFrame:
    code = pl.col("CURRENCY_CODE")
    counted = completed.group_by(ID, code).agg(pl.len().alias("_rows")).with_columns(code.is_null().alias("_unknown"))
    ordered = counted.sort([ID, "_unknown", "_rows", code], descending=[False, False, True, False])
    return ordered.group_by(ID, maintain_order=True).agg(
        code.first().alias("revenue_currency"), (pl.len() > 1).alias("mixed_currency")
    )


def _sum_money(completed: pl.DataFrame) -> pl.DataFrame:
    rows = completed.join(_revenue_currencies(completed), on=ID, how="left")
    in_currency = rows.filter(pl.col("CURRENCY_CODE").eq_missing(pl.col("revenue_currency")))
    amount, orders = cents("TOTAL_AMOUNT"), pl.col("_orders")
    gross, returned, exchanged = (pl.col(n) for n in ("gross_revenue", "returned_amount", "exchanged_amount"))
    return (
        in_currency.group_by(ID)
        .agg(
            pl.col("revenue_currency", "mixed_currency").first(),
            amount.filter(PURCHASE).sum().alias("gross_revenue"),
            amount.filter(RETURN).abs().sum().alias("returned_amount"),
            amount.filter(EXCHANGE).sum().alias("exchanged_amount"),
            cents("DISCOUNT_AMOUNT").filter(PURCHASE).sum().alias("discount_amount"),
            PURCHASE.sum().cast(pl.Int64).alias("_orders"),
        )
        .with_columns(
            (gross - returned + exchanged).alias("net_revenue"),
            pl.when(orders > 0).then((2 * gross + orders) // (2 * orders)).alias("average_order_amount"),
        )
        .drop("_orders")
    )


def summarise_items(items: pl.DataFrame) -> pl.DataFrame:
    """Units, products and favourite category of what each customer bought and kept."""
    kept = pl.col("ITEM_STATUS").fill_null("SOLD") != "RETURNED"
    bought = items.filter(COMPLETED & PURCHASE & kept)
    units = pl.col("QUANTITY").sum()
    counts = bought.group_by(ID).agg(
        units.alias("items_count"),
        pl.col("PRODUCT_ID").drop_nulls().n_unique().cast(pl.Int64).alias("distinct_products_count"),
    )
    favourite = most_frequent(bought, "CATEGORY", units.alias("_units")).rename({"CATEGORY": "favourite_category"})
    return counts.join(favourite, on=ID, how="left")
