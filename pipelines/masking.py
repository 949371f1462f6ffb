"""Personal values as `show` prints them unless asked for more: a trace, enough to tell rows apart by eye."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa

from pipelines.identities import PERSONS
from transforms.contracts import CONTRACTS
from transforms.gold.fields import SCHEMA

_RAW = frozenset({"raw", "raw_header"})  # of rejects: whatever came, and as it came


def _declared(schema: pa.Schema) -> frozenset[str]:
    return frozenset(field.name for field in schema if (field.metadata or {}).get(b"personal"))


PERSONAL = (
    _declared(SCHEMA)
    | _declared(PERSONS)
    | {name.lower() for table in CONTRACTS.values() for name in table.personal}
    | _RAW
)


def masked(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with a trace of each personal value: first letter of text, the year of a date, the size of raw bytes.

    A column is known by its name, in whatever case, in all tables alike.
    """
    return {name: _trace(value) if is_personal(name) else value for name, value in row.items()}


def is_personal(column: str) -> bool:
    """Whether a column, of any table, has personal values."""
    return column.lower() in PERSONAL


def _trace(value: Any) -> Any:
    if isinstance(value, date):
        return f"{value.year}"
    if isinstance(value, bytes):
        return f"*** ({len(value)} bytes)"
    if isinstance(value, list):
        return [_trace(one) for one in value]
    return f"{str(value)[:1]}***" if value else value
