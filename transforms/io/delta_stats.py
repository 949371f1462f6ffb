"""Column statistics of a file, as the Delta log wants them, taken from what the Parquet writer counted."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TEXT_LIMIT = 32  # characters of a text kept as a bound
_MILLISECOND = timedelta(milliseconds=1)


def file_statistics(metadata: pq.FileMetaData, schema: pa.Schema, with_nan: set[str], rows: int) -> str:
    """Delta's `stats` JSON: numRecords, and per plain column nullCount and bounds that hold for every row.

    Nested columns get nothing (a scalar count there makes readers drop all statistics); a column with a NaN no bounds.
    """
    null_count: dict[str, int] = {}
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for index in range(metadata.num_columns):
        name = metadata.schema.column(index).path
        position = schema.get_field_index(name)
        if position < 0 or pa.types.is_nested(schema.field(position).type):
            continue
        kind = schema.field(position).type
        groups = [metadata.row_group(g).column(index).statistics for g in range(metadata.num_row_groups)]
        if any(s is None or not s.has_null_count for s in groups):
            continue
        null_count[name] = sum(s.null_count for s in groups)
        bounded = [s for s in groups if s.has_min_max]
        full = [s for s, g in zip(groups, range(metadata.num_row_groups), strict=True)
                if s.null_count < metadata.row_group(g).num_rows]  # fmt: skip
        if not full or len(bounded) < len(full) or name in with_nan or pa.types.is_binary(kind):
            continue
        least, most = _low(min(s.min for s in bounded), kind), _high(max(s.max for s in bounded), kind)
        if least is not None:
            low[name] = least
        if most is not None:
            high[name] = most
    found = {"numRecords": rows, "minValues": low, "maxValues": high, "nullCount": null_count}
    return json.dumps(found, ensure_ascii=False)  # deltalake 1.6 reads an escaped surrogate pair as another character


def _low(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, str):
        return value[:TEXT_LIMIT]
    return _json(value, kind, timedelta(0))


def _high(value: Any, kind: pa.DataType) -> Any:
    if isinstance(value, str):
        return round_up(value)
    return _json(value, kind, _MILLISECOND)


def round_up(text: str) -> str | None:
    """A short text that is not less than `text` by code point; None if there is none."""
    if len(text) <= TEXT_LIMIT:
        return text
    for end in range(TEXT_LIMIT, 0, -1):
        code = ord(text[end - 1]) + 1
        code = 0xE000 if 0xD800 <= code <= 0xDFFF else code  # surrogates are not characters
        if code <= 0x10FFFF:
            return text[: end - 1] + chr(code)
    return None


def _json(value: Any, kind: pa.DataType, up: timedelta) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral() and abs(value) < 1 << 53 else _decimal(value)
    if isinstance(value, datetime):
        return _timestamp(value, kind, up)
    if isinstance(value, date):
        return value.isoformat() if value.year > 0 else None
    return value if isinstance(value, int) else None


def _decimal(value: Decimal) -> float | None:
    # JSON has only doubles for most readers: keep the bound where the double says exactly the same.
    number = float(value)
    return number if Decimal(repr(number)) == value and len(value.as_tuple().digits) <= 15 else None


def _timestamp(value: datetime, kind: pa.DataType, up: timedelta) -> str | None:
    aware = kind.tz is not None
    plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    cut = plain.replace(microsecond=plain.microsecond // 1000 * 1000)
    if cut != plain:
        try:
            cut += up
        except OverflowError:
            return None
    return cut.isoformat(timespec="milliseconds") + ("Z" if aware else "")
