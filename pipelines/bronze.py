"""Bronze: new files into the lake, once each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import apache_beam as beam
import pyarrow as pa

from pipelines.columns import Header, Recognised, check_by_name, columns_of, name_columns
from pipelines.config import Lake, Run
from pipelines.notes import TakeNote, check_counts
from pipelines.options import Engine
from pipelines.registry import changes_of, registered
from pipelines.runs import TableRun, record_commits, table_runs
from transforms.bronze.cells import AS_USUAL, Spelling
from transforms.bronze.envelope import Origin, bronze_schema
from transforms.bronze.evolution import Change, business_schema, evolve
from transforms.bronze.ingest import IngestFiles, IngestSpec
from transforms.contracts import Contract
from transforms.counts import COUNTS, REJECTED, SumCounts
from transforms.io.dead_letter import MODE, REJECTS
from transforms.io.delta import Append, WriteDelta, arrow_schema, committed, evolve_schema, open_table
from transforms.io.files import SourceFile, Split, discover, header, split
from transforms.io.source import Naming
from transforms.progress import METER


@dataclass(frozen=True)
class TableInput:
    """Files of one table: a file, a folder or a glob.

    Attributes:
      maps: contract column -> source column, as the user gave them; also empty, it asks for common names to be
        recognised. None: columns go by their names alone.
      spelling: how the files write numbers and dates.
    """

    contract: Contract
    location: str
    format: str | None = None
    maps: tuple[tuple[str, str], ...] | None = None
    source: str = ""
    spelling: Spelling = AS_USUAL


@dataclass(frozen=True)
class TablePlan:
    """What one run will read into one bronze table. `known` counts the files that an earlier run has read."""

    input: TableInput
    files: tuple[SourceFile, ...]
    known: int
    spec: IngestSpec | None = None
    changes: tuple[Change, ...] = ()
    missing: frozenset[str] = frozenset()
    recognised: tuple[Recognised, ...] = ()

    @property
    def contract(self) -> Contract:
        return self.input.contract

    @property
    def transactions(self) -> tuple[tuple[str, int], ...]:
        return tuple((file_id(file.path, file.fingerprint), 1) for file in self.files)

    @property
    def splits(self) -> list[Split]:
        return [part for file in self.files for part in split(file)]


@dataclass(frozen=True)
class BronzeResult:
    """What a run did: one `TableRun` a table that had new files, how many files were known, schema changes."""

    tables: tuple[TableRun, ...]
    known_files: int
    changes: dict[str, list[Change]] = field(default_factory=dict)
    recognised: tuple[Recognised, ...] = ()


def file_id(path: str, fingerprint: str) -> str:
    """The Delta transaction of a file: its name and its content, so that a changed file is a new one."""
    return "file/" + hashlib.blake2b(f"{path}\0{fingerprint}".encode(), digest_size=16).hexdigest()


def plan(lake: Lake, run: Run, inputs: Iterable[TableInput]) -> list[TablePlan]:
    """Finds the files that bronze does not hold yet. The bronze table itself knows what it holds."""
    return [_plan_table(lake, run, table) for table in inputs]


def _plan_table(lake: Lake, run: Run, table: TableInput) -> TablePlan:
    found = discover(table.location, table.format)
    uri = lake.bronze(table.contract)
    held = (
        committed(uri, [file_id(file.path, file.fingerprint) for file in found]) if open_table(uri) is not None else {}
    )
    new = tuple(file for file in found if file_id(file.path, file.fingerprint) not in held)
    if not new:
        return TablePlan(table, (), len(found))
    stored = open_table(uri)
    current = business_schema(table.contract, arrow_schema(stored) if stored else None)
    headers, recognised = _headers(new, table)
    typed = [_renamed(h, file, table.contract) for file, h in headers.items() if isinstance(h, pa.Schema)]
    business, changes = evolve(current, typed)
    version, _, _ = registered(lake, table.contract)
    origin = Origin(
        source=table.source or table.contract.system,
        file="",
        run_id=run.run_id,
        ingested_at=run.started_at,
        schema_version=version + bool(changes) if version else 1,
        next_version=version + 1 if version else 1,
    )
    spec = IngestSpec(table.contract, business, origin, table.spelling)
    missing = _missing(headers, table.contract)
    return TablePlan(table, tuple(headers), len(found) - len(new), spec, tuple(changes), missing, tuple(recognised))


def _headers(new: Sequence[SourceFile], table: TableInput) -> tuple[dict[SourceFile, Header], list[Recognised]]:
    """(the files, told which of their columns is which, with their headers; what was recognised)."""
    headers = {file: header(file) for file in new}
    if table.maps is None:
        check_by_name(headers, table.contract)
        return headers, []
    files, recognised = name_columns(headers, table.contract, dict(table.maps))
    return dict(zip(files, headers.values(), strict=True)), recognised


def _names(columns: Sequence[str], file: SourceFile, contract: Contract) -> list[str]:
    """A header's columns by the names the reader gives them."""
    return Naming(contract.names, dict(file.renames)).unique(columns)


