"""A histogram of numbers that is the same however the numbers are split, ordered or merged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

WIDTH = 0.01


def _none() -> np.ndarray:
    return np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts on a fixed grid: bin b holds the numbers x with asinh(x) / 0.01 nearest to b.

    asinh is linear near 0 and logarithmic far from it, for either sign, so one grid serves cents and millions. A number
    stands for at most (e^0.005 - 1) * sqrt(x^2 + 1) beside itself: half a percent, or 0.005 near zero. `bins` are
    sorted and unique, `counts` positive.
    """

    bins: np.ndarray = field(default_factory=_none)
    counts: np.ndarray = field(default_factory=_none)

    @staticmethod
    def of(numbers: np.ndarray) -> Histogram:
        """The histogram of float64 numbers; NaN and infinities are left out."""
        finite = numbers[np.isfinite(numbers)]
        bins, counts = np.unique(np.rint(np.arcsinh(finite) / WIDTH).astype(np.int64), return_counts=True)
        return Histogram(bins, counts.astype(np.int64))

    @staticmethod
    def merge(parts: Iterable[Histogram]) -> Histogram:
        """The histogram of all numbers of all parts."""
        parts = [part for part in parts if part.bins.size]
        if not parts:
            return Histogram()
        bins, places = np.unique(np.concatenate([part.bins for part in parts]), return_inverse=True)
        counts = np.zeros(bins.size, np.int64)
        np.add.at(counts, places, np.concatenate([part.counts for part in parts]))
        return Histogram(bins, counts)

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def quantile_bins(self, shares: Sequence[float]) -> list[int]:
        """For each share the lowest bin that at least this share of the numbers lies in or below; none when empty."""
        if not self.total:
            return []
        ranks = [max(1, math.ceil(share * self.total)) for share in shares]
        return self.bins[np.searchsorted(np.cumsum(self.counts), ranks)].tolist()

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The numbers that those bins stand for."""
        return [number(place) for place in self.quantile_bins(shares)]

    @property
    def mean(self) -> float:
        return float(np.average(np.sinh(self.bins * WIDTH), weights=self.counts))


def number(place: float) -> float:
    """The number that a place on the grid stands for; the nearest finite one beyond the ends."""
    return math.sinh(max(-700.0, min(700.0, place * WIDTH)))
