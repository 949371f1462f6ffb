"""Orders from a person's own file: which columns they are, and what they hold."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.gold.value.ledger import ORDERS
from transforms.io.column_map import Target

TARGETS = (
    Target("customer", True, ("customerid", "custid", "customerno", "customernumber", "clientid", "client", "userid",
                              "user", "memberid", "buyerid", "personid", "kundennummer", "customerkey")),
    Target("date", True, ("orderdate", "invoicedate", "transactiondate", "purchasedate", "datetime", "timestamp",
                          "time", "createdat", "orderedat", "transactiontime", "day")),
    Target("amount", False, ("totalamount", "total", "ordertotal", "totalprice", "linetotal", "revenue", "sales",
                             "value", "spend", "dollars", "dollarvalue", "netamount", "umsatz")),
    Target("unit_price", False, ("unitprice", "price", "itemprice", "priceperunit")),
    Target("quantity", False, ("qty", "quantitysold", "units", "pieces")),
    Target("order_id", False, ("transactionid", "orderid", "order", "orderno", "ordernumber", "invoice", "invoiceno",
                               "invoiceid", "receipt", "receiptid", "basketid")),
    Target("currency", False, ("currencycode", "ccy")),
    Target("type", False, ("transactiontype", "ordertype")),
    Target("status", False, ("transactionstatus", "orderstatus")),
)  # fmt: skip
_AMOUNT = pa.decimal128(16, 4)
OWN: pa.Schema = pa.schema(
    [
        pa.field("customer", pa.string(), nullable=False),
        pa.field("date", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("amount", _AMOUNT),
        pa.field("unit_price", _AMOUNT),
        pa.field("quantity", pa.float64()),
        *(pa.field(name, pa.string()) for name in ("order_id", "currency", "type", "status")),
    ]
)
_RETURNS = ("RETURN", "RETURNED", "REFUND", "REFUNDED", "CREDIT")
_NOT_DONE = ("CANCELLED", "CANCELED", "PENDING", "FAILED", "VOID", "VOIDED", "DECLINED")
_MOST_CENTS = 10**13  # more is no amount, and sums of less stay exact


def orders_of(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows typed by OWN as rows of ORDERS, and how many were left out why.

    An amount is `amount`, else `unit_price` times `quantity` (1 where there is none), rounded to hundredths. It is sent
    back where it is below 0, or where `type` is RETURN, REFUND or CREDIT, whatever its sign. Rows are left out without
    an amount ("no_amount"), or whose `status` says that nothing was sold: CANCELLED, PENDING, FAILED, VOID, DECLINED
    ("not_done"). A customer that a spreadsheet wrote as 12346.0 is 12346.
    """
    empty = pl.lit(None, pl.String)
    upper = {
        name: pl.col(name).str.strip_chars().str.to_uppercase() if name in rows.columns else empty
        for name in ("currency", "type", "status")
    }
    cents = (_amount(rows) * 100).round()
    typed = rows.select(
        pl.col("customer").str.strip_chars().str.replace(r"^(\d+)\.0$", "$1"),
        pl.col("date").alias("at"),
        pl.when(cents.abs() <= _MOST_CENTS).then(cents).cast(pl.Int64).alias("amount_cents"),
        (pl.col("order_id") if "order_id" in rows.columns else empty).alias("order_id"),
        upper["currency"].alias("currency"),
        upper["type"].is_in(_RETURNS).fill_null(False).alias("returned"),
        upper["status"].is_in(_NOT_DONE).fill_null(False).alias("not_done"),
    )
    amount = pl.col("amount_cents")
    usable = typed.filter(amount.is_not_null() & ~pl.col("not_done"))
    left_out = {
        "not_done": int(typed["not_done"].sum()),
        "no_amount": int((typed["amount_cents"].is_null() & ~typed["not_done"]).sum()),
    }
    signed = pl.when("returned").then(-amount.abs()).otherwise(amount)
    return usable.with_columns(signed.alias("amount_cents")).select(ORDERS.names), left_out


def _amount(rows: pl.DataFrame) -> pl.Expr:
    if "amount" in rows.columns:
        return pl.col("amount").cast(pl.Float64)
    quantity = pl.col("quantity").fill_null(1.0) if "quantity" in rows.columns else pl.lit(1.0)
    price = pl.col("unit_price") if "unit_price" in rows.columns else pl.lit(None)
    return price.cast(pl.Float64) * quantity
