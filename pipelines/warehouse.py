"""The warehouse: star schemas for analysts, made from the lake's silver and gold."""

from __future__ import annotations

import sys
from collections import Counter
from time import perf_counter
from typing import Any

from pipelines.config import Lake, Run
from pipelines.console import Output, counted
from transforms.errors import UsageError, UserError
from transforms.io.duckdb import DuckDb
from transforms.io.warehouse import Warehouse
from transforms.warehouse.results import Checked


def open_warehouse(address: str, read_only: bool = False) -> Warehouse:
    """The warehouse at an address: the path of a DuckDB file, or snowflake://CONNECTION (see `SnowflakeConfig`)."""
    if address.startswith("snowflake://"):
        try:
            from transforms.io.snowflake import Snowflake, SnowflakeConfig
        except ModuleNotFoundError:
            remedy = "pip install 'snowflake-connector-python>=5.2,<5.3'"
            raise UserError("Snowflake's connector is not installed", address, remedy) from None
        return Snowflake(SnowflakeConfig(address.removeprefix("snowflake://")))
    if "://" in address:
        remedy = "give the path of a DuckDB file, or snowflake://CONNECTION, with --warehouse"
        raise UsageError(f"{address!r} is no warehouse", remedy=remedy)
    return DuckDb(address, read_only)


def run_init(address: str, as_json: bool) -> None:
    """The command `warehouse init`."""
    out = Output(as_json)
    with open_warehouse(address) as warehouse:
        applied = warehouse.init()
    out.say(f"warehouse {address}: {counted(len(applied), 'migration')} applied", applied=applied)
    out.close()


def run_load(address: str, lake_uri: str, run: Run, as_json: bool) -> None:
    """The command `warehouse load`; an embedded warehouse that is not there yet is made."""
    out, lake, start = Output(as_json), Lake(lake_uri), perf_counter()
    with out.working("loading"), open_warehouse(address) as warehouse:
        warehouse.init()
        tables = warehouse.load(lake.uri, run.started_at)
    rows = sum(table.rows for table in tables)
    how = Counter(table.status for table in tables)
    out.table("tables", [vars(table) for table in tables])
    out.say(
        f"warehouse {address}: {counted(rows, 'row')} in {counted(len(tables), 'table')} "
        f"({', '.join(f'{count} {status}' for status, count in how.items())}) in {perf_counter() - start:.1f} s",
        rows=rows,
    )
    out.close()


def run_check(address: str, lake_uri: str, as_json: bool) -> None:
    """The command `warehouse check`; exits with 1 if something is wrong."""
    out = Output(as_json)
    with out.working("checking"), open_warehouse(address) as warehouse:
        found = warehouse.check(Lake(lake_uri).uri)
    bad = [table for table in found if not table.good]
    out.table("tables", [_shown(table) for table in found])
    verdict = f"{counted(len(bad), 'table')} wrong: {', '.join(table.table for table in bad)}" if bad else "all good"
    out.say(f"warehouse {address}: {counted(len(found), 'table')} checked, {verdict}", good=not bad)
    out.close()
    if bad:
        sys.exit(1)


def _shown(table: Checked) -> dict[str, Any]:
    counts = {name: getattr(table, name) for name in ("missing", "extra", "changed", "doubled", "history")}
    counts |= {f"orphans by {column}": count for column, count in table.orphans.items()}
    wrong = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return {"table": table.table, "rows": table.rows, "found": wrong or "good"}


def run_query(address: str, sql: str, limit: int, as_json: bool) -> None:
    """The command `warehouse query`; a DuckDB file is opened so that nothing can be written."""
    out = Output(as_json)
    with open_warehouse(address, read_only=True) as warehouse:
        rows = warehouse.query(sql, limit + 1)
    out.table("rows", rows.slice(0, limit).to_pylist())
    if rows.num_rows > limit:
        out.say(f"the first {limit} rows; --limit shows more", more=True)
    elif not rows.num_rows:
        out.say("no rows")
    out.close()
