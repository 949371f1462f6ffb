"""Types the rows of a file by their contract; what does not fit is rejected, never lost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.bronze.cells import AS_USUAL, Cells, Spelling, arrow, cast_cells, reads_as_number, text_cells
from transforms.contracts import Contract
from transforms.io.source import RAW_LIMIT, REJECTED

POSITION, RAW = "_position", "_raw"

_RULES = {
    pa.int64(): "not_an_integer",
    pa.float64(): "not_a_number",
    pa.date32(): "not_a_date",
    pa.timestamp("us", tz="UTC"): "not_a_timestamp",
    pa.bool_(): "not_a_boolean",
    pa.string(): "encoding",
}


@dataclass(frozen=True)
class Conformed:
    """`accepted`: the wanted columns, then those of a row's place; `rejected`: REJECTED and these; every row once.

    `rounded`: decimal columns of `accepted` that lost digits to the declared scale, and in which rows.
    """

    accepted: pa.Table
    rejected: pa.Table
    rounded: Mapping[str, np.ndarray]


def conform(rows: pa.RecordBatch, contract: Contract, schema: pa.Schema, spelling: Spelling = AS_USUAL) -> Conformed:
    """Casts source rows to `schema`: the contract's columns, and those that bronze has gained since.

    Args:
      rows: source columns (text, or typed from Parquet), `_position` int64 and `_raw` binary (null for Parquet).
        Other columns in `_` say more about a row's place (`_row`, `_enqueued_at` of an event) and are passed on.
      contract: says which columns are required.
      schema: the business columns of bronze with their Arrow types. A column the rows lack becomes null; a column
        only the rows have is added. Columns that no contract declares are text and never cost a row.
      spelling: how text cells write numbers and dates.

    A row is rejected, with the first failing column's rule and a reason that names columns but no values, when a
    required value is missing (`required`) or a cell is not of its type (`not_a_date`, `decimal_overflow`, ...).
    """
    place = [name for name in rows.schema.names if name.startswith("_") and name != RAW]
    given = [name for name in rows.schema.names if name not in (*place, RAW)]
    extra = [name for name in given if name not in schema.names]
    wanted = list(schema) + [pa.field(name, pa.string()) for name in extra]
    columns: dict[str, pa.Array] = {}
    failures: list[tuple[str, str, np.ndarray]] = []
    rounded: dict[str, np.ndarray] = {}
    for field in wanted:
        if field.name not in given:
            columns[field.name] = pa.nulls(rows.num_rows, field.type)
            if not field.nullable and rows.num_rows:
                failures.append((field.name, "required", np.ones(rows.num_rows, bool)))
            continue
        if field.name in contract and _fits(rows.schema.field(field.name).type, field.type):
            columns[field.name] = rows[field.name].cast(field.type)
            if not field.nullable:
                failures += _absent(field, _series(rows, field.name))
            continue
        cells = _series(rows, field.name)
        if field.name not in contract:
            columns[field.name] = arrow(text_cells(cells), field.type)
            continue
        cast = cast_cells(cells, field.type, spelling)
        columns[field.name] = arrow(cast.values, field.type)
        failures += _failures(field, cells, cast, spelling)
        if cast.rounded is not None:
            rounded[field.name] = cast.rounded.to_numpy()
    fields = [pa.field(f.name, f.type) for f in wanted] + [rows.schema.field(name) for name in place]
    table = pa.table([*columns.values(), *(rows[name] for name in place)], schema=pa.schema(fields))
    refused = pa.schema([*REJECTED, *(rows.schema.field(name) for name in place if name != POSITION)])
    if not failures:
        return Conformed(table, refused.empty_table(), rounded)
    bad = np.logical_or.reduce([mask for _, _, mask in failures])
    kept = {name: mask[~bad] for name, mask in rounded.items()}
    rejected = _rejects(rows, contract, failures, np.flatnonzero(bad), refused)
    return Conformed(table.filter(pa.array(~bad)), rejected, kept)


def _failures(field: pa.Field, cells: pl.Series, cast: Cells, spelling: Spelling) -> list[tuple[str, str, np.ndarray]]:
    found = []
    failed = unread = cast.failed.to_numpy()
    if failed.any():
        if pa.types.is_decimal(field.type):
            overflow = failed & reads_as_number(cells, spelling).to_numpy()
            found.append((field.name, "decimal_overflow", overflow))
            failed = failed & ~overflow
            found.append((field.name, "not_a_number", failed))
        else:
            found.append((field.name, _RULES.get(field.type, "wrong_type"), failed))
    if not field.nullable:
        found += [(name, rule, mask & ~unread) for name, rule, mask in _absent(field, cast.values)]
    return [(name, rule, mask) for name, rule, mask in found if mask.any()]


def _absent(field: pa.Field, cells: pl.Series) -> list[tuple[str, str, np.ndarray]]:
    missing = cells.is_null()
    if field.type == pa.string():
        missing = missing | (cells.str.strip_chars() == "").fill_null(False)
    return [(field.name, "required", missing.to_numpy())] if missing.any() else []


def _fits(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether any value of the one type is as it stands one of the other."""
    return given == wanted or (wanted == pa.string() and given in (pa.large_string(), pa.string_view()))


def _series(rows: pa.RecordBatch, name: str) -> pl.Series:
    return pl.Series(name, pl.from_arrow(rows[name]))


def _rejects(
    rows: pa.RecordBatch,
    contract: Contract,
    failures: Sequence[tuple[str, str, np.ndarray]],
    bad: np.ndarray,
    schema: pa.Schema,
) -> pa.Table:
    masks = np.array([mask[bad] for _, _, mask in failures])
    rules = np.array([rule for _, rule, _ in failures])[masks.argmax(axis=0)]
    sentences = [_sentence(name, rule, contract) for name, rule, _ in failures]
    reasons = ["; ".join(s for s, hit in zip(sentences, column, strict=True) if hit) for column in masks.T]
    taken = rows.take(pa.array(bad))
    raw = raw_bytes(taken)
    return pa.table(
        [
            taken[POSITION],
            pa.array([r[:RAW_LIMIT] for r in raw], pa.binary()),
            pa.array([len(r) for r in raw], pa.int64()),
            pa.array(rules.tolist(), pa.string()),
            pa.array(reasons, pa.string()),
            *(taken[name] for name in schema.names[len(REJECTED) :]),
        ],
        schema=schema,
    )


def _sentence(name: str, rule: str, contract: Contract) -> str:
    kind = contract[name].type
    if rule == "required":
        return f"{name} is missing"
    if rule == "decimal_overflow":
        return f"{name} has too many digits for {kind}"
    return f"{name} is not {kind}"


def raw_bytes(rows: pa.RecordBatch | pa.Table) -> list[bytes]:
    """The bytes each row was read from; for rows that never were text (Parquet), the row as a JSON object."""
    raw = rows[RAW].to_pylist()
    if all(value is not None for value in raw):
        return raw
    plain = rows.drop_columns([c for c in rows.schema.names if c.startswith("_")]).to_pylist()
    return [
        json.dumps(row, default=str, ensure_ascii=False).encode() if value is None else value
        for value, row in zip(raw, plain, strict=True)
    ]
