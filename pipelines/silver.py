"""Silver: what bronze gained since the last run, standardised, checked, one row a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipelines.config import Lake, Run
from pipelines.drift import record_drift
from pipelines.notes import TakeNote, check_counts
from pipelines.options import Engine, buckets_for
from pipelines.runs import TableRun, record_commits, table_runs
from transforms.bronze.evolution import business_schema
from transforms.contracts import CONTRACTS, Contract
from transforms.counts import ACCEPTED, COUNTS, REJECTED, Counts, SumCounts
from transforms.io.dead_letter import MODE, REJECTS
from transforms.io.delta import (
    ReadDelta,
    Upsert,
    WriteDelta,
    append_rows,
    arrow_schema,
    committed,
    evolve_schema,
    open_table,
)
from transforms.progress import METER
from transforms.shuffle import GroupBatches, spill_folder
from transforms.silver.keys import ORPHAN, KeySet
from transforms.silver.outliers import bounds, merge_summaries
from transforms.silver.profile import Profile
from transforms.silver.refine import ENVELOPE, KEYS, OUTLIERS, PROFILES, ROWS, STORED, CleanRows, RefineSpec, SettleRows

_BRONZE = "bronze"  # the Delta transaction in silver whose version is the bronze version it was made from


@dataclass(frozen=True)
class SilverPlan:
    """What one run will refine: bronze rows after version `since` (None: all of them) up to `until`.

    `parents` are the Delta transactions that say up to which bronze version of each parent table the foreign keys
    were checked; where they moved on, stored orphans are looked at again (`recheck`).
    """

    spec: RefineSpec
    since: int | None
    until: int
    rows: int
    parents: tuple[tuple[str, int], ...] = ()
    recheck: bool = False

    @property
    def contract(self) -> Contract:
        return self.spec.contract

    @property
    def transactions(self) -> tuple[tuple[str, int], ...]:
        new = ((_BRONZE, self.until),) if self.since != self.until else ()
        return (*new, *self.parents)


@dataclass(frozen=True)
class SilverResult:
    """What a run did, by table, and how many tables had nothing new."""

    tables: tuple[TableRun, ...]
    unchanged: int


def plan(lake: Lake, run: Run, country: str = "GB") -> tuple[list[SilverPlan], int]:
    """Finds the tables whose bronze, or whose parents, moved on since silver was made: (plans, unchanged tables)."""
    plans, unchanged = [], 0
    bronze = {name: open_table(lake.bronze(contract)) for name, contract in CONTRACTS.items()}
    versions = {name: table.version() for name, table in bronze.items() if table is not None}
    for name, until in versions.items():
        contract, uri = CONTRACTS[name], lake.silver(CONTRACTS[name])
        parents = {f"parent/{k.table}": versions[k.table] for k in contract.foreign_keys if k.table in versions}
        exists = open_table(uri) is not None
        made = committed(uri, [_BRONZE, *parents]) if exists else {}
        moved = tuple((parent, version) for parent, version in parents.items() if made.get(parent) != version)
        if made.get(_BRONZE) == until and not moved:
            unchanged += 1
            continue
        spec = RefineSpec(contract, _evolved(contract, bronze[name]), run.started_at, run.run_id, country)
        plans.append(SilverPlan(spec, made.get(_BRONZE), until, bronze[name].count(), moved, exists and bool(moved)))
    wanted = {key.table for table in plans for key in table.contract.foreign_keys}
    marked = [replace(p, spec=replace(p.spec, is_parent=p.contract.name in wanted)) for p in plans]
    return marked, unchanged


def _evolved(contract: Contract, bronze: Any) -> pa.Schema:
    """The columns that bronze has beyond the contract, or in a wider type."""
    business, declared = business_schema(contract, arrow_schema(bronze)), contract.arrow
    return pa.schema([f for f in business if f.name not in contract or f.type != declared.field(f.name).type])


def refine(lake: Lake, run: Run, engine: Engine = Engine(), country: str = "GB") -> SilverResult:
    """Brings silver up to bronze. Rows whose key silver has already replace the stored ones if they are later."""
    record_commits(lake)  # of runs that died before they could
    plans, unchanged = plan(lake, run, country)
    if not plans:
        return SilverResult((), unchanged)
    for table in plans:
        if open_table(lake.silver(table.contract)) is not None:
            evolve_schema(lake.silver(table.contract), table.spec.schema)
    METER.expect(rows=sum(p.rows for p in plans))
    with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
        build(root, lake, run, plans, spill)
    record_commits(lake)
    record_drift(lake, run)
    return SilverResult(table_runs(lake, run), unchanged)


def build(root: beam.Pipeline, lake: Lake, run: Run, plans: Sequence[SilverPlan], spill: str | None) -> None:
    """Wires one branch a table; children wait for their parents' keys only."""
    cleaned = {p.contract.name: _clean(root, lake, p) for p in plans}
    parents = _parent_keys(root, lake, cleaned)
    orphans = {p.contract.name: _orphans(root, lake, p) for p in plans if p.recheck}
    settled = {p.contract.name: _settle(p, cleaned[p.contract.name], orphans, parents, spill) for p in plans}
    counts = {name: _count(name, cleaned[name], settled[name], orphans.get(name)) for name in settled}
    rejected = (
        [rows[REJECTED] for rows in cleaned.values()]
        | "AllRejects" >> beam.Flatten()
        | "WriteRejects" >> WriteDelta(lake.rejects, REJECTS, MODE, evolve=True, after=tuple(counts.values()))
    )
    for p in plans:
        name = p.contract.name
        note = counts[name] | f"Note {name}" >> TakeNote(run, (f"bronze/{p.contract.path}@{p.until}",))
        settled[name][ACCEPTED] | f"WriteSilver {name}" >> _write(lake, p, rejected, note)
    profiles = [settled[name][PROFILES] | f"Profile {name}" >> _Profile(name, lake, run) for name in settled]
    (
        profiles
        | "AllProfiles" >> beam.Flatten()
        | beam.combiners.ToList()
        | "RecordProfiles" >> beam.Map(_record_profiles, lake=lake, run=run)
    )


