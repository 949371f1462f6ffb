"""Benchmarks of the batch path: `python -m tests.benchmarks.batch [--rows 2000000] [--memory-rows 10000000]`.

Each figure is measured in a fresh process with its peak memory, beside plain Polars doing the same work on the same
files in the same run; quote the ratios, machines differ. The rows are CUSTOMER_TRANSACTIONS over one year.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

FILE_ROWS = 250_000
YEAR_START = datetime(2010, 1, 1, tzinfo=UTC)


def write_orders(folder: Path, rows: int, form: str) -> None:
    """Writes made-up orders in files of FILE_ROWS rows."""
    import numpy as np
    import polars as pl

    folder.mkdir(parents=True)
    for part, first in enumerate(range(0, rows, FILE_ROWS)):
        draw, size = np.random.default_rng(part), min(FILE_ROWS, rows - first)
        number = pl.Series(np.arange(first, first + size))
        seconds = draw.integers(0, 365 * 86_400, size)
        cents = draw.integers(100, 50_000, size)

        def pick(*values: str, draw=draw, size=size) -> pl.Series:
            return pl.Series(np.array(values)[draw.integers(0, len(values), size)])

        frame = pl.DataFrame(
            {
                "TRANSACTION_ID": pl.select(pl.format("T{}", number)).to_series(),
                "CUSTOMER_ID": pl.select(pl.format("C{}", pl.Series(draw.integers(0, 200_000, size)))).to_series(),
                "CHANNEL": pick("POS", "ECOMMERCE", "MOBILE", "SOCIAL"),
                "TRANSACTION_DATE": pl.Series(seconds * 1_000_000 + int(YEAR_START.timestamp()) * 1_000_000).cast(
                    pl.Datetime("us", "UTC")
                ),
                "TRANSACTION_TYPE": pick("PURCHASE", "PURCHASE", "PURCHASE", "RETURN"),
                "TOTAL_AMOUNT": (pl.Series(cents) / 100).cast(pl.Decimal(10, 2)),
                "TAX_AMOUNT": (pl.Series(cents // 6) / 100).cast(pl.Decimal(10, 2)),
                "SHIPPING_AMOUNT": pl.Series([3.95] * size).cast(pl.Decimal(10, 2)),
                "CURRENCY_CODE": pick("GBP"),
                "PAYMENT_METHOD": pick("CARD"),
                "CARD_TYPE": pick("VISA", "MASTERCARD"),
                "STORE_ID": pick("S1", "S2", "S3"),
                "LOYALTY_POINTS_EARNED": pl.Series(cents // 100),
                "DISCOUNT_AMOUNT": pl.Series([0.0] * size).cast(pl.Decimal(10, 2)),
                "TRANSACTION_STATUS": pick("COMPLETED"),
                "RECEIPT_NUMBER": pl.select(pl.format("R{}", number)).to_series(),
            }
        )
        path = folder / f"part-{part:05d}.{form}"
        if form == "parquet":
            frame.write_parquet(path)
        else:
            text = [
                pl.col("TRANSACTION_DATE").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
                pl.selectors.decimal().cast(float),
            ]
            frame.with_columns(text).write_ndjson(path)


def to_bronze(lake: str, source: str) -> None:
    from pipelines import bronze
    from pipelines.config import Lake, Run
    from transforms.contracts import contract

    result = bronze.ingest(Lake(lake), Run("bronze"), [bronze.TableInput(contract("transactions"), source)])
    assert result.tables[0].counts.rejected == 0


def to_silver(lake: str, source: str) -> None:
    from pipelines import silver
    from pipelines.config import Lake, Run

    assert silver.refine(Lake(lake), Run("silver")).tables[0].counts.rejected == 0


def _polars_bronze(lake: str, source: str) -> None:
    """Types, checks, scores and writes the same rows, file by file, with nothing but Polars."""
    import polars as pl

    from transforms.contracts import contract

    table = contract("transactions")
    types = {
        f.name: pl.Series(pl.from_arrow(f.type and __import__("pyarrow").array([], f.type))).dtype for f in table.arrow
    }
    for path in sorted(Path(source).iterdir()):
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_ndjson(path, schema=dict.fromkeys(types, pl.String))
            frame = frame.with_columns(
                pl.col("TRANSACTION_DATE").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC")
            )
        absent = [pl.lit(None).cast(kind).alias(name) for name, kind in types.items() if name not in frame.columns]
        frame = frame.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in types.items())
        valid = [pl.col(c.name).is_in(c.allowed).fill_null(True) for c in table.columns if c.allowed]
        frame = frame.with_columns(
            (pl.mean_horizontal(pl.all().is_not_null()) + pl.mean_horizontal(valid)).alias("_quality_score"),
            pl.concat_list(
                pl.when(pl.col(name).is_null()).then(pl.lit(f"missing:{name}")) for name in types
            ).list.drop_nulls().alias("_quality_issues"),
            pl.int_range(pl.len()).alias("_position"),
            pl.lit(str(path)).alias("_file"),
            pl.lit(datetime.now(UTC)).alias("_ingested_at"),
            pl.col("TRANSACTION_DATE").dt.strftime("%Y-%m").alias("_month"),
        )  # fmt: skip
        for (month,), part in frame.partition_by("_month", as_dict=True).items():
            folder = Path(lake) / "bronze" / f"_month={month}"
            folder.mkdir(parents=True, exist_ok=True)
            part.drop("_month").write_parquet(folder / f"{path.stem}.parquet", compression="zstd", compression_level=1)


def _polars_silver(lake: str, source: str) -> None:
    """Standardises, keeps the latest of each key and writes, with nothing but Polars, all in memory."""
    import polars as pl

    from transforms.contracts import contract

    table = contract("transactions")
    codes = [c.name for c in table.columns if c.standard in ("code", "currency")]
    files = [str(p) for p in Path(source).rglob("*.parquet")]
    frame = pl.scan_parquet(files, hive_partitioning=False).select(*table.names, "_ingested_at")
    frame = frame.with_columns(pl.col(codes).str.strip_chars().str.to_uppercase())
    for column in table.columns:
        if column.allowed:
            frame = frame.filter(pl.col(column.name).is_in(column.allowed) | pl.col(column.name).is_null())
    latest = frame.sort("TRANSACTION_DATE", "_ingested_at").unique("TRANSACTION_ID", keep="last")
    latest = latest.with_columns(pl.col("TRANSACTION_DATE").dt.strftime("%Y-%m").alias("_month")).collect()
    for (month,), part in latest.partition_by("_month", as_dict=True).items():
        folder = Path(lake) / "silver" / f"_month={month}"
        folder.mkdir(parents=True, exist_ok=True)
        part.write_parquet(folder / "part.parquet", compression="zstd", compression_level=1)


STEPS = {f.__name__: f for f in (to_bronze, to_silver, _polars_bronze, _polars_silver)}


def _child(step: str, lake: str, source: str) -> None:
    import logging

    logging.disable(logging.WARNING)
    __import__("pipelines.silver")  # the imports are not what is measured
    start = perf_counter()
    STEPS[step](lake, source)
    seconds = perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def measure(step: str, lake: Path, source: Path) -> dict[str, float]:
    """Seconds and peak memory (MiB) of one step in a process of its own."""
    arguments = [sys.executable, "-m", "tests.benchmarks.batch", "--child", step, str(lake), str(source)]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run(
    rows: int, folder: Path, steps: tuple[str, ...] = ("parquet", "jsonl", "silver")
) -> dict[str, dict[str, float]]:
    """Measures each step on `rows` rows: rows/s, peak MiB, and the ratio to plain Polars (1.0: as fast)."""
    results = {}
    for form in ("parquet", "jsonl"):
        if form in steps or (form == "parquet" and "silver" in steps):
            write_orders(folder / form, rows, form)
            ours = measure("to_bronze", folder / f"lake-{form}", folder / form)
            plain = measure("_polars_bronze", folder / f"polars-{form}", folder / form)
            results[f"{form} to bronze"] = _figures(rows, ours, plain)
    if "silver" in steps:
        ours = measure("to_silver", folder / "lake-parquet", folder / "parquet")
        plain = measure("_polars_silver", folder / "polars-silver", folder / "polars-parquet" / "bronze")
        results["bronze to silver"] = _figures(rows, ours, plain)
    return results


def _figures(rows: int, ours: dict[str, float], plain: dict[str, float]) -> dict[str, float]:
    return {
        "rows": rows,
        "rows_per_second": rows / ours["seconds"],
        "peak_mib": ours["peak_mib"],
        "polars_rows_per_second": rows / plain["seconds"],
        "polars_peak_mib": plain["peak_mib"],
        "speed_ratio_to_polars": plain["seconds"] / ours["seconds"],
    }


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        _child(*sys.argv[2:5])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--memory-rows", type=int, default=10_000_000, help="peak memory at this size, too; 0: not")
    parser.add_argument("--delta-rows", type=int, default=1_000_000, help="0 leaves WriteDelta out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="c360-bench-") as folder:
        small = run(options.rows, Path(folder) / "small")
        for name, figures in small.items():
            print(f"{name:18}", json.dumps({key: round(value, 2) for key, value in figures.items()}), flush=True)
        if options.memory_rows:
            for name, figures in run(options.memory_rows, Path(folder) / "large").items():
                growth = figures["peak_mib"] / small[name]["peak_mib"]
                shown = {key: round(value, 2) for key, value in figures.items()} | {"memory_growth": round(growth, 2)}
                print(f"{name:18}", json.dumps(shown), flush=True)
    if options.delta_rows:
        from tests.benchmarks import delta

        print(f"{'WriteDelta':18}", json.dumps(delta.run(options.delta_rows), default=float))


if __name__ == "__main__":
    main()
