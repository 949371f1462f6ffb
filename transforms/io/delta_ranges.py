"""Rows of a stream in files that no commit has named yet, with the positions they stand for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms.io import storage
from transforms.io.delta_commit import TableWrite, agreed_schema
from transforms.io.delta_files import DataFile, TableFiles, read_written
from transforms.io.delta_modes import Append
from transforms.io.delta_schema import conform
from transforms.io.delta_sink import TARGET_BYTES
from transforms.io.delta_table import constraints, open_table
from transforms.positions import Piece

Gaps = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class StreamWrite:
    """Which table a stream appends to.

    Attributes:
      stream: the stream's name: several may feed one table, each with positions of its own.
      position: the int64 column with a row's position in its log.
      arrived: the timestamp column that says when the log took the row; for the lag in the commit.
      epoch: from `take_over`; None writes without a fence.
      hold_seconds: how long a range waits for missing ones before it.
      idle_seconds: positions without rows are committed at most this often.
      note: what each commit says besides, as (name, value) pairs; values as JSON has them.
      counted_as: what the rows are in the commit's counts, "accepted" or "rejected".
      contiguous: False for a table that gets a part of the positions only: nothing is waited for then, and what is
        ahead of the last position is new.
      first: where the ranges that come with another one (`Range.before`) are committed, just before it.
    """

    uri: str
    schema: pa.Schema
    stream: str
    partition_by: tuple[str, ...] = ()
    position: str = "_position"
    arrived: str = "_enqueued_at"
    epoch: int | None = None
    hold_seconds: float = 60.0
    idle_seconds: float = 10.0
    note: tuple[tuple[str, Any], ...] = ()
    counted_as: str = "accepted"
    contiguous: bool = True
    first: StreamWrite | None = None

    @property
    def table(self) -> TableWrite:
        return TableWrite(self.uri, self.schema, Append(), self.partition_by, evolve=True)


@dataclass(frozen=True)
class Range:
    """Rows of one log for the positions `low` to `high`, in files that no commit has named yet."""

    log: str
    low: int
    high: int
    rows: int = 0
    files: tuple[DataFile, ...] = ()
    oldest_us: int | None = None
    newest_us: int | None = None
    gaps: Gaps = ()
    marks: tuple[tuple[str, int], ...] = ()
    before: tuple[Range, ...] = ()
    seen_at: float = field(default_factory=time.time)

    @property
    def gap(self) -> tuple[int, int] | None:
        """The first of `gaps`, the positions that the hub had dropped before they were read."""
        return self.gaps[0] if self.gaps else None


def write_ranges(write: StreamWrite, pieces: Iterable[Piece]) -> list[Range]:
    """Writes the rows of one log into files, a range for each run of positions without a gap."""
    runs: list[_Run] = []
    for piece in sorted(pieces, key=lambda piece: (piece.low, -piece.high)):
        if not runs or piece.low > runs[-1].high + 1:
            runs.append(_Run(piece.log, piece.low, piece.low - 1))
        if piece.high > runs[-1].high:
            runs[-1].add(piece, write.position)
    return [_write_run(write, run) for run in runs]


def trim_range(write: StreamWrite, whole: Range, low: int) -> Range:
    """The part of a range from `low` on, written anew; the old files stay behind, unnamed."""
    tables = [read_written(write.uri, file).filter(pc.field(write.position) >= low) for file in whole.files]
    gaps = tuple(part for gap in whole.gaps for part in _beyond(gap, low))
    part = _write_run(write, _Run(whole.log, low, whole.high, tables, gaps, whole.marks))
    return replace(part, before=whole.before, seen_at=whole.seen_at)


@dataclass
class _Run:
    """Rows of one log whose positions go on from one another."""

    log: str
    low: int
    high: int
    tables: list[pa.Table] = field(default_factory=list)
    gaps: Gaps = ()
    marks: tuple[tuple[str, int], ...] = ()

    def add(self, piece: Piece, position: str) -> None:
        """Takes what a piece has beyond the run's end."""
        rows, low = pa.Table.from_batches([piece.rows]), self.high + 1
        if rows.num_rows and pc.min(rows[position]).as_py() < low:
            rows = rows.filter(pc.field(position) >= low)
        self.tables.append(rows)
        self.gaps += _beyond(piece.gap, low)
        self.high, self.marks = piece.high, piece.marks or self.marks


def _beyond(gap: tuple[int, int] | None, low: int) -> Gaps:
    """The part of a gap from `low` on."""
    return () if gap is None or gap[1] < low else ((max(gap[0], low), gap[1]),)


def _write_run(write: StreamWrite, run: _Run) -> Range:
    none = Range(run.log, run.low, run.high, gaps=run.gaps, marks=run.marks)
    full = [table for table in run.tables if table.num_rows]
    if not full:
        return none
    arrived = [pc.min_max(t[write.arrived].cast(pa.int64())).as_py() for t in full if write.arrived in t.column_names]
    known = [times for times in arrived if times["min"] is not None]
    return replace(
        none,
        rows=sum(table.num_rows for table in full),
        files=_write_files(write, full),
        oldest_us=min((times["min"] for times in known), default=None),
        newest_us=max((times["max"] for times in known), default=None),
    )


def _write_files(write: StreamWrite, tables: Sequence[pa.Table]) -> tuple[DataFile, ...]:
    table = open_table(write.uri)
    schema, checks = agreed_schema(write.table, table), constraints(table) if table is not None else ()
    by_schema: dict[pa.Schema, TableFiles] = {}
    opened = storage.filesystem(write.uri)
    for rows in tables:
        fitting = conform(rows, schema, write.uri, evolve=True)
        if fitting.schema not in by_schema:  # a batch with other extra columns has files of its own
            layout = (fitting.schema, write.partition_by, TARGET_BYTES, checks)
            by_schema[fitting.schema] = TableFiles(opened, *layout)
        by_schema[fitting.schema].add(fitting)
    return tuple(file for several in by_schema.values() for file in several.take())
