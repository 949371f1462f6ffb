"""Reading a Delta table: which files, which row groups, which rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable

from transforms.errors import UserError
from transforms.io import storage
from transforms.io.delta_files import partition_text
from transforms.io.delta_notes import read_entry
from transforms.io.delta_prune import check_where, file_mask, row_filter
from transforms.io.delta_table import arrow_schema, existing_table, open_table, partition_columns

Where = Sequence[tuple[str, str, Any]]
BATCH_ROWS = 65_536
SAME_ROWS = "the same rows, written again"  # marks a commit that widened a type


class NotAppendOnly(UserError):
    """Rows were rewritten or removed since the asked version, so that "rows added since" has no answer."""


@dataclass(frozen=True)
class ScanFile:
    """One file to read: its literal path in the table, its partition as one-row Arrow data, its size in bytes."""

    path: str
    partition: pa.RecordBatch
    size: int
    rows: int | None = None

    def partition_texts(self) -> dict[str, str | None]:
        """The partition values as Delta spells them."""
        return {name: partition_text(self.partition.column(name)[0].as_py()) for name in self.partition.schema.names}


@dataclass(frozen=True)
class Scan:
    """What to read: the files left after pruning, and how to read each."""

    uri: str
    schema: pa.Schema  # of the output
    table_schema: pa.Schema
    partition_by: tuple[str, ...]
    where: tuple[tuple[str, str, Any], ...]
    files: list[ScanFile] = field(default_factory=list)
    version: int | None = None


def plan_scan(
    uri: str,
    columns: Sequence[str] | None = None,
    where: Where = (),
    version: int | datetime | None = None,
    since: int | None = None,
    schema_if_missing: pa.Schema | None = None,
) -> Scan:
    """The files that can hold rows of `where`, by partition values and file statistics.

    Raises:
      UserError: no such table (unless `schema_if_missing` says what an empty one looks like), column or operator.
      NotAppendOnly: `since` is given and rows were rewritten or removed after that version.
    """
    table = open_table(uri, version) if schema_if_missing is not None else existing_table(uri, version)
    if table is None:
        assert schema_if_missing is not None
        return Scan(uri, _chosen(schema_if_missing, columns, uri), schema_if_missing, (), ())
    schema, partition_by = arrow_schema(table), partition_columns(table)
    check_where(where, schema, uri)
    files = current_files(table)
    if since is not None:
        files = added_since(table, uri, since)
    mask = file_mask(files, where, schema, partition_by)
    kept = files.filter(pa.array(mask))
    return Scan(
        uri,
        _chosen(schema, columns, uri),
        schema,
        partition_by,
        tuple(where),
        scan_files(kept, schema, partition_by),
        table.version(),
    )


def current_files(table: DeltaTable) -> pa.Table:
    """The table's files as `get_add_actions` gives them, paths literal."""
    files = pa.table(table.get_add_actions())
    paths = pa.array([unquote(path) for path in files.column("path").to_pylist()], pa.string())
    return files.set_column(0, "path", paths)


def scan_files(files: pa.Table, schema: pa.Schema, partition_by: tuple[str, ...]) -> list[ScanFile]:
    """The rows of `current_files` as things to read, in a fixed order."""
    if partition_by:
        struct = files.column("partition").combine_chunks()
        parts = pa.table({n: pc.struct_field(struct, n).cast(schema.field(n).type) for n in partition_by})
    else:
        parts = pa.table({"": pa.nulls(len(files))}).select([])
    rows = files.select(["path", "size_bytes", "num_records"]).to_pylist()
    found = [ScanFile(row["path"], _one(parts, i), row["size_bytes"], row["num_records"]) for i, row in enumerate(rows)]
    return sorted(found, key=lambda file: file.path)


def _one(parts: pa.Table, index: int) -> pa.RecordBatch:
    row = parts.slice(index, 1)
    return pa.RecordBatch.from_arrays([c.combine_chunks() for c in row.columns], schema=row.schema)


def read_file(scan: Scan, file: ScanFile, batch_rows: int = BATCH_ROWS, files: Any = None) -> Iterator[pa.RecordBatch]:
    """The rows of one file that satisfy `scan.where`, in `scan.schema`; memory is a few batches."""
    opened = files if files is not None else storage.filesystem(scan.uri)
    fragment = ds.ParquetFileFormat().make_fragment(file.path, filesystem=opened)
    try:
        physical = fragment.physical_schema
    except FileNotFoundError as error:
        raise UserError(
            "a file of the table is gone (vacuumed?)", storage.join(scan.uri, file.path), "read a newer version"
        ) from error
    wanted = [name for name in scan.schema.names if name in physical.names]
    condition = row_filter(scan.where, physical, scan.table_schema, scan.partition_by)
    if condition is None:
        return
    scanner = fragment.scanner(
        schema=physical,
        columns=wanted,
        filter=condition if condition is not True else None,
        batch_size=batch_rows,
        batch_readahead=2,
        use_threads=True,
    )
    for batch in scanner.to_batches():
        if batch.num_rows:
            yield _complete(batch, scan.schema, file.partition)


