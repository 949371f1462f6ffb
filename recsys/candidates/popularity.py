"""The same for everyone: what most people took, ever or lately."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.candidates.source import user_matrix
from recsys.interactions import Histories, Log

_MOST_STEPS = 400  # of the clock of `Trend`


@dataclass(frozen=True)
class Popularity:
    """By how many users an item was taken."""

    name: str = "popularity"

    def fit(self, log: Log) -> FittedPopularity:
        return FittedPopularity(np.asarray(user_matrix(log).sum(0), np.float32).ravel())


@dataclass(frozen=True)
class FittedPopularity:
    users: np.ndarray

    def score(self, histories: Histories) -> np.ndarray:
        return np.tile(self.users, (len(histories), 1))


@dataclass(frozen=True)
class Trending:
    """By what was taken lately before the moment of asking; an event counts half after `half_life_days`."""

    half_life_days: float = 14.0
    name: str = "trending"

    def fit(self, log: Log) -> Trend:
        first, last = log.seconds.min(initial=0), log.seconds.max(initial=0)
        first = log.seconds.min() if len(log) else last
        step = max(86_400, int(np.ceil((last - first + 1) / _MOST_STEPS)))
        at = (log.seconds - first) // step
        steps = int(at.max(initial=0)) + 1
        sums = np.zeros((steps + 1, len(log.item_ids)), np.float32)  # row s: what was before step s
        np.add.at(sums, (at + 1, log.items), log.weights)
        decay = np.float32(0.5 ** (step / 86_400 / self.half_life_days))
        for row in range(1, steps + 1):
            sums[row] += decay * sums[row - 1]
        return Trend(int(first), step, decay, sums)


@dataclass(frozen=True)
class Trend:
    """`sums[s]`: decayed weight of each item from all steps before s, which begins at first + s * step seconds."""

    first: int
    step: int
    decay: np.float32
    sums: np.ndarray

    def score(self, histories: Histories) -> np.ndarray:
        """What of it is from the step of the moment itself is not counted; later than the log, all has decayed."""
        at = np.maximum((histories.now - self.first) // self.step, 0)
        row = np.minimum(at, len(self.sums) - 1)
        return self.sums[row] * (self.decay ** (at - row).astype(np.float32))[:, None]
