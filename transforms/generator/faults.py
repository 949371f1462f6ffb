"""Broken rows: faults planted into the bytes of JSON lines or into the cells of a table, and written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS, Column, Contract
from transforms.contracts.schema import BOOLEAN, DATE, TIMESTAMP

BRONZE, SILVER = "bronze", "silver"
UNKNOWN = "ZZ_UNKNOWN"


@dataclass(frozen=True)
class Fault:
    """One broken row: its number in the table, what is wrong in which column, and the stage that rejects it."""

    row: int
    fault: str
    column: str
    stage: str


@dataclass(frozen=True)
class _Kind:
    """A way to break a JSON line. `columns` says where it can strike; an empty answer means not in this table."""

    stage: str
    columns: Callable[[Contract], Sequence[str]]
    strike: Callable[[bytes, str, float], bytes]


def plant_in_lines(
    name: str, lines: bytes, allowed: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[bytes, np.ndarray, list[Fault]]:
    """Breaks a share of the lines among those `allowed`.

    Returns the bytes, the offset of each line in them, and the faults. Line ends stay, so that no line is lost or
    gained, and each broken line can be found by its offset.
    """
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == 10) + 1
    begins = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    chosen = np.flatnonzero(allowed & (rng.random(len(ends)) < share))
    kinds = [kind for kind, how in KINDS.items() if how.columns(CONTRACTS[name])]
    pieces, faults, done = [], [], 0
    lengths = ends - begins
    whiches, wheres = rng.integers(0, len(kinds), len(chosen)), rng.random(len(chosen))
    for row, which, where in zip(chosen, whiches, wheres, strict=True):
        how = KINDS[kinds[which]]
        columns = how.columns(CONTRACTS[name])
        column = columns[int(where * len(columns))]
        line = lines[begins[row] : ends[row] - 1]
        broken = how.strike(line, column, where)
        if broken == line:
            continue
        pieces += [lines[done : begins[row]], broken, b"\n"]
        done, lengths[row] = ends[row], len(broken) + 1
        faults.append(Fault(int(row), kinds[which], column, how.stage))
    pieces.append(lines[done:])
    return b"".join(pieces), np.cumsum(lengths) - lengths, faults


def plant_in_cells(
    name: str, table: pa.Table, allowed: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[pa.Table, list[Fault]]:
    """Breaks a share of the rows as far as typed cells can be: unknown values of enumerations, negative quantities."""
    contract = CONTRACTS[name]
    columns = _enums(contract)
    size = table.num_rows
    chosen = allowed & (rng.random(size) < share) & bool(columns)
    which = rng.integers(0, max(len(columns), 1), size)
    faults = []
    for index, column in enumerate(columns):
        rows = chosen & (which == index)
        values = pl.Series(pl.from_arrow(table[column])).set(pl.Series(rows), UNKNOWN)
        place = table.schema.get_field_index(column)
        cells = values.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())
        table = table.set_column(place, table.schema.field(column), cells)
        faults += [Fault(int(row), "unknown_value", column, SILVER) for row in np.flatnonzero(rows)]
    return table, sorted(faults, key=lambda fault: fault.row)


def _of(wanted: Callable[[Column], bool]) -> Callable[[Contract], Sequence[str]]:
    return lambda contract: [column.name for column in contract.columns if wanted(column)]


def _is_text(column: Column) -> bool:
    return column.type.arrow == pa.string()


_enums = _of(lambda column: bool(column.allowed))
_keys = _of(lambda column: not column.nullable)
_moments = _of(lambda column: column.type in (DATE, TIMESTAMP))
_decimals = _of(lambda column: pa.types.is_decimal(column.type.arrow))
_typed = _of(lambda column: not _is_text(column) and column.type != BOOLEAN)


def _quantity(contract: Contract) -> Sequence[str]:
    return ["QUANTITY"] if "negative_quantity_sold" in [rule.name for rule in contract.rules] else []


def _key(contract: Contract) -> Sequence[str]:
    return contract.key


def _cell(column: str) -> re.Pattern[bytes]:
    return re.compile(rb'"' + column.encode() + rb'":("(?:[^"\\]|\\.)*"|[^,}"]+)')


def _write(value: bytes) -> Callable[[bytes, str, float], bytes]:
    def strike(line: bytes, column: str, _where: float) -> bytes:
        return _cell(column).sub(b'"' + column.encode() + b'":' + value, line, count=1)

    return strike


def _drop(line: bytes, column: str, _where: float) -> bytes:
    short = re.sub(_cell(column).pattern + rb",?", b"", line, count=1)
    return short.replace(b",}", b"}")


def _cut(line: bytes, _column: str, where: float) -> bytes:
    return line[: 1 + int(where * (len(line) - 2))]


def _insert(junk: bytes) -> Callable[[bytes, str, float], bytes]:
    def strike(line: bytes, column: str, _where: float) -> bytes:
        start = b'"' + column.encode() + b'":"'
        return line.replace(start, start + junk, 1)

    return strike


def _negate(line: bytes, column: str, _where: float) -> bytes:
    if b'"ITEM_STATUS":"SOLD"' not in line:
        return line
    return re.sub(rb'("' + column.encode() + rb'":)([0-9]*[1-9][0-9]*)', rb"\1-\2", line, count=1)


KINDS: dict[str, _Kind] = {
    "wrong_type": _Kind(BRONZE, _typed, _write(b'"n/a"')),
    "impossible_date": _Kind(BRONZE, _moments, _write(b'"2010-02-30T25:61:00Z"')),
    "decimal_overflow": _Kind(BRONZE, _decimals, _write(b"12345678901234567.89")),
    "missing_required": _Kind(BRONZE, _keys, _drop),
    "cut_line": _Kind(BRONZE, _key, _cut),
    "invalid_utf8": _Kind(BRONZE, _key, _insert(b"\xff\xfe")),
    "nul_byte": _Kind(BRONZE, _key, _insert(b"\x00")),
    "unknown_value": _Kind(SILVER, _enums, _write(b'"' + UNKNOWN.encode() + b'"')),
    "negative_quantity": _Kind(SILVER, _quantity, _negate),
}
