"""Parquet row groups to typed batches with their row numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.io.blocks import TruncatedStream, gunzip
from transforms.io.source import Naming, Parsed, Reject, Split, rejected_batch

UNREADABLE = "truncated_file"


def open_parquet(file: BinaryIO, compression: str) -> pq.ParquetFile | None:
    """The file's reader, or None for what is no readable Parquet. A gzip file is unpacked to disk first."""
    try:
        if compression == "none":
            return pq.ParquetFile(file)
        plain = tempfile.TemporaryFile()  # noqa: SIM115 (read until the reader is gone)
        for chunk in gunzip(file):
            plain.write(chunk)
        plain.seek(0)
        return pq.ParquetFile(plain)
    except (pa.ArrowException, OSError, TruncatedStream):
        return None


def row_groups(file: BinaryIO, compression: str) -> list[int]:
    """The bytes of each row group; none for a file that is no readable Parquet. A gzip file is not taken apart."""
    parquet = open_parquet(file, compression) if compression == "none" else None
    if parquet is None:
        return []
    return [parquet.metadata.row_group(i).total_byte_size for i in range(parquet.metadata.num_row_groups)]


def read_parquet(
    file: BinaryIO, split: Split, naming: Naming, batch_rows: int, only: Sequence[str] | None = None
) -> Iterator[Parsed]:
    """Rows of the split's row groups; `_position` is the row's number in the file, `_raw` is null.

    `only` names the columns that are wanted; by default all.

    A file that is cut or no Parquet is one reject (`truncated_file`), since its rows cannot be told apart; so is the
    rest of a damaged row group, at its first row.
    """
    parquet = open_parquet(file, split.file.compression)
    if parquet is None:
        yield Parsed(_no_rows(), rejected_batch([Reject(0, b"", split.file.size, UNREADABLE, "no readable Parquet")]))
        return
    meta = parquet.metadata
    last = meta.num_row_groups if split.file.compression == "gzip" else min(split.end, meta.num_row_groups)
    for group in range(split.start, last):
        position = sum(meta.row_group(i).num_rows for i in range(group))
        try:
            for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=only):
                yield Parsed(_named(batch, naming, position), rejected_batch([]))
                position += batch.num_rows
        except (pa.ArrowException, OSError):
            why = f"row group {group} is damaged from row {position} on"
            yield Parsed(_no_rows(), rejected_batch([Reject(position, b"", 0, UNREADABLE, why)]))


def _named(batch: pa.RecordBatch, naming: Naming, position: int) -> pa.RecordBatch:
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    names = naming.unique(batch.schema.names)
    places = pa.array(np.arange(position, position + batch.num_rows, dtype=np.int64))
    raw = pa.nulls(batch.num_rows, pa.binary())
    return pa.RecordBatch.from_arrays([*columns, places, raw], names=[*names, "_position", "_raw"])


def _no_rows() -> pa.RecordBatch:
    empty = [pa.array([], pa.int64()), pa.array([], pa.binary())]
    return pa.RecordBatch.from_arrays(empty, names=["_position", "_raw"])
