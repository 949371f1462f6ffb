"""What a day costs: `python -m tests.benchmarks.identity_days [--persons 220000] [--share 0.01] [--profile]`.

Generated customers, 1.15 records a person. `resolve --state` takes all but the last `share` of them and then the rest;
beside it `resolve` takes all at once. Each in a fresh process; CPU of all threads is steadier than seconds where others
work on the machine. The clusters of both must be the same. `--profile` prints where the day's time goes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter


def write_inputs(persons: int, share: float, folder: str) -> None:
    import polars as pl

    from tests.identity.planted import planted_customers

    records = pl.DataFrame(pl.from_arrow(planted_customers(persons)[0])).rename({"record_key": "customer_id"})
    records = records.sample(fraction=1.0, shuffle=True, seed=5)
    parts = {"all": records, "before": records[: int(records.height * (1 - share))]}
    parts["day"] = records[parts["before"].height :]
    for name, rows in parts.items():  # files of one name, as an export has every day
        (Path(folder) / name).mkdir()
        rows.write_parquet(f"{folder}/{name}/crm.parquet")


def resolve(folder: str, name: str, out: str, at: str, *more: str, profile: bool = False) -> tuple[float, float, float]:
    """(seconds, CPU seconds, peak MiB) of the command."""
    command = [sys.executable, "-m", *(("cProfile", "-s", "tottime", "-m") if profile else ()), "pipelines", "resolve"]
    command += ["--records", f"{folder}/{name}/crm.parquet", "--out", f"{folder}/{out}", "--run-time", at, *more]
    start = perf_counter()
    process = subprocess.Popen(command, stdout=None if profile else subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"resolve of {name} failed")
    return perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def same_clusters(folder: str) -> bool:
    import polars as pl

    found = [pl.read_parquet(f"{folder}/{name}.parquet").select("record_id", "person_id") for name in ("all", "day")]
    both = found[0].join(found[1], on="record_id", suffix="_day")
    pairs = both.select("person_id", "person_id_day").unique()
    one_to_one = all(pairs[name].n_unique() == pairs.height for name in pairs.columns)
    return both.height == found[0].height == found[1].height and one_to_one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=220_000, help="there are 1.15 times as many records")
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="c360-bench-") as folder:
        call = f"write_inputs({options.persons}, {options.share}, {folder!r})"
        make = f"from tests.benchmarks.identity_days import write_inputs; {call}"
        subprocess.run([sys.executable, "-c", make], check=True)
        state = ("--state", f"{folder}/state")
        figures = {
            "all at once": resolve(folder, "all", "all.parquet", "2024-01-01"),
            "before": resolve(folder, "before", "day.parquet", "2024-01-01", *state),
            "the day": resolve(folder, "day", "day.parquet", "2024-01-02", *state, profile=options.profile),
        }
        for name, (seconds, cpu, peak) in figures.items():
            print(f"{name:12} {seconds:8.1f} s  {cpu:8.1f} s of CPU  {peak:8.0f} MiB", flush=True)
        shares = [figures["the day"][n] / figures["all at once"][n] for n in (0, 1)]
        same = same_clusters(folder)
        print(f"the day costs {shares[0]:.1%} of the time, {shares[1]:.1%} of the CPU; same clusters: {same}")


if __name__ == "__main__":
    main()
