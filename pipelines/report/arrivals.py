"""Facts about what streams brought in: how long each row took from the hub to bronze, and how many came when."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl

from pipelines.config import Lake
from transforms.contracts import CONTRACTS
from transforms.contracts.schema import Arrival
from transforms.io.delta import open_table, read_table
from transforms.io.delta_notes import Note, read_notes

COMMITS = 1_000  # the newest of each table: what is looked at stays small however long a stream has run
EDGES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 30.0, 60.0, math.inf)
SHARES = {"p50_seconds": 0.5, "p90_seconds": 0.9, "p99_seconds": 0.99}
COMMIT = pl.Schema({"log": pl.String, "position": pl.Int64, "readable_us": pl.Int64})
ARRIVAL = pl.Schema({"log": pl.String, "position": pl.Int64, "arrived_us": pl.Int64, "readable_us": pl.Int64})
_POINTS = 120
_SECOND_US = 1_000_000


def gather(lake: Lake) -> dict[str, Any]:
    """`stream`, `stream_delays`, `stream_rate` of `ReportFacts`; nothing where no stream has written."""
    uris = [lake.bronze(c) for c in CONTRACTS.values() if c.arrival is Arrival.STREAM]
    rows = pl.concat([pl.DataFrame(schema=ARRIVAL), *(_of_table(uri) for uri in uris)])
    if not rows.height:
        return {}
    totals = {"rows": rows.height, "rejected": _rejected(lake, rows["log"].unique().to_list())}
    for name, uri in (("sessions", lake.live_sessions), ("late", lake.late)):
        table = open_table(uri)
        totals[name] = 0 if table is None else table.count()
    return {
        "stream": totals | quantiles(rows),
        "stream_delays": histogram(rows).to_arrow(),
        "stream_rate": rate(rows).to_arrow(),
    }


def _of_table(uri: str) -> pl.DataFrame:
    """ARRIVAL of the rows that the newest commits brought."""
    table = open_table(uri)
    if table is None:
        return pl.DataFrame(schema=ARRIVAL)
    after = max(-1, table.version() - COMMITS)
    commits = commits_of(read_notes(table, uri, after))
    parts = [pl.DataFrame(schema=ARRIVAL)]
    for log, first in commits.group_by("log").agg(pl.col("position").min()).sort("log").iter_rows():
        low = 0 if after < 0 else first + 1  # what the first commit we look at began with, it does not say
        where = (("_file", "=", log), ("_position", ">=", low))
        found = pl.DataFrame(read_table(uri, columns=("_file", "_position", "_enqueued_at"), where=where))
        arrived = pl.col("_enqueued_at").cast(pl.Datetime("us")).cast(pl.Int64)
        rows = found.select(log="_file", position="_position", arrived_us=arrived)
        parts.append(readable(rows, commits))
    return pl.concat(parts)


def _rejected(lake: Lake, logs: list[str]) -> int:
    if open_table(lake.rejects) is None:
        return 0
    return pl.DataFrame(read_table(lake.rejects, columns=("file",))).filter(pl.col("file").is_in(logs)).height


def commits_of(notes: list[Note]) -> pl.DataFrame:
    """COMMIT: how far each commit of a stream took each log, and when that was there to be read (by its log entry)."""
    rows = []
    for note in notes:
        try:
            facts = json.loads(note.text)
        except ValueError:
            continue
        if isinstance(facts, dict) and "stream" in facts:
            at = round(note.committed_at.timestamp() * _SECOND_US)
            rows += [(log, position, at) for log, position in facts.get("positions", {}).items()]
    return pl.DataFrame(rows, COMMIT, orient="row")


def readable(rows: pl.DataFrame, commits: pl.DataFrame) -> pl.DataFrame:
    """ARRIVAL: each row with the time of the first commit that took its log to its position or beyond.

    Args:
      rows: `log`, `position`, `arrived_us` (null for those that came by file, which are left out).
      commits: COMMIT, in any order.
    """
    wanted, told = rows.drop_nulls("arrived_us").sort("position"), commits.sort("position", "readable_us")
    found = wanted.join_asof(told, on="position", by="log", strategy="forward", check_sortedness=False)
    return found.drop_nulls("readable_us").select(ARRIVAL.names())


def _delays_us(rows: pl.DataFrame) -> pl.Series:
    """From the hub's taking a row to its being readable; the two clocks may differ, so never below zero."""
    return (rows["readable_us"] - rows["arrived_us"]).clip(0).cast(pl.Float64)


def quantiles(rows: pl.DataFrame) -> dict[str, float]:
    """SHARES, and `max_seconds`, of ARRIVAL rows; nearest rank."""
    delays = _delays_us(rows).sort()
    ranks = {name: math.ceil(share * len(delays)) for name, share in SHARES.items()} | {"max_seconds": len(delays)}
    return {name: float(delays[rank - 1]) / _SECOND_US for name, rank in ranks.items()}


def histogram(rows: pl.DataFrame) -> pl.DataFrame:
    """`low_seconds`, `high_seconds`, `rows`: ARRIVAL rows that took more than low and at most high (0 is in the first).

    From the first band to the last one that has rows.
    """
    band = pl.Series("band", [edge * _SECOND_US for edge in EDGES[1:]]).search_sorted(_delays_us(rows), side="left")
    counts = dict(band.value_counts().iter_rows())
    last = max(counts)
    bands = [(EDGES[i], EDGES[i + 1], counts.get(i, 0)) for i in range(last + 1)]
    return pl.DataFrame(bands, {"low_seconds": pl.Float64, "high_seconds": pl.Float64, "rows": pl.Int64}, orient="row")


def rate(rows: pl.DataFrame) -> pl.DataFrame:
    """`second` since the first arrival; rows a second that `arrived` and that became `readable`, without holes.

    At most 120 steps, of whole seconds; the means over each step.
    """
    begin, end = rows["arrived_us"].min(), rows["readable_us"].max()
    assert isinstance(begin, int) and isinstance(end, int)
    width = max(1, math.ceil(((end - begin) // _SECOND_US + 1) / _POINTS))
    steps = pl.DataFrame({"step": range(max(0, end - begin) // (width * _SECOND_US) + 1)}, {"step": pl.Int64})
    for name, column in (("arrived", "arrived_us"), ("readable", "readable_us")):
        at = ((pl.col(column) - begin).clip(0) // (width * _SECOND_US)).alias("step")
        counted = rows.group_by(at).agg((pl.len() / width).alias(name))
        steps = steps.join(counted, on="step", how="left")
    return steps.sort("step").select(
        second=pl.col("step") * width,
        arrived=pl.col("arrived").fill_null(0.0),
        readable=pl.col("readable").fill_null(0.0),
    )
