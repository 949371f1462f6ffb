"""Commands that answer questions to a person's own files."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import (
    BEAM,
    Format,
    InteractionMap,
    Json,
    LakeOption,
    Rejects,
    Repeats,
    Runner,
    RunTime,
    Seed,
    engine_of,
    run_of,
)
from transforms.errors import UsageError

app = typer.Typer()


@app.command()
def sessionize(
    events: Annotated[str, typer.Option("--events", help="a file, a folder or a glob: CSV, JSON lines, Parquet, .gz")],
    out: Annotated[str, typer.Option("--out", help="sessions.parquet, .csv or .jsonl (.gz)")],
    gap: Annotated[str, typer.Option("--gap", help="silence that ends a session: 30m, or web=30m,app=5m")] = "30m",
    map: Annotated[list[str] | None, typer.Option("--map", help="visitor=COLUMN, event_time=COLUMN ...")] = None,
    rejects: Rejects = None,
    midnight: Annotated[str | None, typer.Option("--midnight", help="cut at midnight of this time zone")] = None,
    campaigns: Annotated[bool, typer.Option("--campaigns", help="a new campaign starts a new session")] = False,
    max_length: Annotated[str, typer.Option("--max-length", help="the longest session")] = "24h",
    format: Format = None,
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
    rejects: Rejects = None,
    format: Format = None,
    json: Json = False,
) -> None:
    """Which channels brought the conversions in your own file: every model side by side.

    Rows from the future are refused. A value is read of conversions only, and one below 0 takes away. A channel that no
    conversion follows has a row of 0; a conversion that no touch came before goes to "(no touchpoint)".
    """
    from pipelines.attribution import run_attribution
    from transforms.gold.attribution.touchpoints import AttributionRules

    rules = AttributionRules(lookback, half_life, ends_share)
    run_attribution(touchpoints, out, map or [], rejects, rules, format, json)


@app.command(context_settings=BEAM)
def recommend(
    context: typer.Context,
    interactions: Annotated[
        str | None, typer.Option("--interactions", help="a file, a folder or a glob; by default silver of the lake")
    ] = None,
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
    repeats: Repeats = None,
    seed: Seed = 7,
    map: InteractionMap = None,
    rejects: Rejects = None,
    format: Format = None,
    lake: LakeOption = "lake",
    model: Annotated[
        str | None, typer.Option("--model", help="a folder that train wrote; for the lake, whose gold gets the lists")
    ] = None,
    run_time: RunTime = None,
    runner: Runner = "",
    json: Json = False,
) -> None:
    """What to offer each person in your own file of purchases, views or ratings, or in the lake."""
    from pipelines.recommend import Wish, run_recommend

    if interactions is None:
        from pipelines.offers import run_offers

        if model is None:
            raise UsageError(
                "there is neither a file nor a model",
                remedy="give --interactions FILE, or --model FOLDER (train writes one) to recommend to the lake",
            )
        engine, run = engine_of(runner, context), run_of("recommend", run_time)
        return run_offers(lake, model, Wish(k, seed=seed), run, engine, json)
    if context.args:
        raise UsageError(f"there is no option {context.args[0]}", remedy="see --help")
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
    rejects: Rejects = None,
    format: Format = None,
    lake: LakeOption = "lake",
    json: Json = False,
) -> None:
    """How people get from step to step, in your own file or the lake: ways, funnels, transitions, times.

    Steps from the future are refused. A step that nobody took is wrong use, and those there are are named.
    """
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
    rejects: Rejects = None,
    format: Format = None,
    json: Json = False,
) -> None:
    """What each customer in your own order file will be worth, by the model that foresees best.

    Orders later than now (or --as-of), cancelled ones and those without an amount do not count, and are counted. Who
    only sent back, or ordered for nothing, is expected to order nothing. A customer's value is summed in the currency
    of most of their orders; those in others count as orders. A history too short for --holdout is judged by a third of
    it.
    """
    from pipelines.clv import run_clv

    run_clv(transactions, out, map or [], holdout, model, as_of, rejects, format, json)


@app.command(context_settings=BEAM)
def resolve(
    context: typer.Context,
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
    state: Annotated[
        str | None, typer.Option("--state", help="a folder that keeps what was found; only what is new is compared")
    ] = None,
    rejects: Annotated[str | None, typer.Option("--rejects", help="a file for the rows that cannot be read")] = None,
    format: Format = None,
    lake: LakeOption = "lake",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="with a lake: also where nothing changed")] = False,
    who: Annotated[
        str | None,
        typer.Option("--who", help="only asks the lake who a CUSTOMER_ID, person_id or SESSION_ID is, and why"),
    ] = None,
    on: Annotated[str | None, typer.Option("--on", help="with --who: who it was on this day (UTC)")] = None,
    look_back: Annotated[
        str,
        typer.Option(
            "--look-back",
            help="with a lake: how far a login tells who came to the device before it, from now on; at first 30d",
        ),
    ] = "",
    run_time: RunTime = None,
    runner: Runner = "",
    json: Json = False,
) -> None:
    """Finds which records are one person: in your own files (--records), else the customers of the lake."""
    from pipelines.resolve import run_resolve_lake, run_who
    from pipelines.resolve_files import FilesRequest, decided, run_resolve_files

    asked, engine = decided(apart, together, withdraw), engine_of(runner, context)
    if not records:
        only = {
            "--out": out,
            "--map": map,
            "--pairs": pairs,
            "--decisions": decisions,
            "--link": link,
            "--state": state,
            "--format": format,
        }
        if used := [name for name, value in only.items() if value]:
            raise UsageError(f"{used[0]} is for own files", remedy="give them with --records FILE")
        if who is not None or on is not None:
            return run_who(lake, who, on, json)
        return run_resolve_lake(lake, run_of("resolve", run_time), asked, explain, rebuild, look_back, engine, json)
    if runner:
        raise UsageError("--runner is for the customers of a lake", remedy="leave it out with --records")
    request = FilesRequest(
        tuple(records), tuple(map or []), out, pairs, rejects, explain, asked, decisions, format, not link, state=state
    )
    run_resolve_files(request, run_of("resolve", run_time), json)
