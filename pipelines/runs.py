"""The run table: what each run read, what became of it, and which table versions came of it (lineage)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import apache_beam as beam
import pyarrow as pa

from pipelines.config import Lake, Run
from transforms.counts import Counts, TableCounts
from transforms.io.delta import CommitResult, append_rows, read_table

_TIME = pa.timestamp("us", tz="UTC")
RUNS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("command", pa.string(), nullable=False),
        pa.field("table", pa.string(), nullable=False),
        pa.field("started_at", _TIME, nullable=False),
        pa.field("ended_at", _TIME, nullable=False),
        pa.field("inputs", pa.list_(pa.string())),  # "path@fingerprint" or "layer/table@version"
        pa.field("output", pa.string()),
        pa.field("output_version", pa.int64()),
        pa.field("read", pa.int64()),
        pa.field("accepted", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("duplicates", pa.int64()),
        pa.field("conflicts", pa.int64()),
    ]
)


@dataclass(frozen=True)
class TableRun:
    """What one run did to one table."""

    table: str
    inputs: tuple[str, ...] = ()
    output: str = ""
    output_version: int | None = None
    counts: Counts = field(default_factory=Counts)


class UnbalancedCounts(AssertionError):
    """Rows were lost or made up between two steps: a defect of this program, never of the data."""


def check_counts(counted: TableCounts) -> TableCounts:
    """Passes the counts on, or stops the run before anything is committed."""
    if not counted.counts.balanced:
        raise UnbalancedCounts(f"{counted.table}: {counted.counts}: read is not accepted + rejected + duplicates")
    return counted


@dataclass(eq=False)
class RecordRun(beam.PTransform):
    """(PCollection[TableCounts], PCollection[(table, CommitResult)]) -> the run's rows in the run table, once.

    Attributes:
      inputs: table -> what was read.
    """

    lake: Lake
    run: Run
    inputs: dict[str, tuple[str, ...]]

    def expand(self, results: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        counts, commits = results
        return (
            (counts | beam.Map(tuple), commits)
            | beam.CoGroupByKey()
            | beam.Map(_table_run, self.inputs)
            | beam.combiners.ToList()
            | beam.Map(record, lake=self.lake, run=self.run)
        )


def _table_run(
    element: tuple[str, tuple[Iterable[Counts], Iterable[CommitResult]]], inputs: dict[str, tuple[str, ...]]
) -> TableRun:
    table, results = element
    counts, commits = (list(part) for part in results)
    commit = commits[0]
    return TableRun(table, inputs.get(table, ()), commit.uri, commit.version, counts[0])


def record(tables: list[TableRun], lake: Lake, run: Run) -> int:
    """Appends one row a table; a rerun of the same run id appends nothing."""
    now = datetime.now(run.started_at.tzinfo)
    rows = [
        {
            "run_id": run.run_id,
            "command": run.command,
            "table": t.table,
            "started_at": run.started_at,
            "ended_at": now,
            "inputs": list(t.inputs),
            "output": t.output,
            "output_version": t.output_version,
            **vars(t.counts),
        }
        for t in sorted(tables, key=lambda t: t.table)
    ]
    append_rows(lake.runs, pa.Table.from_pylist(rows, schema=RUNS), ((f"run/{run.run_id}", 1),))
    return len(rows)


def table_runs(lake: Lake, run: Run) -> Iterator[TableRun]:
    """What a run recorded, by table."""
    rows = read_table(lake.runs, where=(("run_id", "=", run.run_id),))
    for row in sorted(rows.to_pylist(), key=lambda row: row["table"]):
        counts = Counts(*(row[name] or 0 for name in ("read", "accepted", "rejected", "duplicates", "conflicts")))
        yield TableRun(row["table"], tuple(row["inputs"]), row["output"], row["output_version"], counts)
