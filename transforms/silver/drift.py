"""How far a table's columns have moved since the run before."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

MODERATE, MAJOR = 0.1, 0.25  # Siddiqi, Credit Risk Scorecards (2006): below 0.1 no change, above 0.25 a major shift
_GROUPS = 10
_EXPECTED = 5  # rows; a value is missed, or new, only when so many of it were to be expected
_CHI2_Z = 2.326  # the 99 % quantile of the normal distribution

DRIFT_SCHEMA = pa.schema(
    [
        pa.field("table_name", pa.string(), nullable=False),
        pa.field("column_name", pa.string(), nullable=False),
        pa.field("previous_run_id", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("previous_rows_count", pa.int64()),
        pa.field("rows_count", pa.int64()),
        pa.field("previous_null_share", pa.float64()),
        pa.field("null_share", pa.float64()),
        pa.field("null_psi", pa.float64()),
        pa.field("value_psi", pa.float64()),
        pa.field("new_values", pa.list_(pa.string())),
        pa.field("missing_values", pa.list_(pa.string())),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)

Row = dict[str, Any]


def drift(previous: pa.Table, current: pa.Table) -> pa.Table:
    """Compares two profiles (PROFILE_SCHEMA) of the same tables; one row a column of either, as DRIFT_SCHEMA.

    `null_psi` and `value_psi` are population stability indices, sum((p - q) ln(p / q)), over {null, not null} and over
    the values of an enumeration or ten groups of equal size of the previous numbers, half a row added to each group.
    An index counts only beyond what chance alone gives: under no change PSI / (1/n + 1/m) follows chi-square with
    groups - 1 degrees of freedom (Yurdakul and Naranjo 2020), and the 99 % quantile is taken. `verdict` is "stable",
    "moderate" from 0.1 or when values of an enumeration come or go, "major" from 0.25; "new" and "gone" for columns
    that only one profile has. Rows are sorted by table and column.
    """
    before, now = _by_column(previous), _by_column(current)
    rows = [_compared(before.get(key), now.get(key)) for key in sorted({*before, *now})]
    return pa.Table.from_pylist(rows, schema=DRIFT_SCHEMA)


def psi(before: np.ndarray, now: np.ndarray) -> float:
    """The population stability index of two lists of counts over the same groups, half a row added to each."""
    p = (now + 0.5) / (now.sum() + 0.5 * now.size)
    q = (before + 0.5) / (before.sum() + 0.5 * before.size)
    return float(((p - q) * np.log(p / q)).sum())


def _by_column(profiles: pa.Table) -> dict[tuple[str, str], Row]:
    return {(row["table_name"], row["column_name"]): row for row in profiles.to_pylist()}


def _compared(before: Row | None, now: Row | None) -> Row:
    if before is None or now is None:
        row, verdict = (now or before or {}), "gone" if now is None else "new"
        side = _side("previous_", before) | _side("", now)
        return side | _names(row) | {"verdict": verdict, "reason": f"the column is {verdict}"}
    nulls = [np.array([row["nulls_count"], row["rows_count"] - row["nulls_count"]]) for row in (before, now)]
    indices = {"null_psi": (psi(*nulls), _noise(*nulls))} if before["rows_count"] and now["rows_count"] else {}
    counts = _aligned(before, now)
    if counts:
        indices["value_psi"] = (psi(*counts), _noise(*counts))
    new, missing, telling = _values_changed(before, now)
    verdict, reason = _verdict(indices, telling)
    return (
        _side("previous_", before)
        | _side("", now)
        | _names(now)
        | {name: value for name, (value, _) in indices.items()}
        | {"new_values": new, "missing_values": missing, "verdict": verdict, "reason": reason}
    )


def _names(row: Row) -> Row:
    return {name: row[name] for name in ("table_name", "column_name")}


def _side(prefix: str, row: Row | None) -> Row:
    if row is None:
        return {}
    share = row["nulls_count"] / row["rows_count"] if row["rows_count"] else None
    return {prefix + "run_id": row["run_id"], prefix + "rows_count": row["rows_count"], prefix + "null_share": share}


def _aligned(before: Row, now: Row) -> list[np.ndarray]:
    """The counts of both in the same groups; none where one of them has no values to count."""
    if before["top_values"] and now["top_values"]:
        sides = [_values(row) for row in (before, now)]
        return [np.array([side.get(value, 0) for value in sorted({*sides[0], *sides[1]})]) for side in sides]
    if not (before["histogram_bins"] and now["histogram_bins"]):
        return []
    bins, counts = np.array(before["histogram_bins"]), np.cumsum(before["histogram_counts"])
    ranks = counts[-1] * np.arange(1, _GROUPS) / _GROUPS
    edges = np.unique(bins[np.searchsorted(counts, ranks)])
    return [
        np.bincount(np.searchsorted(edges, row["histogram_bins"]), row["histogram_counts"], edges.size + 1)
        for row in (before, now)
    ]


def _values(row: Row) -> dict[str, int]:
    return dict(zip(row["top_values"] or (), row["top_counts"] or (), strict=True))


def _noise(before: np.ndarray, now: np.ndarray) -> float:
    """What an index stays below in 99 of 100 cases without a change; the quantile as Wilson and Hilferty (1931)."""
    freedom = max(before.size - 1, 1)
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + _CHI2_Z * math.sqrt(spread)) ** 3 * (1 / before.sum() + 1 / now.sum())


def _values_changed(before: Row, now: Row) -> tuple[list[str], list[str], bool]:
    """Values that came, values that went, and whether that is more than chance."""
    old, new = _values(before), _values(now)
    if not (old and new):
        return [], [], False
    came, went = sorted({*new} - {*old}), sorted({*old} - {*new})
    old_rows, new_rows = sum(old.values()), sum(new.values())
    telling = [new[value] / new_rows * old_rows for value in came] + [
        old[value] / old_rows * new_rows for value in went
    ]
    return came, went, any(expected >= _EXPECTED for expected in telling)


def _verdict(indices: dict[str, tuple[float, float]], values_changed: bool) -> tuple[str, str]:
    words = {"null_psi": "share of nulls", "value_psi": "values"}
    for limit, verdict in ((MAJOR, "major"), (MODERATE, "moderate")):
        moved = [words[name] for name, (value, noise) in indices.items() if value >= limit and value > noise]
        if moved:
            return verdict, " and ".join(moved) + " moved"
    return ("moderate", "values came or went") if values_changed else ("stable", "")
