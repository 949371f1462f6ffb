"""Commands of the warehouse."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Json, LakeOption, RunTime, run_of

app = typer.Typer(help="Star schemas for analysts, loaded from the lake.", no_args_is_help=True)
WarehouseOption = Annotated[
    str, typer.Option("--warehouse", help="a DuckDB file, or snowflake://CONNECTION", envvar="C360_WAREHOUSE")
]
_FILE = "warehouse.duckdb"


@app.command("init")
def warehouse_init(warehouse: WarehouseOption = _FILE, json: Json = False) -> None:
    """Makes the schemas, or brings them up to the latest migration."""
    from pipelines.warehouse import run_init

    run_init(warehouse, json)


@app.command("load")
def warehouse_load(
    lake: LakeOption = "lake", warehouse: WarehouseOption = _FILE, run_time: RunTime = None, json: Json = False
) -> None:
    """Brings the warehouse up to the lake: whole or not at all, and once however often it is run."""
    from pipelines.warehouse import run_load

    run_load(warehouse, lake, run_of("warehouse", run_time), json)


@app.command("check")
def warehouse_check(lake: LakeOption = "lake", warehouse: WarehouseOption = _FILE, json: Json = False) -> None:
    """Compares the warehouse with the lake it was loaded from, row by row; keys, references and history too."""
    from pipelines.warehouse import run_check

    run_check(warehouse, lake, json)


@app.command("query")
def warehouse_query(
    sql: Annotated[str, typer.Argument(help='such as "SELECT * FROM CUSTOMER_360.V_COHORT"')],
    warehouse: WarehouseOption = _FILE,
    limit: Annotated[int, typer.Option(min=1, help="rows to show")] = 20,
    json: Json = False,
) -> None:
    """Asks the warehouse; changes nothing."""
    from pipelines.warehouse import run_query

    run_query(warehouse, sql, limit, json)
