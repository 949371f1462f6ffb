"""What the person takes again: own most frequent items, and those whose time has come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.candidates.source import user_matrix
from recsys.interactions import Histories, Log


@dataclass(frozen=True)
class OwnMostFrequent:
    """How often the person took an item, the more popular of two first."""

    name: str = "own most frequent"

    def fit(self, log: Log) -> FittedOwn:
        counts = np.asarray(user_matrix(log).sum(0), np.float32).ravel()
        return FittedOwn(counts / (counts.max(initial=0) + 1))


@dataclass(frozen=True)
class FittedOwn:
    tie: np.ndarray

    def score(self, histories: Histories) -> np.ndarray:
        own = histories.matrix(np.ones(len(histories.items))).toarray()
        return np.where(own > 0, own, np.float32(-1)) + self.tie * np.float32(1e-3)  # what is not own is no candidate


@dataclass(frozen=True)
class RepeatDue:
    """Own items by how often they were taken, less the longer they are overdue or not due yet.

    The usual gap of an item is the median over all who took it again, mixed with the person's own mean gap; an item
    taken x gaps ago counts (times taken) * x * exp(1 - x), which is largest at one gap.
    """

    prior_gaps: float = 2.0
    name: str = "repeat due"

    def fit(self, log: Log) -> FittedDue:
        order = np.lexsort((log.seconds, log.items, log.users))
        users, items, seconds = log.users[order], log.items[order], log.seconds[order]
        again = (users[1:] == users[:-1]) & (items[1:] == items[:-1]) & (seconds[1:] > seconds[:-1])
        gaps = (seconds[1:] - seconds[:-1])[again] / 86_400.0
        usual = float(np.median(gaps)) if len(gaps) else 30.0
        sums = np.bincount(items[1:][again], gaps, len(log.item_ids))
        counts = np.bincount(items[1:][again], minlength=len(log.item_ids))
        return FittedDue(((sums + 5 * usual) / (counts + 5)).astype(np.float32), self.prior_gaps)


@dataclass(frozen=True)
class FittedDue:
    """`gap_days`: how long after it was taken each item is usually taken again."""

    gap_days: np.ndarray
    prior_gaps: float

    def score(self, histories: Histories) -> np.ndarray:
        ages = histories.ages_days
        times = histories.matrix(np.ones(len(ages))).tocoo()
        shape = (len(histories), histories.item_count)
        first, last = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32)
        np.maximum.at(first, (histories.owners, histories.items), ages)
        np.minimum.at(last, (histories.owners, histories.items), ages)
        row, col, count = times.row, times.col, times.data
        own = (first[row, col] - last[row, col]) + self.prior_gaps * self.gap_days[col]
        due = last[row, col] / np.maximum(own / (count - 1 + self.prior_gaps), 0.1)
        scores = np.zeros(shape, np.float32)
        scores[row, col] = count * np.maximum(due, 0.05) * np.exp(1 - np.maximum(due, 0.05))
        return scores
