"""Measures of ranked lists, a user each: recall, NDCG and average precision at k.

Lists are item codes [users, k], best first, -1 where a list is shorter. Targets are the codes `items[offsets[i]:
offsets[i + 1]]` that user i took, each once, at least one a user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Targets:
    """What each user took in the held-out time: sorted codes without duplicates."""

    offsets: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, owners: np.ndarray, items: np.ndarray, users: int) -> Targets:
        """From pairs (place of the user, item), in any order, with duplicates."""
        pairs = np.unique(np.stack([owners, items]).astype(np.int64), axis=1)
        return cls(np.searchsorted(pairs[0], np.arange(users + 1)), pairs[1])

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.offsets)

    def hits(self, lists: np.ndarray) -> np.ndarray:
        """[users, k]: is the item of the list among the user's targets?"""
        span = int(max(self.items.max(initial=0), lists.max(initial=0))) + 2
        wanted = np.repeat(np.arange(len(lists)), self.counts) * span + self.items
        shown = np.arange(len(lists))[:, None] * span + lists
        return np.isin(shown, wanted) & (lists >= 0)


def recall(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Of what the user took, the share that the list has."""
    return hits.sum(1) / counts


def ndcg(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Discounted gain 1 / log2(place + 1) over that of the best list (Järvelin & Kekäläinen 2002, binary relevance)."""
    discount = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    best = np.concatenate([[0.0], np.cumsum(discount)])
    return hits @ discount / best[np.minimum(counts, hits.shape[1])]


def average_precision(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean precision at the places of the hits, over the hits that were possible, min(targets, k)."""
    precision = np.cumsum(hits, 1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(1) / np.minimum(counts, hits.shape[1])


def accuracy(lists: np.ndarray, targets: Targets) -> dict[str, np.ndarray]:
    """recall, ndcg and map of each user, at k = the width of the lists."""
    hits, counts = targets.hits(lists), targets.counts
    return {"recall": recall(hits, counts), "ndcg": ndcg(hits, counts), "map": average_precision(hits, counts)}
