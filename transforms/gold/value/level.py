"""From scores to probabilities: how steep they are, and how likely the thing is at all in the time to come.

How many churn in a quarter moves with the season, by far more than a calibration may be off, and the latest window
whose outcome is known is as old as the horizon is long. So each known window gets its own level, and the level to come
is foreseen from these.

Source: Platt, "Probabilistic outputs for support vector machines", 1999, for the two numbers of a calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit

from transforms.gold.value.features import YEAR_DAYS

_FARTHEST = 100.0  # of a level from 0, in log odds
_YEAR = 365


@dataclass(frozen=True)
class Window:
    """What was scored at the end of `day`: `odds`, and the `outcome` (1.0 or 0.0) in the horizon after it."""

    day: int
    odds: np.ndarray
    outcome: np.ndarray


def calibrate(windows: list[Window], day: int, horizon_days: int, settled_day: int) -> tuple[float, float]:
    """(slope, offset): expit(slope * odds + offset) is a probability for the horizon after `day`.

    Args:
      windows: at least one.
      settled_day: from here on windows can be compared with those a year later; before, too few were known.
    """
    slope, _ = platt(
        *(np.concatenate(several) for several in zip(*((w.odds, w.outcome) for w in windows), strict=True))
    )
    ordered = sorted(windows, key=lambda window: window.day)
    days = np.array([window.day for window in ordered])
    levels = np.array([_level(window, slope) for window in ordered])
    return slope, foresee_level(days, levels, day, horizon_days, settled_day)


def foresee_level(days: np.ndarray, levels: np.ndarray, day: int, horizon_days: int, settled_day: int) -> float:
    """The level of the horizon after `day`.

    Where the windows reach a year back: that of the same time a year ago, moved by what other windows moved since
    theirs. Else between the mean of all windows and the latest: of a yearly season what is known now stays true for
    the horizon as far as its cosine says, for a quarter not at all.
    """
    if days[0] <= day - _YEAR:
        paired = days[days - _YEAR >= max(int(days[0]), settled_day)]
        moved = np.interp(paired, days, levels) - np.interp(paired - _YEAR, days, levels)
        return float(np.interp(day - _YEAR, days, levels) + (moved.mean() if len(moved) else 0.0))
    kept = max(0.0, float(np.cos(2 * np.pi * min(horizon_days, YEAR_DAYS / 4) / YEAR_DAYS)))
    return float(kept * levels[-1] + (1.0 - kept) * levels.mean())


def _level(window: Window, slope: float) -> float:
    """The offset at which as many are expected as there were; at most one customer away from none and from all."""
    least = 0.5 / len(window.odds)
    share = min(max(float(window.outcome.mean()), least), 1.0 - least)
    return float(brentq(lambda offset: expit(slope * window.odds + offset).mean() - share, -_FARTHEST, _FARTHEST))


def platt(odds: np.ndarray, outcome: np.ndarray) -> tuple[float, float]:
    """(slope, offset) of greatest likelihood of `outcome` under expit(slope * odds + offset); slope at least 0.05."""

    def cost(p: np.ndarray) -> tuple[float, np.ndarray]:
        z = p[0] * odds + p[1]
        wrong = expit(z) - outcome
        return float(np.mean(np.logaddexp(0, z) - outcome * z)), np.array([np.mean(wrong * odds), np.mean(wrong)])

    found = minimize(
        cost, np.array([1.0, 0.0]), jac=True, method="SLSQP", bounds=[(0.05, 20.0), (-20.0, 20.0)], tol=1e-10
    )
    return float(found.x[0]), float(found.x[1])
