"""What the gold kernels share: Arrow into Polars, rows up to a moment, plausible values, cents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.contracts import CONTRACTS
from transforms.gold.fields import MONEY

ID = "CUSTOMER_ID"


def frame(table: pa.Table | None, schema: pa.Schema, columns: Sequence[str]) -> pl.DataFrame:
    """The columns of `table` in the types of `schema`; an empty frame when there is no table."""
    wanted = pa.schema([schema.field(name) for name in columns])
    chosen = wanted.empty_table() if table is None else table.select(list(columns)).cast(wanted)
    return pl.DataFrame(chosen)


def until(rows: pl.DataFrame, column: str, as_of: datetime) -> pl.DataFrame:
    """Rows not later than `as_of`; rows without a time stay, a date counts from its midnight (UTC)."""
    time = pl.col(column)
    return rows.filter(time.is_null() | (time <= (as_of.date() if rows.schema[column] == pl.Date else as_of)))


def plausible(table: str, column: str) -> pl.Expr:
    """The column as a double, null where the value lies outside the range of its contract (silver flags those)."""
    declared = CONTRACTS[table][column]
    value = pl.col(column).cast(pl.Float64)
    low = pl.lit(True) if declared.low is None else value >= declared.low
    high = pl.lit(True) if declared.high is None else value <= declared.high
    return pl.when(low & high).then(value)


def mean_of_hundredths(value: pl.Expr) -> pl.Expr:
    """The mean of numbers with at most two decimals, through integers, so that the order of rows does not matter."""
    total = (value * 100).round().cast(pl.Int64).sum()
    # One division by a column: by a constant, a row alone and a row among others may round differently.
    return pl.when(value.count() > 0).then(total / (value.count() * 100))


def most_frequent(rows: pl.DataFrame, value: str, *tie_breakers: pl.Expr) -> pl.DataFrame:
    """`value` found in most rows of each customer: columns CUSTOMER_ID, `value`; ties by the breakers, then by name."""
    counts = rows.drop_nulls(value).group_by(ID, value).agg(pl.len().alias("_rows"), *tie_breakers)
    ranks = [column for column in counts.columns if column not in (ID, value)]
    ordered = counts.sort([ID, *ranks, value], descending=[False, *[True] * len(ranks), False])
    return ordered.group_by(ID, maintain_order=True).first().select(ID, value)


def cents(column: str) -> pl.Expr:
    """A decimal(p,2) column as integer cents, exact."""
    return pl.col(column).to_physical().cast(pl.Int64)


def money(cents_column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integer cents as decimal(18,2), exact."""
    whole = pc.cast(cents_column, pa.decimal128(19, 0))
    return pc.cast(pc.multiply(whole, pa.scalar(Decimal("0.01"))), MONEY)
