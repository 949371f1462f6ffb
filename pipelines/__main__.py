"""The command line: `python -m pipelines COMMAND`, installed as `c360`."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from transforms.errors import UsageError

app = typer.Typer(
    help="Customer 360 on Apache Beam: raw files to bronze, silver and gold Delta tables. "
    "With --verbose, a command also shows what Beam logs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

LakeOption = Annotated[str, typer.Option("--lake", help="a folder, abfss://... or az://...", envvar="C360_LAKE")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object instead of lines")]
Runner = Annotated[str, typer.Option("--runner", help="a Beam runner; by default in this process")]
RunTime = Annotated[str | None, typer.Option("--run-time", help="the run's time (ISO, UTC); by default now")]
Country = Annotated[str, typer.Option("--country", help="alpha-2 country of phone numbers without one")]
Gap = Annotated[str, typer.Option("--gap", help="silence that ends a session, as the stream's: 30m, or mobile=10m")]
Require = Annotated[list[str] | None, typer.Option("--require", help="a table that must have come; may be given again")]
MaxRejected = Annotated[float, typer.Option("--max-rejected", help="share of a table's rows that may be refused")]
MaxShrink = Annotated[float, typer.Option("--max-shrink", help="share of its customers that gold may lose")]
_FAULTS = "goes wrong on purpose: drop_every=1000 (events), lose_ack_every, busy_every, bytes_per_second, delay_seconds"
_BEAM = {"allow_extra_args": True, "ignore_unknown_options": True}


def _run(command: str, at: str | None = None):  # type: ignore[no-untyped-def]
    from pipelines.config import Run

    return Run(command, started_at=_moment(at) or datetime.now(UTC))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", remedy="write it as 2010-12-10T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _engine(runner: str, context: typer.Context):  # type: ignore[no-untyped-def]
    from pipelines.options import Engine

    return Engine(runner, tuple(context.args))


@app.command(context_settings=_BEAM)
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

    spelling, run, engine = Spelling(decimal, dates), _run("bronze", run_time), _engine(runner, context)
    run_bronze(lake, input, table or [], map or [], format, spelling, run, engine, json)


@app.command(context_settings=_BEAM)
def silver(
    context: typer.Context,
    lake: LakeOption = "lake",
    country: Country = "GB",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="make silver from all of bronze again")] = False,
    gap: Gap = "30m",
    run_time: RunTime = None,
    runner: Runner = "",
    json: Json = False,
) -> None:
    """Standardises, checks and deduplicates what bronze gained."""
    from pipelines.commands import run_silver

    run_silver(lake, country, rebuild, gap, _run("silver", run_time), _engine(runner, context), json)


@app.command(context_settings=_BEAM)
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

    run_gold(lake, _moment(as_of), _run("gold", run_time), _engine(runner, context), json)


@app.command(context_settings=_BEAM)
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
    gap: Gap = "30m",
    run_time: RunTime = None,
    runner: Runner = "",
    json: Json = False,
) -> None:
    """A day's whole batch: bronze, silver, persons, gold, warehouse, a gate behind each; goes on where it failed."""
    from pipelines.day import Day, day_of, identity_of, run_command
    from pipelines.gates import GateRules

    rules = GateRules(max_rejected, max_shrink, tuple(require or ()))
    day = Day(
        day_of(date), lake, input, warehouse, identity_of(lake, identity), country, gap, rules, _engine(runner, context)
    )
    run_command(day, _run("run", run_time).started_at, again, json)


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

    at = _moment(run_time)
    rules = GateRules(max_rejected, max_shrink, tuple(require or ()))
    run_gate(Gate(layer, Lake(lake), rules, (at,) if at else (), warehouse), json)


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

    run_replay(lake, table, rule, country, _run("replay"), json)


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
    id: Annotated[str | None, typer.Argument(help="the customer's id")] = None,
    lake: LakeOption = "lake",
    layer: Annotated[str | None, typer.Option("--layer", help="bronze or silver")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 10,
    version: Annotated[int | None, typer.Option(help="an earlier version of the table")] = None,
    json: Json = False,
) -> None:
    """Shows a table, or one customer: `show transactions`, `show customer 12347`."""
    from pipelines.commands import run_show

    run_show(lake, what, id, layer, limit, version, json)


