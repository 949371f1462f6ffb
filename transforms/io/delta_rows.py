"""Small tables written from the driver, without a pipeline; same checks, same commit as `WriteDelta`."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from transforms.io.delta_commit import CommitResult, NoteOf, TableWrite, Transactions, commit
from transforms.io.delta_modes import Amend, Append, Mode, Overwrite, Upsert
from transforms.io.delta_sink import TableSink


def write_rows(
    write: TableWrite, rows: pa.Table, transactions: Transactions = (), note: NoteOf | None = None
) -> CommitResult:
    """Writes and commits `rows` in one version, with the transactions; skipped if all of these are committed."""
    sink = TableSink(write, transactions)
    try:
        for batch in rows.to_batches(max_chunksize=65_536):
            sink.add(batch)
        files = sink.finish()
    finally:
        sink.close()
    return commit(write, files, transactions, note)


def append_rows(
    uri: str,
    rows: pa.Table,
    transactions: Transactions = (),
    *,
    partition_by: Sequence[str] = (),
    evolve: bool = False,
    note: NoteOf | None = None,
) -> CommitResult:
    """Appends rows of their own schema, creating the table if absent."""
    return _write(uri, rows, Append(), transactions, partition_by, evolve, note)


def upsert_rows(
    uri: str,
    rows: pa.Table,
    key: Sequence[str],
    transactions: Transactions = (),
    *,
    order_by: Sequence[str] = (),
    partition_by: Sequence[str] = (),
    evolve: bool = False,
    note: NoteOf | None = None,
) -> CommitResult:
    """Upserts rows by `key`; see `Upsert`."""
    return _write(uri, rows, Upsert(tuple(key), tuple(order_by)), transactions, partition_by, evolve, note)


def overwrite_rows(
    uri: str,
    rows: pa.Table,
    transactions: Transactions = (),
    *,
    whole_table: bool = False,
    partition_by: Sequence[str] = (),
    evolve: bool = False,
    note: NoteOf | None = None,
) -> CommitResult:
    """Replaces the partitions that occur in `rows`, or the whole table."""
    return _write(uri, rows, Overwrite(whole_table), transactions, partition_by, evolve, note)


def amend_rows(
    uri: str, rows: pa.Table, transactions: Transactions = (), *, note: NoteOf | None = None
) -> CommitResult:
    """Makes `rows` the whole table, touching only the files in which something changed; see `Amend`."""
    return _write(uri, rows, Amend(), transactions, (), False, note)


def _write(
    uri: str,
    rows: pa.Table,
    mode: Mode,
    transactions: Transactions,
    partition_by: Sequence[str],
    evolve: bool,
    note: NoteOf | None,
) -> CommitResult:
    return write_rows(TableWrite(uri, rows.schema, mode, tuple(partition_by), evolve), rows, transactions, note)
