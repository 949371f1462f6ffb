"""One function a command: run it, then say in a few lines what it did."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import perf_counter

from pipelines import bronze, gold, sessions, silver
from pipelines.config import Lake, Run
from pipelines.console import Output, counted
from pipelines.dataset import inputs_of
from pipelines.options import Engine
from pipelines.reconcile import reconcile, say_verdicts
from pipelines.refused import describe, rules_of
from pipelines.runs import TableRun
from pipelines.session_gap import gap_rules
from transforms.bronze.cells import Spelling
from transforms.contracts import contract
from transforms.errors import UsageError, UserError
from transforms.io.column_map import parse_map
from transforms.progress import METER
from transforms.silver.country import check_country


def _rows(tables: Iterable[TableRun]) -> list[dict[str, object]]:
    rows = []
    for table in tables:
        counts = table.counts
        rows.append(
            {
                "table": table.table.lower(),
                "read": counts.read,
                "accepted": counts.accepted,
                "rejected": counts.rejected,
                "duplicates": counts.duplicates,
                "version": table.output_version,
            }
        )
    return rows


def run_bronze(
    lake: str,
    location: str,
    tables: list[str],
    maps: list[str],
    format: str | None,
    spelling: Spelling,
    run: Run,
    engine: Engine,
    as_json: bool,
) -> None:
    out = Output(as_json)
    if len(tables) == 1:
        maps_given = tuple(parse_map(maps).items())
        inputs = [bronze.TableInput(contract(tables[0]), location, format, maps_given)]
    elif maps or format:
        raise UsageError("--map and --format are for the files of one table", remedy="name it with --table")
    else:
        inputs = inputs_of(location, tables)
    start = perf_counter()
    with out.working("reading files into bronze"):
        result = bronze.ingest(Lake(lake), run, [replace(one, spelling=spelling) for one in inputs], engine)
    for one in result.recognised:
        out.say(one.describe(alone=len(result.recognised) == 1))
    out.facts["columns"] = [vars(one) for one in result.recognised]
    _say_bronze(result, perf_counter() - start, out)
    _say_refused(lake, run, result.tables, out)
    out.close()


def _say_refused(lake: str, run: Run, tables: Iterable[TableRun], out: Output) -> None:
    rules = rules_of(Lake(lake), run.run_id)
    out.facts["rejected_by"] = {table.lower(): dict(counts) for table, counts in rules.items()}
    for line in describe(tables, rules):
        out.say(line)


def _say_bronze(result: bronze.BronzeResult, seconds: float, out: Output) -> None:
    out.facts |= {"known_files": result.known_files, "changed": bool(result.tables)}
    if not result.tables:
        known = counted(result.known_files, "file")
        out.say(f"bronze: nothing new; {known} in the lake already")
        return
    read = sum(table.counts.read for table in result.tables)
    known = f"; {counted(result.known_files, 'file')} known already" if result.known_files else ""
    out.say(f"bronze: {counted(read, 'row')} in {seconds:.1f} s{known}")
    out.table("bronze", _rows(result.tables))
    for table, changes in result.changes.items():
        told = [f"{c.column} {c.change}" for c in changes if c.change in ("added", "widened")]
        missing = [c.column for c in changes if c.change == "missing"]
        if missing:
            names = ", ".join(missing) if len(missing) <= 3 else counted(len(missing), "declared column")
            told.append(f"{names} missing from a file, null there")
        if told:
            out.say(f"schema of {table.lower()}: {', '.join(told)}")


def run_silver(lake: str, country: str, rebuild: bool, gap: str, run: Run, engine: Engine, as_json: bool) -> None:
    out = Output(as_json)
    check_country(country)
    gap_rules(gap)
    start = perf_counter()
    with out.working("refining bronze to silver"):
        result = silver.refine(Lake(lake), run, engine, country, rebuild)
        cut = sessions.cut(Lake(lake), run, engine, gap)
        held = reconcile(Lake(lake), run, engine)
    _say_silver(result, perf_counter() - start, out)
    _say_sessions(cut, out)
    say_verdicts(held, out)
    _say_refused(lake, run, result.tables, out)
    out.close()


def _say_sessions(cut: sessions.CutAnew | None, out: Output) -> None:
    if cut is not None:
        count = cut.table.counts.accepted
        anew = f", all cut anew by a gap of {cut.gap} instead of {cut.gap_before}" if cut.gap_before else ""
        out.say(f"sessions: {counted(count, 'session')} of the events{anew}", sessions=count, gap=cut.gap)


def _say_silver(result: silver.SilverResult, seconds: float, out: Output) -> None:
    out.facts |= {"changed": bool(result.tables)}
    if not result.tables and not result.unchanged:
        raise UserError("there is no bronze table", remedy="run the command bronze first, or give --lake")
    if not result.tables:
        out.say("silver: nothing new; silver is up to date with bronze")
        return
    read = sum(table.counts.read for table in result.tables)
    out.facts["notes"] = list(result.notes)
    for note in result.notes:
        out.say(note)
    out.say(f"silver: {counted(read, 'row')} in {seconds:.1f} s")
    out.table("silver", _rows(result.tables))
    for table in result.tables:
        if table.counts.restated:
            rows = counted(table.counts.restated, "stored row")
            out.say(f"{table.table.lower()}: {rows} got other flags by what came since")
    conflicts = {t.table.lower(): t.counts.conflicts for t in result.tables if t.counts.conflicts}
    for name, count in conflicts.items():
        out.say(f"{name}: {counted(count, 'row')} had another row's key but other content; the latest version was kept")


def run_gold(lake: str, as_of: datetime | None, run: Run, engine: Engine, as_json: bool) -> None:
    out = Output(as_json)
    start = perf_counter()
    with out.working("making customer_360"):
        result = gold.assemble(Lake(lake), run, engine, as_of)
    _say_gold(Lake(lake), result, f", in {perf_counter() - start:.1f} s", out)
    out.close()


def _say_gold(lake: Lake, result: TableRun | None, took: str, out: Output) -> None:
    out.facts |= {"changed": result is not None}
    if result is None:
        out.say("gold: nothing new; customer_360 is up to date with silver")
        return
    persons, strangers = result.counts.accepted, gold.without_record(lake)
    known = f", {strangers:,} of them known by what they did only" if strangers else ""
    out.say(f"gold: customer_360 has {counted(persons, 'customer')}{known}{took}", customers=persons)


def run_replay(lake: str, table: str | None, rule: str | None, country: str, run: Run, as_json: bool) -> None:
    from pipelines.replay import replay, waiting

    out = Output(as_json)
    check_country(country)
    with out.working("sending rejects through again"):
        done = replay(Lake(lake), run, table, rule, country)
        unfinished = waiting(Lake(lake), table, rule)
    if not done:
        out.say(f"replay: no open rejects{' to send again' if unfinished else ''}", changed=False)
    else:
        passed = sum(t.counts.accepted for t in done)
        total = sum(t.counts.read for t in done)
        out.say(f"replay: {passed:,} of {counted(total, 'reject')} passed; run silver to take them up")
        out.table("replay", _rows(done))
    if unfinished:
        waits = "reject waits" if unfinished == 1 else "rejects wait"
        out.say(f"{unfinished:,} {waits} for a whole file: the input ended too soon; ingest the file again, whole")
    out.facts["waiting_for_a_whole_file"] = unfinished
    out.close()


def run_maintain(lake: str, retention_hours: int, dry_run: bool, force: bool, as_json: bool) -> None:
    from pipelines.maintain import maintain_tables

    out = Output(as_json)
    with out.working("maintaining tables"):
        rows = list(maintain_tables(Lake(lake), retention_hours, dry_run, force))
    if not rows:
        raise UserError("there is no table", where=lake, remedy="give the lake with --lake")
    out.say(f"maintain: {counted(len(rows), 'table')}" + (" (dry run, nothing changed)" if dry_run else ""))
    out.table("tables", rows)
    out.close()


def run_generate(folder: str, spec: dict[str, float], format: str, as_json: bool) -> None:
    from transforms.generator.dataset import write_dataset
    from transforms.generator.spec import GeneratorSpec

    out = Output(as_json)
    if os.path.isdir(folder) and os.listdir(folder):
        raise UserError("the folder is not empty", where=folder, remedy="give a new folder with --out")
    start = perf_counter()

    def meter(done: int, total: int) -> None:
        METER.expect(parts=total)
        METER.advance(parts=1)

    with out.working("writing made-up data"):
        rows = write_dataset(GeneratorSpec(**spec), folder, format, meter)  # type: ignore[arg-type]
    out.say(
        f"generate: {counted(sum(rows.values()), 'row')} in {perf_counter() - start:.1f} s into {folder}", rows=rows
    )
    out.table("tables", [{"table": name.lower(), "rows": count} for name, count in rows.items()])
    out.say(f"next: python -m pipelines bronze --input {folder} --lake lake")
    out.close()


def run_report(lake: str, path: str, as_json: bool) -> None:
    out = Output(as_json)
    with out.working("drawing the report"):
        write_report(Lake(lake), Path(path))
    out.say(f"report: {path}", report=path)
    out.close()


def write_report(lake: Lake, path: Path) -> None:
    from pipelines.report import render
    from pipelines.report.facts import gather

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(gather(lake)), encoding="utf-8")


def run_show(
    lake: str,
    what: str,
    id: str | None,
    layer: str | None,
    limit: int,
    version: int | None,
    personal: bool,
    as_json: bool,
) -> None:
    from pipelines.show import show_customer, show_features, show_table

    out = Output(as_json)
    if what.lower() == "customer":
        if id is None:
            raise UsageError("which customer?", remedy="write `show customer ID`")
        show_customer(Lake(lake), id, out, personal)
    elif what.lower() == "realtime_features" and version is None:
        show_features(Lake(lake), id, limit, out)
    else:
        show_table(Lake(lake), what, layer, limit, out, version, personal)
    out.close()


def run_demo(folder: Path, orders: Path | None, gap: str, as_json: bool) -> None:
    from pipelines.demo import make_input
    from pipelines.resolve import find_persons, say_persons

    out = Output(as_json)
    gap_rules(gap)
    start = perf_counter()
    with out.working("writing the demo's raw files"):
        made = make_input(folder / "input", orders)
    out.say(f"input: {made}", input=str(folder / "input"))
    lake, engine = Lake(str(folder / "lake")), Engine()
    with out.working("reading files into bronze"):
        first = bronze.ingest(lake, Run("bronze"), inputs_of(str(folder / "input")), engine)
    with out.working("refining bronze to silver"):
        second = silver.refine(lake, Run("silver"), engine)
        cut = sessions.cut(lake, Run("silver"), engine, gap)
        held = reconcile(lake, Run("silver"), engine)
    with out.working("finding who is who"):
        who, visitors = find_persons(lake, Run("resolve"), engine)
    with out.working("making customer_360"):
        third = gold.assemble(lake, Run("gold"), engine)
    changed = bool(first.tables or second.tables or cut or who or visitors or third)
    for name, tables in (("bronze", first.tables), ("silver", second.tables)):
        _say_layer(name, tables, out)
    _say_sessions(cut, out)
    say_verdicts(held, out)
    say_persons(who, out)
    _say_gold(lake, third, "", out)
    path = folder / "report.html"
    if changed or not path.exists():
        with out.working("drawing the report"):
            write_report(lake, path)
    if not changed:
        out.say("nothing changed: every file is in the lake already")
    out.say(f"report: {path.resolve()}", report=str(path), changed=changed)
    out.say(f"done in {perf_counter() - start:.0f} s", seconds=round(perf_counter() - start, 1))
    out.close()


def _say_layer(name: str, tables: tuple[TableRun, ...], out: Output) -> None:
    out.facts[name] = _rows(tables)
    if not tables:
        out.say(f"{name}: nothing new")
        return
    total = sum((t.counts for t in tables), start=type(tables[0].counts)())
    out.say(
        f"{name}: {counted(len(tables), 'table')}, {counted(total.read, 'row')} read = {total.accepted:,} accepted"
        f" + {total.rejected:,} rejected + {counted(total.duplicates, 'duplicate')}"
    )
