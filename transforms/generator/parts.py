"""The files of one table of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

PART_BYTES, ROW_GROUP_ROWS = 128 << 20, 131_072


class PartWriter:
    """Writes `part-00000.jsonl` or `.parquet`, … into a folder, a new part when one has grown large.

    `append_*` returns the part's name, relative to `root`, and where the rows begin in it: the byte offset in JSON
    lines, the row number in Parquet.
    """

    def __init__(self, root: Path, folder: str, suffix: str, part_bytes: int = PART_BYTES) -> None:
        self._root, self._folder, self._suffix, self._limit = root, folder, suffix, part_bytes
        self._parts = self._rows = 0
        self._file: IO[bytes] | None = None
        self._parquet: pq.ParquetWriter | None = None

    def append_lines(self, lines: bytes) -> tuple[str, int]:
        file = self._open()
        start = file.tell()
        file.write(lines)
        return self._name, start

    def append_rows(self, table: pa.Table) -> tuple[str, int]:
        file = self._open()
        if self._parquet is None:
            self._parquet, self._rows = pq.ParquetWriter(file, table.schema, compression="zstd"), 0
        start = self._rows
        self._parquet.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._rows += table.num_rows
        return self._name, start

    def close(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
            self._parquet = None
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _name(self) -> str:
        return f"{self._folder}/part-{self._parts - 1:05d}.{self._suffix}"

    def _open(self) -> IO[bytes]:
        if self._file is not None and self._file.tell() >= self._limit:
            self.close()
        if self._file is None:
            self._parts += 1
            path = self._root / self._name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
        return self._file
