"""Benchmark of customer value: `python -m tests.benchmarks.gold [--customers 2000000] [--lifetimes PYTHON]`.

Customers by the story of the BG/NBD. `value` reads their order days as a table, holds the contest, fits and writes one
row a customer, in a fresh process. With `--lifetimes`, a Python that has the package Lifetimes 0.11.3 fits BG/NBD and
Gamma-Gamma to 100,000 of them and foresees 90 days, and so do the same two kernels here (`classic`). Quote ratios;
`cpu_seconds` is steadier than `seconds` where others work on the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

DAYS, HORIZON_DAYS, COMPARED = 700, 90, 100_000
_LIFETIMES = """
import json, resource, sys, time
import pandas as pd
from lifetimes import BetaGeoFitter, GammaGammaFitter
frame = pd.read_csv(sys.argv[1])
start, cpu = time.perf_counter(), time.process_time()
model = BetaGeoFitter().fit(frame.x, frame.t_x, frame["T"])
orders = model.conditional_expected_number_of_purchases_up_to_time(90 / 7, frame.x, frame.t_x, frame["T"])
worth = GammaGammaFitter().fit(frame.days, frame["mean"])
value = worth.conditional_expected_average_profit(frame.days, frame["mean"])
print(json.dumps({"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu,
    "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "customers": len(frame),
    "orders": float(orders.sum())}))
"""


def write_orders(path: Path, customers: int) -> None:
    """Orders (columns of ORDERS) as one Parquet file, in no order."""
    from tests.gold.orders_data import planted_orders

    planted_orders(customers, DAYS).sample(fraction=1.0, shuffle=True, seed=1).write_parquet(path)


def write_histories(source: Path, out: Path) -> None:
    """x, t_x, T (weeks), days and mean of some customers, for the classic pair alone."""
    import numpy as np
    import polars as pl
    import pyarrow.parquet as pq

    from transforms.gold.value.features import know
    from transforms.gold.value.ledger import open_ledger

    ledger = open_ledger(pq.read_table(source))
    ledger = ledger.take(np.arange(len(ledger)) < COMPARED)
    known = know(ledger, ledger.last_day)
    x, t_x, T = known.weeks
    pl.DataFrame({"x": x, "t_x": t_x, "T": T, "days": known.days, "mean": known.mean_value}).write_csv(out)


def value(source: str, out: str) -> dict[str, object]:
    import pyarrow.parquet as pq

    from transforms.gold.value.ledger import open_ledger
    from transforms.gold.value.lifetime import CUSTOMER_VALUE, value_customers, value_parts

    steps, start = {}, perf_counter()

    def step(name: str) -> None:
        nonlocal start
        steps[name] = round(perf_counter() - start, 1)
        start = perf_counter()

    ledger = open_ledger(pq.read_table(source))
    step("read")
    valuation = value_customers(ledger)
    step("contest and fit")
    with pq.ParquetWriter(out, CUSTOMER_VALUE) as file:
        for rows in value_parts(ledger, valuation):
            file.write_table(rows)
    step("score and write")
    return {"customers": len(ledger), "order_days": len(ledger.day), "histories": valuation.fitted.histories,
            "winner": valuation.contest.winner, "steps": steps}  # fmt: skip


def classic(source: str, out: str) -> dict[str, object]:
    import polars as pl

    from transforms.gold.value import btyd, gamma_gamma

    rows = {name: column.to_numpy() for name, column in pl.read_csv(source).to_dict().items()}
    histories = btyd.Histories.of(rows["x"], rows["t_x"], rows["T"])
    model = btyd.fit(histories, "bg_nbd")
    orders = model.expected(histories.x, histories.t_x, histories.T, HORIZON_DAYS / 7)[histories.inverse]
    worth = gamma_gamma.fit(rows["days"], rows["mean"])
    pl.DataFrame({"orders": orders, "worth": worth.expected(rows["days"], rows["mean"])}).write_parquet(out)
    return {"customers": len(orders), "orders": float(orders.sum())}


TASKS: dict[str, Callable[[str, str], dict[str, object]]] = {"value": value, "classic": classic}


def measure(command: list[str]) -> dict[str, object]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, default=2_000_000)
    parser.add_argument("--lifetimes", help="a Python that has Lifetimes 0.11.3")
    parser.add_argument("--task", choices=["orders", "histories", *TASKS], help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task in ("orders", "histories"):
        source, out = map(Path, given.files)
        write_orders(out, given.customers) if given.task == "orders" else write_histories(source, out)
        return
    if given.task:
        import transforms.gold.value.lifetime  # noqa: F401  imports are not what is measured

        start, cpu = perf_counter(), process_time()
        facts = TASKS[given.task](*given.files)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        facts |= {"seconds": perf_counter() - start, "cpu_seconds": process_time() - cpu, "memory_mb": peak}
        print(json.dumps(facts))
        return
    with tempfile.TemporaryDirectory() as folder:
        orders, histories, out = (Path(folder) / name for name in ("orders.parquet", "histories.csv", "out.parquet"))
        prepare = [sys.executable, "-m", "tests.benchmarks.gold", "--customers", str(given.customers), "--task"]
        subprocess.run([*prepare, "orders", "--files", "", str(orders)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*prepare, "histories", "--files", str(orders), str(histories)], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        own = [sys.executable, "-m", "tests.benchmarks.gold", "--task"]
        runs = {"value": [*own, "value", "--files", str(orders), str(out)],
                "classic": [*own, "classic", "--files", str(histories), str(out)]}  # fmt: skip
        if given.lifetimes:
            runs["lifetimes"] = [given.lifetimes, "-c", _LIFETIMES, str(histories)]
        for name, command in runs.items():
            facts = measure(command)
            rate = int(facts["customers"]) / float(facts["seconds"])  # type: ignore[call-overload,arg-type]
            shown = {k: round(v, 1) if isinstance(v, float) else v for k, v in facts.items()}
            print(f"{name}: {rate:,.0f} customers/s  {shown}", flush=True)


if __name__ == "__main__":
    main()
