"""Implicit ALS: matrix factorisation by alternating least squares (Hu, Koren & Volinsky 2008, equations 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.candidates.source import user_matrix
from recsys.interactions import Histories, Log


@dataclass(frozen=True)
class ImplicitAls:
    """`alpha`: how much more sure a taken pair is than one that is not. A person is folded in from the history."""

    factors: int = 64
    alpha: float = 10.0
    l2: float = 10.0
    rounds: int = 8
    seed: int = 7
    name: str = "implicit ALS"

    def fit(self, log: Log) -> FittedAls:
        taken = user_matrix(log)
        random = np.random.default_rng(self.seed)
        items = random.normal(0, 0.01, (taken.shape[1], self.factors)).astype(np.float32)
        back = taken.T.tocsr()
        for _ in range(self.rounds):
            items = _solve(back, _solve(taken, items, self.alpha, self.l2), self.alpha, self.l2)
        return FittedAls(items, self.alpha, self.l2)


@dataclass(frozen=True)
class FittedAls:
    items: np.ndarray
    alpha: float
    l2: float

    def score(self, histories: Histories) -> np.ndarray:
        return _solve(histories.matrix(), self.items, self.alpha, self.l2) @ self.items.T


def _solve(taken: sp.csr_matrix, fixed: np.ndarray, alpha: float, l2: float) -> np.ndarray:
    """The factors of each row that fit best, with the other side fixed."""
    gram = fixed.T @ fixed + l2 * np.eye(fixed.shape[1], dtype=np.float32)
    made = np.zeros((taken.shape[0], fixed.shape[1]), np.float32)
    for row in range(taken.shape[0]):  # a row is a small dense system of its own
        some = fixed[taken.indices[taken.indptr[row] : taken.indptr[row + 1]]]
        if len(some):
            made[row] = np.linalg.solve(gram + alpha * (some.T @ some), (1 + alpha) * some.sum(0))
    return made
