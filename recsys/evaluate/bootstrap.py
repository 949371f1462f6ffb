"""How sure a mean over users is: bootstrap percentile intervals (Efron & Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CHUNK = 8_000_000  # resampled counts at once


@dataclass(frozen=True)
class Estimate:
    """A mean and the 95 % interval of it."""

    mean: float
    low: float
    high: float


def estimate(values: np.ndarray, samples: int = 1_000, seed: int = 7) -> Estimate:
    """The mean of one value a user, with its interval; of no values, 0 without an interval."""
    if not len(values):
        return Estimate(0.0, 0.0, 0.0)
    low, high = np.quantile(_means(values, samples, seed), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def difference(ours: np.ndarray, theirs: np.ndarray, samples: int = 1_000, seed: int = 7) -> Estimate:
    """By how much ours is better, the same users drawn for both: an interval above 0 says it is no chance."""
    return estimate(ours - theirs, samples, seed)


def _means(values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    random, size = np.random.default_rng(seed), len(values)
    step = max(1, _CHUNK // size)
    parts = [
        values[random.integers(0, size, (min(step, samples - at), size))].mean(1) for at in range(0, samples, step)
    ]
    return np.concatenate(parts)
