"""Rows of all keys, brought together by key in memory that does not grow with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType

import polars as pl


class Spool:
    """Keeps rows in hash buckets of a key: in memory up to a limit, beyond it in Arrow files of a folder.

    Args:
      folder: local, for this spool alone.
      key: the column; all rows of one value are in one bucket.
      buckets: how many; one bucket is what is held and worked on at a time.
      limit_bytes: how much may wait in memory.
    """

    def __init__(self, folder: str, key: str, buckets: int, limit_bytes: int = 512 << 20) -> None:
        self._folder, self._key, self._buckets, self._limit = folder, key, buckets, limit_bytes
        self._waiting: dict[int, list[pl.DataFrame]] = {}
        self._bytes = 0
        self._files: dict[int, list[str]] = {}
        self.spilled_bytes = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Takes rows that have the key."""
        if self._buckets == 1:
            self._waiting.setdefault(0, []).append(rows)
        else:
            bucket = (pl.col(self._key).hash(7) // 2**32 % self._buckets).alias("_bucket")
            parts = rows.with_columns(bucket).partition_by("_bucket", as_dict=True, include_key=False)
            for (number,), part in parts.items():
                self._waiting.setdefault(int(number), []).append(part)  # type: ignore[call-overload]
        self._bytes += int(rows.estimated_size())
        if self._bytes > self._limit:
            self._spill()

    def _spill(self) -> None:
        for number, parts in self._waiting.items():
            files = self._files.setdefault(number, [])
            path = os.path.join(self._folder, f"{number}-{len(files)}.arrow")
            pl.concat(parts, how="diagonal").write_ipc(path, compression="lz4")
            self.spilled_bytes += os.path.getsize(path)
            files.append(path)
        self._waiting, self._bytes = {}, 0

    def buckets(self) -> Iterator[pl.DataFrame]:
        """All rows of each bucket that has any, in the order of their number; a bucket is given up as it is given."""
        for number in sorted(self._files.keys() | self._waiting.keys()):
            paths = self._files.pop(number, [])
            parts = [pl.read_ipc(path) for path in paths]
            for path in paths:
                os.remove(path)
            yield pl.concat(parts + self._waiting.pop(number, []), how="diagonal")

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for paths in self._files.values():
            for path in paths:
                if os.path.exists(path):
                    os.remove(path)
