"""Commands that make and keep the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import (
    BEAM,
    Country,
    Gap,
    Json,
    LakeOption,
    MaxRejected,
    MaxShrink,
    Require,
    Runner,
    RunTime,
    engine_of,
    moment_of,
    run_of,
)

app = typer.Typer()


@app.command(context_settings=BEAM)
def bronze(
    context: typer.Context,
    input: Annotated[str, typer.Option("--input", help="a data set's folder, or files of one table")],
    lake: LakeOption = "lake",
    table: Annotated[
        list[str] | None, typer.Option("--table", help="only this table; needed for a single file")
    ] = None,
    map: Annotated[list[str] | None, typer.Option("--map", help="COLUMN=column of the file; with one --table")] = None,
    format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default by name")] = None,
    decimal: Annotated[str, typer.Option("--decimal", help="the decimal mark of numbers in CSV, . or ,")] = "",
    dates: Annotated[str, typer.Option("--dates", help="day-first or month-first, as in 03/04/2010")] = "iso",
    run_time: RunTime = None,
    runner: Runner = "",
    json: Json = False,
) -> None:
    """Reads new files into bronze, each once; refused rows go to the rejects."""
    from pipelines.commands import run_bronze
    from transforms.bronze.cells import Spelling

    spelling, run, engine = Spelling(decimal, dates), run_of("bronze", run_time), engine_of(runner, context)
    run_bronze(lake, input, table or [], map or [], format, spelling, run, engine, json)


@app.command(context_settings=BEAM)
def silver(
    context: typer.Context,
    lake: LakeOption = "lake",
    country: Country = "GB",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="make silver from all of bronze again")] = False,
    gap: Gap = "",
    run_time: RunTime = None,
    runner: Runner = "",
    json: Json = False,
) -> None:
    """Standardises, checks and deduplicates what bronze gained."""
    from pipelines.commands import run_silver

    run_silver(lake, country, rebuild, gap, run_of("silver", run_time), engine_of(runner, context), json)


@app.command(context_settings=BEAM)
def gold(
    context: typer.Context,
    lake: LakeOption = "lake",
    as_of: Annotated[str | None, typer.Option("--as-of", help="day of reference; by default the latest event")] = None,
    run_time: RunTime = None,
    runner: Runner = "",
    json: Json = False,
) -> None:
    """Makes customer_360 from silver."""
    from pipelines.commands import run_gold

    run_gold(lake, moment_of(as_of), run_of("gold", run_time), engine_of(runner, context), json)


@app.command(context_settings=BEAM)
def run(
    context: typer.Context,
    date: Annotated[str, typer.Option("--date", help="the day, as 2010-12-10; gold is as of its end")],
    input: Annotated[str, typer.Option("--input", help="the data set's folder; {date} in it becomes the day")],
    lake: LakeOption = "lake",
    warehouse: Annotated[
        str, typer.Option("--warehouse", help="a DuckDB file, or snowflake://CONNECTION; by default nothing is loaded")
    ] = "",
    identity: Annotated[
        bool | None, typer.Option("--identity/--no-identity", help="resolve persons; by default if the lake has some")
    ] = None,
    require: Require = None,
    max_rejected: MaxRejected = 0.05,
    max_shrink: MaxShrink = 0.2,
    again: Annotated[bool, typer.Option("--again", help="from the first step, whatever was done")] = False,
    country: Country = "GB",
    gap: Gap = "",
    run_time: RunTime = None,
    runner: Runner = "",
    json: Json = False,
) -> None:
    """A day's whole batch: bronze, silver, persons, gold, warehouse, a gate behind each; goes on where it failed."""
    from pipelines.day import Day, day_of, identity_of, run_command
    from pipelines.gates import GateRules

    engine = engine_of(runner, context)
    rules = GateRules(max_rejected, max_shrink, tuple(require or ()))
    day = Day(day_of(date), lake, input, warehouse, identity_of(lake, identity), country, gap, rules, engine)
    run_command(day, run_of("run", run_time).started_at, again, json)


@app.command()
def gate(
    layer: Annotated[str, typer.Argument(help="bronze, silver, gold or warehouse")],
    lake: LakeOption = "lake",
    warehouse: Annotated[str, typer.Option("--warehouse", help="of the gate behind the warehouse")] = "",
    require: Require = None,
    max_rejected: MaxRejected = 0.05,
    max_shrink: MaxShrink = 0.2,
    run_time: Annotated[
        str | None, typer.Option("--run-time", help="of the runs to be judged (ISO, UTC); by default the latest")
    ] = None,
    json: Json = False,
) -> None:
    """Says whether a layer is good enough for the next one to be made of it; exits with 1 if not."""
    from pipelines.config import Lake
    from pipelines.gates import Gate, GateRules, run_gate

    at = moment_of(run_time)
    rules = GateRules(max_rejected, max_shrink, tuple(require or ()))
    run_gate(Gate(layer, Lake(lake), rules, (at,) if at else (), warehouse), json)