@app.command()
def sessionize(
    events: Annotated[str, typer.Option("--events", help="a file, a folder or a glob: CSV, JSON lines, Parquet, .gz")],
    out: Annotated[str, typer.Option("--out", help="sessions.parquet, .csv or .jsonl (.gz)")],
    gap: Annotated[str, typer.Option("--gap", help="silence that ends a session: 30m, or web=30m,app=5m")] = "30m",
    map: Annotated[list[str] | None, typer.Option("--map", help="visitor=COLUMN, event_time=COLUMN ...")] = None,
    rejects: Annotated[str | None, typer.Option("--rejects", help="a file for the rows that cannot be used")] = None,
    midnight: Annotated[str | None, typer.Option("--midnight", help="cut at midnight of this time zone")] = None,
    campaigns: Annotated[bool, typer.Option("--campaigns", help="a new campaign starts a new session")] = False,
    max_length: Annotated[str, typer.Option("--max-length", help="the longest session")] = "24h",
    format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default by name")] = None,
    json: Json = False,
) -> None:
    """Cuts the events of your own file into sessions."""
    from pipelines.sessionize import run_sessionize

    run_sessionize(events, out, gap, map or [], rejects, midnight, campaigns, max_length, format, json)


@app.command()
def attribution(
    touchpoints: Annotated[
        str, typer.Option("--touchpoints", help="a file, a folder or a glob: CSV, JSON lines, Parquet, .gz")
    ],
    out: Annotated[str, typer.Option("--out", help="credit.parquet, .csv or .jsonl (.gz)")],
    map: Annotated[list[str] | None, typer.Option("--map", help="person=COLUMN, channel=COLUMN, time= ...")] = None,
    lookback: Annotated[float, typer.Option("--lookback", help="days that a touch counts before a conversion")] = 90,
    half_life: Annotated[float, typer.Option("--half-life", help="days, of time decay")] = 7,
    ends_share: Annotated[float, typer.Option("--ends-share", help="first and last touch's, of position")] = 0.4,
    rejects: Annotated[str | None, typer.Option("--rejects", help="a file for the rows that cannot be used")] = None,
    format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default by name")] = None,
    json: Json = False,
) -> None:
    """Which channels brought the conversions in your own file: every model side by side."""
    from pipelines.attribution import run_attribution
    from transforms.gold.attribution.touchpoints import AttributionRules

    rules = AttributionRules(lookback, half_life, ends_share)
    run_attribution(touchpoints, out, map or [], rejects, rules, format, json)


@app.command()
def recommend(
    interactions: Annotated[
        str, typer.Option("--interactions", help="a file, a folder or a glob: CSV, JSON lines, Parquet, .gz")
    ],
    items: Annotated[
        str | None, typer.Option("--items", help="all items there are, with a name or description")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="recommendations.parquet, .csv or .jsonl (.gz)")] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(
            "--evaluate",
            help="leave-last-out, or time:DATE for what came from a day on; every measure beside the baselines",
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="recommendations a person")] = 10,
    repeats: Annotated[
        bool | None, typer.Option("--repeats/--new-only", help="may items come again? by default as in the file")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="of what is drawn by chance")] = 7,
    map: Annotated[list[str] | None, typer.Option("--map", help="user=COLUMN, item=COLUMN, time= ...")] = None,
    rejects: Annotated[str | None, typer.Option("--rejects", help="a file for the rows that cannot be used")] = None,
    format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default by name")] = None,
    json: Json = False,
) -> None:
    """What to offer each person in your own file of purchases, views or ratings, and how good that is."""
    from pipelines.recommend import Wish, run_recommend

    run_recommend(interactions, items, out, Wish(k, evaluate, repeats, seed), map or [], rejects, format, json)


