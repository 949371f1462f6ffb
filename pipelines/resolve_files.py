"""Who is who in a person's own files: persons, scored pairs, explanations, and decisions that last."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import perf_counter

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.config import Run
from pipelines.console import Output, counted
from pipelines.explain import say_explanation, verdict_of
from pipelines.own_files import Source, check_paths, open_refusals, say_columns, say_rejected
from pipelines.people_state import State, load_state, save_state
from pipelines.records import OwnRecords, find_record, plan_records, read_records
from transforms.errors import UsageError, UserError
from transforms.identity.decisions import APART, DECISIONS, TOGETHER, WITHDRAWN
from transforms.identity.encode import NONE
from transforms.identity.fields import RECORD_KEY
from transforms.identity.guard import GuardRules
from transforms.identity.more import Compared, score_more
from transforms.identity.rules import IdentityRules
from transforms.identity.score import ScoredPairs, score_pairs
from transforms.identity.settle import NOBODY, Persons, Settled, settle_persons
from transforms.io.column_map import parse_map
from transforms.io.table_file import TableFile, format_of

PEOPLE = pa.schema([("record_id", pa.string()), ("source", pa.string()), ("person_id", pa.string()),
                    ("probability", pa.float64())])  # fmt: skip
_OLDEST = pl.CompatLevel.oldest()
Pair = tuple[str, str]


def decided(apart: Pair | None, together: Pair | None, withdrawn: Pair | None) -> tuple[tuple[str, Pair], ...]:
    """The decisions of one call."""
    given = ((APART, apart), (TOGETHER, together), (WITHDRAWN, withdrawn))
    return tuple((kind, pair) for kind, pair in given if pair)


@dataclass(frozen=True)
class FilesRequest:
    """What is asked of some files.

    Attributes:
      out, pairs, rejects: files to write; at least one of `out` and `explain` is given.
      explain: two records, each as "id" or "file:id".
      decided: decisions of this call: their kind (of `decisions.KINDS`) and two records.
      decisions: the file that decisions are kept in; by default beside `out`.
      state: the folder that keeps what was found, to which the records of this call are added.
      duplicates_within: whether two records of one file may be one person.
    """

    locations: tuple[str, ...]
    maps: tuple[str, ...] = ()
    out: str | None = None
    pairs: str | None = None
    rejects: str | None = None
    explain: Pair | None = None
    decided: tuple[tuple[str, Pair], ...] = ()
    decisions: str | None = None
    format: str | None = None
    duplicates_within: bool = True
    rules: IdentityRules = field(default_factory=IdentityRules)
    state: str | None = None

    def __post_init__(self) -> None:
        if not (self.out or self.explain or self.pairs):
            raise UsageError("nothing is asked for", remedy="give --out people.parquet, --pairs FILE or --explain A B")
        for path in filter(None, (self.out, self.pairs, self.rejects)):
            format_of(path)
        if self.decided and not self.kept_in:
            raise UsageError("a decision needs a file to be kept in", remedy="give --decisions FILE, or --out")
        if self.state and not self.duplicates_within:
            raise UsageError("--link is for two whole files", "--state", "leave one of the two out")

    @property
    def kept_in(self) -> str | None:
        if self.decisions or not self.out:
            return self.decisions
        return f"{os.path.splitext(self.out.removesuffix('.gz'))[0]}.decisions.csv"


@dataclass(frozen=True)
class FilesResolved:
    """What was found in the files: `settled`: who is who; `people`: PEOPLE; `before`: records that were kept before."""

    records: OwnRecords
    scored: ScoredPairs
    settled: Settled
    people: pa.Table
    rejected: dict[str, int]
    before: int = 0


def resolve_files(sources: Sequence[Source], request: FilesRequest, run: Run) -> FilesResolved:
    """Reads, compares and resolves all records of the files, and writes what is asked for."""
    with ExitStack() as stack:
        refusals = stack.enter_context(open_refusals(request.rejects))
        read = read_records(sources, refusals)
        state = _state(request, run)
        records = replace(read, named=_named(read.named, state))
        decisions = _decide(request, records, run.started_at)
        scored, compared, origin = _score(read, request, state)
        guard = GuardRules(match_probability=request.rules.match_probability)
        before = (state.persons if state else NOBODY).moved(origin)
        settled = settle_persons(scored, before, run.started_at, decisions, guard)
        numbers = _numbers(records.named, scored.records.keys, state, origin)
        people = _people(records.named, numbers, settled.persons, scored)
        if request.out:
            stack.enter_context(TableFile(request.out, PEOPLE)).write(people)
        if request.pairs:
            pairs = _pairs(scored, settled.persons)
            stack.enter_context(TableFile(request.pairs, pairs.schema)).write(pairs)
        if request.state and compared:
            named = records.named.select(number=pl.Series(numbers), source="source", record_id="record_id")
            kept = State(compared, settled.persons, named, run.started_at, state.generation if state else 0)
            save_state(request.state, kept)
    return FilesResolved(records, scored, settled, people, refusals.counts, state.named.height if state else 0)


def _state(request: FilesRequest, run: Run) -> State | None:
    state = load_state(request.state) if request.state else None
    if state and state.at >= run.started_at:
        what = f"what is kept is of {state.at.isoformat()}, not before this run"
        raise UserError(what, str(request.state), "give a later --run-time")
    return state


def _named(today: pl.DataFrame, state: State | None) -> pl.DataFrame:
    """`record_key`, `source` and `record_id` of the records kept before, and of today's that are new."""
    if state is None:
        return today
    keys = state.compared.records.keys
    before = state.named.select(pl.lit(keys.gather(state.named["number"])).alias(RECORD_KEY), "source", "record_id")
    known = before[RECORD_KEY].filter(before[RECORD_KEY].is_in(today[RECORD_KEY].implode()))
    return pl.concat([before, today.filter(~today[RECORD_KEY].is_in(known.implode()))])


