"""Work done once for each distinct value of a column, since real columns repeat themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def per_distinct(values: pa.Array, function: Callable[[str], str | None]) -> pa.Array:
    """`function` of each value; null stays null."""
    encoded = values.dictionary_encode()
    mapped = [function(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(mapped, pa.string()).take(encoded.indices)


def per_distinct_pair(
    values: pa.Array, context: pa.Array, function: Callable[[str, str | None], str | None]
) -> pa.Array:
    """`function` of each value together with the value of `context` in its row, which may be null."""
    left, right = values.dictionary_encode(), context.dictionary_encode()
    width = len(right.dictionary) + 1
    column = pc.fill_null(right.indices, width - 1).to_numpy().astype(np.int64)
    present = values.is_valid().to_numpy(zero_copy_only=False)
    codes = (pc.fill_null(left.indices, 0).to_numpy().astype(np.int64) * width + column)[present]
    pairs, inverse = np.unique(codes, return_inverse=True)
    lefts, rights = left.dictionary.to_pylist(), [*right.dictionary.to_pylist(), None]
    mapped = pa.array([function(lefts[pair // width], rights[pair % width]) for pair in pairs.tolist()], pa.string())
    result = np.full(len(values), -1, np.int64)
    result[present] = inverse
    return mapped.take(pa.array(result, mask=~present))


def sorted_unique(values: np.ndarray) -> np.ndarray:
    """What `np.unique` gives; sorting 64-bit hashes is several times faster than its hash table."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if ordered.size else ordered


def as_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one array; nothing is copied when it is one chunk (`combine_chunks` would)."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
