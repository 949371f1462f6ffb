"""Parquet row groups to typed batches with their row numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.io.source import Naming, Parsed, Reject, Split, rejected_batch

UNREADABLE = "truncated_file"


def row_groups(file: BinaryIO) -> int:
    """How many row groups the file has; 0 for a file that is no readable Parquet."""
    try:
        return int(pq.ParquetFile(file).metadata.num_row_groups)
    except (pa.ArrowInvalid, OSError):
        return 0


def read_parquet(file: BinaryIO, split: Split, naming: Naming, batch_rows: int) -> Iterator[Parsed]:
    """Rows of the split's row groups; `_position` is the row's number in the file, `_raw` is null.

    A file that is cut or no Parquet is one reject (`truncated_file`), since its rows cannot be told apart.
    """
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError):
        yield Parsed(_no_rows(), rejected_batch([Reject(0, b"", split.file.size, UNREADABLE, "no readable Parquet")]))
        return
    meta = parquet.metadata
    for group in range(split.start, split.end):
        position = sum(meta.row_group(i).num_rows for i in range(group))
        try:
            for batch in parquet.iter_batches(batch_rows, row_groups=[group]):
                yield Parsed(_named(batch, naming, position), rejected_batch([]))
                position += batch.num_rows
        except (pa.ArrowInvalid, OSError):
            why = f"row group {group} is damaged from row {position} on"
            yield Parsed(_no_rows(), rejected_batch([Reject(position, b"", 0, UNREADABLE, why)]))


def _named(batch: pa.RecordBatch, naming: Naming, position: int) -> pa.RecordBatch:
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    names = naming.unique(batch.schema.names)
    places = pa.array(range(position, position + batch.num_rows), pa.int64())
    raw = pa.nulls(batch.num_rows, pa.binary())
    return pa.RecordBatch.from_arrays([*columns, places, raw], names=[*names, "_position", "_raw"])


def _no_rows() -> pa.RecordBatch:
    empty = [pa.array([], pa.int64()), pa.array([], pa.binary())]
    return pa.RecordBatch.from_arrays(empty, names=["_position", "_raw"])
