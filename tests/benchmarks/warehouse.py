"""Benchmark of the warehouse: `python -m tests.benchmarks.warehouse duckdb|snowflake [--rows N] [--check]`.

`duckdb` loads 5M transactions of a lake into a new DuckDB file. `snowflake` loads 1.2M through the real connector into
the stand-in, and then has `write_pandas`, in the same run and against the same server, write the rows of the fact table
into a plain table of its columns: that stages and copies, but looks at no key, replaces nothing and keeps no ledger.
With `--check`, the load is then checked against the lake. Quote the ratio: the stand-in is no Snowflake.
`snowflake`, and `duckdb` at its full size, have not been run yet.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

AT = datetime(2011, 1, 1, tzinfo=UTC)
CUSTOMERS, BATCH = 200_000, 250_000
FACT = "CUSTOMER_360.FACT_TRANSACTION"


def write_lake(lake: Path, rows: int) -> None:
    """Silver transactions of 200,000 customers in 2010, and these customers."""
    from deltalake import write_deltalake

    from transforms.warehouse.sources import SOURCES

    for name, make, count in (("CUSTOMERS", customers, CUSTOMERS), ("TRANSACTIONS", transactions, rows)):
        source = SOURCES[name]
        for first in range(0, count, BATCH):
            length = min(BATCH, count - first)
            made = make(first, length)
            columns = [
                made[field.name].cast(field.type) if field.name in made else pa.nulls(length, field.type)
                for field in source.schema
            ]
            write_deltalake(str(lake / source.path), pa.table(columns, source.schema), mode="append")


def customers(first: int, count: int) -> dict[str, pa.Array]:
    numbers = np.arange(first, first + count)
    return {"CUSTOMER_ID": _named("C", numbers), "FIRST_NAME": _named("N", numbers), "LOYALTY_TIER": _of("GOLD", count)}


def transactions(first: int, count: int) -> dict[str, pa.Array]:
    rng, numbers = np.random.default_rng(first), np.arange(first, first + count)
    seconds = np.datetime64("2010-01-01", "s").astype(np.int64) + rng.integers(0, 365 * 86_400, count)
    cents = pa.array(rng.integers(100, 50_000, count), pa.int32()).cast(pa.decimal128(10, 0))
    return {
        "TRANSACTION_ID": _named("T", numbers),
        "CUSTOMER_ID": _named("C", rng.integers(0, CUSTOMERS, count)),
        "CHANNEL": pa.array(np.array(["POS", "ECOMMERCE", "MOBILE", "SOCIAL"])[rng.integers(0, 4, count)]),
        "TRANSACTION_DATE": pa.array(seconds * 1_000_000, pa.timestamp("us", "UTC")),
        "TRANSACTION_TYPE": _of("PURCHASE", count),
        "TRANSACTION_STATUS": _of("COMPLETED", count),
        "PAYMENT_METHOD": _of("CARD", count),
        "STORE_ID": _named("S", rng.integers(0, 500, count)),
        "CURRENCY_CODE": _of("GBP", count),
        "TOTAL_AMOUNT": pc.multiply(cents, pa.scalar(Decimal("0.01"))),
        "LOYALTY_POINTS_EARNED": pa.array(rng.integers(0, 500, count)),
    }


def _named(letter: str, numbers: np.ndarray) -> pa.Array:
    return pa.array(np.char.add(letter, numbers.astype(str)))


def _of(word: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(word), count)


def load(warehouse, lake: Path, rows: int, check: bool) -> dict[str, object]:
    """Seconds of a first load, all tables of it; the fact table has every row."""
    warehouse.init()
    start, cpu = perf_counter(), process_time()
    loaded = {table.table: table.rows for table in warehouse.load(str(lake), AT)}
    seconds, cpu = perf_counter() - start, process_time() - cpu
    assert loaded[FACT] == rows
    found: dict[str, object] = {"rows": rows, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1)}
    found["rows_per_second"] = round(rows / seconds)
    if check:
        start = perf_counter()
        assert [table for table in warehouse.check(str(lake)) if not table.good] == []
        found["check_seconds"] = round(perf_counter() - start, 1)
    return found


def write_pandas_of(lake: Path, port: int) -> dict[str, object]:
    """The fact table's columns, as `load` makes them, in memory as a frame; only the writing is timed."""
    import duckdb
    import snowflake.connector as connector
    from snowflake.connector.pandas_tools import write_pandas

    from transforms.io.delta import read_table
    from transforms.warehouse.sources import SOURCES
    from transforms.warehouse.targets import targets

    [target] = [target for target in targets() if target.name == FACT]
    silver = read_table(str(lake / SOURCES["TRANSACTIONS"].path), columns=sorted(target.sources["TRANSACTIONS"]))
    with duckdb.connect() as session:
        session.execute("CREATE SCHEMA SRC")
        session.register("silver", silver)
        session.execute("CREATE VIEW SRC.TRANSACTIONS AS SELECT * FROM silver")
        frame = session.sql(target.select.sql("duckdb")).df()
    reach = {"account": "fake", "user": "u", "password": "p", "host": "127.0.0.1", "port": port, "protocol": "http"}
    with connector.connect(**reach, database="DW") as session:
        session.cursor().execute("CREATE SCHEMA PLAIN")
        columns = ", ".join(f"{column.name} {column.type.sql('snowflake')}" for column in target.spec.columns)
        session.cursor().execute(f"CREATE TABLE PLAIN.FACT ({columns})")
        start, cpu = perf_counter(), process_time()
        done, _, rows, _ = write_pandas(session, frame, "FACT", schema="PLAIN", use_logical_type=True)
        seconds = perf_counter() - start
    assert done and rows == len(frame)
    return {
        "write_pandas_seconds": round(seconds, 1),
        "write_pandas_cpu_seconds": round(process_time() - cpu, 1),
        "write_pandas_rows_per_second": round(rows / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=["duckdb", "snowflake"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        if asked.which == "duckdb":
            from transforms.io.duckdb import DuckDb

            rows = asked.rows or 5_000_000
            write_lake(lake, rows)
            with DuckDb(f"{folder}/w.duckdb") as warehouse:
                print(json.dumps(load(warehouse, lake, rows, asked.check)))
            return
        from pipelines.prism import free_port
        from tests.warehouse.snowflake_account import StandIn, account

        rows = asked.rows or 1_200_000
        write_lake(lake, rows)
        with account(free_port()) as found:
            os.environ.update(found.environment)
            with StandIn() as warehouse:
                figures = load(warehouse, lake, rows, asked.check)
            figures |= write_pandas_of(lake, found.port)
            figures["ratio"] = round(float(figures["write_pandas_seconds"]) / float(figures["seconds"]), 1)
            print(json.dumps(figures))


if __name__ == "__main__":
    main()
