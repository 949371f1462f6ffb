"""Rows out into one file that a person opens: CSV, JSON lines or Parquet, by its name, whole or not at all."""

from __future__ import annotations

import gzip
import os
from types import TracebackType
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import UsageError

_SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class TableFile:
    """Writes tables of one schema; the file appears under its name when all rows are in it.

    CSV and JSON lines may end in `.gz`. Times are ISO 8601 in UTC, decimals are numbers.

    Raises:
      UsageError: the name says no known format, or its folder cannot be made.
    """

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._part = f"{path}.{os.getpid()}.part"
        self._format = format_of(path)
        folder = os.path.dirname(os.path.abspath(path))
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot make the folder ({error.strerror})", where=folder, remedy="choose another"
            ) from None
        if os.path.isdir(path):
            raise UsageError("this is a folder", where=path, remedy="give a file's name, such as sessions.parquet")
        self.rows = 0

    def __enter__(self) -> TableFile:
        self._file: BinaryIO | Any = open(self._part, "wb")
        self._text: Any = self._file
        if self._format == "parquet":
            self._parquet = pq.ParquetWriter(self._file, self._schema, compression="zstd", compression_level=1)
        elif self._path.lower().endswith(".gz"):
            self._text = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=1, mtime=0, filename="")
        if self._format == "csv":
            _texts(self._schema.empty_table()).write_csv(self._text)
        return self

    def write(self, table: pa.Table) -> None:
        """Appends the rows."""
        self.rows += table.num_rows
        if self._format == "parquet":
            self._parquet.write_table(table.cast(self._schema))
        elif table.num_rows and self._format == "csv":
            _texts(table).write_csv(self._text, include_header=False)
        elif table.num_rows:
            _texts(table).with_columns(pl.selectors.decimal().cast(float)).write_ndjson(self._text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._format == "parquet":
            self._parquet.close()
        elif self._text is not self._file:
            self._text.close()
        self._file.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            os.remove(self._part)


def format_of(path: str) -> str:
    """ "parquet", "csv" or "jsonl".

    Raises:
      UsageError: the name's ending is none of these.
    """
    name = path.lower()
    zipped = name.endswith(".gz")
    found = _SUFFIXES.get(os.path.splitext(name.removesuffix(".gz"))[1])
    if found is None or (zipped and found == "parquet") or "://" in path:
        raise UsageError(
            "cannot tell what to write by this name",
            where=path,
            remedy="end it in .parquet, .csv, .jsonl, .csv.gz or .jsonl.gz, on this machine",
        )
    return found


def _texts(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
