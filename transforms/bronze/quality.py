"""Scores each row's quality from 0 to 1 and says what lowered it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.contracts import Column, Contract

SCORE, ISSUES = "_quality_score", "_quality_issues"


Mask = np.ndarray | bool  # which rows; a bool stands for all or none of them
_NONE: Mapping[str, np.ndarray] = MappingProxyType({})
_WORD = 40  # masks that are looked at together: their bits and a row count of less than 2**23 are one integer


def score_quality(table: pa.Table, contract: Contract, rounded: Mapping[str, np.ndarray] = _NONE) -> pa.Table:
    """Appends `_quality_score` double and `_quality_issues` list<string>.

    The score is the mean of three shares, each from 0 to 1:
      completeness: declared columns that hold a value;
      validity: checkable values (enumeration, range or length) that pass; a value that lost digits when it was read
        counts as one more that does not;
      consistency: rules of the contract that the row does not break.
    An issue is "missing:COLUMN", "invalid:COLUMN", "rule:NAME", or "rounded:COLUMN", in declared order.

    Args:
      rounded: decimal column -> the rows whose value had more places than are kept.
    """
    rows = table.num_rows
    missing = {column.name: _missing(table[column.name]) for column in contract.columns}
    tests = {column.name: test for column in contract.columns if (test := _invalid(column)) is not None}
    broken = {rule.name: pl.sql_expr(rule.violated) for rule in contract.rules}
    found: dict[str, Mapping[str, Mask]] = {
        "missing": missing,
        "invalid": _where(
            table, {name: test for name, test in tests.items() if _doubtful(contract[name], table[name])}
        ),
        "rule": _where(table, broken),
        "rounded": rounded,
    }
    lost = {kind: np.zeros(rows) for kind in found}
    for kind, masks in found.items():
        for mask in masks.values():
            lost[kind] += mask
    checkable = lost["rounded"].copy()
    for name in tests:
        checkable += np.logical_not(missing[name])
    completeness = 1 - lost["missing"] / len(contract.columns)
    validity = 1 - (lost["invalid"] + lost["rounded"]) / np.maximum(checkable, 1)
    consistency = 1 - lost["rule"] / max(len(contract.rules), 1)
    score = np.round((completeness + validity + consistency) / 3, 4)
    issues = {f"{kind}:{name}": mask for kind, masks in found.items() for name, mask in masks.items()}
    return table.append_column(SCORE, pa.array(score)).append_column(ISSUES, _issue_lists(issues, rows))


def _missing(column: pa.ChunkedArray) -> Mask:
    if column.null_count in (0, len(column)):  # most columns: no mask to make
        return column.null_count > 0
    return column.is_null().to_numpy()


def _where(table: pa.Table, tests: Mapping[str, pl.Expr]) -> dict[str, Mask]:
    """The rows for which each test is true; only the columns that the tests name become Polars'."""
    if not tests:
        return {}
    wanted = sorted({name for test in tests.values() for name in test.meta.root_names()})
    frame = pl.from_arrow(table.select(wanted))
    assert isinstance(frame, pl.DataFrame)
    masks = frame.select(test.fill_null(False).alias(name) for name, test in tests.items())
    return {mask.name: mask.to_numpy() if mask.any() else False for mask in masks}


def _doubtful(column: Column, values: pa.ChunkedArray) -> bool:
    """Whether a look at every value is needed: not where the shortest way to the largest of them settles it."""
    if values.null_count == len(values):
        return False
    if column.allowed or pa.types.is_floating(values.type):
        return True
    if column.type.max_length is not None:  # no text has more characters than bytes
        longest = pc.max(pc.binary_length(values)).as_py()
        if longest > column.type.max_length:
            return True
    if column.low is None and column.high is None:
        return False
    bounds = pc.min_max(values).as_py()
    return bool(
        (column.low is not None and bounds["min"] < column.low)
        or (column.high is not None and bounds["max"] > column.high)
    )


def _invalid(column: Column) -> pl.Expr | None:
    value = pl.col(column.name)
    tests = []
    if column.allowed:
        tests.append(~value.is_in(column.allowed))
    if column.low is not None:
        tests.append(value.cast(pl.Float64) < column.low)
    if column.high is not None:
        tests.append(value.cast(pl.Float64) > column.high)
    if column.type.max_length is not None:
        tests.append(value.str.len_chars() > column.type.max_length)
    return pl.any_horizontal(tests) if tests else None


def _issue_lists(issues: Mapping[str, Mask], rows: int) -> pa.Array:
    """One list a row; rows share few distinct combinations, so lists are made once each and then spread."""
    always = [bit for bit, mask in enumerate(issues.values()) if isinstance(mask, bool) and mask]
    varying = [(bit, mask) for bit, mask in enumerate(issues.values()) if isinstance(mask, np.ndarray)]
    codes, kinds = np.zeros(rows, np.int64), [always]
    for first in range(0, len(varying), _WORD):
        part = varying[first : first + _WORD]
        codes = codes << _WORD
        for place, (_, mask) in enumerate(part):
            codes |= mask.astype(np.int64) << place
        encoded = pa.array(codes).dictionary_encode()
        kinds = [
            kinds[word >> _WORD] + [bit for place, (bit, _) in enumerate(part) if word >> place & 1]
            for word in encoded.dictionary.to_pylist()
        ]
        codes = encoded.indices.to_numpy().astype(np.int64)
    return _spread([sorted(kind) for kind in kinds], codes, pa.array(list(issues), pa.string()))


def _spread(kinds: list[list[int]], codes: np.ndarray, names: pa.StringArray) -> pa.ListArray:
    """The names of `kinds[code]` for each code; what `take` on a list array does, in a third of the time."""
    flat = np.array([bit for kind in kinds for bit in kind], np.int32)
    lengths = np.array([len(kind) for kind in kinds], np.int64)
    first = np.cumsum(lengths) - lengths
    offsets = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(lengths[codes], out=offsets[1:])
    shift = np.repeat(first[codes] - offsets[:-1], lengths[codes])
    values = names.take(pa.array(flat[np.arange(offsets[-1]) + shift]))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
