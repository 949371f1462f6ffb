"""The least cost of a few parameters: searched for on a part of the data, then few steps on the whole.

The whole is asked for its gradient a handful of times only: the part's curvature, which is nearly the whole's, makes
each step a Newton step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

Cost = Callable[[np.ndarray], tuple[float, np.ndarray]]  # mean over customers, and its gradient
_STEPS, _NUDGE = 12, 1e-4
_FLAT = 1e-8  # of the gradient


@dataclass(frozen=True)
class Found:
    """Where the cost is least; `asked`: how often the whole was."""

    at: np.ndarray
    cost: float
    converged: bool
    asked: int


def climb(
    cost: Cost, starts: Sequence[Sequence[float]], bounds: tuple[float, float], part: Cost | None = None
) -> Found:
    """The best of `starts`, each given as the parameters themselves, followed by the cost of `part` if there is one.

    The search is over logarithms, within `bounds`. Where the part has no curvature to lean on (a parameter at its
    bound, or a flat valley), the whole is searched as the part was.
    """
    if part is None:
        return _search(cost, [np.log(start) for start in starts], bounds)
    near = _search(part, [np.log(start) for start in starts], bounds)
    found = _newton(cost, near.at, _curvature(part, near.at), bounds)
    return found if found is not None else _search(cost, [near.at], bounds)


def _search(cost: Cost, starts: list[np.ndarray], bounds: tuple[float, float]) -> Found:
    """By SLSQP: SciPy's L-BFGS-B wakes all threads of BLAS for each step, at 30 times the cost on a busy machine."""
    found, asked = [], 0
    for start in starts:
        options = {"maxiter": 500, "ftol": 1e-14}
        result = minimize(cost, start, jac=True, method="SLSQP", bounds=[bounds] * len(start), options=options)
        asked += int(result.nfev)
        found.append(Found(result.x, float(result.fun), bool(result.success), asked))
    best = min(found, key=lambda one: one.cost)
    return Found(best.at, best.cost, best.converged, asked)


def _curvature(cost: Cost, at: np.ndarray) -> np.ndarray:
    """The second derivatives, by central differences of the exact gradient."""
    columns = []
    for i in range(len(at)):
        step = np.zeros(len(at))
        step[i] = _NUDGE
        columns.append((cost(at + step)[1] - cost(at - step)[1]) / (2 * _NUDGE))
    whole = np.array(columns)
    return (whole + whole.T) / 2


def _newton(cost: Cost, at: np.ndarray, curvature: np.ndarray, bounds: tuple[float, float]) -> Found | None:
    """Steps with one curvature for all, halved where they would not lower the cost; None where that leads nowhere."""
    if np.linalg.eigvalsh(curvature)[0] <= 1e-9:
        return None
    value, slope = cost(at)
    for asked in range(1, _STEPS + 1):
        if np.abs(slope).max() < _FLAT:
            return Found(at, value, True, asked)
        step = -np.linalg.solve(curvature, slope)
        if np.abs(step).max() > 1.0 or not np.all((at + step > bounds[0]) & (at + step < bounds[1])):
            return None
        next_value, next_slope = cost(at + step)
        if next_value > value + 1e-12 * abs(value):
            curvature = curvature * 2.0
            continue
        at, value, slope = at + step, next_value, next_slope
    return None
