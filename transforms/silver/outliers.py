"""Statistical outliers, in two steps, so that a row's flag does not depend on the batch it came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import Contract
from transforms.silver.flags import add_flags
from transforms.silver.histogram import Histogram, number

_FAR_OUT = 3  # Tukey, Exploratory Data Analysis (1977), 2D: beyond 3 spreads from the hinges is "far out"
_ENOUGH = 100  # below this many values quartiles say little

OutlierSummary = Mapping[str, Histogram]


@dataclass(frozen=True)
class Bounds:
    """The greatest magnitude of each column's values, in their unit; a column that is not named is not judged."""

    magnitudes: tuple[tuple[str, float], ...] = ()


def summarise_outliers(table: pa.Table, contract: Contract) -> OutlierSummary:
    """The distribution of magnitudes of the contract's `outliers` columns, mergeable in any order."""
    return {name: Histogram.of(_magnitudes(table[name])) for name in contract.outliers}


def merge_summaries(parts: Iterable[OutlierSummary]) -> OutlierSummary:
    """The summary of all rows of all parts."""
    parts = list(parts)
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: Histogram.merge(part[name] for part in parts if name in part) for name in names}


def bounds(summaries: Iterable[OutlierSummary]) -> Bounds:
    """The upper outer fence Q3 + 3 (Q3 - Q1) of asinh|x|, turned back into a magnitude.

    Amounts, quantities and durations are skewed: on the logarithmic asinh scale their fences are fair. Magnitudes,
    since a return is the mirror of a purchase and small values are not odd. A column with fewer than 100 values, or
    whose quartiles coincide, has no bound.
    """
    found = []
    for name, histogram in sorted(merge_summaries(summaries).items()):
        if histogram.total >= _ENOUGH:
            lower, upper = histogram.quantile_bins((0.25, 0.75))
            if upper > lower:
                found.append((name, number(upper + _FAR_OUT * (upper - lower))))
    return Bounds(tuple(found))


def flag_outliers(table: pa.Table, limits: Bounds) -> pa.Table:
    """Adds the flag "outlier:COLUMN" to rows beyond the bounds; order and other columns stay."""
    return add_flags(table, {f"outlier:{name}": _magnitudes(table[name]) > most for name, most in limits.magnitudes})


def _magnitudes(column: pa.ChunkedArray) -> np.ndarray:
    """Absolute values as float64, NaN for null."""
    return np.abs(pl.Series(pl.from_arrow(column)).cast(pl.Float64).fill_null(float("nan")).to_numpy())
