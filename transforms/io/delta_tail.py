"""What a stream has put into a table, read back by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from transforms.io.delta_files import read_written
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


def read_range(uri: str, part: Range, columns: tuple[str, ...]) -> pa.RecordBatch:
    """The rows of a range that was just committed, from its own files; columns a file lacks are null."""
    tables = [read_written(uri, file, columns) for file in part.files]
    if not tables:
        schema = arrow_schema(existing_table(uri))
        return pa.RecordBatch.from_pylist([], schema=pa.schema([schema.field(name) for name in columns]))
    return _one(pa.concat_tables(tables, promote_options="default"))


def _one(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
