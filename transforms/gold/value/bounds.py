"""How far off a forecast may be: what came, in the holdout, of customers who had been foreseen alike.

Split conformal prediction in bins of the forecast; see Lei et al., "Distribution-free predictive inference for
regression", Journal of the American Statistical Association 113, 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.8  # of customers whose outcome lies within the bounds
_BINS, _LEAST = 20, 50


@dataclass(frozen=True)
class Bounds:
    """Bounds by the size of the forecast: `centre` (increasing) of each bin, with its `low` and `high`."""

    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def of(self, foreseen: np.ndarray, stretch: np.ndarray | float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) around `foreseen`; both scaled by `stretch`, of a forecast that was stretched by it.

        Beyond the largest bin the bounds keep their ratio to the forecast. A forecast lies within its bounds.
        """
        base = foreseen / np.maximum(stretch, 1e-12)
        beyond = np.maximum(base / max(self.centre[-1], 1e-12), 1.0)
        low = np.interp(base, self.centre, self.low) * beyond * stretch
        high = np.interp(base, self.centre, self.high) * beyond * stretch
        return np.minimum(low, foreseen), np.maximum(high, foreseen)


def learn_bounds(foreseen: np.ndarray, came: np.ndarray) -> Bounds | None:
    """Bounds from a holdout, or None with fewer than 50 customers. Bins hold equally many; bounds never fall."""
    bins = min(_BINS, len(foreseen) // _LEAST)
    if bins < 1:
        return None
    parts = np.array_split(np.argsort(foreseen, kind="stable"), bins)
    tail = (1.0 - LEVEL) / 2.0
    centre, low, high = (
        np.array([of(part) for part in parts])
        for of in (
            lambda part: foreseen[part].mean(),
            lambda part: np.quantile(came[part], tail, method="lower"),
            lambda part: np.quantile(came[part], 1.0 - tail, method="higher"),
        )
    )
    return Bounds(centre, np.maximum.accumulate(low), np.maximum.accumulate(high))
