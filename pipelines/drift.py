"""How a run's column profiles differ from those of the table's run before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from pipelines.config import Lake
from transforms.io.delta import append_rows, committed, open_table, read_table
from transforms.silver.drift import drift

_LOOK_BACK = 20  # runs in which no row was new have no profile
_Run = tuple[int, str]  # (version of the silver table it made, run id)


def record_drift(lake: Lake) -> int:
    """Appends the drift of every committed silver run that has none yet; gives the number of runs and tables.

    A profile counts if the run table says that its run committed; runs follow each other by the version of silver they
    made. The drift table's transactions say up to which version each table is done, so a run that died before its
    drift was made is made good by the next, and nothing is made twice.
    """
    if open_table(lake.profiles) is None or open_table(lake.runs) is None:
        return 0
    runs = _runs(lake)
    done = committed(lake.drift, map(_name, runs))
    found, until = [], {}
    for table, versions in runs.items():
        new = [run for run in versions if run[0] > done.get(_name(table), -1)]
        if new:
            until[_name(table)] = new[-1][0]
            found += list(_drifts(lake, table, versions, new))
    if found:
        append_rows(lake.drift, pa.concat_tables(found), tuple(until.items()))
    return len(found)


def _name(table: str) -> str:
    return f"drift/{table}"


def _runs(lake: Lake) -> dict[str, list[_Run]]:
    """The committed silver runs of each table that took up rows, first to last."""
    rows = read_table(
        lake.runs,
        columns=("table", "run_id", "output_version", "read", "rejected"),
        where=(("command", "=", "silver"), ("read", ">", 0), ("output_version", "not_null", None)),
    )
    runs: dict[str, list[_Run]] = {}
    for row in rows.to_pylist():
        if row["read"] > row["rejected"]:
            runs.setdefault(row["table"], []).append((row["output_version"], row["run_id"]))
    return {table: sorted(versions) for table, versions in sorted(runs.items())}


def _drifts(lake: Lake, table: str, versions: list[_Run], new: list[_Run]) -> Iterator[pa.Table]:
    """Compares each of the new runs with the last one before it that has a profile."""
    earlier = versions[: versions.index(new[0])]
    before = next(_profiles(lake, table, reversed(earlier[-_LOOK_BACK:])), None)
    for now in _profiles(lake, table, new):
        if before is not None:
            yield drift(before, now)
        before = now


def _profiles(lake: Lake, table: str, runs: Iterable[_Run]) -> Iterator[pa.Table]:
    for _, run_id in runs:
        profile = read_table(lake.profiles, where=(("run_id", "=", run_id), ("table_name", "=", table)))
        if profile.num_rows:
            yield profile
