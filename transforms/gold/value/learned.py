"""Gradient boosting on rolling point-in-time windows: what customers who looked like this did next.

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

WINDOWS = 8  # how many cut-offs to learn from, at most
STEP_DAYS = 30
LEAST_ROWS = 400
MOST_ROWS = 60_000
_YEAR = 365
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
    """Customers at several cut-offs, and what they did in the `horizon_days` after: orders and value."""

    rows: np.ndarray
    names: list[str]
    orders: np.ndarray
    value: np.ndarray
    season: bool


@dataclass(frozen=True)
class Learned:
    """Expected orders and value (in the models' unit) of `horizon_days`."""

    orders: lightgbm.Booster
    value: lightgbm.Booster
    unit: float
    season: bool
    horizon_days: int

    def foresee(self, known: Known) -> tuple[np.ndarray, np.ndarray]:
        rows, _ = matrix(known, self.season, self.horizon_days)
        return predict(self.orders, rows), predict(self.value, rows) * self.unit


def cutoffs(ledger: Ledger, horizon_days: int) -> list[int]:
    """Days with `horizon_days` known before and after them, the latest first."""
    latest = ledger.last_day - horizon_days
    return [
        day for day in range(latest, latest - WINDOWS * STEP_DAYS, -STEP_DAYS)
        if day - ledger.first_day >= horizon_days * 2 // 3
    ]  # fmt: skip


def examples(ledger: Ledger, horizon_days: int) -> Examples | None:
    """What there is to learn from; None when it is too little. At most MOST_ROWS, whole customers, every k-th id.

    The season of a window is told only when the cut-offs span a year: trees cannot tell a season they have not seen.
    """
    days = cutoffs(ledger, horizon_days)
    if not days:
        return None
    season = days[0] - days[-1] >= _YEAR - STEP_DAYS
    every = -(-len(ledger) * len(days) // MOST_ROWS)
    sampled = ledger if every <= 1 else ledger.take(np.arange(len(ledger)) % every == 0)
    parts = [_window(sampled, day, horizon_days, season) for day in days]
    rows = np.concatenate([part[0] for part in parts])
    if len(rows) < LEAST_ROWS:
        return None
    orders, value = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
    return Examples(rows, parts[0][1], orders, value, season)


def _window(ledger: Ledger, day: int, horizon_days: int, season: bool) -> tuple[Any, ...]:
    known = know(ledger, day)
    return *matrix(known, season, horizon_days), *happened(ledger, known.who, day, day + horizon_days)


def learn(ledger: Ledger, horizon_days: int) -> Learned | None:
    """A model of all that the ledger holds, or None where there is too little to learn from."""
    found = examples(ledger, horizon_days)
    if found is None or found.orders.sum() == 0 or found.value.sum() == 0:
        return None
    unit = float(found.value.mean())  # keeps Tweedie's numbers near 1
    orders = boost(found.rows, found.orders, found.names, objective="poisson")
    value = boost(found.rows, found.value / unit, found.names, objective="tweedie", tweedie_variance_power=1.5)
    return Learned(orders, value, unit, found.season, horizon_days)


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
