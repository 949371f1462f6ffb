"""Item to item by the users that items share: cosine neighbours, and what is bought together or next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.candidates.source import user_matrix
from recsys.interactions import Histories, Log


@dataclass(frozen=True)
class ItemKnn:
    """Cosine of the sets of users, shrunk for rare items, the `neighbours` best of each (Sarwar et al. 2001)."""

    neighbours: int = 100
    shrink: float = 10.0
    name: str = "item kNN"

    def fit(self, log: Log) -> Neighbours:
        taken = user_matrix(log)
        together = (taken.T @ taken).tocoo()
        counts = np.asarray(taken.sum(0)).ravel()
        values = together.data / (np.sqrt(counts[together.row] * counts[together.col]) + self.shrink)
        return Neighbours(_nearest(together.row, together.col, values, len(log.item_ids), self.neighbours), 0.0)


@dataclass(frozen=True)
class BoughtTogether:
    """In how many baskets two items are together, over the square root of both counts; recent items of a user count.

    With baskets of one item each (ratings), the two of each user that follow one another within `window` items.
    """

    neighbours: int = 100
    shrink: float = 5.0
    half_life_items: float = 10.0
    window: int = 5
    name: str = "bought together"

    def fit(self, log: Log) -> Neighbours:
        single = len(np.unique(log.baskets)) == len(log)
        _, basket = np.unique(log.baskets, return_inverse=True)
        size = len(log.item_ids)
        if single:
            pairs = sp.csr_matrix((size, size), dtype=np.float32)
            for ahead in range(1, self.window + 1):
                same = np.flatnonzero(log.users[ahead:] == log.users[:-ahead])
                ones = np.full(len(same), 1 / ahead, np.float32)
                pairs = pairs + sp.csr_matrix((ones, (log.items[same], log.items[same + ahead])), shape=(size, size))
        else:
            held = sp.csr_matrix((np.ones(len(log), np.float32), (basket, log.items)), shape=(basket.max() + 1, size))
            held.data[:] = 1.0
            pairs = held.T @ held
        counts = np.bincount(log.items, minlength=size).astype(np.float32)
        found = pairs.tocoo()
        values = found.data / (np.sqrt(counts[found.row] * counts[found.col]) + self.shrink)
        return Neighbours(_nearest(found.row, found.col, values, size, self.neighbours), self.half_life_items)


@dataclass(frozen=True)
class Neighbours:
    """`weights[i, j]`: how much having taken i says for j. `half_life_items`: as for EASE."""

    weights: sp.csr_matrix
    half_life_items: float

    def score(self, histories: Histories) -> np.ndarray:
        values = 0.5 ** (histories.places / self.half_life_items) if self.half_life_items else None
        return (histories.matrix(values) @ self.weights).toarray()


def _nearest(row: np.ndarray, col: np.ndarray, values: np.ndarray, size: int, most: int) -> sp.csr_matrix:
    """Of each row the `most` largest, without the diagonal."""
    off = row != col
    row, col, values = row[off], col[off], values[off]
    order = np.lexsort((col, -values, row))
    row, col, values = row[order], col[order], values[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    near = place < most
    return sp.csr_matrix((values[near].astype(np.float32), (row[near], col[near])), shape=(size, size))
