"""Pairs of records compared on everything the rules name, as rows of levels."""

from __future__ import annotations

from collections.abc import Container, Iterable

import numpy as np

from transforms.identity.distance import Compare
from transforms.identity.encode import Encoded
from transforms.identity.kinds import KINDS
from transforms.identity.levels import comparer
from transforms.identity.rules import Comparison


class Comparer:
    """Compares pairs of these records on these comparisons."""

    def __init__(self, records: Encoded, comparisons: Iterable[Comparison]) -> None:
        self.records, self.comparisons = records, tuple(comparisons)
        self._work: list[Compare] = [comparer(c.kind, records, c.fields) for c in self.comparisons]

    def levels(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Pairs by comparisons (int8), as Fortran order holds columns together."""
        found = np.empty((len(left), len(self._work)), np.int8, order="F")
        for k, work in enumerate(self._work):
            found[:, k] = work(left, right)
        return found


def possible(columns: Container[str], comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons of these columns: those that any record has a value in."""
    return tuple(c for c in comparisons if any(f in columns for f in _asked(c)))


def _asked(comparison: Comparison) -> tuple[str, ...]:
    """The columns without which a comparison says nothing; an area has three, each may do."""
    return comparison.fields[:2] if comparison.kind == "area" else comparison.fields[:1]


def pack(levels: np.ndarray, comparisons: tuple[Comparison, ...]) -> np.ndarray:
    """One number (int64) for each row of levels."""
    packed = np.zeros(len(levels), np.int64)
    for k, c in enumerate(comparisons):
        packed = packed * len(KINDS[c.kind].names) + levels[:, k]
    return packed


def unpack(packed: np.ndarray, comparisons: tuple[Comparison, ...]) -> np.ndarray:
    """The rows of levels of such numbers."""
    levels = np.empty((len(packed), len(comparisons)), np.int64)
    for k in reversed(range(len(comparisons))):
        packed, levels[:, k] = np.divmod(packed, len(KINDS[comparisons[k].kind].names))
    return levels
