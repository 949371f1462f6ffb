"""Delta tables as Beam sources and sinks. Elements are `pyarrow.RecordBatch`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms.batches import register_batch_coder
from transforms.io import storage
from transforms.io.delta_added import Added, rows_added
from transforms.io.delta_commit import CommitResult, NoteOf, TableWrite, Transactions, commit
from transforms.io.delta_files import DataFile
from transforms.io.delta_maintain import MaintainResult, maintain
from transforms.io.delta_modes import Amend, Append, Mode, Overwrite, Upsert
from transforms.io.delta_notes import Note, last_note, read_notes
from transforms.io.delta_read import (
    BATCH_ROWS,
    NotAppendOnly,
    Scan,
    ScanFile,
    Where,
    has_rows,
    head,
    plan_scan,
    read_batches,
    read_file,
    read_table,
)
from transforms.io.delta_rows import amend_rows, append_rows, overwrite_rows, upsert_rows, write_rows
from transforms.io.delta_sink import TARGET_BYTES, TableSink
from transforms.io.delta_table import (
    arrow_schema,
    committed,
    create_table,
    evolve_schema,
    existing_table,
    open_table,
    table_version,
)

APPEND = Append()
__all__ = [
    "Added",
    "Amend",
    "Append",
    "CommitResult",
    "MaintainResult",
    "NotAppendOnly",
    "Note",
    "Overwrite",
    "ReadDelta",
    "ReadDeltaWhere",
    "TableWrite",
    "Upsert",
    "WriteDelta",
    "amend_rows",
    "append_rows",
    "arrow_schema",
    "committed",
    "create_table",
    "evolve_schema",
    "existing_table",
    "head",
    "last_note",
    "maintain",
    "open_table",
    "overwrite_rows",
    "read_batches",
    "read_notes",
    "read_table",
    "rows_added",
    "table_version",
    "upsert_rows",
    "write_rows",
]


@dataclass(eq=False)
class ReadDelta(beam.PTransform):
    """Reads a Delta table as record batches of at most `batch_rows` rows, in no promised order.

    Args:
      uri: a local folder, or `abfss://`, `az://`, `azfs://`.
      columns: those to read, in this order; None for all.
      where: conditions (column, operator, value), all of which hold for every row given out. Operators: = != < <= > >=
        in is_null not_null. A null passes no comparison. Partitions, statistics and row groups are used to read less.
      version: a table version, or a moment: the table as it was then.
      since: only rows of files added after this version; compactions are seen through.
      missing_ok, schema: a missing table reads as an empty one of `schema`.

    Raises, when the pipeline starts to read:
      UserError: no table, no permission, a broken log, a newer Delta, an unknown column or operator.
      NotAppendOnly: rows were rewritten or removed after `since`.
    """

    uri: str
    columns: tuple[str, ...] | None = None
    where: tuple[tuple[str, str, Any], ...] = ()
    version: int | datetime | None = None
    since: int | None = None
    batch_rows: int = BATCH_ROWS
    missing_ok: bool = False
    schema: pa.Schema | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.batch_rows <= 0:
            raise ValueError(f"batch_rows is {self.batch_rows}; give at least 1")
        if self.missing_ok and self.schema is None:
            raise ValueError("missing_ok needs schema, so that an absent table has columns")
        if self.version is not None and self.since is not None and not isinstance(self.version, int):
            raise ValueError("give version as a number together with since")

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[pa.RecordBatch]:
        register_batch_coder()
        missing = self.schema if self.missing_ok else None
        plan = _PlanFn(self.uri, self.columns, self.version, self.since, missing)
        return (
            root
            | "Table" >> beam.Create([self.where])
            | "PlanFiles" >> beam.ParDo(plan)
            | "SpreadFiles" >> beam.Reshuffle()
            | "ReadFiles" >> beam.ParDo(_ReadFileFn(self.batch_rows)).with_output_types(pa.RecordBatch)
        )


@dataclass(eq=False)
class ReadDeltaWhere(beam.PTransform):
    """PCollection[conditions] -> the rows of a table that satisfy an element's conditions, as `ReadDelta` gives them.

    For conditions that are known only when the pipeline runs. A row that satisfies two elements is given twice. Of a
    file only the columns of the conditions are read until a row is found.
    """

    uri: str
    columns: tuple[str, ...] | None = None

    def expand(self, conditions: beam.PCollection) -> beam.PCollection[pa.RecordBatch]:
        register_batch_coder()
        return (
            conditions
            | "PlanFiles" >> beam.ParDo(_PlanFn(self.uri, self.columns))
            | "SpreadFiles" >> beam.Reshuffle()
            | "ReadFiles" >> beam.ParDo(_ReadFileFn(BATCH_ROWS, True)).with_output_types(pa.RecordBatch)
        )


@dataclass(eq=False)
class WriteDelta(beam.PTransform):
    """Writes record batches to a Delta table, exactly once, in one commit; gives one `CommitResult` (a window).

    Workers write files that nobody sees; one committer adds them, with `transactions`, in a single version. A bundle
    that is tried again leaves orphans for `maintain` to vacuum, never rows. An empty input still creates the table and
    commits the transactions.

    Args:
      uri: a local folder, or `abfss://`, `az://`, `azfs://`.
      schema: the columns of the batches; not-null fields are checked.
      mode: `Append()`, `Upsert(key, order_by)`, `Overwrite(whole_table)` or `Amend()`.
      partition_by: the layout; fixed when the table is created. The empty text is null there, as in Delta.
      transactions: (app_id, version). All in the table: nothing is written, status "skipped". None: they are committed
        with the rows. In windows other than the global one, the window's end in milliseconds is added to the app_id.
      evolve: columns beyond `schema` are added to the table, nullable.
      target_file_bytes: a file is closed once it is larger.
      after: nothing is committed before these collections are complete; files are written meanwhile.
      note: a function CommitResult -> text for the commit's `userMetadata`, known when the pipeline runs. It may raise:
        then nothing is committed.

    Raises, when the pipeline runs:
      SchemaMismatch: a column, type, null or CHECK constraint does not fit; nothing is committed.
      PartlyCommitted: some of the transactions, not all, were committed by another run.
    """

    uri: str
    schema: pa.Schema
    mode: Mode = APPEND
    partition_by: tuple[str, ...] = ()
    transactions: tuple[tuple[str, int], ...] = ()
    evolve: bool = False
    target_file_bytes: int = TARGET_BYTES
    after: tuple[beam.PCollection, ...] = ()
    note: beam.pvalue.AsSingleton | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.target_file_bytes <= 0:
            raise ValueError(f"target_file_bytes is {self.target_file_bytes}; give at least 1")
        if len({app_id for app_id, _ in self.transactions}) != len(self.transactions):
            raise ValueError("an app_id occurs twice in transactions")
        storage.storage_options(self.uri)  # a missing credential shows before the pipeline starts
        self._write = TableWrite(self.uri, self.schema, self.mode, tuple(self.partition_by), self.evolve)

    def expand(self, batches: beam.PCollection[pa.RecordBatch]) -> beam.PCollection[CommitResult]:
        register_batch_coder()
        files = batches | "WriteFiles" >> beam.ParDo(
            _WriteFilesFn(self._write, self.transactions, self.target_file_bytes)
        ).with_output_types(tuple[None, list[DataFile]])
        if isinstance(batches.windowing.windowfn, GlobalWindows):  # so that an empty input is committed as well
            start = batches.pipeline | "Start" >> beam.Create([(None, [])]).with_output_types(
                tuple[None, list[DataFile]]
            )
            files = (files, start) | "WithStart" >> beam.Flatten()
        grouped = files | "OneCommitter" >> beam.GroupByKey()
        if self.after:
            grouped = grouped | "After" >> beam.WaitOn(*self.after)
        note = {} if self.note is None else {"note": self.note}
        commit_files = beam.ParDo(_CommitFn(self._write, self.transactions), **note)
        return grouped | "Commit" >> commit_files.with_output_types(CommitResult)


class _PlanFn(beam.DoFn):
    def __init__(self, uri: str, columns: tuple[str, ...] | None, *arguments: Any) -> None:
        self._uri, self._columns, self._arguments = uri, columns, arguments

    def process(self, where: Where) -> Iterator[tuple[Scan, ScanFile]]:
        scan = plan_scan(self._uri, self._columns, where, *self._arguments)
        bare = Scan(scan.uri, scan.schema, scan.table_schema, scan.partition_by, scan.where)
        for file in scan.files:
            yield bare, file


class _ReadFileFn(beam.DoFn):
    def __init__(self, batch_rows: int, few: bool = False) -> None:
        self._batch_rows, self._few = batch_rows, few

    def setup(self) -> None:
        self._files: dict[str, Any] = {}

    def process(self, element: tuple[Scan, ScanFile]) -> Iterator[pa.RecordBatch]:
        scan, file = element
        if scan.uri not in self._files:
            self._files[scan.uri] = storage.filesystem(scan.uri)
        if self._few and not has_rows(scan, file, self._files[scan.uri]):
            return
        rows = Metrics.counter("delta", "rows_read")
        for batch in read_file(scan, file, self._batch_rows, self._files[scan.uri]):
            rows.inc(batch.num_rows)
            yield batch


class _WriteFilesFn(beam.DoFn):
    """Gives one list of written files a bundle and window."""

    def __init__(self, write: TableWrite, transactions: Transactions, target_bytes: int) -> None:
        self._write, self._transactions, self._target_bytes = write, transactions, target_bytes

    def start_bundle(self) -> None:
        self._sinks: dict[Any, TableSink] = {}

    def process(self, batch: pa.RecordBatch, window: Any = beam.DoFn.WindowParam) -> None:
        sink = self._sinks.get(window)
        if sink is None:
            transactions = of_window(self._transactions, window)
            sink = self._sinks[window] = TableSink(self._write, transactions, self._target_bytes)
        sink.add(batch)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for window, sink in self._sinks.items():
            files = sink.finish()
            sink.close()
            Metrics.counter("delta", "files_written").inc(len(files))
            if files:
                yield WindowedValue((None, files), window.max_timestamp(), (window,))
        self._sinks = {}


class _CommitFn(beam.DoFn):
    def __init__(self, write: TableWrite, transactions: Transactions) -> None:
        self._write, self._transactions = write, transactions

    def process(
        self,
        element: tuple[None, Iterable[list[DataFile]]],
        window: Any = beam.DoFn.WindowParam,
        note: NoteOf | None = None,
    ) -> Iterator[CommitResult]:
        files = [file for bundle in element[1] for file in bundle]
        result = commit(self._write, files, of_window(self._transactions, window), note)
        Metrics.counter("delta", f"commits_{result.status}").inc()
        yield result


def of_window(transactions: Transactions, window: Any) -> Transactions:
    """The transactions of one window: their names end in the window's end, so that each window commits once."""
    if isinstance(window, GlobalWindow):
        return transactions
    end_ms = window.max_timestamp().micros // 1000
    return tuple((f"{app_id}/{end_ms}", version) for app_id, version in transactions)
