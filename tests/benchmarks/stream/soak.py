"""A stream at a steady rate for long: nothing of it may grow.

The first sixth of the run is its warm-up and is not judged: caches fill, of all visitors there is as much as is kept,
tables reach the size at which they are merged. What follows is judged by its slope (`growth_an_hour`) where it is half
an hour or more; in less, the noise of one minute is as large as the bounds.

Bounds, of growth an hour relative to the median, or what is so little that noise is more:
- memory, 5 % or 5 MB: a process with twice its memory lives for a day, and what it restarts into is the same state.
  The worker's memory goes up and down by a tenth of it or more, which is 2 % as a slope over an hour; that of a small
  process by some MB, so that 5 % of it would be less than what cannot be told.
- time of a commit, 10 % or 1 ms: with windows of a second and commits of 50 ms it would be a week until they filled
  the window, at 1 ms an hour six weeks, and upkeep (`maintain`, which this run does without) is daily. Commits of 4 ms
  vary by half of it on a busy machine. Versions and files do grow: they stand beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from tests.benchmarks.stream.figures import Figure
from tests.benchmarks.stream.samples import Sampler
from tests.benchmarks.stream.traffic import PARTITIONS, send_at, streaming
from tests.benchmarks.stream.trend import growth_an_hour
from tests.event_hubs import loopback
from tests.stream_views import HUB, TABLE
from tests.streaming import count_rows, until

WARM_UP_SHARE = 1 / 6
JUDGED_SECONDS = 1_800
MEMORY_GROWTH, MEMORY_MB = 0.05, 5.0
COMMIT_GROWTH, COMMIT_MS = 0.10, 1.0
_DRAIN_SECONDS = 120


def soak(rate: float, seconds: float, root: Path, samples: Path, say: Callable[[str], None]) -> list[Figure]:
    """Sends at a rate and judges what the samples say; whatever ends it early, what was seen until then is judged."""
    lake = root / "lake"
    with loopback(root / "hub", {HUB: PARTITIONS}, retention_seconds=60) as server, streaming(server, lake) as stream:
        first, _ = send_at(server, 100, 1)
        until(lambda: count_rows(lake, TABLE) == first, 120)
        with Sampler(stream, server, lake, samples, say).at_work():
            sent, reached = send_at(server, rate, seconds, first)
        missing = _missing(lake, first + sent)
        restarts = stream.restarts
    return [
        Figure("events/s sent", reached, f">= {rate * 0.98:.0f}"),
        Figure(f"of {first + sent:,} rows sent, not in bronze at the end", missing, "<= 0"),
        Figure("engine and worker started again", restarts, "<= 0"),
        *judge(samples),
    ]


def _missing(lake: Path, sent: int) -> int:
    """Rows that do not come in time."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    while (missing := sent - count_rows(lake, TABLE)) > 0 and time.monotonic() < deadline:
        time.sleep(1)
    return missing


def judge(path: Path) -> list[Figure]:
    """What a file of samples says: medians, and growth with its bound, of all but the warm-up."""
    rows = pl.read_csv(path, infer_schema_length=None)
    if not rows.height:
        return [Figure("samples", 0, ">= 1")]
    warm_up = rows["seconds"].max() * WARM_UP_SHARE
    rows = rows.filter(pl.col("seconds") >= warm_up)
    judged = rows["seconds"].max() - rows["seconds"].min()
    figures = [Figure(f"samples over {judged / 60:.1f} minutes, behind a warm-up of {warm_up / 60:.1f}", rows.height)]
    figures += [Figure("load of the machine (median)", rows["load"].median())]
    for name in rows.columns:
        if name.endswith("_mb"):
            what = f"MB of the {name.removesuffix('_mb')}"
            figures += _level(rows, name, what, (MEMORY_GROWTH, MEMORY_MB), judged)
        if name.endswith("_commit_seconds"):
            what = f"ms of a commit of {name.removesuffix('_commit_seconds')}"
            figures += _level(rows.with_columns(pl.col(name) * 1000), name, what, (COMMIT_GROWTH, COMMIT_MS), judged)
        if name.endswith(("_cores", "_lag_seconds", "state_rows")):
            figures += [Figure(f"{name.replace('_', ' ')} (median)", _median(rows[name]))]
        if name.endswith(("_version", "_files")):
            figures += [Figure(f"{name.replace('_', ' ')} at the end", rows[name][-1])]
    return figures


def _level(rows: pl.DataFrame, name: str, what: str, bounds: tuple[float, float], judged: float) -> list[Figure]:
    values, level = rows[name].cast(pl.Float64).to_numpy(), _median(rows[name])
    growth = growth_an_hour(rows["seconds"].to_numpy(), values) * 100
    bound = max(bounds[0], bounds[1] / level) * 100
    bar = f"<= {bound:.3g}" if judged >= JUDGED_SECONDS and np.isfinite(growth) else ""  # or nothing was seen
    return [Figure(f"{what} (median)", level), Figure(f"{what}, growth an hour in %", growth, bar)]


def _median(values: pl.Series) -> float:
    found = values.cast(pl.Float64).median()
    return float("nan") if found is None else float(found)
