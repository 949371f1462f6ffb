"""Benchmark of sessionizing: `python -m tests.benchmarks.sessions [--rows 10000000] [--spark]`.

One Parquet file of events, about 2.2 a session. The engine of the command `sessionize`, plain Polars, DuckDB (and
PySpark where it is installed) make sessions with the same six aggregates or more and write Parquet, each in a fresh
process. Quote ratios, machines differ; `cpu_seconds` is steadier than `seconds` where others work on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

from tests.benchmarks.stream.processes import cpu_seconds

GAP_SECONDS = 1800
FIRST_US, MONTH_SECONDS = 1_262_304_000_000_000, 30 * 86_400


def write_events(path: Path, rows: int, seed: int = 1) -> None:
    """Events in no order: visits of 1 to many events seconds to minutes apart, 5 visits a visitor on average."""
    import numpy as np
    import polars as pl

    draw = np.random.default_rng(seed)
    sizes = draw.geometric(1 / 2.2, max(1, int(rows / 2.1)))
    visit = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    steps = np.cumsum(draw.integers(1, 600, len(visit)))
    offset = steps - steps[np.searchsorted(visit, visit)]
    start = draw.integers(0, MONTH_SECONDS, len(sizes))
    kinds = np.array(["PAGE_VIEW", "CLICK", "SCROLL", "SEARCH", "PURCHASE"])
    sources = np.array(["DIRECT", "EMAIL", "PAID_SEARCH", "SOCIAL"])
    visitor = pl.Series(draw.integers(0, max(1, len(sizes) // 5), len(sizes))[visit])
    frame = pl.DataFrame(
        {
            "visitor": pl.select(pl.format("v{}", visitor)).to_series(),
            "event_time": pl.Series(FIRST_US + (start[visit] + offset) * 1_000_000).cast(pl.Datetime("us", "UTC")),
            "event_type": kinds[draw.choice(5, len(visit), p=[0.6, 0.2, 0.1, 0.08, 0.02])],
            "page": pl.select(pl.format("/p/{}", pl.Series(draw.integers(0, 5000, len(visit))))).to_series(),
            "source": sources[draw.integers(0, 4, len(visit))],
            "value": np.round(draw.gamma(2, 20, len(visit)), 2),
        }
    )
    frame[draw.permutation(frame.height)].write_parquet(path)


def ours(source: str, out: str) -> None:
    from pipelines.own_files import plan
    from pipelines.sessionize import sessionize
    from transforms.sessions.own_file import TARGETS
    from transforms.sessions.rules import SessionRules

    sessionize(plan(source, TARGETS, {}), out, SessionRules(gap_seconds=GAP_SECONDS))


def polars(source: str, out: str) -> None:
    import polars as pl

    ordered = pl.scan_parquet(source).sort("visitor", "event_time")
    other = pl.col("visitor") != pl.col("visitor").shift()
    opens = other | (pl.col("event_time").diff() >= pl.duration(seconds=GAP_SECONDS))
    ordered.with_columns(session=opens.fill_null(True).cum_sum()).group_by("session").agg(
        pl.col("visitor").first(),
        pl.col("event_time").min().alias("started_at"),
        pl.col("event_time").max().alias("ended_at"),
        pl.len().alias("events"),
        (pl.col("event_type") == "PAGE_VIEW").sum().alias("page_views"),
        pl.col("page").first().alias("entry_page"),
        pl.col("page").last().alias("exit_page"),
        pl.col("value").sum(),
    ).sink_parquet(out)


_SQL = f"""
with marked as (
    select *, case when epoch(event_time) - epoch(lag(event_time) over w) < {GAP_SECONDS} then 0 else 1 end as opens
    from {{source}} window w as (partition by visitor order by event_time)
), numbered as (
    select *, sum(opens) over (partition by visitor order by event_time rows unbounded preceding) as session from marked
)
select visitor, session, min(event_time) as started_at, max(event_time) as ended_at, count(*) as events,
    sum(case when event_type = 'PAGE_VIEW' then 1 else 0 end) as page_views,
    {{first}}(page, event_time) as entry_page, {{last}}(page, event_time) as exit_page, sum(value) as value
from numbered group by visitor, session
"""


def duckdb(source: str, out: str) -> None:
    import duckdb as engine

    query = _SQL.format(source=f"read_parquet('{source}')", first="arg_min", last="arg_max")
    engine.sql(f"copy ({query}) to '{out}' (format parquet)")


def spark(source: str, out: str) -> None:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g").getOrCreate()
    session.read.parquet(source).createOrReplaceTempView("events")
    query = _SQL.replace("epoch(", "unix_micros(").replace(f"< {GAP_SECONDS}", f"< {GAP_SECONDS}000000")
    session.sql(query.format(source="events", first="min_by", last="max_by")).write.parquet(out)


ENGINES: dict[str, Callable[[str, str], None]] = {"ours": ours, "polars": polars, "duckdb": duckdb, "spark": spark}


def _child(engine: str, source: str, out: str) -> None:
    import logging

    logging.disable(logging.WARNING)
    __import__("pipelines.sessionize")  # the imports are not what is measured
    start, cpu = perf_counter(), process_time()
    ENGINES[engine](source, out)
    java = sum(cpu_seconds(int(pid)) for task in Path("/proc/self/task").iterdir() for pid in _children(task))
    figures = {"seconds": perf_counter() - start, "cpu_seconds": process_time() - cpu + java}
    print(json.dumps(figures | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def _children(task: Path) -> list[str]:
    """Processes that a thread started: of PySpark, Java."""
    return (task / "children").read_text().split()


def measure(engine: str, source: Path, out: Path) -> dict[str, float]:
    """Seconds, processor seconds and peak memory of one engine in a process of its own, and the sessions it made."""
    import pyarrow.dataset as ds

    arguments = [sys.executable, "-m", "tests.benchmarks.sessions", "--child", engine, str(source), str(out)]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    if done.returncode:
        raise SystemExit(f"{engine} failed:\n{done.stderr[-2000:]}")
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    return {"sessions": ds.dataset(out).count_rows(), **figures}


def run(rows: int, folder: Path, engines: tuple[str, ...] = ("ours", "polars", "duckdb")) -> dict[str, dict]:
    """Measures each engine on the same file; `ratio` is the time of ours divided by the engine's."""
    source = folder / "events.parquet"
    # In a process of its own: a child's peak memory is never less than what its parent had.
    make = f"from pathlib import Path; from {__name__} import write_events; write_events(Path({str(source)!r}), {rows})"
    subprocess.run([sys.executable, "-c", make.replace("__main__", "tests.benchmarks.sessions")], check=True)
    found = {engine: measure(engine, source, folder / f"{engine}.parquet") for engine in engines}
    assert len({figures["sessions"] for figures in found.values()}) == 1, found
    for figures in found.values():
        figures["ratio"] = found["ours"]["seconds"] / figures["seconds"]
        figures["cpu_ratio"] = found["ours"]["cpu_seconds"] / figures["cpu_seconds"]
    return found


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        _child(*sys.argv[2:5])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--spark", action="store_true", help="PySpark, too; it must be installed")
    options = parser.parse_args()
    engines = ("ours", "polars", "duckdb", *(("spark",) if options.spark else ()))
    with tempfile.TemporaryDirectory(prefix="c360-bench-") as folder:
        for engine, figures in run(options.rows, Path(folder), engines).items():
            print(f"{engine:8}", json.dumps({key: round(value, 2) for key, value in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
