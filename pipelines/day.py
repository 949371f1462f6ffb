"""The command `run`: a day's whole batch, step by step, taken up again where an earlier attempt ended."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, time
from time import perf_counter

from pipelines import bronze, gold, sessions, silver
from pipelines.config import Lake, Run
from pipelines.console import Output, counted, user_cause
from pipelines.dataset import inputs_of
from pipelines.day_journal import Entry, Journal
from pipelines.gates import Gate, GateRules, pass_gate
from pipelines.identities import resolve_lake
from pipelines.options import Engine
from pipelines.reconcile import reconcile
from pipelines.runs import TableRun
from pipelines.visitors import stitch
from pipelines.warehouse import open_warehouse
from transforms.errors import UsageError
from transforms.io.delta import open_table
from transforms.progress import METER
from transforms.sessions.rules import parse_gaps
from transforms.silver.country import check_country

_LOG = logging.getLogger(__name__)
_GATE = " gate"
DONE, FAILED, STARTED = "done", "failed", "started"


@dataclass(frozen=True)
class Day:
    """What belongs to one day's batch.

    Attributes:
      input: a data set's folder; `{date}` in it becomes the day.
      warehouse: its address; empty: nothing is loaded.
      identity: whether customers are resolved to persons before gold.
    """

    date: date
    lake: str
    input: str
    warehouse: str = ""
    identity: bool = False
    country: str = "GB"
    gap: str = ""
    gates: GateRules = field(default_factory=GateRules)
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        check_country(self.country)
        parse_gaps(self.gap)

    @property
    def folder(self) -> str:
        return self.input.replace("{date}", self.date.isoformat())

    @property
    def asked(self) -> str:
        """What an attempt must have in common with an earlier one to go on with it: all but engine and limits."""
        return json.dumps(asdict(self) | {"engine": None, "gates": None}, default=str, sort_keys=True)


@dataclass(frozen=True)
class Step:
    """A part of the day: what it does, and says in a line that it did. Repeated, it changes nothing more."""

    name: str
    work: Callable[[], str]


def steps(day: Day, at: datetime, times: tuple[datetime, ...]) -> list[Step]:
    """The day's steps in order, with a gate behind each layer.

    Args:
      at: the time of the runs that this attempt makes.
      times: those of all attempts at the day.
    """
    lake, engine = Lake(day.lake), day.engine

    def identity() -> str:
        found = resolve_lake(lake, Run("resolve", at), engine=engine)
        visitors = stitch(lake, Run("resolve", at), engine)
        told = f"{counted(found.records, 'record')} are {counted(found.persons, 'person')}" if found else "nothing new"
        return f"{told}, {counted(visitors.counts.accepted, 'visitor')}" if visitors else told

    def refined() -> str:
        done = silver.refine(lake, Run("silver", at), engine, day.country)
        cut = sessions.cut(lake, Run("silver", at), engine, day.gap)
        reconcile(lake, Run("silver", at), engine)
        return _told(done.tables) + (f", {counted(cut.table.counts.accepted, 'session')}" if cut else "")

    def assembled() -> str:
        done = gold.assemble(lake, Run("gold", at), engine, datetime.combine(day.date, time.max, UTC))
        return f"{counted(done.counts.accepted, 'customer')}" if done else "nothing new"

    def loaded() -> str:
        with open_warehouse(day.warehouse) as warehouse:
            warehouse.init()
            tables = warehouse.load(lake.uri, at)
        return f"{counted(sum(table.rows for table in tables), 'row')} in {counted(len(tables), 'table')}"

    def gate(layer: str) -> Step:
        return Step(layer + _GATE, lambda: pass_gate(Gate(layer, lake, day.gates, times, day.warehouse)))

    ingested = Step(
        "bronze", lambda: _told(bronze.ingest(lake, Run("bronze", at), inputs_of(day.folder), engine).tables)
    )
    layers = [ingested, gate("bronze"), Step("silver", refined), gate("silver")]
    layers += [Step("identity", identity)] if day.identity else []
    layers += [Step("gold", assembled), gate("gold")]
    return layers + ([Step("warehouse", loaded), gate("warehouse")] if day.warehouse else [])


def _told(tables: tuple[TableRun, ...]) -> str:
    total = sum((table.counts.read for table in tables), 0)
    rejected = sum((table.counts.rejected for table in tables), 0)
    return (
        f"{counted(total, 'row')} of {counted(len(tables), 'table')}, {rejected:,} rejected"
        if tables
        else "nothing new"
    )


def run_day(
    day: Day, now: datetime, again: bool = False, on_step: Callable[[Entry], None] = lambda entry: None
) -> bool:
    """Runs the day's steps from the first that no attempt with the same options has done; whether all are done.

    A finished day begins anew, and so does one with other options: every step finds for itself what is new. A step
    that fails ends the attempt, with a line that says why in the journal.

    Args:
      now: the time of a first attempt's runs; later attempts at an unfinished day keep that of the first.
      again: from the first step, whatever was done.

    Raises:
      UserError: another process has taken the day over.
    """
    journal = Journal(Lake(day.lake), day.date)
    before = journal.read()
    at, done = _resumed(before, day, again)
    at = at or now
    attempt = max((entry.attempt for entry in before), default=0) + 1
    times = tuple(sorted({at, *(entry.run_time for entry in before)}))
    for step in steps(day, at, times):
        entry = Entry(day.date, attempt, step.name, STARTED, at, day.asked)
        if step.name in done:
            on_step(replace(entry, status=DONE, said="done by an earlier attempt", seconds=0.0))
            continue
        on_step(entry)
        METER.restart()
        journal.add(entry)
        ended = _perform(step, entry)
        journal.add(ended)
        on_step(ended)
        if ended.status == FAILED:
            return False
    return True


def _resumed(before: list[Entry], day: Day, again: bool) -> tuple[datetime | None, set[str]]:
    """(the time of the runs to go on with, the steps that are done); (None, nothing) to begin anew.

    Behind a shut gate the layer before it is looked at again, for what was mended.
    """
    if again or not before or before[-1].asked != day.asked:
        return None, set()
    at = before[-1].run_time
    done = {
        entry.step for entry in before if entry.run_time == at and entry.status == DONE and entry.asked == day.asked
    }
    if before[-1].step.endswith(_GATE) and before[-1].status == FAILED:
        done.discard(before[-1].step.removesuffix(_GATE))
    whole = done >= {step.name for step in steps(day, at, ())}
    return (None, set()) if whole else (at, done)


def _perform(step: Step, entry: Entry) -> Entry:
    start = perf_counter()
    try:
        status, said = DONE, step.work()
    except Exception as error:  # the journal says what failed, and the next attempt begins here
        cause = user_cause(error)
        status, said = FAILED, str(cause) if cause else f"{type(error).__name__}, see the log"
        if cause is None:
            _LOG.error("step %s of %s failed", step.name, entry.day, exc_info=error)
    return replace(entry, status=status, said=said, seconds=perf_counter() - start)


def run_command(day: Day, now: datetime, again: bool, as_json: bool) -> None:
    """The command `run`; exits with 1 if a step failed."""
    out = Output(as_json)
    told: list[Entry] = []

    def say(entry: Entry) -> None:
        if entry.status != STARTED:
            told.append(entry)
            out.say(f"{entry.step}: {'FAILED: ' if entry.status == FAILED else ''}{entry.said} ({entry.seconds:.1f} s)")

    start = perf_counter()
    with out.working(f"the day {day.date}"):
        good = run_day(day, now, again, say)
    failed = "" if good else f", stopped at {told[-1].step}; run it again to go on there"
    out.facts |= {"date": str(day.date), "good": good, "attempt": told[-1].attempt}
    out.facts["steps"] = [{"step": e.step, "status": e.status, "seconds": e.seconds, "said": e.said} for e in told]
    out.say(f"{day.date}: {'done' if good else 'not done'} in {perf_counter() - start:.1f} s{failed}")
    out.close()
    if not good:
        sys.exit(1)


def day_of(text: str) -> date:
    """A day as a person or Data Factory writes it.

    Raises:
      UsageError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no day", "--date", "write it as 2010-12-10") from None


def identity_of(lake: str, wanted: bool | None) -> bool:
    """Whether identities are resolved: as the user said, else where the lake has some already."""
    return open_table(Lake(lake).identity_map) is not None if wanted is None else wanted
