"""JSON lines against the standard library."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.generator.jsonl import to_json_lines

SCHEMA = pa.schema([
    ("TEXT", pa.string()), ("NUMBER", pa.int64()), ("MONEY", pa.decimal128(10, 2)), ("DAY", pa.date32()),
    ("MOMENT", pa.timestamp("us", tz="UTC")), ("FLAG", pa.bool_()), ("OTHER", pa.string()),
])  # fmt: skip
TEXT = st.one_of(st.text(), st.text(alphabet='"\\\n\t\x00\x1f,:{}nul'))
ROWS = st.fixed_dictionaries({
    "TEXT": st.none() | TEXT,
    "NUMBER": st.none() | st.integers(-(2**63), 2**63 - 1),
    "MONEY": st.none() | st.integers(-(10**10) + 1, 10**10 - 1).map(lambda cents: Decimal(cents).scaleb(-2)),
    "DAY": st.none() | st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    "MOMENT": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),
    "FLAG": st.none() | st.booleans(),
    "OTHER": st.none() | TEXT,
})  # fmt: skip


def plainly(row: dict) -> bytes:
    """One line, the slow plain way."""
    cells = []
    for name in SCHEMA.names:
        value = row[name]
        if isinstance(value, Decimal):
            text = f"{value:.2f}"
        elif isinstance(value, datetime):
            text = value.strftime(f'"{value.year:04d}-%m-%dT%H:%M:%S.%fZ"')
        elif isinstance(value, date):
            text = f'"{value.isoformat()}"'
        else:
            text = json.dumps(value, ensure_ascii=False)
        cells.append(f"{json.dumps(name)}:{text}")
    return ("{" + ",".join(cells) + "}\n").encode()


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, max_size=6))
def test_lines_are_those_of_the_plain_writer(rows):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert to_json_lines(table) == b"".join(plainly(row) for row in rows)


def test_slices_and_chunks_change_nothing():
    table = pa.table({"A": [str(i) for i in range(100)], "B": list(range(100))})
    pieces = [table.slice(i, 7) for i in range(0, 100, 7)]
    assert b"".join(to_json_lines(piece) for piece in pieces) == to_json_lines(table)
    assert to_json_lines(pa.concat_tables(pieces)) == to_json_lines(table)
