"""Who is who in a person's own files: persons, scored pairs, explanations, and decisions that last."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

import polars as pl
import pyarrow as pa

from pipelines.config import Run
from pipelines.console import Output, counted
from pipelines.explain import say_explanation, verdict_of
from pipelines.own_files import Source, check_paths, open_refusals, say_columns, say_rejected
from pipelines.records import OwnRecords, find_record, plan_records, read_records
from transforms.errors import UsageError, UserError
from transforms.identity.decisions import APART, DECISIONS, TOGETHER, WITHDRAWN
from transforms.identity.fields import RECORD_KEY
from transforms.identity.guard import GuardRules
from transforms.identity.resolution import Resolution, record_probabilities, resolve_records
from transforms.identity.rules import IdentityRules
from transforms.identity.score import ScoredPairs, score_pairs
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

    def __post_init__(self) -> None:
        if not (self.out or self.explain or self.pairs):
            raise UsageError("nothing is asked for", remedy="give --out people.parquet, --pairs FILE or --explain A B")
        for path in filter(None, (self.out, self.pairs, self.rejects)):
            format_of(path)
        if self.decided and not self.kept_in:
            raise UsageError("a decision needs a file to be kept in", remedy="give --decisions FILE, or --out")

    @property
    def kept_in(self) -> str | None:
        if self.decisions or not self.out:
            return self.decisions
        return f"{os.path.splitext(self.out.removesuffix('.gz'))[0]}.decisions.csv"


@dataclass(frozen=True)
class FilesResolved:
    """What was found in the files."""

    records: OwnRecords
    scored: ScoredPairs
    resolution: Resolution
    people: pa.Table
    rejected: dict[str, int]


def resolve_files(sources: Sequence[Source], request: FilesRequest, run: Run) -> FilesResolved:
    """Reads, compares and resolves all records of the files, and writes what is asked for."""
    with ExitStack() as stack:
        refusals = stack.enter_context(open_refusals(request.rejects))
        records = read_records(sources, refusals)
        decisions = _decide(request, records, run.started_at)
        scored = _score(records, request)
        resolution = _resolve(records, scored, decisions, request.rules, run)
        people = _people(records, resolution, scored)
        if request.out:
            stack.enter_context(TableFile(request.out, PEOPLE)).write(people)
        if request.pairs:
            pairs = _pairs(scored, resolution)
            stack.enter_context(TableFile(request.pairs, pairs.schema)).write(pairs)
    return FilesResolved(records, scored, resolution, people, refusals.counts)


def _score(records: OwnRecords, request: FilesRequest) -> ScoredPairs:
    if request.duplicates_within:
        return score_pairs(records.table, request.rules)
    files = records.named["source"].unique(maintain_order=True).to_list()
    if len(files) != 2:
        raise UsageError(f"--link is for two files, here are {len(files)}", remedy="give two files, or leave it out")
    of_first = records.named["source"] == files[0]
    mask = pa.array(of_first.to_list())
    first, second = records.table.filter(mask), records.table.filter(pa.compute.invert(mask))
    return score_pairs(second, request.rules, against=first, within=False)


def _resolve(
    records: OwnRecords, scored: ScoredPairs, decisions: pa.Table, rules: IdentityRules, run: Run
) -> Resolution:
    guard = GuardRules(match_probability=rules.match_probability)
    table = records.table.rename_columns([n if n != RECORD_KEY else "record" for n in records.table.column_names])
    return resolve_records(table, scored.edges, run.started_at, decisions=decisions, rules=guard, run_id=run.run_id)


def _people(records: OwnRecords, resolution: Resolution, scored: ScoredPairs) -> pa.Table:
    """PEOPLE in the order of the files."""
    persons = pl.DataFrame(pl.from_arrow(resolution.map)).select("record", "person_id")
    sure = pl.DataFrame(pl.from_arrow(record_probabilities(resolution.map, scored.edges)))
    found = records.named.join(persons.join(sure, on="record"), left_on=RECORD_KEY, right_on="record", how="left",
                               maintain_order="left")  # fmt: skip
    return found.select(PEOPLE.names).to_arrow(compat_level=_OLDEST).cast(PEOPLE)


def _pairs(scored: ScoredPairs, resolution: Resolution) -> pa.Table:
    """Each scored pair, whether it is one person, and the bits of each comparison."""
    persons = pl.DataFrame(pl.from_arrow(resolution.map)).select("record", "person_id")
    edges = pl.DataFrame(pl.from_arrow(scored.edges))
    ends = edges.join(persons, left_on="left", right_on="record", how="left", maintain_order="left").join(
        persons, left_on="right", right_on="record", how="left", maintain_order="left", suffix="_right"
    )
    told = edges.with_columns(same_person=ends["person_id"] == ends["person_id_right"])
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
        found = done.resolution
        verdict = verdict_of(left, right, found.map, done.scored.edges, found.refused, request.rules)
        say_explanation(done.scored.explain(left, right), verdict, out)
    out.close()


def _say(done: FilesResolved, request: FilesRequest, seconds: float, out: Output) -> None:
    for note in done.records.notes:
        out.say(note)
    records, persons = done.people.num_rows, len(done.people["person_id"].unique())
    sizes = pl.Series(done.people["person_id"]).value_counts()["count"]
    facts = {"records": records, "persons": persons, "compared_pairs": done.scored.compared,
             "largest_person": int(sizes.max() or 0), "refused_links": done.resolution.refused.num_rows}  # fmt: skip
    where = f": {request.out}" if request.out else ""
    out.say(
        f"resolve: {counted(records, 'record')} are {counted(persons, 'person')}, {done.scored.compared:,} pairs"
        f" compared in {seconds:.1f} s{where}",
        out=request.out, seconds=round(seconds, 3), **facts,
    )  # fmt: skip
    left_out = sum(done.scored.blocks["left_out"].to_pylist())
    if left_out:
        out.say(f"{left_out:,.0f} pairs that share only a very frequent value were not compared", left_out=left_out)
    if facts["refused_links"]:
        links = counted(facts["refused_links"], "link")
        out.say(f"{links} refused: a bridge, a contradiction or a decision stands between the two")
    if request.decided:
        out.say(f"the decision is kept in {request.kept_in}", decisions=request.kept_in)
    say_rejected(done.rejected, request.rejects, out)