def _clean(root: beam.Pipeline, lake: Lake, table: SilverPlan) -> beam.pvalue.DoOutputsTuple:
    name = table.contract.name
    extra = [field.name for field in table.spec.extra if field.name not in table.contract]
    columns = (*table.contract.names, *extra, *ENVELOPE)
    read = ReadDelta(lake.bronze(table.contract), columns, version=table.until, since=table.since)
    return root | f"ReadBronze {name}" >> read | f"Clean {name}" >> CleanRows(table.spec)


def _parent_keys(
    root: beam.Pipeline, lake: Lake, cleaned: dict[str, beam.pvalue.DoOutputsTuple]
) -> dict[str, beam.PCollection]:
    """table -> PCollection of one (table, KeySet): the keys silver has and those that this run adds."""
    wanted = {key.table for name in cleaned for key in CONTRACTS[name].foreign_keys}
    keys = {}
    for name in sorted(wanted):
        contract, parts = CONTRACTS[name], []
        if name in cleaned:
            parts.append(cleaned[name][KEYS])
        if open_table(lake.silver(contract)) is not None:
            stored = root | f"StoredKeys {name}" >> ReadDelta(lake.silver(contract), columns=contract.key)
            parts.append(stored | f"Hash {name}" >> beam.Map(KeySet.of, contract.key))
        if parts:
            merged = parts | f"Keys {name}" >> beam.Flatten() | f"Merge {name}" >> beam.CombineGlobally(KeySet.union)
            keys[name] = merged | f"Named {name}" >> beam.Map(lambda keys, name=name: (name, keys))
    return keys


def _orphans(root: beam.Pipeline, lake: Lake, table: SilverPlan) -> beam.PCollection:
    """Rows of silver without a parent, which may have got one by now."""
    name = table.contract.name
    return root | f"Orphans {name}" >> ReadDelta(lake.silver(table.contract), where=((ORPHAN, "=", True),))


def _settle(
    table: SilverPlan,
    cleaned: beam.pvalue.DoOutputsTuple,
    orphans: dict[str, beam.PCollection],
    parents: dict[str, beam.PCollection],
    spill: str | None,
) -> beam.pvalue.DoOutputsTuple:
    contract, name = table.contract, table.contract.name
    fences = (
        cleaned[OUTLIERS]
        | f"Bounds {name}" >> beam.CombineGlobally(merge_summaries)
        | f"Fences {name}" >> beam.Map(lambda summary: bounds([summary]))
    )
    known = [parents[key.table] for key in contract.foreign_keys if key.table in parents]
    nobody = cleaned[COUNTS].pipeline | f"NoParents {name}" >> beam.Create([], reshuffle=False)
    keysets = [nobody, *dict.fromkeys(known)] | f"Parents {name}" >> beam.Flatten()
    inputs = {ROWS: cleaned[ACCEPTED]} | ({STORED: orphans[name]} if name in orphans else {})
    group = GroupBatches(dict.fromkeys(inputs, contract.key), buckets_for(table.rows), spill)
    return (
        inputs
        | f"ByKey {name}" >> group
        | f"Settle {name}" >> SettleRows(table.spec, beam.pvalue.AsSingleton(fences), beam.pvalue.AsDict(keysets))
    )


def _count(
    name: str,
    cleaned: beam.pvalue.DoOutputsTuple,
    settled: beam.pvalue.DoOutputsTuple,
    orphans: beam.PCollection | None,
) -> beam.PCollection:
    """Counts of one table; a stored orphan that is looked at again is a row read."""
    counted = [cleaned[COUNTS], settled[COUNTS]]
    if orphans is not None:
        counted.append(orphans | f"CountOrphans {name}" >> beam.Map(lambda batch: Counts(read=batch.num_rows)))
    parts = counted | f"Counts {name}" >> beam.Flatten()
    return parts | f"Count {name}" >> SumCounts(name) | f"Check {name}" >> beam.Map(check_counts)


def _write(lake: Lake, table: SilverPlan, rejected: beam.PCollection, note: beam.PCollection) -> WriteDelta:
    contract = table.contract
    return WriteDelta(
        lake.silver(contract),
        table.spec.schema,
        Upsert(contract.key, contract.order_by),
        partition_by=contract.partition_by,
        transactions=table.transactions,
        after=(rejected,),
        note=beam.pvalue.AsSingleton(note),
    )


@dataclass(eq=False)
class _Profile(beam.PTransform):
    """Merges one table's partial profiles into one Arrow table of a row a column."""

    table: str
    lake: Lake
    run: Run

    def expand(self, partials: beam.PCollection) -> beam.PCollection:
        run_id, table, at = self.run.run_id, self.table, self.run.started_at
        return (
            partials
            | beam.CombineGlobally(Profile.merge).without_defaults()
            | beam.Map(lambda merged: merged.to_table(run_id, table, at))
        )


def _record_profiles(tables: list[pa.Table], lake: Lake, run: Run) -> None:
    if tables:
        append_rows(lake.profiles, pa.concat_tables(tables), ((f"run/{run.run_id}", 1),))
