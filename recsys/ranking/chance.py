"""From scores that only order a list to the chance that each item is taken (Platt 1999)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_ROUNDS = 50


class Chance(NamedTuple):
    """The chance is 1 / (1 + exp(-(slope * log share + offset))), the share that of the softmax over the list."""

    slope: float = 1.0
    offset: float = 0.0

    def of(self, scores: np.ndarray, known: np.ndarray) -> np.ndarray:
        """[n, c]: from scores [n, c]; 0 where there is no candidate (`known` False)."""
        logit = self.slope * log_shares(scores, known) + self.offset
        return np.where(known, 1 / (1 + np.exp(-np.clip(logit, -60, 60))), 0.0).astype(np.float32)


def log_shares(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The logarithm of the softmax over the known candidates of each list."""
    shown = np.where(known, scores.astype(np.float64), -np.inf)
    top = np.max(np.where(known, shown, -1e30), 1, keepdims=True)
    total = np.log(np.maximum(np.exp(shown - top).sum(1, keepdims=True), 1e-300))
    return np.where(known, shown - top - total, -60.0)


def fit_chance(scores: np.ndarray, known: np.ndarray, taken: np.ndarray) -> Chance:
    """The likeliest slope and offset for what was taken, both outcomes seen once more than they were; by Newton."""
    x, y = log_shares(scores, known)[known], taken[known]
    if not y.any() or y.all():
        return Chance()
    ones = float(y.sum())
    target = np.where(y, (ones + 1) / (ones + 2), 1 / (len(y) - ones + 2))
    design = np.stack([x, np.ones_like(x)])
    found = np.array([1.0, 0.0])
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(found @ design, -60, 60)))
        step = np.linalg.solve(
            (design * (chance * (1 - chance))) @ design.T + 1e-9 * np.eye(2), design @ (target - chance)
        )
        found = found + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return Chance(float(max(found[0], 1e-3)), float(found[1]))  # the order of a list stays
