"""Rows checked and written into the files of a table, encoded in the background while the caller reads on."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl
import pyarrow as pa

from transforms.errors import SchemaMismatch, UserError
from transforms.io import storage
from transforms.io.delta_commit import TableWrite, Transactions, agreed_schema, skipped
from transforms.io.delta_files import DataFile, TableFiles, split_by_partition
from transforms.io.delta_schema import conform
from transforms.io.delta_table import constraints, open_table

CHUNK_BYTES = 32 << 20
LANES = 2
TARGET_BYTES = 128 << 20


class TableSink:
    """Takes rows of one write and gives back uncommitted files.

    Each row is checked first: columns, types, nulls, and the table's CHECK constraints. If the table has all of
    `transactions` already, nothing is written. Memory: some chunks of `CHUNK_BYTES` and one buffer a lane.
    """

    def __init__(self, write: TableWrite, transactions: Transactions = (), target_bytes: int = TARGET_BYTES) -> None:
        self._write, self._target = write, target_bytes
        table = open_table(write.uri)
        self._schema = agreed_schema(write, table)
        self._checks = constraints(table) if table is not None else ()
        self._idle = table is not None and skipped(table, transactions)
        storage.make_folder(write.uri)
        self._files = storage.filesystem(write.uri)
        self._lanes = [_Lane() for _ in range(LANES)]
        self._pending: list[pa.Table] = []
        self._pending_bytes = self._turn = 0

    def add(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Checks and takes some rows.

        Raises:
          SchemaMismatch: see `conform`.
          UserError: rows that break a CHECK constraint of the table.
        """
        if self._idle or not rows.num_rows:
            return
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        conformed = conform(table, self._schema, self._write.uri, self._write.evolve)
        check_constraints(conformed, self._checks, self._write.uri)
        if self._pending and not self._pending[0].schema.equals(conformed.schema):
            self._hand_over()  # a batch with other extra columns starts files of its own
        self._pending.append(conformed)
        self._pending_bytes += conformed.nbytes
        if self._pending_bytes >= CHUNK_BYTES:
            self._hand_over()

    def finish(self) -> list[DataFile]:
        """Closes all files and lists them; the sink can go on with new rows."""
        if self._pending:
            self._hand_over()
        futures = [lane.submit(lane.take) for lane in self._lanes]
        return sorted((file for future in futures for file in future.result()), key=lambda file: file.path)

    def close(self) -> None:
        """Stops the background threads; unfinished files stay invisible."""
        for lane in self._lanes:
            lane.pool.shutdown(cancel_futures=True)

    def _hand_over(self) -> None:
        rows, self._pending, self._pending_bytes = pa.concat_tables(self._pending), [], 0
        self._turn = (self._turn + 1) % LANES  # a lane splits its rows by itself: sorting is half of the work
        self._send(self._lanes[self._turn], rows)

    def _send(self, lane: _Lane, rows: pa.Table) -> None:
        layout = (self._files, rows.schema, self._write.partition_by, self._target, self._checks)
        lane.submit(lane.write, layout, rows)


class _Lane:
    """One background thread with its own open files."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="delta-files")
        self._queue: deque[Future] = deque()
        self._tables: dict[pa.Schema, TableFiles] = {}

    def submit(self, work, *arguments) -> Future:  # type: ignore[no-untyped-def]
        while len(self._queue) >= 2:  # back-pressure, and errors surface here
            self._queue.popleft().result()
        future = self.pool.submit(work, *arguments)
        self._queue.append(future)
        return future

    def write(self, layout: tuple, rows: pa.Table) -> None:
        files = self._tables.get(layout[1])
        if files is None:
            files = self._tables[layout[1]] = TableFiles(*layout)
        for key, part in split_by_partition(rows, layout[2]):
            files.add_part(key, part)

    def take(self) -> list[DataFile]:
        tables, self._tables = self._tables, {}
        return [file for files in tables.values() for file in files.take()]


def check_constraints(rows: pa.Table, checks: tuple[str, ...], uri: str) -> None:
    """Raises `UserError` if a row does not satisfy (be it by null) one of the SQL conditions."""
    if not checks:
        return
    frame = pl.DataFrame(pl.from_arrow(rows))
    for sql in checks:
        try:
            broken = frame.select((~pl.sql_expr(sql).fill_null(False)).sum()).item()
        except pl.exceptions.PolarsError as error:
            raise UserError(f"the table's constraint {sql} cannot be evaluated here", uri, "drop it first") from error
        if broken:
            raise SchemaMismatch(f"{broken} row(s) break the table's constraint {sql}", uri, "reject such rows first")
