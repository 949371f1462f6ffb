"""The command `resolve`: who is who, in the lake or in a person's own files."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from pipelines.config import Lake, Run
from pipelines.console import Output, counted
from pipelines.explain import say_explanation
from pipelines.identities import LakeResolved, explain_in_lake, resolve_lake
from pipelines.options import Engine
from pipelines.resolve_files import Pair
from pipelines.runs import TableRun
from pipelines.visitors import stitch
from pipelines.who import moment_of, say_who, who_is
from transforms.errors import UsageError
from transforms.identity.stitch import StitchRules
from transforms.sessions.rules import parse_seconds

_WORDS = {"created": "new", "joined": "joined", "merged": "merged into an older person", "split": "split off",
          "moved": "moved", "left": "no longer there"}  # fmt: skip


def run_resolve_lake(
    lake: str,
    run: Run,
    decided: Sequence[tuple[str, Pair]],
    explain: Pair | None,
    rebuild: bool,
    look_back: str,
    engine: Engine,
    as_json: bool,
) -> None:
    """The command `resolve` on the lake."""
    out = Output(as_json)
    rules = StitchRules(look_back_seconds=parse_seconds(look_back)) if look_back else None
    start = perf_counter()
    with out.working("finding who is who"):
        done, visitors = find_persons(Lake(lake), run, engine, decided, rebuild=rebuild, rules=rules)
    _say(done, perf_counter() - start, out)
    if visitors is not None:
        out.say(f"visitors: {counted(visitors.counts.accepted, 'row')}", visitors=visitors.counts.accepted)
    if explain:
        say_explanation(*explain_in_lake(Lake(lake), explain), out)
    out.close()


def run_who(lake: str, id: str | None, on: str | None, as_json: bool) -> None:
    """The command `resolve --who`: asks, and changes nothing."""
    if id is None:
        raise UsageError("whom?", "--on", "give --who CUSTOMER_ID with it")
    out = Output(as_json)
    say_who(who_is(Lake(lake), id, moment_of(on)), out)
    out.close()


def find_persons(
    lake: Lake,
    run: Run,
    engine: Engine = Engine(),
    decided: Sequence[tuple[str, Pair]] = (),
    rebuild: bool = False,
    rules: StitchRules | None = None,
) -> tuple[LakeResolved | None, TableRun | None]:
    """Brings the persons of the lake, and then its visitors, up to silver; `rules` as in `stitch`."""
    done = resolve_lake(lake, run, decided, rebuild, engine=engine)
    return done, stitch(lake, run, engine, rules)


def say_persons(done: LakeResolved | None, out: Output) -> None:
    """One line for what resolving did among other steps."""
    if done is None:
        out.say("persons: nothing new")
        return
    out.say(
        f"persons: {counted(done.records, 'customer record')} are {counted(done.persons, 'person')}",
        customer_records=done.records, persons=done.persons,
    )  # fmt: skip


def _say(done: LakeResolved | None, seconds: float, out: Output) -> None:
    out.facts |= {"changed": done is not None}
    if done is None:
        out.say("resolve: nothing new; identities are up to date with silver")
        return
    out.say(
        f"resolve: {counted(done.records, 'customer record')} are {counted(done.persons, 'person')},"
        f" {done.compared:,} pairs compared in {seconds:.1f} s",
        records=done.records, persons=done.persons, compared_pairs=done.compared, seconds=round(seconds, 3),
        events=done.events, touched_persons=len(done.touched), refused_links=done.refused,
    )  # fmt: skip
    told = ", ".join(f"{count:,} {_WORDS[kind]}" for kind, count in done.events.items())
    if told:
        out.say(f"records: {told}; {counted(len(done.touched), 'person')} touched")
    if done.refused:
        out.say(f"{counted(done.refused, 'link')} refused: a bridge, a contradiction or a decision stands between")
