"""Small random buckets of silver rows for the tests of gold, as Python rows and as Arrow tables."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from transforms.contracts import CONTRACTS
from transforms.gold.customer_360 import INPUTS

Rows = dict[str, list[dict[str, Any]]]
AS_OF = datetime(2010, 12, 31, 12, tzinfo=UTC)
CUSTOMERS = ("A", "B", "C")

_OWNERS = st.sampled_from([*CUSTOMERS, None])
# A coarse grid makes equal times, and times exactly on and after the day of reference, common.
_TIMES = st.integers(-400, 3).map(lambda half_days: AS_OF + timedelta(hours=12 * half_days))
_DATES = _TIMES.map(datetime.date)
_CENTS = st.integers(-5_000, 99_999).map(lambda cents: Decimal(cents).scaleb(-2))
_HUNDREDTHS = st.integers(-150, 150).map(lambda value: Decimal(value).scaleb(-2))


def _maybe(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


def _value(table: str, name: str) -> st.SearchStrategy:
    column = CONTRACTS[table][name]
    if name == "CUSTOMER_ID":
        return _OWNERS
    if name == "TRANSACTION_ID":
        return st.sampled_from([f"T{n}" for n in range(6)])
    if name == "CURRENCY_CODE":
        return st.sampled_from(["GBP", "EUR", None])
    by_type = {
        pa.timestamp("us", tz="UTC"): _TIMES,
        pa.date32(): _DATES,
        pa.decimal128(10, 2): _CENTS,
        pa.decimal128(3, 2): _HUNDREDTHS,
        pa.int64(): st.integers(-2, 8),
        pa.bool_(): st.booleans(),
        pa.string(): st.sampled_from(column.allowed or ("X", "Y", "Z")),
    }
    values = by_type[column.type.arrow]
    return _maybe(values) if column.nullable else values


def _rows(table: str) -> st.SearchStrategy:
    row = st.fixed_dictionaries({name: _value(table, name) for name in INPUTS[table]})
    unique = {"CUSTOMERS": lambda r: r["CUSTOMER_ID"], "CUSTOMER_TRANSACTIONS": lambda r: r["TRANSACTION_ID"]}
    if table == "CUSTOMERS":
        row = row.filter(lambda r: r["CUSTOMER_ID"] is not None)
    return st.lists(row, max_size=6, unique_by=unique.get(table, id))


buckets: st.SearchStrategy = st.fixed_dictionaries({table: _rows(table) for table in INPUTS})


def to_arrow(rows: Rows) -> dict[str, pa.Table]:
    """The rows as silver tables, projected to `INPUTS`; items are not yet attached."""
    return {
        table: pa.Table.from_pylist(some, pa.schema([CONTRACTS[table].arrow.field(n) for n in INPUTS[table]]))
        for table, some in rows.items()
    }


def transaction(number: int = 1, **values: Any) -> dict[str, Any]:
    """A completed purchase of 10.00 GBP by customer A on 1 December 2010, with the given values instead."""
    return {
        "TRANSACTION_ID": f"T{number}",
        "CUSTOMER_ID": "A",
        "CHANNEL": "POS",
        "TRANSACTION_DATE": datetime(2010, 12, 1, tzinfo=UTC),
        "TRANSACTION_TYPE": "PURCHASE",
        "TOTAL_AMOUNT": Decimal("10.00"),
        "CURRENCY_CODE": "GBP",
        "DISCOUNT_AMOUNT": None,
        "TRANSACTION_STATUS": "COMPLETED",
    } | values


def midnight(day: date | datetime) -> datetime:
    """A date as its midnight, UTC; a datetime as it is."""
    return day if isinstance(day, datetime) else datetime(day.year, day.month, day.day, tzinfo=UTC)