def has_rows(scan: Scan, file: ScanFile, files: Any = None) -> bool:
    """Whether a row of the file satisfies `scan.where`; reads only the columns of its conditions, to the first one."""
    names = dict.fromkeys(name for name, _, _ in scan.where)
    narrow = replace(scan, schema=pa.schema([scan.table_schema.field(name) for name in names]))
    return next(read_file(narrow, file, files=files), None) is not None


def _complete(batch: pa.RecordBatch, schema: pa.Schema, partition: pa.RecordBatch) -> pa.RecordBatch:
    columns = []
    for target in schema:
        if target.name in partition.schema.names:
            value = partition.column(target.name)
            columns.append(value.take(pa.array(np.zeros(batch.num_rows, np.int64))))
        elif target.name in batch.schema.names:
            column = batch.column(target.name)
            columns.append(column if column.type == target.type else pc.cast(column, target.type))
        else:
            columns.append(pa.nulls(batch.num_rows, target.type))
    if not columns:
        return batch
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def read_table(
    uri: str, columns: Sequence[str] | None = None, where: Where = (), version: int | datetime | None = None
) -> pa.Table:
    """The rows of a table in memory, for small tables and tests; arguments as `ReadDelta`. No row order."""
    scan = plan_scan(uri, columns, where, version)
    opened = storage.filesystem(uri)
    batches = [batch for file in scan.files for batch in read_file(scan, file, files=opened)]
    if not scan.schema.names:
        raise UserError("no column was asked for", uri, "name at least one")
    return pa.Table.from_batches(batches, scan.schema)


def read_batches(
    uri: str,
    where: Where = (),
    version: int | datetime | None = None,
    batch_rows: int = BATCH_ROWS,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """As `read_table`, batch by batch in bounded memory."""
    scan = plan_scan(uri, columns, where, version)
    opened = storage.filesystem(uri)
    for file in scan.files:
        yield from read_file(scan, file, batch_rows, opened)


def head(uri: str, rows: int, version: int | datetime | None = None) -> pa.Table:
    """Some rows of a table, at most `rows`; reads no more files than it takes."""
    scan, found = plan_scan(uri, None, (), version), []
    for file in scan.files:
        for batch in read_file(scan, file, rows):
            found.append(batch)
            if sum(b.num_rows for b in found) >= rows:
                return pa.Table.from_batches(found).slice(0, rows)
    return pa.Table.from_batches(found, schema=scan.schema)


def _chosen(schema: pa.Schema, columns: Sequence[str] | None, uri: str) -> pa.Schema:
    if columns is None:
        return schema
    for name in columns:
        if name not in schema.names:
            raise UserError(f"column {name} is not in the table", uri, f"columns are {', '.join(schema.names)}")
    return pa.schema([schema.field(name) for name in columns])


def added_since(table: DeltaTable, uri: str, since: int) -> pa.Table:
    """The files whose rows came after `since`, compactions seen through, as `current_files` spells them."""
    now = current_files(table)
    if since >= table.version():
        return now.slice(0, 0)
    files, added, moved = storage.filesystem(uri), set[str](), dict[str, int]()
    for version in range(since + 1, table.version() + 1):
        actions = _commit_actions(files, version, uri)
        same_rows = any(action.get("commitInfo", {}).get("userMetadata") == SAME_ROWS for action in actions)
        for action in actions:
            if removed := action.get("remove"):
                if removed.get("dataChange", True) and not same_rows:
                    raise NotAppendOnly(f"rows were rewritten in version {version}", uri, "read the whole table")
                moved[unquote(removed["path"])] = version
            if (add := action.get("add")) and add.get("dataChange", True) and not same_rows:
                added.add(unquote(add["path"]))
    gone = {path: version for path, version in moved.items() if path in added}
    parts = [now.filter(_among(now, added)), *_before_moves(uri, gone)]
    return pa.concat_tables(parts, promote_options="permissive") if gone else parts[0]


def _before_moves(uri: str, gone: Mapping[str, int]) -> Iterator[pa.Table]:
    """Files compacted away again: they stay on disk until a vacuum, and the version before lists them."""
    for version in sorted(set(gone.values())):
        then = current_files(existing_table(uri, version - 1))
        yield then.filter(_among(then, {path for path, at in gone.items() if at == version}))


def _among(files: pa.Table, paths: set[str]) -> pa.ChunkedArray:
    return pc.is_in(files.column("path"), pa.array(sorted(paths), pa.string()))


def _commit_actions(files: Any, version: int, uri: str) -> list[dict[str, Any]]:
    try:
        return read_entry(files, version)
    except FileNotFoundError as error:
        raise NotAppendOnly(f"the log of version {version} has expired", uri, "read the whole table") from error