def _renamed(schema: pa.Schema, file: SourceFile, contract: Contract) -> pa.Schema:
    names = _names(schema.names, file, contract)
    return pa.schema([pa.field(name, field.type) for name, field in zip(names, schema, strict=True)])


def _missing(headers: Mapping[SourceFile, Header], contract: Contract) -> frozenset[str]:
    """Contract columns that a file lacks (for JSON lines, its first ones); they become null."""
    seen = [_names(columns, file, contract) for file, h in headers.items() if (columns := columns_of(h))]
    return frozenset(name for columns in seen for name in set(contract.names) - set(columns))


def ingest(lake: Lake, run: Run, inputs: Iterable[TableInput], engine: Engine = Engine()) -> BronzeResult:
    """Reads new files into bronze and their refused rows into the rejects; running it again reads nothing.

    Everything of one table lands in one Delta commit, which carries the files' names: killed anywhere, a rerun
    finishes the work and no row is lost or doubled. Rejects are committed first, by a key made of their place.
    """
    record_commits(lake)  # of runs that died before they could
    plans = plan(lake, run, inputs)
    known = sum(p.known for p in plans)
    work = [p for p in plans if p.files]
    if not work:
        return BronzeResult((), known)
    for table in work:
        assert table.spec is not None
        if table.changes and open_table(lake.bronze(table.contract)) is not None:
            evolve_schema(lake.bronze(table.contract), bronze_schema(table.contract, table.spec.business))
    files = [file for p in work for file in p.files]
    METER.expect(files=len(files), bytes=sum(file.size for file in files))
    with engine.pipeline() as root:
        build(root, lake, run, work)
    recognised = tuple(one for p in work for one in p.recognised)
    record_commits(lake)
    return BronzeResult(table_runs(lake, run), known, changes_of(lake, run), recognised)


def build(root: beam.Pipeline, lake: Lake, run: Run, plans: Sequence[TablePlan]) -> None:
    """Wires one branch a table; they meet in the rejects."""
    ingested = {p.contract.name: _ingest_table(root, p) for p in plans}
    counts = [
        ingested[name][COUNTS] | f"Count {name}" >> SumCounts(name) | f"Check {name}" >> beam.Map(check_counts)
        for name in ingested
    ]
    rejected = (
        [tables[REJECTED] for tables in ingested.values()]
        | "AllRejects" >> beam.Flatten()
        | "WriteRejects" >> WriteDelta(lake.rejects, REJECTS, MODE, evolve=True, after=tuple(counts))
    )
    for p, c in zip(plans, counts, strict=True):
        name = p.contract.name
        inputs = tuple(f"{f.path}@{f.fingerprint}" for f in p.files)
        note = c | f"Note {name}" >> TakeNote(run, inputs, tuple(sorted(p.missing)))
        ingested[name].accepted | f"WriteBronze {name}" >> _write(lake, p, rejected, note)


def _ingest_table(root: beam.Pipeline, table: TablePlan) -> beam.pvalue.DoOutputsTuple:
    assert table.spec is not None
    name = table.contract.name
    return root | f"Files {name}" >> beam.Create(table.splits) | f"Ingest {name}" >> IngestFiles(table.spec)


def _write(lake: Lake, table: TablePlan, rejected: beam.PCollection, note: beam.PCollection) -> WriteDelta:
    assert table.spec is not None
    contract = table.contract
    return WriteDelta(
        lake.bronze(contract),
        bronze_schema(contract, table.spec.business),
        Append(),
        partition_by=contract.partition_by,
        transactions=table.transactions,
        evolve=True,
        after=(rejected,),
        note=beam.pvalue.AsSingleton(note),
    )
