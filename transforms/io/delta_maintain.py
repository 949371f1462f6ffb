"""Upkeep of a table: small files joined, dead files removed, the log summed up in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from transforms.errors import UsageError, UserError
from transforms.io import storage
from transforms.io.delta_read import current_files
from transforms.io.delta_table import check_writer, existing_table, explain

RETENTION_HOURS = 168
FLOOR_HOURS = 24  # no run may take longer from its first file to its commit
TARGET_BYTES = 128 << 20
_ATTEMPTS = 5


@dataclass(frozen=True)
class MaintainResult:
    """What was done, or with `dry_run` what would be: `vacuumed` counts files on disk, the others the table's."""

    uri: str
    version: int
    files_before: int
    files_after: int
    vacuumed: int
    checkpointed: bool
    dry_run: bool = False


def maintain(
    uri: str,
    *,
    target_file_bytes: int = TARGET_BYTES,
    retention_hours: int = RETENTION_HOURS,
    dry_run: bool = False,
    force: bool = False,
) -> MaintainResult:
    """Compacts each partition, vacuums files unused for `retention_hours`, and writes a checkpoint; twice is as once.

    Vacuum also takes orphans: files of a retried bundle or a killed run that no commit ever named. Time travel and
    `ReadDelta(since=...)` reach back as far as the retention. Rows never change.

    Raises:
      UserError: a retention under `FLOOR_HOURS` without `force`, since it would take the files of a run under way.
    """
    if retention_hours < 0:
        raise UsageError(f"a retention of {retention_hours} h is none", remedy="give 0 hours or more")
    if retention_hours < FLOOR_HOURS and not force:
        raise UserError(
            f"retention of {retention_hours} h could remove files of a run under way", uri,
            f"keep at least {FLOOR_HOURS} h, or add --force when nothing runs",
        )  # fmt: skip
    table = existing_table(uri)
    check_writer(table, uri)
    before = len(current_files(table))
    try:
        if not dry_run:
            _compact(uri, target_file_bytes)
        vacuumed = _vacuum(uri, retention_hours, dry_run)
        checkpointed = not dry_run and _checkpoint(uri)
    except (DeltaError, OSError) as error:
        raise explain(error, uri) from error
    table = existing_table(uri)
    return MaintainResult(uri, table.version(), before, len(current_files(table)), vacuumed, checkpointed, dry_run)


def _compact(uri: str, target_bytes: int) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            existing_table(uri).optimize.compact(
                target_size=target_bytes,
                max_concurrent_tasks=1,  # memory: one partition's bin at a time
                min_commit_interval=timedelta(minutes=1),
                writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
                commit_properties=CommitProperties(max_commit_retries=15),
            )
            return
        except CommitFailedError:  # an upsert took one of the files meanwhile
            if attempt == _ATTEMPTS - 1:
                raise


def _vacuum(uri: str, retention_hours: int, dry_run: bool) -> int:
    table = existing_table(uri)
    found = _dead(table, retention_hours, dry_run=True)
    if found and not dry_run:  # a vacuum writes two commits even if it finds nothing
        _dead(table, retention_hours, dry_run=False)
    return len(found)


def _dead(table: DeltaTable, retention_hours: int, dry_run: bool) -> list[str]:
    return table.vacuum(retention_hours=retention_hours, dry_run=dry_run, enforce_retention_duration=False, full=True)


def _checkpoint(uri: str) -> bool:
    table = existing_table(uri)
    path = f"_delta_log/{table.version():020d}.checkpoint.parquet"
    if storage.filesystem(uri).get_file_info(path).type == pafs.FileType.File:
        return False
    table.create_checkpoint()
    return True
