"""What is in each column of a table, found in parts that merge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pyarrow as pa

from transforms.contracts import Contract
from transforms.silver.cardinality import Cardinality
from transforms.silver.distinct import as_array
from transforms.silver.histogram import Histogram
from transforms.silver.keys import column_hashes

_SHARES = {"p01": 0.01, "p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}
_SHOWN = 40  # characters of a value

PROFILE_SCHEMA = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("table_name", pa.string(), nullable=False),
        pa.field("column_name", pa.string(), nullable=False),
        pa.field("profiled_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("is_personal", pa.bool_(), nullable=False),
        pa.field("rows_count", pa.int64(), nullable=False),
        pa.field("nulls_count", pa.int64(), nullable=False),
        pa.field("distinct_count", pa.int64(), nullable=False),
        pa.field("distinct_is_exact", pa.bool_(), nullable=False),
        pa.field("min", pa.string()),
        pa.field("max", pa.string()),
        pa.field("mean", pa.float64()),
        *(pa.field(name, pa.float64()) for name in _SHARES),
        pa.field("top_values", pa.list_(pa.string())),
        pa.field("top_counts", pa.list_(pa.int64())),
        pa.field("histogram_bins", pa.list_(pa.int64())),
        pa.field("histogram_counts", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """One column, or a part of its rows.

    Attributes:
      scale: decimal places, for numbers; None for floating point and for what is no number.
      total: the exact sum of the numbers; None where there is no scale.
      values: rows for each value of an enumeration.
    """

    personal: bool
    rows: int
    nulls: int
    distinct: Cardinality
    low: Any = None
    high: Any = None
    scale: int | None = None
    total: Decimal | None = None
    histogram: Histogram = field(default_factory=Histogram)
    values: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class Profile:
    """The profiles of a table's columns, by name; those of its parts merge in any order to the same one."""

    rows: int = 0
    columns: Mapping[str, ColumnProfile] = field(default_factory=dict)

    @staticmethod
    def merge(parts: Iterable[Profile]) -> Profile:
        """The profile of all rows of all parts; a column that a part lacks is null in its rows."""
        parts = list(parts)
        names = sorted({name for part in parts for name in part.columns})
        return Profile(sum(part.rows for part in parts), {name: _merged(name, parts) for name in names})

    def to_table(self, run_id: str, table: str, at: datetime) -> pa.Table:
        """One row a column, by name, as PROFILE_SCHEMA.

        `mean` and the quantiles p01 to p99 are of numbers only; a quantile is the value of its rank to within half a
        percent (0.005 near zero), rounded to the column's decimal places. `distinct_count` is exact up to 2,048, then
        within 1.6 % (one standard error). Personal columns, keys, and columns no contract declares, have counts only.
        """
        of_run = {"run_id": run_id, "table_name": table, "profiled_at": at}
        rows = [of_run | {"column_name": name} | _facts(column) for name, column in sorted(self.columns.items())]
        return pa.Table.from_pylist(rows, schema=PROFILE_SCHEMA)


def profile(table: pa.Table, contract: Contract) -> Profile:
    """The profile of the business columns of some rows of a table; row order does not matter."""
    names = [name for name in table.column_names if not name.startswith("_")]
    return Profile(table.num_rows, {name: _profiled(name, as_array(table[name]), contract) for name in names})


def _profiled(name: str, values: pa.Array, contract: Contract) -> ColumnProfile:
    series = pl.Series(pl.from_arrow(values)).drop_nulls()
    distinct = series.unique()
    counts = (len(values), values.null_count, Cardinality.of(column_hashes(_arrow(distinct, values.type))))
    keys = {*contract.key, *(key.column for key in contract.foreign_keys)}
    if name not in contract or contract[name].personal or name in keys:  # an id may be somebody's e-mail address
        return ColumnProfile(True, *counts)
    column = contract[name]
    if pa.types.is_boolean(values.type) or column.allowed or column.standard in ("country", "currency"):
        named = series.value_counts()
        shown = (str(value).lower() if isinstance(value, bool) else value for value in named[:, 0])
        return ColumnProfile(False, *counts, values=Counter(dict(zip(shown, named[:, 1].to_list(), strict=True))))
    low, high = distinct.min(), distinct.max()
    if not series.dtype.is_numeric():
        return ColumnProfile(False, *counts, low, high)
    histogram = Histogram.of(series.cast(pl.Float64).to_numpy())
    if series.dtype.is_float():
        return ColumnProfile(False, *counts, low, high, histogram=histogram)
    scale = series.dtype.scale if isinstance(series.dtype, pl.Decimal) else 0
    total = series.cast(pl.Decimal(38, scale)).sum() if len(series) else Decimal(0)
    return ColumnProfile(False, *counts, low, high, scale, Decimal(str(total)), histogram)


def _arrow(series: pl.Series, kind: pa.DataType) -> pa.Array:
    return series.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(kind)


def _merged(name: str, parts: Sequence[Profile]) -> ColumnProfile:
    columns = [part.columns[name] for part in parts if name in part.columns]
    rows = sum(part.rows for part in parts)
    lows = [column.low for column in columns if column.low is not None]
    highs = [column.high for column in columns if column.high is not None]
    totals = [column.total for column in columns if column.total is not None]
    return ColumnProfile(
        personal=any(column.personal for column in columns),
        rows=rows,
        nulls=rows - sum(column.rows - column.nulls for column in columns),
        distinct=Cardinality.merge(column.distinct for column in columns),
        low=min(lows, default=None),
        high=max(highs, default=None),
        scale=next((column.scale for column in columns if column.scale is not None), None),
        total=sum(totals, Decimal(0)) if totals else None,
        histogram=Histogram.merge(column.histogram for column in columns),
        values=sum((column.values for column in columns), Counter()),
    )


def _facts(column: ColumnProfile) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "is_personal": column.personal,
        "rows_count": column.rows,
        "nulls_count": column.nulls,
        "distinct_count": min(column.distinct.count, column.rows - column.nulls),
        "distinct_is_exact": column.distinct.is_exact,
        "min": _shown(column.low),
        "max": _shown(column.high),
    }
    if column.values:
        top = sorted(column.values.items(), key=lambda item: (-item[1], item[0]))
        facts |= {"top_values": [value for value, _ in top], "top_counts": [count for _, count in top]}
    if column.histogram.total:
        low, high = float(column.low), float(column.high)
        places = [min(max(q, low), high) for q in column.histogram.quantiles(tuple(_SHARES.values()))]
        facts |= dict(zip(_SHARES, (_rounded(q, column.scale) for q in places), strict=True))
        facts["mean"] = _mean(column)
        facts["histogram_bins"] = column.histogram.bins.tolist()
        facts["histogram_counts"] = column.histogram.counts.tolist()
    return facts


def _mean(column: ColumnProfile) -> float:
    """Exact sums where numbers are exact; for floating point that of the histogram, which no order changes."""
    if column.total is None:
        return column.histogram.mean
    return float(Fraction(column.total) / (column.rows - column.nulls))


def _rounded(value: float, scale: int | None) -> float:
    return value if scale is None else round(value, scale)


def _shown(value: Any) -> str | None:
    return None if value is None else (value.isoformat() if hasattr(value, "isoformat") else str(value))[:_SHOWN]