@app.command(context_settings=BEAM | {"allow_interspersed_args": False})
def package(
    context: typer.Context,
    runner: Annotated[str, typer.Option("--runner", help="flink or spark")],
    out: Annotated[str, typer.Option("--out", help="the jar to be written")],
    base: Annotated[str, typer.Option("--base", help="the jar without a pipeline; else Maven builds it")] = "",
    json: Json = False,
) -> None:
    """Writes the next Beam job of a COMMAND (bronze, silver, gold) as a jar for a cluster; none when none is left."""
    from pipelines.package import run_package

    run_package(runner, out, base, context.args, context.find_root().command, json)


@app.command()
def replay(
    lake: LakeOption = "lake",
    table: Annotated[str | None, typer.Option("--table", help="only rejects of this table")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="only rejects by this rule")] = None,
    country: Country = "GB",
    json: Json = False,
) -> None:
    """Sends rejects through again, after a fix."""
    from pipelines.commands import run_replay

    run_replay(lake, table, rule, country, run_of("replay"), json)


@app.command()
def maintain(
    lake: LakeOption = "lake",
    retention_hours: Annotated[int, typer.Option(help="files younger than this are kept")] = 168,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be done")] = False,
    force: Annotated[bool, typer.Option("--force", help="also keep less than a day, when nothing runs")] = False,
    json: Json = False,
) -> None:
    """Compacts small files, removes old ones, writes checkpoints."""
    from pipelines.commands import run_maintain

    run_maintain(lake, retention_hours, dry_run, force, json)


@app.command()
def generate(
    out: Annotated[str, typer.Option("--out", help="the folder to write to")] = "data",
    customers: Annotated[int, typer.Option(help="how many persons")] = 10_000,
    days: Annotated[int, typer.Option(help="how many days of history")] = 365,
    seed: Annotated[int, typer.Option(help="the same seed gives the same rows")] = 7,
    format: Annotated[str, typer.Option("--format", help="jsonl or parquet")] = "jsonl",
    broken: Annotated[float, typer.Option(help="share of broken rows")] = 0.005,
    duplicates: Annotated[float, typer.Option(help="share of duplicated rows")] = 0.01,
    late: Annotated[float, typer.Option(help="share of late rows")] = 0.005,
    json: Json = False,
) -> None:
    """Writes a made-up retailer's data, all tables, with the truth beside it."""
    from pipelines.commands import run_generate

    shares = {"broken_share": broken, "duplicate_share": duplicates, "late_share": late}
    run_generate(out, {"customers": customers, "days": days, "seed": seed, **shares}, format, json)


@app.command()
def report(
    lake: LakeOption = "lake",
    out: Annotated[str, typer.Option("--out", help="the HTML file")] = "report.html",
    json: Json = False,
) -> None:
    """Writes the lake's report, one HTML file."""
    from pipelines.commands import run_report

    run_report(lake, out, json)


@app.command()
def show(
    what: Annotated[str, typer.Argument(help="a table, or 'customer'")],
    id: Annotated[str | None, typer.Argument(help="the customer's, or with realtime_features the person's id")] = None,
    lake: LakeOption = "lake",
    layer: Annotated[str | None, typer.Option("--layer", help="bronze or silver")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 10,
    version: Annotated[int | None, typer.Option(help="an earlier version of the table")] = None,
    personal: Annotated[
        bool, typer.Option("--personal", help="show personal values, and rejects as they came")
    ] = False,
    json: Json = False,
) -> None:
    """Shows a table, or one customer: `show transactions`, `show customer 12347`."""
    from pipelines.commands import run_show

    run_show(lake, what, id, layer, limit, version, personal, json)


@app.command()
def demo(
    out: Annotated[str, typer.Option("--out", help="the folder for input, lake and report")] = "demo",
    orders: Annotated[str | None, typer.Option("--orders", help="Online Retail II as Parquet")] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="instead, an hour of events through hubs on this machine and the stream")
    ] = False,
    speed: Annotated[float, typer.Option("--speed", help="with --stream: how many times as fast as it happened")] = 60,
    prism: Annotated[str, typer.Option("--prism", help="with --stream: Prism's program; else found or fetched")] = "",
    gap: Gap = "",
    json: Json = False,
) -> None:
    """Real orders from raw files to customer_360 and a report, in a minute or two."""
    if stream:
        from pipelines.demo_stream import run_demo_stream

        return run_demo_stream(Path(out), speed, prism, json)
    from pipelines.commands import run_demo

    run_demo(Path(out), Path(orders) if orders else None, gap, json)


@app.command()
def dictionary(
    write: Annotated[str | None, typer.Option("--write", help="a Markdown file with the dictionary's marks")] = None,
    json: Json = False,
) -> None:
    """Prints the data dictionary of customer_360: each column's type, unit, meaning and source."""
    from pipelines.dictionary import run_dictionary

    run_dictionary(write, json)
