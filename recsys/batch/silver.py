"""What people took, out of silver's tables, and each person's history as a written model is asked with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import polars as pl
import pyarrow as pa

from recsys.batch.schemas import HISTORIES
from recsys.interactions import INTERACTIONS, SIGNAL_WEIGHTS
from recsys.own_file import OWN_ITEMS

CUSTOMERS, ITEMS = "CUSTOMERS", "CUSTOMER_TRANSACTION_ITEMS"
TRANSACTIONS, EVENTS = "CUSTOMER_TRANSACTIONS", "CUSTOMER_BEHAVIORAL_EVENTS"
INPUTS: Mapping[str, tuple[str, ...]] = {
    CUSTOMERS: ("CUSTOMER_ID", "REGISTRATION_DATE"),
    TRANSACTIONS: ("TRANSACTION_ID", "CUSTOMER_ID", "TRANSACTION_DATE", "TRANSACTION_TYPE", "TRANSACTION_STATUS"),
    ITEMS: ("TRANSACTION_ID", "PRODUCT_ID", "QUANTITY", "ITEM_STATUS"),
    EVENTS: ("CUSTOMER_ID", "EVENT_TYPE", "EVENT_DATE", "PRODUCT_ID"),
}
TOLD = ("PRODUCT_ID", "PRODUCT_NAME", "BRAND", "CATEGORY", "UNIT_PRICE")  # of ITEMS, about the product
_LOOKS = {"PAGE_VIEW": "view", "CLICK": "view", "CART_ADD": "cart"}
_OLDEST = pl.CompatLevel.oldest()


def purchases(items: pa.Table, transactions: pa.Table) -> pa.Table:
    """Lines that were sold and kept, as INTERACTIONS: the transaction is the basket; guests are nobody."""
    void = pl.col("TRANSACTION_STATUS").is_in(["FAILED", "CANCELLED"]).fill_null(False)
    done = pl.DataFrame(pl.from_arrow(transactions)).filter(pl.col("TRANSACTION_TYPE") == "PURCHASE", ~void)
    kept = (pl.col("ITEM_STATUS") != "RETURNED").fill_null(True) & (pl.col("QUANTITY") > 0)
    lines = pl.DataFrame(pl.from_arrow(items)).filter(kept).join(done, on="TRANSACTION_ID")
    told = lines.select(
        user="CUSTOMER_ID", item="PRODUCT_ID", time="TRANSACTION_DATE", signal=pl.lit("purchase"),
        basket="TRANSACTION_ID",
    )  # fmt: skip
    return _known(told)


def looks(events: pa.Table) -> pa.Table:
    """Products that were looked at or put into a cart, as INTERACTIONS without baskets."""
    signal = pl.col("EVENT_TYPE").replace_strict(_LOOKS, default=None, return_dtype=pl.String)
    frame = pl.DataFrame(pl.from_arrow(events)).with_columns(signal=signal).drop_nulls("signal")
    none = pl.lit(None, pl.String)
    return _known(frame.select(user="CUSTOMER_ID", item="PRODUCT_ID", time="EVENT_DATE", signal="signal", basket=none))


def _known(rows: pl.DataFrame) -> pa.Table:
    return rows.drop_nulls(["user", "item", "time"]).to_arrow(compat_level=_OLDEST).cast(INTERACTIONS)


def histories(rows: pa.Table, people: pa.Table, as_of: datetime, most: int, batch: int) -> Iterator[pa.RecordBatch]:
    """HISTORIES of all in `rows` or `people`, by person, in batches of at most `batch`.

    Args:
      rows: INTERACTIONS; what is later than `as_of` is not seen, of each person the `most` newest are.
      people: CUSTOMER_ID (the person), `_record_id` and REGISTRATION_DATE of each customer record. A person's
        customer_id is the record that registered first, of several the smaller.
    """
    taken = pl.DataFrame(pl.from_arrow(rows)).filter(pl.col("time") <= as_of).sort("user", "time", "basket", "item")
    weight = pl.col("signal").replace_strict(SIGNAL_WEIGHTS, default=1.0, return_dtype=pl.Float32)
    seconds = pl.col("time").dt.timestamp("ms") // 1000
    lists = taken.group_by(person_id="user", maintain_order=True).agg(
        history_items=pl.col("item").tail(most),
        history_seconds=seconds.tail(most),
        history_weights=weight.tail(most),
    )
    lead = pl.col("_record_id").sort_by("REGISTRATION_DATE", "_record_id", nulls_last=True).first()
    named = pl.DataFrame(pl.from_arrow(people)).drop_nulls("CUSTOMER_ID")
    named = named.group_by(person_id="CUSTOMER_ID").agg(customer_id=lead)
    made = named.join(lists, on="person_id", how="full", coalesce=True).sort("person_id")
    made = made.with_columns(
        pl.coalesce("customer_id", "person_id").alias("customer_id"),
        *(pl.col(name).fill_null([]) for name in HISTORIES.names if name.startswith("history_")),
    )
    table = made.select(HISTORIES.names).to_arrow(compat_level=_OLDEST).cast(HISTORIES)
    yield from table.combine_chunks().to_batches(max_chunksize=batch)


def products(items: pa.Table) -> pa.Table:
    """Each product once, as OWN_ITEMS, from the columns TOLD: its words are its name and brand, its price the last."""
    named = pl.DataFrame(pl.from_arrow(items)).drop_nulls("PRODUCT_ID")
    rows = named.group_by(item="PRODUCT_ID").agg(pl.col(name).drop_nulls().last() for name in TOLD[1:]).sort("item")
    text = pl.concat_str("PRODUCT_NAME", "BRAND", separator=" ", ignore_nulls=True)
    made = rows.select(
        "item", text=text.fill_null(""), category="CATEGORY", price=pl.col("UNIT_PRICE").cast(pl.Float64),
        in_stock=pl.lit(None, pl.Boolean),
    )  # fmt: skip
    return made.to_arrow(compat_level=_OLDEST).cast(OWN_ITEMS)
