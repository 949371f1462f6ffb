"""Pairs of records and on which levels they agree, which is worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transforms.identity.compare import Comparer, pack


@dataclass(frozen=True)
class Pairs:
    """Pairs of record numbers, left below right.

    Attributes:
      left, right: int32.
      patterns: int64, the levels of each comparison as one number (`compare.pack`).
    """

    left: np.ndarray
    right: np.ndarray
    patterns: np.ndarray

    def __len__(self) -> int:
        return len(self.left)

    @staticmethod
    def compared(comparer: Comparer, left: np.ndarray, right: np.ndarray) -> Pairs:
        patterns = pack(comparer.levels(left, right), comparer.comparisons)
        return Pairs(left.astype(np.int32), right.astype(np.int32), patterns)

    @staticmethod
    def concatenated(parts: Sequence[Pairs]) -> Pairs:
        if not parts:
            return Pairs(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))
        return Pairs(*(np.concatenate([getattr(p, side) for p in parts]) for side in ("left", "right", "patterns")))

    def take(self, at: np.ndarray) -> Pairs:
        """Those at these places, or for which a mask is true."""
        return Pairs(self.left[at], self.right[at], self.patterns[at])
