"""Silver: what bronze gained since the last run, standardised, checked, one row a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from pipelines.config import Lake, Run
from pipelines.drift import record_drift
from pipelines.notes import TakeNote, check_counts
from pipelines.options import Engine, buckets_for
from pipelines.runs import TableRun, record_commits, table_runs
from pipelines.silver_plan import SilverPlan, plan
from transforms.batches import as_batch
from transforms.bronze.envelope import FOR_SILVER
from transforms.contracts import CONTRACTS
from transforms.counts import ACCEPTED, COUNTS, REJECTED, SumCounts
from transforms.io.dead_letter import MODE, REJECTS
from transforms.io.delta import (
    Append,
    Overwrite,
    ReadDelta,
    ReadDeltaWhere,
    Upsert,
    WriteDelta,
    evolve_schema,
    open_table,
)
from transforms.progress import METER
from transforms.shuffle import GroupBatches, spill_folder
from transforms.silver.keys import KeySet
from transforms.silver.outliers import SUMMARY_KEY, SUMMARY_SCHEMA, bounds, merge_summaries, moved_ranges, summary_rows
from transforms.silver.profile import PROFILE_SCHEMA, Profile
from transforms.silver.refine import (
    KEYS,
    KNOWN,
    OUTLIERS,
    PROFILES,
    ROWS,
    STORED,
    CleanRows,
    SettleRows,
)

Tables = dict[str, beam.PCollection]


@dataclass(frozen=True)
class SilverResult:
    """What a run did, by table, how many tables had nothing new, and what the user should know about it."""

    tables: tuple[TableRun, ...]
    unchanged: int
    notes: tuple[str, ...] = ()


def refine(
    lake: Lake, run: Run, engine: Engine = Engine(), country: str = "GB", rebuild: bool | frozenset[str] = False
) -> SilverResult:
    """Brings silver up to bronze, so that it is what one run over all of bronze would have made.

    Rows whose key silver has already replace the stored ones if they are later. Stored rows whose flags depend on what
    came since (a parent, the spread of all values) are stated anew. `rebuild` makes every table, or those named,
    from all of bronze, as happens by itself where bronze can no longer say what came since.
    """
    record_commits(lake)  # of runs that died before they could
    record_drift(lake)
    plans, unchanged = plan(lake, run, country, frozenset(CONTRACTS) if rebuild is True else frozenset(rebuild or ()))
    if not plans:
        return SilverResult((), unchanged)
    for table in plans:
        if open_table(lake.silver(table.contract)) is not None:
            evolve_schema(lake.silver(table.contract), table.spec.schema)
    METER.expect(rows=sum(p.rows for p in plans))
    with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
        build(root, lake, run, plans, spill)
    record_commits(lake)
    record_drift(lake)
    notes = tuple(f"{p.contract.name.lower()}: read all of bronze again, since {p.note}" for p in plans if p.note)
    return SilverResult(table_runs(lake, run), unchanged, notes)


def build(root: beam.Pipeline, lake: Lake, run: Run, plans: Sequence[SilverPlan], spill: str | None) -> None:
    """Wires one branch a table; children wait for their parents' keys only."""
    cleaned = {p.contract.name: _clean(root, lake, p) for p in plans}
    parents = _parent_keys(root, lake, plans, cleaned)
    summaries = {p.contract.name: _summary(p, cleaned[p.contract.name]) for p in plans}
    inputs = {p.contract.name: _inputs(root, lake, p, cleaned, summaries) for p in plans}
    settled = {p.contract.name: _settle(root, p, inputs, summaries, parents, spill) for p in plans}
    counts = {name: _count(name, cleaned[name], settled[name]) for name in settled}
    after = _write_findings(lake, run, plans, cleaned, settled, summaries, tuple(counts.values()))
    for p in plans:
        name = p.contract.name
        note = counts[name] | f"Note {name}" >> TakeNote(run, (f"bronze/{p.contract.path}@{p.until}",))
        settled[name][ACCEPTED] | f"WriteSilver {name}" >> _write(lake, p, after, note)


