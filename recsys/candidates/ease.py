"""EASE: a linear model from item to item in closed form (Steck 2019, equations 8 and 9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.candidates.source import user_matrix
from recsys.interactions import Histories, Log


@dataclass(frozen=True)
class Ease:
    """`l2`: the regularisation. `half_life_items`: when asked, an item counts half after so many later ones; 0: never.

    Items beyond the `most_items` most taken are left out: memory is 16 bytes times their square.
    """

    l2: float = 300.0
    half_life_items: float = 0.0
    most_items: int = 10_000
    name: str = "ease"

    def fit(self, log: Log) -> FittedEase:
        taken = user_matrix(log).astype(np.float64)
        kept = np.sort(np.argsort(-np.asarray(taken.sum(0)).ravel(), kind="stable")[: self.most_items])
        part = taken[:, kept]
        gram = (part.T @ part).toarray()
        gram[np.diag_indices(len(kept))] += self.l2
        inverse = np.linalg.inv(gram)
        weights = (-inverse / np.diag(inverse)).astype(np.float32)
        np.fill_diagonal(weights, 0)
        return FittedEase(kept, weights, self.half_life_items)


@dataclass(frozen=True)
class FittedEase:
    """`weights[i, j]`: how much having taken kept[i] says for kept[j]."""

    kept: np.ndarray
    weights: np.ndarray
    half_life_items: float

    def score(self, histories: Histories) -> np.ndarray:
        values = 0.5 ** (histories.places / self.half_life_items) if self.half_life_items else None
        scores = np.zeros((len(histories), histories.item_count), np.float32)
        scores[:, self.kept] = histories.matrix(values)[:, self.kept] @ self.weights
        return scores
