"""Source rows as touches: what the features of a person are made of, one small row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.bronze.envelope import ENQUEUED, INGESTED
from transforms.contracts import CONTRACTS
from transforms.contracts.commerce import ITEMS, TRANSACTIONS
from transforms.contracts.crm import ENGAGEMENT_EVENTS
from transforms.contracts.digital import BEHAVIORAL_EVENTS
from transforms.gold.frames import ID, cents
from transforms.gold.orders import COMPLETED, PURCHASE
from transforms.silver.keys import column_hashes, key_hashes

_AT = pa.timestamp("us", tz="UTC")

# `at` and `ingested_at` come first: they say which version of a touch is later.
TOUCHES: pa.Schema = pa.schema(
    [
        pa.field("person_id", pa.string()),
        pa.field("key", pa.int64()),  # hash of the table and the row's primary key
        pa.field("at", _AT),  # event time, at most the time of arrival
        pa.field("ingested_at", _AT),
        pa.field("type", pa.string()),
        pa.field("customer_id", pa.string()),
        pa.field("product_id", pa.string()),
        pa.field("page_url", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("amount_cents", pa.int64()),
        pa.field("currency", pa.string()),
    ]
)
_REACHED = pl.col("ENGAGEMENT_STATUS").fill_null("SUCCESS") == "SUCCESS"
_KEPT = pl.col("ITEM_STATUS").fill_null("SOLD") == "SOLD"


@dataclass(frozen=True)
class _Reading:
    """How rows of one table are read as touches; each `type` is of one table only."""

    time: str
    type: pl.Expr
    types: tuple[str, ...]
    product: str | None = None
    page: str | None = None
    channel: str | None = None
    amount: str | None = None
    currency: str | None = None
    where: pl.Expr | None = None  # which rows are something that the person did


_ANSWERS = ("OPENED", "CLICKED", "UNSUBSCRIBED")
_STATUSES = tuple(f"ORDER_{s}" for s in TRANSACTIONS["TRANSACTION_STATUS"].allowed if s != "COMPLETED")
_READINGS: Mapping[str, _Reading] = {
    BEHAVIORAL_EVENTS.name: _Reading(
        "EVENT_DATE", pl.col("EVENT_TYPE"), BEHAVIORAL_EVENTS["EVENT_TYPE"].allowed,
        product="PRODUCT_ID", page="PAGE_URL", channel="DEVICE_TYPE",
    ),
    TRANSACTIONS.name: _Reading(
        "TRANSACTION_DATE",
        pl.when(COMPLETED).then("TRANSACTION_TYPE").otherwise("ORDER_" + pl.col("TRANSACTION_STATUS")),
        (*TRANSACTIONS["TRANSACTION_TYPE"].allowed, *_STATUSES),
        channel="CHANNEL", amount="TOTAL_AMOUNT", currency="CURRENCY_CODE",
    ),
    ENGAGEMENT_EVENTS.name: _Reading(
        "ENGAGEMENT_DATE",
        pl.when(_REACHED).then("MESSAGE_" + pl.col("ENGAGEMENT_ACTION")).otherwise(pl.lit("MESSAGE_FAILED")),
        (*(f"MESSAGE_{answer}" for answer in _ANSWERS), "MESSAGE_FAILED"),
        channel="ENGAGEMENT_TYPE", where=pl.col("ENGAGEMENT_ACTION").is_in(_ANSWERS),
    ),
    ITEMS.name: _Reading(
        "TRANSACTION_DATE",
        pl.when(COMPLETED & PURCHASE & _KEPT).then(pl.lit("ITEM_BOUGHT")).otherwise(pl.lit("ITEM_OTHER")),
        ("ITEM_BOUGHT", "ITEM_OTHER"),
        product="PRODUCT_ID",
    ),
}  # fmt: skip
TABLES = tuple(_READINGS)
LISTED = tuple(t for name, reading in _READINGS.items() if name != ITEMS.name for t in reading.types)


def read_touches(table: str, rows: pa.Table, person_of: pa.Table | None = None) -> pa.Table:
    """TOUCHES of the rows that have a customer, in their order.

    Messages that were sent or delivered are left out: the person did nothing. A row counts at its event time, or where
    that is later than its arrival, since a tracker's clock may be wrong, at its arrival.

    Args:
      table: one of TABLES.
      rows: silver rows with INGESTED, and ENQUEUED if known. Items also have CUSTOMER_ID, TRANSACTION_DATE,
        TRANSACTION_TYPE and TRANSACTION_STATUS of their transaction.
      person_of: columns customer_id (unique), person_id; a customer who is not in it is a person.
    """
    contract, reading = CONTRACTS[table], _READINGS[table]
    rows = rows.filter(rows[ID].is_valid())
    salt = column_hashes(pa.array([table]))[0]
    keys = (key_hashes(rows, contract.key) ^ salt).astype(np.uint64).view(np.int64)
    frame = pl.DataFrame(pl.from_arrow(rows)).with_columns(pl.Series("_key", keys))
    frame = frame if reading.where is None else frame.filter(reading.where)
    at = pl.col(reading.time).cast(pl.Datetime("us", "UTC"))
    if ENQUEUED in frame.columns:
        at = pl.min_horizontal(at, pl.col(ENQUEUED).cast(pl.Datetime("us", "UTC")))
    touches = frame.select(
        pl.col(ID).alias("person_id"),
        pl.col("_key").alias("key"),
        at.alias("at"),
        pl.col(INGESTED).cast(pl.Datetime("us", "UTC")).alias("ingested_at"),
        reading.type.cast(pl.String).alias("type"),
        pl.col(ID).alias("customer_id"),
        *(_text(name, column) for name, column in (
            ("product_id", reading.product), ("page_url", reading.page), ("channel", reading.channel))),
        (cents(reading.amount) if reading.amount else pl.lit(None, pl.Int64)).alias("amount_cents"),
        _text("currency", reading.currency),
    )  # fmt: skip
    touches = touches.filter(pl.col("at").is_not_null())
    if person_of is not None and person_of.num_rows:
        touches = identified(touches, person_of)
    return touches.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(TOUCHES)


def _text(name: str, column: str | None) -> pl.Expr:
    return (pl.col(column).cast(pl.String) if column else pl.lit(None, pl.String)).alias(name)


def identified(touches: pl.DataFrame, person_of: pa.Table) -> pl.DataFrame:
    """The touches with the person that each customer is; see `read_touches`."""
    known = pl.DataFrame(pl.from_arrow(person_of.select(["customer_id", "person_id"])))
    joined = touches.drop("person_id").join(known, on="customer_id", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("person_id", "customer_id").alias("person_id")).select(TOUCHES.names)
