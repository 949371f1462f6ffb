"""Real orders: the lines of Online Retail II as transactions and items."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import UserError
from transforms.generator.categories import categorise
from transforms.generator.frames import finish
from transforms.generator.places import BY_RETAIL_NAME
from transforms.generator.randomness import choose_fixed, share

COLUMNS = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")

# Attributes the source lacks, drawn from the invoice number alone, so that a run never changes them.
CHANNELS = (("ECOMMERCE", 0.55), ("POS", 0.22), ("MOBILE", 0.15), ("SOCIAL", 0.08))
PAYMENTS = (("CARD", 0.72), ("WALLET", 0.14), ("MOBILE", 0.08), ("CASH", 0.06))
CARDS = (("VISA", 0.6), ("MASTERCARD", 0.32), ("AMEX", 0.08))
STORES, TERMINALS, CASHIERS = 12, 4, 60


def load_online_retail(path: str | Path) -> pa.Table:
    """The raw lines from a Parquet file of Online Retail II (Chen 2019, CC BY 4.0)."""
    if not Path(path).is_file():
        raise UserError("the Online Retail II file is missing", str(path), "take it from tests/data of the project")
    return pq.read_table(path)


def map_online_retail(lines: pa.Table) -> dict[str, pa.Table]:
    """Maps invoice lines to CUSTOMER_TRANSACTIONS and CUSTOMER_TRANSACTION_ITEMS; no line is lost.

    Args:
      lines: Invoice, StockCode, Description, Quantity, InvoiceDate (text or timestamp without zone, UK time), Price
        (GBP), Customer ID (float or text; null for a guest), Country; one row a line, in the order of the source.

    One transaction an invoice, in order of first appearance, at its earliest line. Invoices that start with C are
    RETURN, with A (bad debt) REFUND, others PURCHASE; amounts and quantities keep their sign. Items keep the order
    of the lines; ITEM_ID is the invoice and the number of the line in it. What the source has not (channel, payment,
    card, store, till) is synthetic: a fixed function of the invoice number.
    """
    frame = _read(lines)
    return {
        "CUSTOMER_TRANSACTIONS": finish("CUSTOMER_TRANSACTIONS", _transactions(frame)),
        "CUSTOMER_TRANSACTION_ITEMS": finish("CUSTOMER_TRANSACTION_ITEMS", _items(frame)),
    }


def customer_countries(lines: pa.Table) -> dict[str, str]:
    """ISO alpha-3 code of the country each customer ordered from most often; customers of unknown ones are absent."""
    known = (
        _read(lines).lazy().filter(pl.col("customer").is_not_null())
        .with_columns(code=pl.col("country").replace_strict(BY_RETAIL_NAME, default=None, return_dtype=pl.String))
        .filter(pl.col("code").is_not_null()).group_by("customer", "code").agg(times=pl.col("invoice").n_unique())
        .sort("customer", -pl.col("times").cast(pl.Int64), "code").group_by("customer", maintain_order=True).first()
        .collect()
    )  # fmt: skip
    return dict(zip(known["customer"].to_list(), known["code"].to_list(), strict=True))


def _read(lines: pa.Table) -> pl.DataFrame:
    missing = [name for name in COLUMNS if name not in lines.column_names]
    if missing:
        raise UserError(f"columns are missing: {missing}", "Online Retail II lines", f"it has {lines.column_names}")
    frame = pl.from_arrow(lines.select(list(COLUMNS)))
    assert isinstance(frame, pl.DataFrame)
    time = pl.col("InvoiceDate")
    if frame.schema["InvoiceDate"] == pl.String:
        time = time.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    local = time.cast(pl.Datetime("us"))
    customer = pl.col("Customer ID")
    if frame.schema["Customer ID"].is_numeric():
        customer = customer.cast(pl.Int64)
    frame = frame.select(
        invoice=pl.col("Invoice").cast(pl.String),
        product=pl.col("StockCode").cast(pl.String),
        description=pl.col("Description").cast(pl.String),
        quantity=pl.col("Quantity").cast(pl.Int64),
        # An hour that the clocks skip in March was written by a clock that had not been moved: it is UTC.
        at=pl.coalesce(
            local.dt.replace_time_zone("Europe/London", ambiguous="earliest", non_existent="null")
            .dt.convert_time_zone("UTC"),
            local.dt.replace_time_zone("UTC"),
        ),
        price=pl.col("Price").cast(pl.Float64),
        customer=customer.cast(pl.String),
        country=pl.col("Country").cast(pl.String),
    ).with_columns(
        cents=(pl.col("price") * 100).round().cast(pl.Int64),
        line_cents=(pl.col("price") * pl.col("quantity") * 100).round().cast(pl.Int64),
        number=pl.int_range(pl.len()).over("invoice") + 1,
    )  # fmt: skip
    if frame["at"].null_count() or frame["invoice"].null_count():
        raise UserError("a line has no invoice number or no readable InvoiceDate", "Online Retail II lines",
                        "dates look like 2009-12-01 07:45:00")  # fmt: skip
    return frame


def _transactions(lines: pl.DataFrame) -> pl.DataFrame:
    orders = lines.group_by("invoice", maintain_order=True).agg(
        pl.col("customer").drop_nulls().first(), pl.col("at").min(), pl.col("line_cents").sum()
    )
    letter = pl.col("invoice").str.slice(0, 1)
    number = orders["invoice"].str.extract(r"(\d+)").cast(pl.Int64).fill_null(0).to_numpy()
    channel = choose_fixed(CHANNELS, share(number))
    payment = choose_fixed(PAYMENTS, share(number + 10**9))
    card = choose_fixed(CARDS, share(number + 2 * 10**9))
    till = number % STORES
    orders = orders.with_columns(
        CHANNEL=channel, PAYMENT_METHOD=payment, card=card, store=pl.Series(till + 1),
        terminal=pl.Series(number // STORES % TERMINALS + 1), cashier=pl.Series(number // 7 % CASHIERS + 1),
    )  # fmt: skip
    at_till = pl.col("CHANNEL") == "POS"
    return orders.select(
        "CHANNEL",
        "PAYMENT_METHOD",
        TRANSACTION_ID="invoice",
        CUSTOMER_ID="customer",
        TRANSACTION_DATE="at",
        TRANSACTION_TYPE=pl.when(letter == "C").then(pl.lit("RETURN"))
        .when(letter == "A").then(pl.lit("REFUND")).otherwise(pl.lit("PURCHASE")),
        TOTAL_AMOUNT="line_cents",
        CURRENCY_CODE=pl.lit("GBP"),
        CARD_TYPE=pl.when(pl.col("PAYMENT_METHOD") == "CARD").then("card"),
        STORE_ID=pl.when(at_till).then(pl.format("S{}", pl.col("store").cast(pl.String).str.zfill(3))),
        ONLINE_ORDER_ID=pl.when(~at_till).then("invoice"),
        TRANSACTION_STATUS=pl.lit("COMPLETED"),
        CASHIER_ID=pl.when(at_till).then(pl.format("K{}", pl.col("cashier").cast(pl.String).str.zfill(3))),
        TERMINAL_ID=pl.when(at_till).then(pl.format("T{}", pl.col("terminal"))),
        RECEIPT_NUMBER=pl.when(at_till).then("invoice"),
        REFUND_REASON=pl.when(letter == "C").then(pl.lit("Invoice cancelled"))
        .when(letter == "A").then(pl.lit("Bad debt adjusted")),
    )  # fmt: skip


def _items(lines: pl.DataFrame) -> pl.DataFrame:
    taken_back = pl.col("invoice").str.contains("^[CA]")
    return lines.join(product_categories(lines), on="product", how="left", maintain_order="left").select(
        ITEM_ID=pl.format("{}-{}", "invoice", "number"),
        TRANSACTION_ID="invoice",
        PRODUCT_ID="product",
        PRODUCT_NAME="description",
        CATEGORY="category",
        SKU="product",
        QUANTITY="quantity",
        UNIT_PRICE="cents",
        TOTAL_PRICE="line_cents",
        ITEM_STATUS=pl.when(taken_back).then(pl.lit("RETURNED")).otherwise(pl.lit("SOLD")),
    )


def product_categories(lines: pl.DataFrame) -> pl.DataFrame:
    """`product`, `category`: by the description a product has most often, since some lines carry a remark instead."""
    named = (
        lines.lazy().group_by("product", "description").agg(pl.len().alias("times"))
        .sort("product", pl.col("description").is_null(), -pl.col("times").cast(pl.Int64), "description")
        .group_by("product", maintain_order=True).first().collect()
    )  # fmt: skip
    return named.select("product", category=categorise(named["description"]))
