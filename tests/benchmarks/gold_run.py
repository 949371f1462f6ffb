"""Benchmark of a whole gold run: `python -m tests.benchmarks.gold_run [--persons 200000] [--rows 20000000]`.

Made-up silver tables of so many rows in all, as a shop has them (half are page events), and the command's own path
over them in a fresh process: every table of gold, models included. Beside it DuckDB, on the same files, for what SQL
can do of customer_360: counts, sums and latest times by customer of the five large tables. Rows are those of silver.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa

START, DAYS = datetime(2023, 1, 1, tzinfo=UTC), 540
# Table -> share of all rows; CUSTOMERS has a row a person.
SHARES = {
    "CUSTOMER_BEHAVIORAL_EVENTS": 0.50,
    "CUSTOMER_ENGAGEMENT_EVENTS": 0.19,
    "CUSTOMER_TRANSACTION_ITEMS": 0.12,
    "CUSTOMER_SESSION_DATA": 0.10,
    "CUSTOMER_TRANSACTIONS": 0.06,
    "CUSTOMER_SERVICE_INTERACTIONS": 0.01,
    "CUSTOMER_SERVICE_TICKETS": 0.005,
    "CUSTOMER_PREFERENCE_DATA": 0.01,
    "EXTERNAL_CUSTOMER_PROFILES": 0.0025,
    "EXTERNAL_CUSTOMER_SENTIMENT": 0.0025,
}
_USUAL = {"TRANSACTION_TYPE": "PURCHASE", "TRANSACTION_STATUS": "COMPLETED", "CURRENCY_CODE": "GBP",
          "ENGAGEMENT_STATUS": "SUCCESS"}  # fmt: skip
_SQL = """
SELECT * FROM (SELECT DISTINCT CUSTOMER_ID FROM {customers}) c
LEFT JOIN (SELECT CUSTOMER_ID, count(*) FILTER (TRANSACTION_TYPE = 'PURCHASE') orders, sum(TOTAL_AMOUNT) spent,
    max(TRANSACTION_DATE) latest, count(DISTINCT CHANNEL) channels FROM {transactions}
    WHERE coalesce(TRANSACTION_STATUS, 'COMPLETED') = 'COMPLETED' GROUP BY 1) t USING (CUSTOMER_ID)
LEFT JOIN (SELECT CUSTOMER_ID, sum(QUANTITY) units, count(DISTINCT PRODUCT_ID) products, mode(CATEGORY) favourite
    FROM {items} JOIN {transactions} USING (TRANSACTION_ID) GROUP BY 1) i USING (CUSTOMER_ID)
LEFT JOIN (SELECT CUSTOMER_ID, count(*) events, count(*) FILTER (EVENT_TYPE = 'PAGE_VIEW') views, max(EVENT_DATE) latest
    FROM {events} GROUP BY 1) e USING (CUSTOMER_ID)
LEFT JOIN (SELECT CUSTOMER_ID, count(*) FILTER (ENGAGEMENT_ACTION = 'OPENED') opened, max(ENGAGEMENT_DATE) latest
    FROM {messages} GROUP BY 1) m USING (CUSTOMER_ID)
LEFT JOIN (SELECT CUSTOMER_ID, count(*) visits, max(SESSION_START) latest FROM {sessions} GROUP BY 1) s
    USING (CUSTOMER_ID)
