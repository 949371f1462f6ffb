"""What a source of candidates is, and the best of its scores."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from recsys.interactions import Histories, Log

NEVER = np.float32(-1e30)  # the score of an item that must not be shown


class Scorer(Protocol):
    """Something learnt that scores every item for what people took, without knowing who they are."""

    def score(self, histories: Histories) -> np.ndarray:
        """float32 [histories, items], higher is better; 0 or less says nothing for the item."""
        ...


class Source(Protocol):
    """How a scorer is learnt; a frozen dataclass of settings."""

    @property
    def name(self) -> str: ...

    def fit(self, log: Log) -> Scorer: ...


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """The codes of the k best items of each row, best first, -1 for NEVER; ties go to the lower code."""
    k = min(k, scores.shape[1])
    last = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    above, tied = scores > last, scores == last
    chosen = above | (tied & (np.cumsum(tied, 1) <= k - above.sum(1, keepdims=True)))
    some = np.nonzero(chosen)[1].reshape(len(scores), k)
    values = np.take_along_axis(scores, some, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    shown = np.take_along_axis(some, order, 1)
    return np.where(np.take_along_axis(values, order, 1) > NEVER / 2, shown, -1)


def without_taken(scores: np.ndarray, histories: Histories) -> np.ndarray:
    """The scores, NEVER for what is in the history."""
    made = scores.astype(np.float32, copy=True)
    made[histories.owners, histories.items] = NEVER
    return made


def user_matrix(log: Log, values: np.ndarray | None = None):  # type: ignore[no-untyped-def]
    """Users by items of a whole log; see `Histories.matrix`."""
    return log.histories(np.arange(len(log.user_ids))).matrix(values)
