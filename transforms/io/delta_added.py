"""What a table gained after a version: how much, and whether it can still be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
from deltalake import DeltaTable

from transforms.errors import UserError
from transforms.io import storage
from transforms.io.delta_prune import bounds
from transforms.io.delta_read import NotAppendOnly, added_since, current_files
from transforms.io.delta_table import arrow_schema, existing_table


@dataclass(frozen=True)
class Added:
    """The rows added after a version.

    Attributes:
      rows: how many; None where a file does not say.
      overlap: conditions that every earlier row satisfies whose value in a column is not below those of all added rows
        (and that added rows satisfy, too); None when there is no such row.
    """

    rows: int | None
    overlap: tuple[tuple[str, str, Any], ...] | None


def rows_added(uri: str, since: int, until: int, column: str) -> Added:
    """Finds by the log alone what version `until` has beyond `since`, and that all its files are still there.

    Raises:
      NotAppendOnly: rows were rewritten or removed, the log has expired, or files that were compacted are vacuumed.
    """
    table = existing_table(uri, until)
    try:
        added = added_since(table, uri, since)
        before = current_files(existing_table(uri, since))
    except NotAppendOnly:
        raise
    except UserError as error:
        raise NotAppendOnly(f"the log after version {since} has expired", uri, "read the whole table") from error
    _check_there(added, table, uri)
    rows = added.column("num_records")
    kind = arrow_schema(table).field(column).type
    return Added(None if rows.null_count else pc.sum(rows).as_py() or 0, _overlap(added, before, column, kind))


def _overlap(added: pa.Table, before: pa.Table, column: str, kind: pa.DataType) -> tuple[Any, ...] | None:
    if not len(added) or not len(before):
        return None
    least, most = _extreme(bounds(added, column, kind)[0], pc.min), _extreme(bounds(before, column, kind)[1], pc.max)
    if least is None or most is None:
        return ()
    return ((column, ">=", least),) if most >= least else None


def _extreme(values: pa.Array | None, function: Any) -> Any:
    return None if values is None or values.null_count else function(values).as_py()


def _check_there(added: pa.Table, table: DeltaTable, uri: str) -> None:
    """Files that a compaction replaced stay until a vacuum."""
    paths = sorted({*added.column("path").to_pylist()} - {*current_files(table).column("path").to_pylist()})
    for info in storage.filesystem(uri).get_file_info(paths) if paths else ():
        if info.type != pafs.FileType.File:
            raise NotAppendOnly("files of rows not read yet were compacted and vacuumed", uri, "read the whole table")