@app.command()
def journeys(
    events: Annotated[
        str | None, typer.Option("--events", help="a file, a folder or a glob; by default the touchpoints of the lake")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="a step: who gets from it to --to, and how")] = None,
    goal: Annotated[str | None, typer.Option("--to", help="a step; without --from: what counts as conversion")] = None,
    funnel: Annotated[str | None, typer.Option("--funnel", help="steps in order: VIEW,CART,ORDER")] = None,
    window: Annotated[
        float | None, typer.Option("--window", help="days that a pass through the funnel may take")
    ] = None,
    gap: Annotated[float, typer.Option("--gap", help="days of silence that end a journey")] = 30,
    out: Annotated[str | None, typer.Option("--out", help="the answer as .parquet, .csv or .jsonl (.gz)")] = None,
    map: Annotated[list[str] | None, typer.Option("--map", help="person=COLUMN, time=COLUMN, step=COLUMN")] = None,
    rejects: Annotated[str | None, typer.Option("--rejects", help="a file for the rows that cannot be used")] = None,
    format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default by name")] = None,
    lake: LakeOption = "lake",
    json: Json = False,
) -> None:
    """How people get from step to step, in your own file or the lake: ways, funnels, transitions, times."""
    from pipelines.journeys import Question, run_journeys, run_journeys_of_lake

    steps = tuple(name.strip() for name in funnel.split(",") if name.strip()) if funnel else ()
    question = Question(start, goal, steps, gap, window)
    if events is None:
        return run_journeys_of_lake(lake, out, question, json)
    run_journeys(events, out, question, map or [], rejects, format, json)


@app.command()
def clv(
    transactions: Annotated[
        str, typer.Option("--transactions", help="a file, a folder or a glob: CSV, JSON lines, Parquet, .gz")
    ],
    out: Annotated[str, typer.Option("--out", help="value.parquet, .csv or .jsonl (.gz)")],
    map: Annotated[list[str] | None, typer.Option("--map", help="customer=COLUMN, date=COLUMN, amount= ...")] = None,
    holdout: Annotated[str, typer.Option("--holdout", help="what models are fitted for and judged by")] = "90d",
    model: Annotated[str, typer.Option("--model", help="serve this one, whoever wins")] = "",
    as_of: Annotated[str | None, typer.Option("--as-of", help="YYYY-MM-DD: nothing later is read")] = None,
    rejects: Annotated[str | None, typer.Option("--rejects", help="a file for the rows that cannot be used")] = None,
    format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default by name")] = None,
    json: Json = False,
) -> None:
    """What each customer in your own order file will be worth, by the model that foresees best."""
    from pipelines.clv import run_clv

    run_clv(transactions, out, map or [], holdout, model, as_of, rejects, format, json)


@app.command()
def resolve(
    records: Annotated[
        list[str] | None, typer.Option("--records", help="a file, a folder or a glob: CSV, JSON lines, Parquet, .gz")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="people.parquet, .csv or .jsonl (.gz)")] = None,
    map: Annotated[list[str] | None, typer.Option("--map", help="given_name=COLUMN, birth_date=COLUMN ...")] = None,
    pairs: Annotated[
        str | None, typer.Option("--pairs", help="a file for the scored pairs and what each comparison adds")
    ] = None,
    explain: Annotated[
        tuple[str, str] | None, typer.Option("--explain", help="why two records are, or are not, one person")
    ] = None,
    apart: Annotated[
        tuple[str, str] | None, typer.Option("--apart", help="two records are two persons, from now on")
    ] = None,
    together: Annotated[
        tuple[str, str] | None, typer.Option("--together", help="two records are one person, from now on")
    ] = None,
    withdraw: Annotated[
        tuple[str, str] | None, typer.Option("--withdraw", help="what was decided about two records is undone")
    ] = None,
    decisions: Annotated[
        str | None, typer.Option("--decisions", help="where decisions are kept; by default beside --out")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="two files without duplicates of their own: only pairs between them")
    ] = False,
    rejects: Annotated[str | None, typer.Option("--rejects", help="a file for the rows that cannot be read")] = None,
    format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default by name")] = None,
    lake: LakeOption = "lake",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="with a lake: also where nothing changed")] = False,
    run_time: RunTime = None,
    json: Json = False,
) -> None:
    """Finds which records are one person: in your own files (--records), else the customers of the lake."""
    from pipelines.resolve import run_resolve_lake
    from pipelines.resolve_files import FilesRequest, decided, run_resolve_files

    asked = decided(apart, together, withdraw)
    if not records:
        only = {
            "--out": out,
            "--map": map,
            "--pairs": pairs,
            "--decisions": decisions,
            "--link": link,
            "--format": format,
        }
        if used := [name for name, value in only.items() if value]:
            raise UsageError(f"{used[0]} is for own files", remedy="give them with --records FILE")
        return run_resolve_lake(lake, _run("resolve", run_time), asked, explain, rebuild, json)
    request = FilesRequest(
        tuple(records), tuple(map or []), out, pairs, rejects, explain, asked, decisions, format, not link
    )
    run_resolve_files(request, _run("resolve", run_time), json)


