"""Rows of a person's own file, typed as a schema wants them; what cannot be read is named by its rule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.bronze.cells import cast_cells
from transforms.sessions.event import EARLIEST, LATEST
from transforms.sessions.moments import read_moments

_REASONS = {
    "required": "{} is missing",
    "not_a_timestamp": "{} is no time: ISO 8601, or Unix seconds, milliseconds or microseconds",
    "time_out_of_range": "{} is not between the years 1 and 9999",
    "in_the_future": "{} is later than now",
    "not_a_number": "{} is no number such as 12.50",
    "not_a_boolean": "{} is neither true nor false, yes nor no, 1 nor 0",
}

ONLY_WHERE = b"only_where"  # metadata of a field: it is read where this earlier column is true, and null elsewhere
_AHEAD = timedelta(days=1)  # a local time that is taken as UTC may be so far ahead


@dataclass(frozen=True)
class Typed:
    """`rows`: the columns of the schema that the file has, typed; `faults`: (rule, reason, rows) of those left out."""

    rows: pl.DataFrame
    faults: tuple[tuple[str, str, np.ndarray], ...]


def now_at_most() -> datetime:
    """What is later than this is a clock gone wrong."""
    return datetime.now(UTC) + _AHEAD


def type_rows(rows: pl.DataFrame, schema: pa.Schema, until: datetime | None = None) -> Typed:
    """Types rows whose columns are named as in `schema` and hold text or typed values; each row once in the result.

    A row is at fault that lacks a column which is not nullable, or has a time, number or boolean that cannot be read,
    or a time later than `until`. Empty text is null. A field with the metadata ONLY_WHERE cannot be at fault elsewhere.
    """
    bad = np.zeros(rows.height, bool)
    faults: list[tuple[str, str, np.ndarray]] = []

    def fault(rule: str, column: str, where: pl.Series) -> None:
        mask = where.fill_null(False).to_numpy() & ~bad
        if mask.any():
            faults.append((rule, _REASONS[rule].format(column), np.flatnonzero(mask)))
            bad[mask] = True

    columns: dict[str, pl.Series] = {}
    for field in schema:
        if field.name not in rows.columns:
            continue
        cells = rows[field.name]
        told = columns.get((field.metadata or {}).get(ONLY_WHERE, b"").decode())
        if told is not None:
            cells = pl.select(pl.when(told.fill_null(False)).then(cells)).to_series()
        if pa.types.is_timestamp(field.type):
            columns[field.name] = times = read_moments(cells)
            if not field.nullable:
                fault("required", field.name, _blank(cells))
            fault("not_a_timestamp", field.name, times.is_null() & ~_blank(cells))
            micros = times.to_physical()
            fault("time_out_of_range", field.name, (micros < EARLIEST) | (micros >= LATEST))
            if until is not None:
                fault("in_the_future", field.name, micros > int(until.timestamp() * 1_000_000))
        elif pa.types.is_string(field.type):
            columns[field.name] = text = _text(cells)
            if not field.nullable:
                fault("required", field.name, text.is_null())
        else:
            cast = cast_cells(cells, field.type)
            columns[field.name] = cast.values
            fault("not_a_boolean" if pa.types.is_boolean(field.type) else "not_a_number", field.name, cast.failed)
            if not field.nullable:
                fault("required", field.name, cast.values.is_null())
    typed = pl.DataFrame(columns)
    return Typed(typed.filter(pl.Series(~bad)) if bad.any() else typed, tuple(faults))


def _text(cells: pl.Series) -> pl.Series:
    text = cells if cells.dtype == pl.String else cast_cells(cells, pa.string()).values
    blank = _blank(text)
    return text.set(blank & text.is_not_null(), None) if blank.any() else text


def _blank(cells: pl.Series) -> pl.Series:
    if cells.dtype != pl.String:
        return cells.is_null()
    short = cells.str.len_bytes() < 8  # trimming every cell would cost more than all else
    if not short.any():
        return cells.is_null()
    return cells.is_null() | (short & (cells.str.strip_chars() == ""))
