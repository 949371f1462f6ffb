"""Whether something grows: its slope over an hour, by a method that single odd samples do not move."""

from __future__ import annotations

import numpy as np
from scipy.stats import theilslopes


def growth_an_hour(seconds: np.ndarray, values: np.ndarray) -> float:
    """How much `values` grow in an hour, as a share of their median; below 0 where they shrink.

    The median of the slopes between all pairs of samples (Theil 1950, Sen 1968): up to 29 % of the samples may be
    anything, such as a garbage collector's peaks, a compaction, or a minute in which the machine was busy elsewhere.
    """
    known = np.isfinite(values)
    if known.sum() < 3:
        return float("nan")
    return float(theilslopes(values[known], seconds[known]).slope * 3600 / np.median(values[known]))
