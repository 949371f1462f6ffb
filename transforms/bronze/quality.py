"""Scores each row's quality from 0 to 1 and says what lowered it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import Column, Contract

SCORE, ISSUES = "_quality_score", "_quality_issues"


_NONE: Mapping[str, np.ndarray] = MappingProxyType({})


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
    frame = pl.from_arrow(table.select([name for name in table.column_names if name in contract]))
    assert isinstance(frame, pl.DataFrame)
    missing = [(f"missing:{c.name}", frame[c.name].is_null()) for c in contract.columns]
    checks = [(c, _invalid(c)) for c in contract.columns]
    exprs = [expr.fill_null(False).alias(f"invalid:{c.name}") for c, expr in checks if expr is not None]
    exprs += [pl.sql_expr(rule.violated).fill_null(False).alias(f"rule:{rule.name}") for rule in contract.rules]
    tested = frame.select(exprs).get_columns() if exprs else []
    masks = missing + [(s.name, s) for s in tested]
    masks += [(f"rounded:{name}", pl.Series(mask)) for name, mask in rounded.items()]
    rows = table.num_rows
    lost = {kind: np.zeros(rows) for kind in ("missing", "invalid", "rule", "rounded")}
    for name, mask in masks:
        lost[name.split(":", 1)[0]] += mask.to_numpy()
    checkable = lost["rounded"].copy()
    for column, expr in checks:
        if expr is not None:
            checkable += frame[column.name].is_not_null().to_numpy()
    completeness = 1 - lost["missing"] / len(contract.columns)
    validity = 1 - (lost["invalid"] + lost["rounded"]) / np.maximum(checkable, 1)
    consistency = 1 - lost["rule"] / max(len(contract.rules), 1)
    score = np.round((completeness + validity + consistency) / 3, 4)
    return table.append_column(SCORE, pa.array(score)).append_column(ISSUES, _issue_lists(masks, rows))


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


def _issue_lists(masks: list[tuple[str, pl.Series]], rows: int) -> pa.Array:
    """One list a row; rows share few distinct combinations, so lists are made once each and then taken."""
    words = [np.zeros(rows, np.uint64) for _ in range((len(masks) + 63) // 64)]
    for bit, (_, mask) in enumerate(masks):
        words[bit // 64] |= mask.to_numpy().astype(np.uint64) << np.uint64(bit % 64)
    frame = pl.DataFrame({f"w{i}": word for i, word in enumerate(words)})
    kinds = frame.unique(maintain_order=True).with_row_index("code")
    codes = frame.join(kinds, on=frame.columns, how="left", maintain_order="left")["code"]
    names = pa.array([name for name, _ in masks], pa.string())
    bits = [
        [bit for bit in range(len(masks)) if row[bit // 64] >> (bit % 64) & 1] for row in kinds.drop("code").iter_rows()
    ]
    return _spread(bits, codes.to_numpy(), names)


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