def _clean(root: beam.Pipeline, lake: Lake, table: SilverPlan) -> beam.pvalue.DoOutputsTuple:
    name = table.contract.name
    return (
        root
        | f"ReadBronze {name}" >> _read_bronze(lake, table, since=table.since)
        | f"Clean {name}" >> CleanRows(table.spec)
    )


def _read_bronze(lake: Lake, table: SilverPlan, **which: object) -> ReadDelta:
    extra = [field.name for field in table.spec.extra if field.name not in table.contract]
    columns = (*table.contract.names, *extra, *FOR_SILVER)
    return ReadDelta(lake.bronze(table.contract), columns, version=table.until, **which)


def _parent_keys(
    root: beam.Pipeline, lake: Lake, plans: Sequence[SilverPlan], cleaned: dict[str, beam.pvalue.DoOutputsTuple]
) -> Tables:
    """table -> PCollection of one (table, KeySet): the keys silver has and those that this run adds."""
    wanted = {key.table for name in cleaned for key in CONTRACTS[name].foreign_keys}
    replaced = {p.contract.name for p in plans if p.since is None}
    keys = {}
    for name in sorted(wanted):
        contract, parts = CONTRACTS[name], []
        if name in cleaned:
            parts.append(cleaned[name][KEYS])
        if name not in replaced and open_table(lake.silver(contract)) is not None:
            stored = root | f"StoredKeys {name}" >> ReadDelta(lake.silver(contract), columns=contract.key)
            parts.append(stored | f"Hash {name}" >> beam.Map(KeySet.of, contract.key))
        if parts:
            merged = parts | f"Keys {name}" >> beam.Flatten() | f"Merge {name}" >> beam.CombineGlobally(KeySet.union)
            keys[name] = merged | f"Named {name}" >> beam.Map(lambda keys, name=name: (name, keys))
    return keys


def _summary(table: SilverPlan, cleaned: beam.pvalue.DoOutputsTuple) -> beam.PCollection:
    """One summary of the outlier columns of all bronze rows: those taken up earlier and those of this run."""
    name, before = table.contract.name, table.outliers
    return (
        cleaned[OUTLIERS]
        | f"Spread {name}" >> beam.CombineGlobally(merge_summaries)
        | f"SpreadOfAll {name}" >> beam.Map(lambda new: merge_summaries([before, new]))
    )


def _inputs(
    root: beam.Pipeline,
    lake: Lake,
    table: SilverPlan,
    cleaned: dict[str, beam.pvalue.DoOutputsTuple],
    summaries: Tables,
) -> Tables:
    """What is grouped by key: new rows, earlier ones they must be compared with, stored ones to be judged anew."""
    name, inputs = table.contract.name, {ROWS: cleaned[table.contract.name][ACCEPTED]}
    if table.known is not None:
        known = root | f"ReadKnown {name}" >> _read_bronze(lake, table, where=table.known)
        inputs[KNOWN] = (known | f"CleanKnown {name}" >> CleanRows(table.spec))[ACCEPTED]
    wanted = _stored_conditions(root, table, summaries[name]) if table.since is not None else []
    if wanted:
        conditions = wanted | f"Conditions {name}" >> beam.Flatten()
        inputs[STORED] = conditions | f"ReadStored {name}" >> ReadDeltaWhere(lake.silver(table.contract))
    return inputs


def _stored_conditions(root: beam.Pipeline, table: SilverPlan, summary: beam.PCollection) -> list[beam.PCollection]:
    """Conditions on stored rows: perhaps orphans no more, or between the outlier fences of before and of now."""
    name, before, schema = table.contract.name, bounds([table.outliers]), table.spec.schema
    found = []
    if table.again:
        found.append(root | f"Again {name}" >> beam.Create(table.again, reshuffle=False))
    if table.contract.outliers and table.since != table.until:
        between: Callable = lambda summary: moved_ranges(before, bounds([summary]), schema)  # noqa: E731
        found.append(summary | f"BetweenFences {name}" >> beam.FlatMap(between))
    return found


