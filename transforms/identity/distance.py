"""How alike two values are: vectorised over pairs, once for each pair of distinct values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA, JaroWinkler, Prefix

from transforms.identity.encode import Column
from transforms.identity.kinds import MISSING

Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]  # left and right record numbers, or codes -> levels (int8)


def between(column: Column, same: int, unequal: Compare, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Levels by codes: MISSING, `same` for equal codes, else what `unequal` gives for each distinct pair of codes."""
    a, b = column.codes[left], column.codes[right]
    levels = np.full(len(a), same, np.int8)
    levels[(a < 0) | (b < 0)] = MISSING
    todo = np.flatnonzero((a != b) & (levels != MISSING))
    levels[todo] = per_distinct(a[todo], b[todo], len(column.values), unequal)
    return levels


def per_distinct(a: np.ndarray, b: np.ndarray, size: int, work: Compare) -> np.ndarray:
    if not len(a):
        return np.empty(0, np.int8)
    low, high = np.minimum(a, b).astype(np.int64), np.maximum(a, b).astype(np.int64)
    if size > 4 * len(a) ** 0.5 * 50:  # hardly any pair of values comes twice
        return work(low, high)
    key = low * size + high
    order = np.argsort(key, kind="stable")
    first = np.diff(key[order], prepend=-1) != 0
    distinct = key[order][first]
    found = np.empty(len(a), np.int8)
    found[order] = work(distinct // size, distinct % size)[np.cumsum(first) - 1]
    return found


def winkler(words: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return process.cpdist(
        words[a].tolist(), words[b].tolist(), scorer=JaroWinkler.similarity, score_cutoff=0.75, dtype=np.float32
    )


def edits(words: np.ndarray, a: np.ndarray, b: np.ndarray, most: int = 2) -> np.ndarray:
    """Letters inserted, left out, replaced or exchanged with their neighbour; most + 1 stands for more."""
    return process.cpdist(words[a].tolist(), words[b].tolist(), scorer=OSA.distance, score_cutoff=most, dtype=np.uint8)


def begins(words: np.ndarray, lengths: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shorter, of five letters at least, is the beginning of the longer."""
    common = process.cpdist(words[a].tolist(), words[b].tolist(), scorer=Prefix.similarity, dtype=np.uint16)
    shorter = np.minimum(lengths[a], lengths[b])
    return (common >= shorter) & (shorter >= 5)


def close(edits: np.ndarray, lengths: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One edit, or two in long words."""
    longer = np.maximum(lengths[a], lengths[b])
    return ((edits <= 1) & (longer >= 3)) | ((edits <= 2) & (longer >= 8))
