"""Brings all rows of a key together, as Arrow batches in hash buckets, in memory that does not grow with the rows."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.batches import register_batch_coder
from transforms.silver.keys import key_hashes

_FLUSH_ROWS = 131_072
_ROWS_A_PIECE = 64  # with many buckets more rows are collected, so that pieces stay worth a write


class Tagged(NamedTuple):
    """Rows of one of several inputs that are grouped together."""

    tag: str
    batch: pa.RecordBatch


class Spilled(NamedTuple):
    """A part of one bucket of one input, waiting in a file of Arrow streams."""

    tag: str
    path: str


@dataclass(eq=False)
class GroupBatches(beam.PTransform):
    """{tag: PCollection[pa.RecordBatch]} -> PCollection[(bucket, parts)], one element a bucket; see `tables_of`.

    All rows with equal values in an input's key columns land in the same bucket, as do equal keys of two inputs whose
    key columns have the same types. Windows: global. No order within a bucket.

    Attributes:
      keys: tag -> key columns.
      buckets: how many; choose it so that one bucket fits in memory (about half a million rows).
      spill_dir: a local folder that one worker shares with itself: rows wait there in Arrow files, and memory is one
        bucket's. None leaves them to the runner's own shuffle, as a cluster needs; it spills by itself.
    """

    keys: dict[str, tuple[str, ...]]
    buckets: int
    spill_dir: str | None = None

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        register_batch_coder()
        pieces = []
        for tag, batches in inputs.items():
            fn = _SpillFn if self.spill_dir else _SplitFn
            args = (tag, self.keys[tag], self.buckets)
            dofn = fn(*args, self.spill_dir) if self.spill_dir else fn(*args)  # type: ignore[call-arg]
            pieces.append(batches | f"Bucket {tag}" >> beam.ParDo(dofn))
        return pieces | beam.Flatten() | beam.GroupByKey()


def tables_of(parts: Iterable[Tagged | Spilled]) -> dict[str, pa.Table]:
    """The rows of one bucket, one table a tag.

    Call it in the DoFn that needs the rows. In a step of its own between the grouping and a step with side inputs,
    Beam would put every row of every bucket in memory, since it does not fuse the two.
    """
    tables: dict[str, list[pa.Table]] = {}
    for part in parts:
        found = _load(part.path) if isinstance(part, Spilled) else pa.Table.from_batches([part.batch])
        tables.setdefault(part.tag, []).append(found)
    return {tag: pa.concat_tables(several, promote_options="default") for tag, several in tables.items()}


def bucket_of(table: pa.Table | pa.RecordBatch, columns: tuple[str, ...], buckets: int) -> np.ndarray:
    """The bucket number of each row. The high bits decide, so that the low ones are free for other hashing."""
    return ((key_hashes(table, columns) >> np.uint64(40)) % np.uint64(buckets)).astype(np.int64)


def split_buckets(
    batch: pa.RecordBatch, columns: tuple[str, ...], buckets: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of each bucket that occurs in the batch, in their order."""
    if buckets == 1:
        yield 0, batch
        return
    numbers = bucket_of(batch, columns, buckets)
    order = np.argsort(numbers, kind="stable")
    ordered = batch.take(pa.array(order))
    ends = np.cumsum(np.bincount(numbers, minlength=buckets))
    for bucket in np.unique(numbers):
        start = int(ends[bucket - 1]) if bucket else 0
        yield int(bucket), ordered.slice(start, int(ends[bucket]) - start)


class _SplitFn(beam.DoFn):
    def __init__(self, tag: str, columns: tuple[str, ...], buckets: int) -> None:
        self._tag, self._columns, self._buckets = tag, columns, buckets

    def process(self, batch: pa.RecordBatch) -> Iterator[tuple[int, Tagged]]:
        for bucket, rows in split_buckets(batch, self._columns, self._buckets):
            yield bucket, Tagged(self._tag, rows)


class _SpillFn(beam.DoFn):
    """Appends each bucket's rows to an Arrow file of its own and sends only the path through the shuffle.

    A file is open only while rows are added to it, so that thousands of buckets need no more than one open file.
    """

    def __init__(self, tag: str, columns: tuple[str, ...], buckets: int, folder: str) -> None:
        self._tag, self._columns, self._buckets, self._folder = tag, columns, buckets, folder
        self._flush_rows = max(_FLUSH_ROWS, buckets * _ROWS_A_PIECE)

    def start_bundle(self) -> None:
        self._waiting: list[pa.RecordBatch] = []
        self._paths: dict[int, str] = {}
        self._prefix = os.path.join(self._folder, uuid.uuid4().hex)

    def process(self, batch: pa.RecordBatch) -> None:
        if self._waiting and not self._waiting[0].schema.equals(batch.schema):
            self._flush()
        self._waiting.append(batch)
        if sum(part.num_rows for part in self._waiting) >= self._flush_rows:
            self._flush()

    def finish_bundle(self) -> Iterable[beam.utils.windowed_value.WindowedValue]:
        self._flush()
        for bucket, path in self._paths.items():
            yield beam.transforms.window.GlobalWindows.windowed_value((bucket, Spilled(self._tag, path)))
        self._paths = {}

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.Table.from_batches(self._waiting).combine_chunks()
        self._waiting = []
        for batch in table.to_batches():
            for bucket, rows in split_buckets(batch, self._columns, self._buckets):
                _append(self._paths.setdefault(bucket, f"{self._prefix}-{bucket}.arrows"), rows)


def _append(path: str, rows: pa.RecordBatch) -> None:
    """Adds one Arrow stream to a file of several."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with open(path, "ab") as file, pa.ipc.new_stream(file, rows.schema, options=options) as writer:
        writer.write_batch(rows)


def _load(path: str) -> pa.Table:
    tables = []
    with pa.OSFile(path) as file:
        while file.tell() < file.size():
            with pa.ipc.open_stream(file) as reader:
                tables.append(reader.read_all())
    return pa.concat_tables(tables, promote_options="default")


def spill_folder(runs_in_process: bool) -> AbstractContextManager[str | None]:
    """A folder to spill to that goes away with its context, or None where workers do not share a disk."""
    return tempfile.TemporaryDirectory(prefix="c360-spill-") if runs_in_process else nullcontext()
