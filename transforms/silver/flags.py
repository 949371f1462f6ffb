"""Marks on rows that are kept although something about them is odd."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.silver.distinct import as_array

FLAGS = "_flags"


def add_flags(table: pa.Table, masks: Mapping[str, np.ndarray]) -> pa.Table:
    """Adds each flag to the rows its mask is true for.

    `_flags` is list<string>, sorted and unique in each row, never null; it is appended where it is missing. Other
    columns and the row order stay.
    """
    rows, names = _present(table)
    for name, mask in masks.items():
        hit = np.flatnonzero(mask)
        rows.append(hit)
        names.append(np.full(hit.size, name, object))
    lists = _lists(np.concatenate(rows), np.concatenate(names), table.num_rows)
    if FLAGS in table.column_names:
        return table.set_column(table.column_names.index(FLAGS), FLAGS, lists)
    return table.append_column(FLAGS, lists)


def without_flags(table: pa.Table, flags: Collection[str]) -> pa.Table:
    """The table without these flags; rows, order and other columns stay."""
    rows, names = _present(table)
    keep = [~np.isin(part.astype(str), list(flags)) for part in names]
    if all(part.all() for part in keep):
        return table
    lists = _lists(rows[0][keep[0]], names[0][keep[0]], table.num_rows)
    return table.set_column(table.column_names.index(FLAGS), FLAGS, lists)


def rows_with(table: pa.Table, prefix: str) -> np.ndarray:
    """A boolean for each row: whether one of its flags begins with `prefix`."""
    found = np.zeros(table.num_rows, bool)
    for rows, names in zip(*_present(table), strict=True):
        found[rows[pc.starts_with(pa.array(names, pa.string()), prefix).to_numpy(zero_copy_only=False)]] = True
    return found


def count_flags(table: pa.Table) -> dict[str, int]:
    """The number of rows that carry each flag, by flag name."""
    if FLAGS not in table.column_names:
        return {}
    counts = pc.value_counts(pc.list_flatten(table[FLAGS]))
    return {entry["values"]: entry["counts"] for entry in sorted(counts.to_pylist(), key=lambda e: e["values"])}


def _present(table: pa.Table) -> tuple[list[np.ndarray], list[np.ndarray]]:
    empty = [np.empty(0, np.int64)], [np.empty(0, object)]
    if FLAGS not in table.column_names:
        return empty
    column = as_array(table[FLAGS])
    values = pc.list_flatten(column)
    if len(values) == 0:
        return empty
    return [pc.list_parent_indices(column).to_numpy()], [values.to_numpy(zero_copy_only=False)]


def _lists(rows: np.ndarray, names: np.ndarray, length: int) -> pa.ListArray:
    kinds = sorted(set(names.tolist()))
    if not kinds:
        return pa.ListArray.from_arrays(pa.array(np.zeros(length + 1, np.int32)), pa.array([], pa.string()))
    codes = pc.index_in(pa.array(names, pa.string()), pa.array(kinds, pa.string())).to_numpy()
    pairs = np.unique(rows * len(kinds) + codes)  # sorted by row, then by name
    offsets = np.searchsorted(pairs, np.arange(length + 1) * len(kinds)).astype(np.int32)
    values = pa.array(kinds, pa.string()).take(pa.array(pairs % len(kinds)))
    return pa.ListArray.from_arrays(pa.array(offsets), values)
