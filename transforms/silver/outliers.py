"""Statistical outliers, in two steps, so that a row's flag does not depend on the batch it came in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import Contract
from transforms.silver.flags import add_flags, without_flags
from transforms.silver.histogram import Histogram, number

_FAR_OUT = 3  # Tukey, Exploratory Data Analysis (1977), 2D: beyond 3 spreads from the hinges is "far out"
_HAIR = 1e-12  # a decimal as float64 is off by 2^-53 of itself
_ENOUGH = 100  # below this many values quartiles say little

OutlierSummary = Mapping[str, Histogram]
Range = tuple[tuple[str, str, Any], ...]  # conditions (column, operator, value), all of which hold

SUMMARY_SCHEMA = pa.schema(
    [
        pa.field("table_name", pa.string(), nullable=False),
        pa.field("column_name", pa.string(), nullable=False),
        pa.field("bronze_version", pa.int64(), nullable=False),
        pa.field("histogram_bins", pa.list_(pa.int64())),
        pa.field("histogram_counts", pa.list_(pa.int64())),
    ]
)
SUMMARY_KEY = ("table_name", "column_name", "bronze_version")


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


def flag_outliers(table: pa.Table, limits: Bounds, contract: Contract) -> pa.Table:
    """Flags "outlier:COLUMN" on rows beyond the bounds, and on no others; order and other columns stay."""
    bare = without_flags(table, [f"outlier:{name}" for name in contract.outliers])
    return add_flags(bare, {f"outlier:{name}": _magnitudes(table[name]) > most for name, most in limits.magnitudes})


def moved_ranges(before: Bounds, now: Bounds, schema: pa.Schema) -> list[Range]:
    """Conditions of which one holds for every row whose flag differs between two bounds, and for few others.

    Args:
      schema: the types of the columns (integers, decimals, floating point).
    """
    old, new, found = dict(before.magnitudes), dict(now.magnitudes), []
    for name in sorted({*old, *new}):
        low, high = sorted((old.get(name, math.inf), new.get(name, math.inf)))
        if low < high:
            found += _ranges(name, schema.field(name).type, low, high)
    return found


def _ranges(name: str, kind: pa.DataType, low: float, high: float) -> list[Range]:
    """The values of magnitude low to high, a hair more on both ends, for either sign."""
    least = _literal(low * (1 - _HAIR), kind, ROUND_FLOOR)
    if least is None:
        return []
    most = _literal(high * (1 + _HAIR), kind, ROUND_CEILING)
    above: Range = ((name, ">=", least),)
    below: Range = ((name, "<=", -least),)
    if most is not None:
        above, below = (*above, (name, "<=", most)), (*below, (name, ">=", -most))
    return [above, below]


def _literal(value: float, kind: pa.DataType, rounding: str) -> Any:
    """The number in the column's type, None if it is beyond all that the type can hold."""
    if pa.types.is_floating(kind) or not math.isfinite(value):
        return value if math.isfinite(value) else None
    scale, digits = (kind.scale, kind.precision) if pa.types.is_decimal(kind) else (0, None)
    unscaled = int((Decimal(value).scaleb(scale)).to_integral_value(rounding))
    if abs(unscaled) >= (2**63 if digits is None else 10**digits):
        return None
    return unscaled if digits is None else Decimal(unscaled).scaleb(-scale)


def summary_rows(summary: OutlierSummary, contract: Contract, bronze_version: int) -> pa.Table:
    """A summary as SUMMARY_SCHEMA: one row for each of the contract's `outliers` columns."""
    rows = []
    for name in contract.outliers:
        histogram = summary.get(name, Histogram())
        bins = {"histogram_bins": histogram.bins.tolist(), "histogram_counts": histogram.counts.tolist()}
        rows.append({"table_name": contract.name, "column_name": name, "bronze_version": bronze_version} | bins)
    return pa.Table.from_pylist(rows, schema=SUMMARY_SCHEMA)


def summary_of(rows: pa.Table) -> OutlierSummary:
    """The summary that `summary_rows` wrote; rows of one table and version."""
    return {
        row["column_name"]: Histogram(
            np.array(row["histogram_bins"], np.int64), np.array(row["histogram_counts"], np.int64)
        )
        for row in rows.to_pylist()
    }


def _magnitudes(column: pa.ChunkedArray) -> np.ndarray:
    """Absolute values as float64, NaN for null."""
    return np.abs(pl.Series(pl.from_arrow(column)).cast(pl.Float64).fill_null(float("nan")).to_numpy())
