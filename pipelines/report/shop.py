"""Facts about the shop from silver: months, hours, products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.config import Lake
from transforms.contracts import CONTRACTS
from transforms.gold.orders import COMPLETED, PURCHASE, RETURN
from transforms.io import storage
from transforms.io.delta import open_table
from transforms.io.delta_read import plan_scan, read_file

_TOP = 12


def frames(uri: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The rows of a Delta table, a batch at a time; none when there is no table."""
    if open_table(uri) is None:
        return
    scan, opened = plan_scan(uri, columns), storage.filesystem(uri)
    for file in scan.files:
        for batch in read_file(scan, file, files=opened):
            yield pl.DataFrame(pa.Table.from_batches([batch]))


def gather(lake: Lake) -> tuple[str, dict[str, Any]]:
    """(the currency of most orders, facts: other_currencies, monthly, hours, products, categories)."""
    months, hours = _orders(lake.silver(CONTRACTS["CUSTOMER_TRANSACTIONS"]))
    currencies = months.group_by("currency").agg(pl.col("orders").sum()).sort("orders", "currency", descending=True)
    currency = currencies["currency"][0] if currencies.height else ""
    monthly = months.filter(pl.col("currency") == currency).sort("month").drop("currency")
    lines = _lines(lake.silver(CONTRACTS["CUSTOMER_TRANSACTION_ITEMS"]))
    return currency, {
        "other_currencies": currencies.height > 1,
        "monthly": monthly.to_arrow(),
        "hours": hours.sort("weekday", "hour").to_arrow(),
        "products": _best(lines, ["PRODUCT_ID"]).to_arrow(),
        "categories": _best(lines.drop_nulls("CATEGORY"), ["CATEGORY"]).to_arrow(),
    }


def _orders(uri: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    columns = ("TRANSACTION_DATE", "TRANSACTION_TYPE", "TOTAL_AMOUNT", "CURRENCY_CODE", "TRANSACTION_STATUS")
    at, amount = pl.col("TRANSACTION_DATE"), pl.col("TOTAL_AMOUNT").cast(pl.Decimal(38, 2))
    month, currency = at.dt.truncate("1mo").dt.date().alias("month"), pl.col("CURRENCY_CODE").fill_null("")
    months, hours = [], []
    for rows in frames(uri, columns):
        completed = rows.filter(COMPLETED)
        months.append(
            completed.group_by(month, currency.alias("currency")).agg(
                PURCHASE.sum().cast(pl.Int64).alias("orders"),
                RETURN.sum().cast(pl.Int64).alias("returns"),
                amount.filter(PURCHASE).sum().alias("gross"),
                amount.filter(RETURN).abs().sum().alias("returned"),
            )
        )
        bought = completed.filter(PURCHASE)
        weekday, hour = at.dt.weekday().cast(pl.Int64).alias("weekday"), at.dt.hour().cast(pl.Int64).alias("hour")
        hours.append(bought.group_by(weekday, hour).agg(pl.len().cast(pl.Int64).alias("orders")))
    by_month = _total(months, ["month", "currency"], {"month": pl.Date, "currency": pl.String}, _MONTHLY)
    return by_month, _total(hours, ["weekday", "hour"], {"weekday": pl.Int64, "hour": pl.Int64}, {"orders": pl.Int64})


_MONEY = pl.Decimal(38, 2)
_MONTHLY = {"orders": pl.Int64, "returns": pl.Int64, "gross": _MONEY, "returned": _MONEY}
_SOLD = {"units": pl.Int64, "amount": _MONEY, "lines": pl.Int64}
_LINE_KEY = {"PRODUCT_ID": pl.String, "PRODUCT_NAME": pl.String, "CATEGORY": pl.String}


def _total(parts: list[pl.DataFrame], by: list[str], key: dict[str, Any], sums: dict[str, Any]) -> pl.DataFrame:
    """The sums of partial sums."""
    rows = pl.concat([pl.DataFrame(schema=key | sums), *(part.cast(key | sums) for part in parts)])  # type: ignore[operator]
    return rows.group_by(by).agg(pl.col(list(sums)).sum())


def _lines(uri: str) -> pl.DataFrame:
    """Units, amount and lines sold of each product under each of its names."""
    parts = [
        rows.filter(pl.col("ITEM_STATUS").fill_null("SOLD") == "SOLD")
        .group_by(list(_LINE_KEY))
        .agg(
            pl.col("QUANTITY").sum().alias("units"),
            pl.col("TOTAL_PRICE").cast(_MONEY).sum().alias("amount"),
            pl.len().cast(pl.Int64).alias("lines"),
        )
        for rows in frames(uri, (*_LINE_KEY, "QUANTITY", "TOTAL_PRICE", "ITEM_STATUS"))
    ]
    return _total(parts, list(_LINE_KEY), _LINE_KEY, _SOLD)


def _best(lines: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """The products or categories that sold for most; a product goes by the name that most of its lines have."""
    label = pl.coalesce("PRODUCT_NAME", "PRODUCT_ID") if by == ["PRODUCT_ID"] else pl.col(by[0])
    ordered = lines.drop_nulls(by).sort([*by, "lines", "PRODUCT_NAME"], descending=[*[False] * len(by), True, False])
    sold = ordered.group_by(by, maintain_order=True).agg(
        label.first().alias("name"), pl.col("units").sum(), pl.col("amount").sum()
    )
    return sold.sort("amount", "name", descending=[True, False]).head(_TOP).select("name", "units", "amount")
