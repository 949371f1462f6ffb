"""Parquet files of a Delta table, written ahead of the commit that makes them visible."""

from __future__ import annotations

import hashlib
import itertools
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from transforms.io import storage
from transforms.io.delta_stats import file_statistics

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
ROW_GROUP_BYTES = 32 << 20  # of Arrow memory
BUFFER_BYTES = 128 << 20  # of Arrow memory, all partitions together
OPEN_FILES = 200


@dataclass(frozen=True)
class DataFile:
    """One written file that no commit has named yet.

    `path` is relative to the table and literal (not URL-encoded once more); `partition` holds the values as Delta
    spells them, None for null; `statistics` is Delta's JSON; `schema` is the file's whole Arrow schema, partition
    columns too; `checked` are the CHECK constraints its rows were tested against.
    """

    path: str
    size: int
    rows: int
    partition: Mapping[str, str | None]
    statistics: str
    schema: bytes
    checked: tuple[str, ...] = ()
    modified_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def arrow_schema(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.py_buffer(self.schema))


def read_written(uri: str, file: DataFile, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file, all columns or those wanted, partition columns too; wanted ones it lacks are null."""
    schema = file.arrow_schema
    names = schema.names if columns is None else list(columns)
    with storage.filesystem(uri).open_input_file(file.path) as source:
        held = pq.ParquetFile(source)
        rows = held.read(columns=[name for name in names if name in held.schema_arrow.names])
    for name in names:
        if name not in rows.column_names:
            kind = schema.field(name).type
            value = pa.scalar(file.partition.get(name), pa.string()).cast(kind)
            rows = rows.append_column(schema.field(name), pa.repeat(value, len(rows)))
    return rows.select(names)


def partition_text(value: Any) -> str | None:
    """A partition value as Delta writes it; null and the empty text are both null, as the protocol has it."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "hour"):  # a timestamp: UTC with a Z, or wall-clock time without
        aware = value.tzinfo is not None
        return value.replace(tzinfo=None).isoformat("T" if aware else " ", "microseconds") + ("Z" if aware else "")
    return str(value)


def partition_folder(values: Mapping[str, str | None]) -> str:
    """The folder of a partition: each value percent-encoded once, a long one cut (the log has the value itself)."""
    return "/".join(f"{quote(name, safe='')}={_folder_name(value)}" for name, value in values.items())


def _folder_name(value: str | None) -> str:
    if value is None:
        return NULL_PARTITION
    name = quote(value, safe="")
    return name if len(name) <= 128 else name[:96] + "-" + hashlib.sha256(value.encode()).hexdigest()[:16]


def split_by_partition(rows: pa.Table, columns: tuple[str, ...]) -> Iterator[tuple[tuple[Any, ...], pa.Table]]:
    """The rows of each partition, with their partition values; rows keep their order within a partition."""
    if not columns:
        yield (), rows
        return
    codes = np.zeros(len(rows), dtype=np.int64)
    for name in columns:
        code = pc.dictionary_encode(rows.column(name).combine_chunks(), null_encoding="encode")
        indices = code.indices.to_numpy(zero_copy_only=False)
        codes = np.unique(codes * (len(code.dictionary) + 1) + indices, return_inverse=True)[1]
    if len(rows) and np.any(np.diff(codes) < 0):
        order = np.argsort(codes, kind="stable")
        rows, codes = rows.take(pa.array(order)), codes[order]
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(rows)]
    for start, end in itertools.pairwise(edges):
        if end > start:
            part = rows.slice(start, end - start)
            yield tuple(part.column(name)[0].as_py() for name in columns), part