def _settle(
    root: beam.Pipeline,
    table: SilverPlan,
    inputs: dict[str, Tables],
    summaries: Tables,
    parents: Tables,
    spill: str | None,
) -> beam.pvalue.DoOutputsTuple:
    contract, name = table.contract, table.contract.name
    fences = summaries[name] | f"Fences {name}" >> beam.Map(lambda summary: bounds([summary]))
    known = [parents[key.table] for key in contract.foreign_keys if key.table in parents]
    nobody = root | f"NoParents {name}" >> beam.Create([], reshuffle=False)
    keysets = [nobody, *dict.fromkeys(known)] | f"Parents {name}" >> beam.Flatten()
    group = GroupBatches(dict.fromkeys(inputs[name], contract.key), buckets_for(table.rows), spill)
    return (
        inputs[name]
        | f"ByKey {name}" >> group
        | f"Settle {name}" >> SettleRows(table.spec, beam.pvalue.AsSingleton(fences), beam.pvalue.AsDict(keysets))
    )


def _count(name: str, cleaned: beam.pvalue.DoOutputsTuple, settled: beam.pvalue.DoOutputsTuple) -> beam.PCollection:
    """What became of the bronze rows of one table; stored rows that are stated anew are not counted."""
    parts = [cleaned[COUNTS], settled[COUNTS]] | f"Counts {name}" >> beam.Flatten()
    return parts | f"Count {name}" >> SumCounts(name) | f"Check {name}" >> beam.Map(check_counts)


def _write_findings(
    lake: Lake,
    run: Run,
    plans: Sequence[SilverPlan],
    cleaned: dict[str, beam.pvalue.DoOutputsTuple],
    settled: dict[str, beam.pvalue.DoOutputsTuple],
    summaries: Tables,
    counts: tuple[beam.PCollection, ...],
) -> tuple[beam.PCollection, ...]:
    """Writes rejects, profiles and outlier summaries: before silver, so that a run that commits has left them all.

    Those of a run that dies in between do no harm: the next one writes the same rejects and summaries again, and
    profiles count only if their run committed.
    """
    rejects = [rows[REJECTED] for rows in cleaned.values()] | "AllRejects" >> beam.Flatten()
    profiles = [settled[name][PROFILES] | f"Profile {name}" >> _Profile(name, run) for name in settled]
    spreads = [
        summaries[p.contract.name] | f"SpreadRows {p.contract.name}" >> beam.FlatMap(_batches_of, p.contract, p.until)
        for p in plans
    ]
    write_profiles = WriteDelta(
        lake.profiles, PROFILE_SCHEMA, Append(), transactions=((f"run/{run.run_id}", 1),), after=counts
    )
    write_spreads = WriteDelta(lake.outliers, SUMMARY_SCHEMA, Upsert(SUMMARY_KEY), after=counts)
    return (
        rejects | "WriteRejects" >> WriteDelta(lake.rejects, REJECTS, MODE, evolve=True, after=counts),
        profiles | "AllProfiles" >> beam.Flatten() | "WriteProfiles" >> write_profiles,
        spreads | "AllSpreads" >> beam.Flatten() | "WriteSpreads" >> write_spreads,
    )


def _batches_of(summary: object, contract: object, version: int) -> Iterable[pa.RecordBatch]:
    rows = summary_rows(summary, contract, version)
    return [as_batch(rows)] if rows.num_rows else []


def _write(lake: Lake, table: SilverPlan, after: tuple[beam.PCollection, ...], note: beam.PCollection) -> WriteDelta:
    contract = table.contract
    return WriteDelta(
        lake.silver(contract),
        table.spec.schema,
        Overwrite(whole_table=True) if table.since is None else Upsert(contract.key, contract.order_by),
        partition_by=contract.partition_by,
        transactions=table.transactions,
        after=after,
        note=beam.pvalue.AsSingleton(note),
    )


@dataclass(eq=False)
class _Profile(beam.PTransform):
    """Merges one table's partial profiles into one batch of a row a column; nothing where no row is new."""

    table: str
    run: Run

    def expand(self, partials: beam.PCollection) -> beam.PCollection:
        run_id, table, at = self.run.run_id, self.table, self.run.started_at
        return (
            partials
            | beam.CombineGlobally(Profile.merge).without_defaults()
            | beam.Map(lambda merged: as_batch(merged.to_table(run_id, table, at)))
        )
