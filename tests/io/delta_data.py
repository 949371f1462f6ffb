"""Tables for the Delta tests: Hypothesis strategies, and a row-by-row comparison without order."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
MOMENT = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy]] = {
    "i8": (pa.int8(), st.integers(-128, 127)),
    "i32": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "i64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "f32": (pa.float32(), st.floats(width=32)),
    "f64": (pa.float64(), st.floats()),
    "flag": (pa.bool_(), st.booleans()),
    "text": (pa.string(), TEXT | st.text("aÿ\U0010ffff\ud7ff", max_size=80)),
    "raw": (pa.binary(), st.binary(max_size=10)),
    "day": (pa.date32(), st.dates(date(1, 1, 2), date(9999, 12, 30))),
    "utc": (pa.timestamp("us", "UTC"), MOMENT.map(lambda moment: moment.replace(tzinfo=UTC))),
    "wall": (pa.timestamp("us"), MOMENT),
    "money": (pa.decimal128(12, 2), st.decimals(-(10**9), 10**9, places=2)),
    "huge": (pa.decimal128(38, 6), st.decimals(Decimal(-(10**31)), Decimal(10**31), places=6)),
    "tags": (pa.list_(pa.string()), st.lists(TEXT, max_size=3)),
    "pair": (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        st.fixed_dictionaries({"a": st.integers(0, 9), "b": TEXT}),
    ),
}
SCHEMA = pa.schema([pa.field(name, kind) for name, (kind, _) in COLUMNS.items()])


def tables(names: tuple[str, ...] = tuple(COLUMNS), max_rows: int = 12) -> st.SearchStrategy[pa.Table]:
    """Tables of these columns, with nulls."""
    row = st.fixed_dictionaries({name: st.none() | COLUMNS[name][1] for name in names})
    schema = pa.schema([SCHEMA.field(name) for name in names])
    return st.lists(row, max_size=max_rows).map(lambda rows: pa.Table.from_pylist(rows, schema=schema))


def bag(table: pa.Table) -> Counter:
    """The rows as a multiset; NaN equals NaN."""
    return Counter(tuple(_plain(value) for value in row.values()) for row in table.to_pylist())


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value
    return repr(value) if isinstance(value, (list, dict)) else value