@app.command()
def demo(
    out: Annotated[str, typer.Option("--out", help="the folder for input, lake and report")] = "demo",
    orders: Annotated[str | None, typer.Option("--orders", help="Online Retail II as Parquet")] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="instead, an hour of events through hubs on this machine and the stream")
    ] = False,
    speed: Annotated[float, typer.Option("--speed", help="with --stream: how many times as fast as it happened")] = 60,
    prism: Annotated[str, typer.Option("--prism", help="with --stream: Prism's program; else found or fetched")] = "",
    gap: Gap = "30m",
    json: Json = False,
) -> None:
    """Real orders from raw files to customer_360 and a report, in a minute or two."""
    if stream:
        from pipelines.demo_stream import run_demo_stream

        return run_demo_stream(Path(out), speed, prism, json)
    from pipelines.commands import run_demo

    run_demo(Path(out), Path(orders) if orders else None, gap, json)


@app.command()
def events(
    hub: Annotated[
        list[str] | None, typer.Option("--hub", help="NAME:PARTITIONS; by default what the folder holds")
    ] = None,
    folder: Annotated[str, typer.Option("--folder", help="where the events are kept")] = "events",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one")] = 5672,
    key_file: Annotated[
        str | None, typer.Option("--key-file", help="holds the key; by default $C360_EVENTS_KEY, or the folder's own")
    ] = None,
    retention_hours: Annotated[float | None, typer.Option(help="older events go; by default none")] = None,
    durable: Annotated[bool, typer.Option("--durable", help="acknowledge when the disk has it")] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help=_FAULTS),
    ] = None,
    json: Json = False,
) -> None:
    """A stand-in for Azure Event Hubs on this machine, for trying the stream without Azure."""
    from pipelines.events import faults_of, hubs_of, key_of, run_events
    from transforms.io.event_hubs_loopback.namespace import LoopbackConfig

    seconds = None if retention_hours is None else retention_hours * 3600
    config = LoopbackConfig(
        Path(folder), hubs_of(hub or []), port, key_of(key_file), durable, seconds, faults=faults_of(fault or [])
    )
    run_events(config, json)


