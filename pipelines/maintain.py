"""Maintenance: small files joined, old files removed, checkpoints written, for every table of the lake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.config import Lake
from transforms.io.delta import open_table
from transforms.io.delta_maintain import maintain
from transforms.progress import METER


def tables(lake: Lake) -> Iterator[tuple[str, str]]:
    """(name, address) of each table the lake has."""
    for name, uri in lake.tables.items():
        if open_table(uri) is not None:
            yield name, uri


def maintain_tables(lake: Lake, retention_hours: int, dry_run: bool, force: bool = False) -> Iterator[dict[str, Any]]:
    """Maintains one table after the other and says what was done to each."""
    found = list(tables(lake))
    METER.expect(tables=len(found))
    for name, uri in found:
        done = maintain(uri, retention_hours=retention_hours, dry_run=dry_run, force=force)
        METER.advance(tables=1)
        yield {
            "table": name,
            "files before": done.files_before,
            "files after": done.files_after,
            "old files removed": done.vacuumed,
            "version": done.version,
        }
