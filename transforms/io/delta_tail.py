"""What a stream has put into a table, read back by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms.io.delta_files import DataFile, read_written
from transforms.io.delta_positions import positions
from transforms.io.delta_ranges import Range
from transforms.io.delta_read import read_table
from transforms.io.delta_table import arrow_schema, existing_table
from transforms.positions import Piece

PIECE_POSITIONS = 50_000


@dataclass(frozen=True)
class Backlog:
    """The part of a stream's table that something behind it has not seen.

    Attributes:
      uri, stream: the table, and the stream that writes it.
      logs: log -> the first position wanted.
      log_column, position: the columns of a row's log and of its position in it.
    """

    uri: str
    stream: str
    logs: Mapping[str, int]
    log_column: str = "_file"
    position: str = "_position"

    def pieces(self, log: str, columns: tuple[str, ...]) -> Iterator[Piece]:
        """The rows from the position wanted to the last one, in order."""
        last = self.last(log)
        for low in range(self.logs[log], last + 1, PIECE_POSITIONS):
            high = min(last, low + PIECE_POSITIONS - 1)
            yield Piece(log, low, high, self.rows(log, low, high, columns))

    def last(self, log: str) -> int:
        """The last position of a log that is in the table now; -1 where there is none."""
        return positions(self.uri, self.stream, [log])[log]

    def rows(self, log: str, low: int, high: int, columns: tuple[str, ...]) -> pa.RecordBatch:
        """The rows of one log from position `low` to `high`, ordered by position."""
        where: tuple[tuple[str, str, Any], ...] = ((self.log_column, "=", log),)
        where += ((self.position, ">=", low), (self.position, "<=", high))
        wanted = tuple(dict.fromkeys((*columns, self.position)))
        return _one(read_table(self.uri, columns=wanted, where=where).sort_by(self.position).select(list(columns)))


def read_ranges(
    uri: str, ranges: Sequence[Range], columns: tuple[str, ...], log: str = "_file", position: str = "_position"
) -> Iterator[Piece]:
    """The rows of ranges that were just committed, from their own files; columns a file lacks are null.

    Args:
      log, position: the columns by which ranges that share a file are told apart.
    """
    for _, group in groupby(ranges, key=lambda part: part.paths):
        several = list(group)
        rows = _written(uri, several[0].files, tuple(dict.fromkeys((*columns, log, position))))
        for part in several:
            at = pc.field(position)
            mine = (pc.field(log) == part.log) & (at >= part.low) & (at <= part.high)
            own = rows.filter(mine) if part.mates else rows
            yield Piece(part.log, part.low, part.high, _one(own.select(list(columns))), part.gap)


def _written(uri: str, files: Sequence[DataFile], columns: tuple[str, ...]) -> pa.Table:
    tables = [read_written(uri, file, columns) for file in files]
    if not tables:
        schema = arrow_schema(existing_table(uri))
        return pa.schema([schema.field(name) for name in columns]).empty_table()
    return pa.concat_tables(tables, promote_options="default")


def _one(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
