"""Lines of an order find their buyer: items name only a transaction, and come in a log of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl
import pyarrow as pa

from transforms.contracts.commerce import ITEMS, TRANSACTIONS
from transforms.gold.frames import ID
from transforms.gold.touches import ENQUEUED, INGESTED

_AT = pa.timestamp("us", tz="UTC")
_BUYER = (ID, "TRANSACTION_DATE", "TRANSACTION_TYPE", "TRANSACTION_STATUS")
ORDERS: pa.Schema = pa.schema(
    [
        TRANSACTIONS.arrow.field("TRANSACTION_ID"),
        *(TRANSACTIONS.arrow.field(name) for name in _BUYER),
        pa.field(INGESTED, _AT),
        pa.field(ENQUEUED, _AT),
    ]
)
LINES: pa.Schema = pa.schema(
    [ITEMS.arrow.field(n) for n in ("ITEM_ID", "TRANSACTION_ID", "PRODUCT_ID", "ITEM_STATUS")]
    + [pa.field(INGESTED, _AT)]
)


@dataclass(frozen=True, eq=False)
class Recent:
    """Orders and lines that something may still come for: columns ORDERS and LINES."""

    orders: pl.DataFrame
    lines: pl.DataFrame


NOTHING = Recent(pl.DataFrame(pl.from_arrow(ORDERS.empty_table())), pl.DataFrame(pl.from_arrow(LINES.empty_table())))


def attach_buyers(recent: Recent, orders: pa.Table, lines: pa.Table, horizon: timedelta) -> tuple[Recent, pa.Table]:
    """What is recent by now, and the lines that have a buyer because of what came.

    Lines and orders find each other in whichever order they come, if no more than `horizon` of `_ingested_at` lies
    between them; a later version of an order gives its lines again. An order's later version has the later time, then
    the later `_ingested_at`.

    Args:
      orders, lines: silver rows with the columns of ORDERS and LINES.

    Returns: lines with the order's CUSTOMER_ID, TRANSACTION_DATE, TRANSACTION_TYPE, TRANSACTION_STATUS, and its
      `_ingested_at` and `_enqueued_at`, as `read_touches` takes items; unordered.
    """
    new_orders, new_lines = _frame(orders, ORDERS), _frame(lines, LINES)
    known = Recent(_latest(pl.concat([recent.orders, new_orders])), pl.concat([recent.lines, new_lines]).unique())
    touched = known.lines.join(new_orders.select("TRANSACTION_ID").unique(), on="TRANSACTION_ID", how="semi")
    asked = pl.concat([touched, new_lines]).unique().drop(INGESTED)
    attached = asked.join(known.orders.drop_nulls(ID), on="TRANSACTION_ID", how="inner")
    return _since(known, horizon), attached.to_arrow(compat_level=pl.CompatLevel.oldest())


def _frame(table: pa.Table, schema: pa.Schema) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table.select(schema.names).cast(schema)))


def _latest(orders: pl.DataFrame) -> pl.DataFrame:
    order = ["TRANSACTION_ID", "TRANSACTION_DATE", INGESTED, *_BUYER, ENQUEUED]
    return orders.sort(list(dict.fromkeys(order)), nulls_last=False).unique("TRANSACTION_ID", keep="last")


def _since(known: Recent, horizon: timedelta) -> Recent:
    times = pl.concat([known.orders.select(INGESTED), known.lines.select(INGESTED)])
    first = times.select(pl.col(INGESTED).max() - horizon).to_series()
    return Recent(*(rows.filter(pl.col(INGESTED) >= pl.lit(first).first()) for rows in (known.orders, known.lines)))