@app.command(context_settings=_BEAM)
def stream(
    context: typer.Context,
    events: Annotated[
        str,
        typer.Option(
            "--events",
            help="Event Hubs: sb://NAMESPACE.servicebus.windows.net (Azure AD), or env:NAME or file:PATH of a "
            "connection string; or capture:FOLDER, the files of Event Hubs Capture, once",
        ),
    ] = "env:C360_EVENTS",
    lake: LakeOption = "lake",
    hub: Annotated[
        list[str] | None, typer.Option("--hub", help="NAME=TABLE[,TABLE]; by default a hub for each streamed table")
    ] = None,
    group: Annotated[str, typer.Option("--consumer-group")] = "$Default",
    name: Annotated[str, typer.Option("--name", help="tells several streams into one lake apart")] = "events",
    window: Annotated[float, typer.Option("--window", help="seconds of rows in one commit")] = 1.0,
    gap: Annotated[
        str, typer.Option("--gap", help="silence that ends a session: 30m, or mobile=10m,desktop=30m")
    ] = "30m",
    lateness: Annotated[str, typer.Option("--lateness", help="how late a row may come for its session")] = "10m",
    features: Annotated[bool, typer.Option(help="keep features of each person, seconds behind")] = True,
    refine_every: Annotated[
        float, typer.Option("--refine-every", help="bring silver and its sessions up to date every so many seconds")
    ] = 0.0,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="end when the hubs have nothing more")] = False,
    metrics_port: Annotated[int | None, typer.Option("--metrics-port", help="serve Prometheus here")] = None,
    runner: Annotated[str, typer.Option("--runner", help="prism (Beam's local streaming engine) or flink")] = "prism",
    prism: Annotated[str, typer.Option("--prism", help="Prism's program; by default it is found or fetched")] = "",
    flink_master: Annotated[
        str, typer.Option("--flink-master", help="HOST:PORT of a Flink cluster, or [local], one of its own")
    ] = "[local]",
    flink_job_server: Annotated[
        str, typer.Option("--flink-job-server", help="Beam's job server for Flink: a jar or a folder; else Maven's")
    ] = "",
    json: Json = False,
) -> None:
    """Takes events from Event Hubs into bronze, each once, with sessions and features behind, until it is stopped."""
    from pipelines.backfill import run_backfill
    from pipelines.live import hubs_of, run_stream
    from pipelines.stream_config import default_hubs, stream_config
    from pipelines.supervisor import engine_of
    from transforms.io.capture import is_capture

    config = stream_config(
        lake,
        events,
        hubs_of(hub or []) or default_hubs(),
        group,
        name,
        window,
        until_idle,
        runner,
        context.args,
        gap,
        lateness,
        features,
    )
    if is_capture(events):
        return run_backfill(config, _run("stream", None), json)
    engine = engine_of(config, prism, flink_master, flink_job_server)
    run_stream(config, engine, metrics_port, refine_every, json)


_WAREHOUSE = typer.Typer(help="Star schemas for analysts, loaded from the lake.", no_args_is_help=True)
app.add_typer(_WAREHOUSE, name="warehouse")
WarehouseOption = Annotated[
    str, typer.Option("--warehouse", help="a DuckDB file, or snowflake://CONNECTION", envvar="C360_WAREHOUSE")
]
_FILE = "warehouse.duckdb"


@_WAREHOUSE.command("init")
def warehouse_init(warehouse: WarehouseOption = _FILE, json: Json = False) -> None:
    """Makes the schemas, or brings them up to the latest migration."""
    from pipelines.warehouse import run_init

    run_init(warehouse, json)


@_WAREHOUSE.command("load")
def warehouse_load(
    lake: LakeOption = "lake", warehouse: WarehouseOption = _FILE, run_time: RunTime = None, json: Json = False
) -> None:
    """Brings the warehouse up to the lake: whole or not at all, and once however often it is run."""
    from pipelines.warehouse import run_load

    run_load(warehouse, lake, _run("warehouse", run_time), json)


@_WAREHOUSE.command("check")
def warehouse_check(lake: LakeOption = "lake", warehouse: WarehouseOption = _FILE, json: Json = False) -> None:
    """Compares the warehouse with the lake it was loaded from, row by row; keys, references and history too."""
    from pipelines.warehouse import run_check

    run_check(warehouse, lake, json)


@_WAREHOUSE.command("query")
def warehouse_query(
    sql: Annotated[str, typer.Argument(help='such as "SELECT * FROM CUSTOMER_360.V_COHORT"')],
    warehouse: WarehouseOption = _FILE,
    limit: Annotated[int, typer.Option(min=1, help="rows to show")] = 20,
    json: Json = False,
) -> None:
    """Asks the warehouse; changes nothing."""
    from pipelines.warehouse import run_query

    run_query(warehouse, sql, limit, json)


def main() -> None:
    """Entry point of `c360`."""
    from pipelines.console import answer

    verbose = "--verbose" in sys.argv
    logging.basicConfig(level=os.environ.get("C360_LOG", "INFO" if verbose else "ERROR"))
    if not verbose:  # Beam logs the traceback of what it raises to us anyway
        logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    as_json = "--json" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    answer(lambda: app(arguments, standalone_mode=not as_json), as_json)


if __name__ == "__main__":
    main()