class FileWriter:
    """Writes rows of one schema into one file; hidden from readers until its `DataFile` is committed."""

    def __init__(
        self, files: pafs.FileSystem, schema: pa.Schema, partition: Mapping[str, str | None], checked: tuple[str, ...]
    ) -> None:
        self._schema, self._partition, self._checked = schema, partition, checked
        self._stored = [name for name in schema.names if name not in partition]
        folder = partition_folder(partition)
        name = f"part-{uuid.uuid4()}.zstd.parquet"
        self.path = f"{folder}/{name}" if folder else name
        if folder:
            files.create_dir(folder, recursive=True)
        self._sink = files.open_output_stream(self.path)
        self._metadata: list[pq.FileMetaData] = []
        self._writer = pq.ParquetWriter(
            self._sink,
            pa.schema([schema.field(name) for name in self._stored]),
            compression="zstd",
            compression_level=1,
            use_dictionary=True,
            metadata_collector=self._metadata,
        )
        self._nan: set[str] = set()
        self.rows = 0

    @property
    def written_bytes(self) -> int:
        return self._sink.tell()

    def write(self, rows: pa.Table) -> None:
        stored = rows.select(self._stored)
        for name in self._stored:
            floating = pa.types.is_floating(stored.schema.field(name).type)
            if floating and name not in self._nan and pc.any(pc.is_nan(stored.column(name))).as_py():
                self._nan.add(name)
        self._writer.write_table(stored, row_group_size=max(1, len(stored)))
        self.rows += len(rows)

    def close(self) -> DataFile:
        self._writer.close()
        size = self._sink.tell()
        self._sink.close()
        return DataFile(
            self.path,
            size,
            self.rows,
            dict(self._partition),
            file_statistics(self._metadata[0], self._schema, self._nan, self.rows),
            self._schema.serialize().to_pybytes(),
            self._checked,
        )


class TableFiles:
    """Lays rows out in the files of a table: one open file per partition, cut at `target_bytes`, memory bounded.

    Not thread-safe; rows must already have `schema` (see `conform`). `take` hands over the finished files.
    """

    def __init__(
        self,
        files: pafs.FileSystem,
        schema: pa.Schema,
        partition_by: tuple[str, ...],
        target_bytes: int,
        checked: tuple[str, ...] = (),
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._files, self._schema, self._partition_by = files, schema, partition_by
        self._target, self._checked, self._buffer_bytes = target_bytes, checked, buffer_bytes
        self._buffers: dict[tuple[Any, ...], list[pa.Table]] = {}
        self._sizes: dict[tuple[Any, ...], int] = {}
        self._open: dict[tuple[Any, ...], FileWriter] = {}
        self._done: list[DataFile] = []

    def add(self, rows: pa.Table) -> None:
        """Takes rows of any partitions."""
        for key, part in split_by_partition(rows, self._partition_by):
            self.add_part(key, part)

    def add_part(self, key: tuple[Any, ...], part: pa.Table) -> None:
        """Takes rows of one partition, whose values are `key`."""
        self._buffers.setdefault(key, []).append(part)
        self._sizes[key] = self._sizes.get(key, 0) + part.nbytes
        if self._sizes[key] >= ROW_GROUP_BYTES:
            self._flush(key)
        if sum(self._sizes.values()) > self._buffer_bytes:
            largest = sorted(self._sizes, key=lambda key: self._sizes[key], reverse=True)
            for key in largest[: max(1, len(largest) // 2)]:
                self._flush(key)

    def take(self) -> list[DataFile]:
        for key in list(self._buffers):
            self._flush(key)
        for key in list(self._open):
            self._close(key)
        done, self._done = self._done, []
        return done

    def _flush(self, key: tuple[Any, ...]) -> None:
        rows = pa.concat_tables(self._buffers.pop(key))
        del self._sizes[key]
        writer = self._open.pop(key, None)  # popped and put back: the dict is ordered by last use
        if writer is None:
            if len(self._open) >= OPEN_FILES:
                self._close(next(iter(self._open)))
            values = {name: partition_text(value) for name, value in zip(self._partition_by, key, strict=True)}
            writer = FileWriter(self._files, self._schema, values, self._checked)
        self._open[key] = writer
        writer.write(rows)
        if writer.written_bytes >= self._target:
            self._close(key)

    def _close(self, key: tuple[Any, ...]) -> None:
        self._done.append(self._open.pop(key).close())
