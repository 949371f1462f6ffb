"""Facts about the lake itself: runs, tables, rejects, quality, profiles, drift."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.config import Lake
from pipelines.gold import CUSTOMER_360
from pipelines.report.shop import frames
from transforms.contracts import CONTRACTS
from transforms.io.delta import open_table, read_table

COUNTED = ("read", "accepted", "rejected", "duplicates", "conflicts")
BANDS = (0.0, 0.5, 0.7, 0.8, 0.9, 1.0)  # lower bounds of quality scores; the last band is exactly 1
_LAYERS = pa.schema([("layer", pa.string()), ("table", pa.string()), ("rows", pa.int64()), ("version", pa.int64())])


def gather(lake: Lake) -> dict[str, Any]:
    """runs, layers, rejects, quality, profiles, drift, as_of."""
    runs = _rows(lake.runs, ("run_id", "command", "table", "started_at", "inputs", "output_version", *COUNTED))
    runs = None if runs is None else runs.sort("started_at", "command", "table")
    return {
        "runs": None if runs is None else runs.to_arrow(),
        "as_of": _as_of(runs),
        "layers": _layers(lake),
        "rejects": _rejects(lake),
        "quality": _quality(lake),
        "profiles": _latest(_rows(lake.profiles), "profiled_at"),
        "drift": _latest_drift(_rows(lake.drift), runs),
    }


def _rows(uri: str, columns: tuple[str, ...] | None = None) -> pl.DataFrame | None:
    return None if open_table(uri) is None else pl.DataFrame(read_table(uri, columns=columns))


def _as_of(runs: pl.DataFrame | None) -> datetime | None:
    """The day of reference that the latest gold run names among its inputs."""
    if runs is None:
        return None
    for inputs in reversed(runs.filter(pl.col("table") == CUSTOMER_360)["inputs"].to_list()):
        for name in inputs or ():
            if name.startswith("as_of@"):
                return datetime.fromisoformat(name.removeprefix("as_of@"))
    return None


def _layers(lake: Lake) -> pa.Table:
    places = [(layer, c.name, getattr(lake, layer)(c)) for layer in ("bronze", "silver") for c in CONTRACTS.values()]
    found = []
    for layer, name, uri in [*places, ("gold", CUSTOMER_360, lake.gold(CUSTOMER_360))]:
        table = open_table(uri)
        if table is not None:
            found.append({"layer": layer, "table": name, "rows": table.count(), "version": table.version()})
    return pa.Table.from_pylist(found, _LAYERS)


def _rejects(lake: Lake) -> pa.Table | None:
    rows = _rows(lake.rejects, ("table", "stage", "rule", "status"))
    if rows is None:
        return None
    counted = rows.group_by("table", "stage", "rule", "status").agg(pl.len().cast(pl.Int64).alias("rows"))
    return counted.sort("rows", "table", "stage", "rule", "status", descending=[True, *[False] * 4]).to_arrow()


def _quality(lake: Lake) -> pa.Table:
    """Bronze rows of each table by band of their quality score."""
    band = pl.lit(-1)
    for index, low in enumerate(BANDS):
        band = pl.when(pl.col("_quality_score") >= low).then(pl.lit(index)).otherwise(band)
    parts = []
    for contract in CONTRACTS.values():
        for rows in frames(lake.bronze(contract), ("_quality_score",)):
            counts = (
                rows.drop_nulls().group_by(band.cast(pl.Int64).alias("band")).agg(pl.len().cast(pl.Int64).alias("rows"))
            )
            parts.append(counts.select(pl.lit(contract.name).alias("table"), "band", "rows"))
    if not parts:
        return pa.table(
            {"table": pa.array([], pa.string()), "band": pa.array([], pa.int64()), "rows": pa.array([], pa.int64())}
        )
    return pl.concat(parts).group_by("table", "band").agg(pl.col("rows").sum()).sort("table", "band").to_arrow()


def _latest(profiles: pl.DataFrame | None, time: str) -> pa.Table | None:
    """The rows of the latest run of each table, by table and column."""
    if profiles is None:
        return None
    newest = profiles.filter(pl.col(time) == pl.col(time).max().over("table_name"))
    return newest.sort("table_name", "column_name").to_arrow()


def _latest_drift(drift: pl.DataFrame | None, runs: pl.DataFrame | None) -> pa.Table | None:
    """The comparison of the latest run that each table was part of."""
    if drift is None or runs is None:
        return None
    starts = runs.group_by("run_id").agg(pl.col("started_at").min())
    return _latest(drift.join(starts, on="run_id", how="inner"), "started_at")
