"""Upkeep of a table that is written as changes: small files become few, and several rows of a key become one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from transforms.io import storage
from transforms.io.delta_commit import Plan, discard, try_commit
from transforms.io.delta_files import DataFile, TableFiles
from transforms.io.delta_read import Scan, ScanFile, current_files, read_file, scan_files
from transforms.io.delta_retry import pause
from transforms.io.delta_table import arrow_schema, check_writer, constraints, existing_table, explain

TARGET_BYTES = 128 << 20
PASS_BYTES = 64 << 20  # of files; some 10 times as much in memory
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
    chosen = _small_files(scan_files(current_files(table), arrow_schema(table), ()), least)
    if not chosen:
        return 0
    made = _merged(uri, table, chosen, merge, bucket, buckets)
    plan = Plan(made, chosen)
    for attempt in range(ATTEMPTS):
        paths = set(current_files(table).column("path").to_pylist())
        if not all(file.path in paths for file in chosen):  # somebody else's upkeep was faster
            break
        try:
            try_commit(uri, table, plan)
            return len(chosen)
        except CommitFailedError:
            pause(attempt)
            table = existing_table(uri)
        except (DeltaError, OSError) as error:
            _drop(uri, plan)
            raise explain(error, uri) from error
    _drop(uri, plan)
    return 0


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
    passes = min(buckets, 1 + sum(file.size for file in chosen) // PASS_BYTES)
    for number in range(passes):
        scan = Scan(uri, schema, schema, (), ((bucket, "in", list(range(number, buckets, passes))),))
        batches = [batch for file in chosen for batch in read_file(scan, file, files=opened)]
        if batches:
            out.add(merge(pa.Table.from_batches(batches, schema)))
    return out.take()