def _numbers(named: pl.DataFrame, keys: pl.Series, state: State | None, origin: np.ndarray) -> np.ndarray:
    """Where each record is in the order of keys (int32); of those kept before it is known where they were."""
    if state is None:
        return keys.search_sorted(named[RECORD_KEY]).to_numpy().astype(np.int32)
    there = np.flatnonzero(origin >= 0)
    place = np.empty(state.compared.records.size, np.int32)
    place[origin[there]] = there
    new = keys.search_sorted(named[RECORD_KEY][state.named.height :]).to_numpy()
    return np.concatenate([place[state.named["number"].to_numpy()], new.astype(np.int32)])


def _score(
    records: OwnRecords, request: FilesRequest, state: State | None
) -> tuple[ScoredPairs, Compared | None, np.ndarray]:
    """The scored pairs, what of them is to be kept, and for each record its number before, or NONE."""
    if request.duplicates_within:
        added = score_more(records.table, request.rules, state.compared if state else None)
        return added.scored, added.compared, added.origin
    files = records.named["source"].unique(maintain_order=True).to_list()
    if len(files) != 2:
        raise UsageError(f"--link is for two files, here are {len(files)}", remedy="give two files, or leave it out")
    mask = pa.array((records.named["source"] == files[0]).to_list())
    first, second = records.table.filter(mask), records.table.filter(pa.compute.invert(mask))
    scored = score_pairs(second, request.rules, against=first, within=False)
    return scored, None, np.full(scored.records.size, NONE, np.int32)


def _people(named: pl.DataFrame, numbers: np.ndarray, persons: Persons, scored: ScoredPairs) -> pa.Table:
    """PEOPLE in the order of reading: a record is as probable as its surest link within its person."""
    sure = np.full(scored.records.size, np.nan)
    pairs, same = scored.weighed.pairs, _same_person(scored, persons)
    for side in (pairs.left, pairs.right):
        np.fmax.at(sure, side[same], scored.weighed.probability[same])
    return (
        named.with_columns(
            person_id=persons.ids.gather(persons.codes[numbers]),
            probability=pl.Series(sure[numbers]).fill_nan(None),
        )
        .select(PEOPLE.names)
        .to_arrow(compat_level=_OLDEST)
        .cast(PEOPLE)
    )


def _same_person(scored: ScoredPairs, persons: Persons) -> np.ndarray:
    pairs = scored.weighed.pairs
    return np.asarray(persons.codes[pairs.left] == persons.codes[pairs.right])


def _pairs(scored: ScoredPairs, persons: Persons) -> pa.Table:
    """Each scored pair, whether it is one person, and the bits of each comparison."""
    told = pl.DataFrame(pl.from_arrow(scored.edges)).with_columns(same_person=pl.Series(_same_person(scored, persons)))
    bits = pl.DataFrame(pl.from_arrow(scored.contributions(scored.edges))).drop("left", "right")
    return pl.concat([told, bits], how="horizontal").to_arrow(compat_level=_OLDEST)


