"""Upkeep of a table that is written as changes: small files become few, and several rows of a key become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from transforms.errors import UserError
from transforms.io import storage
from transforms.io.delta_commit import Plan, Transactions, discard, try_commit
from transforms.io.delta_files import DataFile, TableFiles
from transforms.io.delta_read import Scan, ScanFile, current_files, read_file, scan_files
from transforms.io.delta_retry import pause
from transforms.io.delta_table import arrow_schema, check_writer, constraints, existing_table, explain

TARGET_BYTES = 128 << 20
PASS_BYTES = 24 << 20  # of files; some 10 times as much in memory
ATTEMPTS = 30


def merge_files(uri: str, merge: Callable[[pa.Table], pa.Table], bucket: str, buckets: int, least: int = 8) -> int:
    """Replaces small files by files of the merged rows; gives how many files were replaced.

    A file joins when it is not larger than all smaller ones together, so that a row is written again only a few times
    (as often as the table doubles). Rows that others append meanwhile are not touched. Memory: the rows of
    `PASS_BYTES` of files, or of one bucket where that is more.

    Args:
      merge: rows of some files, those of some buckets -> the rows to have instead.
      bucket: the int32 column with the bucket of a row's key, 0 to `buckets` - 1; the table has no partitions.
      least: fewer files than that are left alone.
    """
    table = existing_table(uri)
    check_writer(table, uri)
    chosen = _small_files(_files(table), least)
    return len(chosen) if chosen and _replaced(uri, table, chosen, (merge, bucket, buckets)) else 0


def replace_files(
    uri: str, merge: Callable[[pa.Table], pa.Table], bucket: str, buckets: int, transactions: Transactions = ()
) -> None:
    """As `merge_files` with every file, whoever else is at work, and the transactions in the same commit.

    Rows may come out of `merge` with another bucket: where they could not be in memory at once, a second round merges
    what the parts of the first have of one bucket.

    Raises:
      UserError: others kept replacing files.
    """
    for attempt in range(ATTEMPTS):
        table = existing_table(uri)
        check_writer(table, uri)
        chosen = _files(table)
        last = _passes(chosen, buckets) == 1 or attempt > 0
        if _replaced(uri, table, chosen, (merge, bucket, buckets), transactions if last else ()) and last:
            return
    raise UserError("other processes kept replacing its files", uri, "run again later")


def _files(table: DeltaTable) -> list[ScanFile]:
    return scan_files(current_files(table), arrow_schema(table), ())


def _passes(chosen: Sequence[ScanFile], buckets: int) -> int:
    return min(buckets, 1 + sum(file.size for file in chosen) // PASS_BYTES)


def _replaced(
    uri: str,
    table: DeltaTable,
    chosen: list[ScanFile],
    how: tuple[Callable[[pa.Table], pa.Table], str, int],
    transactions: Transactions = (),
) -> bool:
    """Whether the files are replaced; False if somebody else's upkeep was faster."""
    plan = Plan(_merged(uri, table, chosen, *how), chosen)
    for attempt in range(ATTEMPTS):
        paths = set(current_files(table).column("path").to_pylist())
        if not all(file.path in paths for file in chosen):
            break
        try:
            try_commit(uri, table, plan, transactions)
            return True
        except CommitFailedError:
            pause(attempt)
            table = existing_table(uri)
        except (DeltaError, OSError) as error:
            _drop(uri, plan)
            raise explain(error, uri) from error
    _drop(uri, plan)
    return False


def _drop(uri: str, plan: Plan) -> None:
    if not plan.in_doubt:
        discard(uri, plan.adds)


def _small_files(files: Sequence[ScanFile], least: int) -> list[ScanFile]:
    chosen: list[ScanFile] = []
    total = 0
    for file in sorted(files, key=lambda file: (file.size, file.path)):
        if len(chosen) >= least and file.size > total:
            break
        chosen.append(file)
        total += file.size
    return chosen if len(chosen) >= least else []


def _merged(
    uri: str,
    table: DeltaTable,
    chosen: list[ScanFile],
    merge: Callable[[pa.Table], pa.Table],
    bucket: str,
    buckets: int,
) -> list[DataFile]:
    schema, opened = arrow_schema(table), storage.filesystem(uri)
    out = TableFiles(opened, schema, (), TARGET_BYTES, constraints(table))
    passes = _passes(chosen, buckets)
    for number in range(passes):
        scan = Scan(uri, schema, schema, (), ((bucket, "in", list(range(number, buckets, passes))),))
        batches = [batch for file in chosen for batch in read_file(scan, file, files=opened)]
        if batches:
            out.add(merge(pa.Table.from_batches(batches, schema)))
    return out.take()
