"""Gradient boosting on rolling point-in-time windows: what customers who looked like this did next, and the season.

The trees are not told the season: of a year or two they would see each time of year once, and take it for what they
like. How far the shop as a whole was off in each window is its level, and the level to come is foreseen from these.

LightGBM, because it is well kept, needs no more than NumPy and SciPy, has the losses of counts (Poisson) and of amounts
that are often nothing (Tweedie), and explains a row exactly (TreeSHAP).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from transforms.gold.value.features import Known, happened, know, matrix
from transforms.gold.value.ledger import Ledger
from transforms.gold.value.level import foresee_level

WINDOWS = 14  # how many cut-offs to learn from, at most: with the same time a year ago among them
STEP_DAYS = 30
LEAST_ROWS = 400
MOST_ROWS = 60_000
_YEAR = 365
_SHORTER = 4  # a horizon that has not come to pass is learned from one that fits so often into what is known
_SETTLED_DAYS = 180
PARAMETERS: Mapping[str, Any] = {
    "verbosity": -1,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # rows are few; on a busy machine threads would wait for each other at every tree
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
}
ROUNDS = 120
_ROWS_A_THREAD = 50_000


@dataclass(frozen=True)
class Examples:
    """Customers at several cut-offs, the earliest first, and what they did in the `horizon_days` after: orders and
    value; `ends`: where each cut-off's rows end."""

    horizon_days: int
    days: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    names: list[str]
    orders: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Learned:
    """Expected orders and value (in the models' unit) of `horizon_days`; `level`: what the season makes of each."""

    orders: lightgbm.Booster
    value: lightgbm.Booster
    unit: float
    horizon_days: int
    level: tuple[float, float]

    def foresee(self, known: Known) -> tuple[np.ndarray, np.ndarray]:
        """Of `horizon_days` in a season like those that were learned from, on average."""
        rows, _ = matrix(known)
        return predict(self.orders, rows), predict(self.value, rows) * self.unit

    def season(self, days: int) -> tuple[float, float]:
        """What to multiply the (orders, value) of so many days by: the level, and nothing over a year or more."""
        left = min(1.0, max(0.0, (_YEAR - days) / max(_YEAR - self.horizon_days, 1)))
        orders, value = (1.0 + left * (level - 1.0) for level in self.level)
        return orders, value


def cutoffs(ledger: Ledger, horizon_days: int) -> list[int]:
    """Days with `horizon_days` known after them, and two thirds of that before, the latest first."""
    latest = ledger.last_day - horizon_days
    return [
        day for day in range(latest, latest - WINDOWS * STEP_DAYS, -STEP_DAYS)
        if day - ledger.first_day >= horizon_days * 2 // 3
    ]  # fmt: skip


def examples(ledger: Ledger, horizon_days: int) -> Examples | None:
    """What there is to learn from; None when it is too little. At most MOST_ROWS, whole customers, every k-th id."""
    days = sorted(cutoffs(ledger, horizon_days))
    if not days:
        return None
    every = -(-len(ledger) * len(days) // MOST_ROWS)
    sampled = ledger if every <= 1 else ledger.take(np.arange(len(ledger)) % every == 0)
    known = [know(sampled, day) for day in days]
    ends = np.cumsum([len(each.who) for each in known])
    if ends[-1] < LEAST_ROWS:
        return None
    came = [happened(sampled, each.who, each.day, each.day + horizon_days) for each in known]
    orders, value = (np.concatenate([pair[i] for pair in came]) for i in (0, 1))
    rows = [matrix(each) for each in known]
    return Examples(horizon_days, np.array(days), ends, np.concatenate([r for r, _ in rows]), rows[0][1], orders, value)


def learn(ledger: Ledger, horizon_days: int) -> Learned | None:
    """A model of all that the ledger holds, or None where there is too little to learn from.

    Where the history is too short for the horizon, of a shorter one.
    """
    if not cutoffs(ledger, horizon_days):
        horizon_days = max(1, (ledger.last_day - ledger.first_day) // _SHORTER)
    found = examples(ledger, horizon_days)
    if found is None or found.orders.sum() == 0 or found.value.sum() == 0:
        return None
    unit = float(found.value.mean())  # keeps Tweedie's numbers near 1
    orders = boost(found.rows, found.orders, found.names, objective="poisson")
    value = boost(found.rows, found.value / unit, found.names, objective="tweedie", tweedie_variance_power=1.5)
    said = predict(orders, found.rows), predict(value, found.rows) * unit
    level = [_level(found, told, came, ledger) for told, came in zip(said, (found.orders, found.value), strict=True)]
    return Learned(orders, value, unit, horizon_days, (level[0], level[1]))


def _level(found: Examples, said: np.ndarray, came: np.ndarray, ledger: Ledger) -> float:
    """By how much all will be above what is said of them: see `foresee_level`; 1 before a year is known."""
    if found.days[0] > ledger.last_day - _YEAR:
        return 1.0
    starts = np.append(0, found.ends[:-1])
    sums = [np.maximum(np.add.reduceat(what, starts), 1e-9) for what in (came, said)]
    settled = ledger.first_day + _SETTLED_DAYS
    return float(
        np.exp(foresee_level(found.days, np.log(sums[0] / sums[1]), ledger.last_day, found.horizon_days, settled))
    )


def boost(
    rows: np.ndarray, target: np.ndarray, names: Iterable[str], rounds: int = ROUNDS, **parameters: Any
) -> lightgbm.Booster:
    """A booster of so many trees; the same rows give the same trees on any number of threads."""
    data = lightgbm.Dataset(rows, target, feature_name=list(names), free_raw_data=True)
    return lightgbm.train({**PARAMETERS, **parameters}, data, rounds)


def predict(booster: lightgbm.Booster, rows: np.ndarray, **options: Any) -> np.ndarray:
    """What the trees say of each row, on all cores where there are many rows."""
    threads = min(os.cpu_count() or 1, 1 + len(rows) // _ROWS_A_THREAD)
    return np.asarray(booster.predict(rows, num_threads=threads, **options))