def _decide(request: FilesRequest, records: OwnRecords, at: datetime) -> pa.Table:
    """The decisions kept so far, and those of this call, which are kept from now on."""
    known = read_decisions(request.kept_in) if request.kept_in and os.path.exists(request.kept_in) else None
    new = []
    for kind, pair in request.decided:
        low, high = sorted(find_record(asked, records) for asked in pair)
        if low == high:
            raise UsageError(f"a decision ({kind}) names one record twice", remedy="give two records")
        new.append({"low": low, "high": high, "kind": kind, "decided_at": at})
    table = pa.Table.from_pylist(new, schema=DECISIONS)
    whole = table if known is None else pa.concat_tables([known, table])
    if new and request.kept_in:
        with TableFile(request.kept_in, DECISIONS) as file:
            file.write(whole)
    return whole


def read_decisions(path: str) -> pa.Table:
    """DECISIONS from the CSV file that they are kept in.

    Raises:
      UserError: the file is no such file.
    """
    try:
        frame = pl.read_csv(path, schema_overrides=dict.fromkeys(DECISIONS.names, pl.String))
        times = pl.col("decided_at").str.to_datetime(time_unit="us", time_zone="UTC")
        return frame.select(DECISIONS.names).with_columns(times).to_arrow(compat_level=_OLDEST).cast(DECISIONS)
    except (pl.exceptions.PolarsError, pa.ArrowInvalid):
        raise UserError("this file holds no decisions", path, "give another with --decisions FILE") from None


def run_resolve_files(request: FilesRequest, run: Run, as_json: bool) -> None:
    """The command `resolve` on own files."""
    out = Output(as_json)
    sources = plan_records(request.locations, parse_map(request.maps), request.format)
    check_paths(sources, request.out, request.pairs, request.rejects, request.kept_in)
    say_columns(sources, out)
    start = perf_counter()
    with out.working("comparing records"):
        done = resolve_files(sources, request, run)
    _say(done, request, perf_counter() - start, out)
    if request.explain:
        left, right = (find_record(asked, done.records) for asked in request.explain)
        verdict = verdict_of(
            left, right, _map_of(done, left, right), done.scored.edges, done.settled.refused, request.rules
        )
        say_explanation(done.scored.explain(left, right), verdict, out)
    out.close()


def _map_of(done: FilesResolved, *keys: str) -> pa.Table:
    """`record` and `person_id` of these records."""
    persons, at = done.settled.persons, done.scored.records.keys.search_sorted(pl.Series(keys)).to_numpy()
    return pa.table({"record": list(keys), "person_id": persons.ids.gather(persons.codes[at]).to_list()})


def _say(done: FilesResolved, request: FilesRequest, seconds: float, out: Output) -> None:
    for note in done.records.notes:
        out.say(note, notes=list(done.records.notes))
    records, persons = done.people.num_rows, len(done.settled.persons.ids)
    largest = int(np.bincount(done.settled.persons.codes, minlength=1).max())
    facts = {"records": records, "persons": persons, "compared_pairs": done.scored.compared,
             "largest_person": largest, "refused_links": done.settled.refused.num_rows}  # fmt: skip
    where = f": {request.out}" if request.out else ""
    verb = "is" if records == 1 else "are"
    out.say(
        f"resolve: {counted(records, 'record')} {verb} {counted(persons, 'person')}, {done.scored.compared:,} pairs"
        f" compared in {seconds:.1f} s{where}",
        out=request.out, seconds=round(seconds, 3), **facts,
    )  # fmt: skip
    if request.state:
        new = records - done.before
        out.say(f"{counted(new, 'record')} more than the {done.before:,} kept before; kept in {request.state}",
                state=request.state, records_before=done.before)  # fmt: skip
    left_out = sum(done.scored.blocks["left_out"].to_pylist())
    if left_out:
        out.say(f"{left_out:,.0f} pairs that share only a very frequent value were not compared", left_out=left_out)
    if facts["refused_links"]:
        links = counted(facts["refused_links"], "link")
        out.say(f"{links} refused: a bridge, a contradiction or a decision stands between the two")
    if request.decided:
        out.say(f"the decision is kept in {request.kept_in}", decisions=request.kept_in)
    say_rejected(done.rejected, request.rejects, out)