"""


def write_silver(folder: str, persons: int, rows: int) -> None:
    """Silver tables with the columns that gold reads."""
    from pipelines.config import Lake
    from transforms.contracts import CONTRACTS
    from transforms.gold.tables import INPUTS
    from transforms.io.delta import overwrite_rows

    orders, visits = (int(rows * SHARES[name]) for name in ("CUSTOMER_TRANSACTIONS", "CUSTOMER_SESSION_DATA"))
    visitor = np.random.default_rng(0).integers(0, persons, visits)
    began = int(START.timestamp()) + np.random.default_rng(1).integers(0, DAYS * 86_400, visits)
    for name, columns in INPUTS.items():
        size = int(rows * SHARES[name]) if name in SHARES else persons
        draw = np.random.default_rng(len(name))
        made = {c: _column(CONTRACTS[name], c, size, persons, orders, draw) for c in columns}
        if name == "CUSTOMER_BEHAVIORAL_EVENTS":  # of a visit, a minute apart
            number, visit = np.arange(size), np.arange(size) % visits
            made["CUSTOMER_ID"] = _text("C", visitor[visit])
            made["EVENT_DATE"] = _times(began[visit] + number // visits * 60)
        if name == "CUSTOMER_SESSION_DATA":
            made |= {"CUSTOMER_ID": _text("C", visitor), "SESSION_START": _times(began)}
        schema = pa.schema([CONTRACTS[name].arrow.field(c) for c in columns])
        overwrite_rows(Lake(folder).silver(CONTRACTS[name]), pa.table(made, schema=schema), (), whole_table=True)


def _column(table, name: str, size: int, persons: int, orders: int, draw: np.random.Generator) -> pa.Array:
    import polars as pl

    column = table[name]
    kind = column.type.arrow
    own = {"CUSTOMERS": "CUSTOMER_ID", "CUSTOMER_TRANSACTIONS": "TRANSACTION_ID"}.get(table.name) == name
    many = {"CUSTOMER_ID": persons, "TRANSACTION_ID": orders, "PRODUCT_ID": 5_000, "CAMPAIGN_ID": 40}.get(name, 20)
    number = np.arange(size) if own else draw.integers(0, many, size)
    if pa.types.is_timestamp(kind):
        return _times(int(START.timestamp()) + draw.integers(0, DAYS * 86_400, size))
    if pa.types.is_date(kind):
        return pa.array((int(START.timestamp()) // 86_400 + draw.integers(0, DAYS, size)).astype(np.int32)).cast(kind)
    if pa.types.is_decimal(kind):
        most = 100 if column.high is not None and float(column.high) <= 1 else 20_000
        return pl.Series(draw.integers(0, most, size) / 100).cast(pl.Decimal(kind.precision, 2)).to_arrow().cast(kind)
    if pa.types.is_boolean(kind):
        return pa.array(number % 4 == 0)
    if pa.types.is_integer(kind):
        return pa.array(draw.integers(int(column.low or 0), 5, size)).cast(kind)
    if column.allowed or name in _USUAL:
        choices = [*([_USUAL[name]] * 8 if name in _USUAL else []), *(column.allowed or ())]
        return pa.array(choices).take(pa.array(number % len(choices)))
    return _text(name[0], number)


def _times(seconds: np.ndarray) -> pa.Array:
    return pa.array(seconds * 1_000_000).cast(pa.timestamp("us", tz="UTC"))


def _text(letter: str, number: np.ndarray) -> pa.Array:
    import polars as pl

    return pl.select(pl.lit(letter) + pl.Series(number).cast(pl.String)).to_series().to_arrow().cast(pa.string())


def gold(folder: str) -> dict[str, object]:
    from pipelines.config import Lake, Run
    from pipelines.gold import assemble

    assemble(Lake(folder), Run("gold"))
    return {}


def duckdb(folder: str) -> dict[str, object]:
    import duckdb

    from pipelines.config import Lake
    from transforms.contracts import CONTRACTS
    from transforms.io.delta import open_table

    def files(name: str) -> str:
        table = open_table(Lake(folder).silver(CONTRACTS[name]))
        return f"read_parquet({[uri.removeprefix('file://') for uri in table.file_uris()]})"

    named = {"customers": "CUSTOMERS", "transactions": "CUSTOMER_TRANSACTIONS", "items": "CUSTOMER_TRANSACTION_ITEMS",
             "events": "CUSTOMER_BEHAVIORAL_EVENTS", "messages": "CUSTOMER_ENGAGEMENT_EVENTS",
             "sessions": "CUSTOMER_SESSION_DATA"}  # fmt: skip
    query = _SQL.format(**{key: files(name) for key, name in named.items()})
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(f"CREATE TABLE made AS {query}")
        return {"customers": connection.execute("SELECT count(*) FROM made").fetchone()[0]}


TASKS = {"gold": gold, "duckdb": duckdb}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--persons", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--task", choices=["silver", *TASKS], help=argparse.SUPPRESS)
    parser.add_argument("--lake", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task == "silver":
        write_silver(given.lake, given.persons, given.rows)
        return
    if given.task:
        import pipelines.gold  # noqa: F401  imports are not what is measured

        start, cpu = perf_counter(), process_time()
        facts = TASKS[given.task](given.lake)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        facts |= {"seconds": perf_counter() - start, "cpu_seconds": process_time() - cpu, "memory_mb": peak}
        print(json.dumps(facts))
        return
    with tempfile.TemporaryDirectory() as folder:
        own = [sys.executable, "-m", "tests.benchmarks.gold_run", "--lake", str(Path(folder) / "lake")]
        size = ["--persons", str(given.persons), "--rows", str(given.rows)]
        subprocess.run([*own, *size, "--task", "silver"], check=True, stdout=subprocess.DEVNULL)
        for name in TASKS:
            done = subprocess.run([*own, "--task", name], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
            facts = json.loads(done.stdout.splitlines()[-1])
            shown = {k: round(v, 1) if isinstance(v, float) else v for k, v in facts.items()}
            rate, of_cpu = given.rows / facts["seconds"], given.rows / facts["cpu_seconds"]
            print(f"{name}: {rate:,.0f} rows/s, {of_cpu:,.0f} a CPU second  {shown}", flush=True)


if __name__ == "__main__":
    main()
