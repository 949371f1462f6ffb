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
      log, position: the columns with a row's log, and its position in it (int64).
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
    log: str = "_file"
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
    """Rows of one log for the positions `low` to `high`, in files that no commit has named yet.

    Attributes:
      mates: (log, low, high) of all ranges whose rows are in `files`, where there are others than this one's.
    """

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
    mates: tuple[tuple[str, int, int], ...] = ()
    seen_at: float = field(default_factory=time.time)

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(file.path for file in self.files)

    @property
    def place(self) -> tuple[str, int, int]:
        return self.log, self.low, self.high

    @property
    def gap(self) -> tuple[int, int] | None:
        """The first of `gaps`, the positions that the hub had dropped before they were read."""
        return self.gaps[0] if self.gaps else None


def write_ranges(write: StreamWrite, pieces: Iterable[Piece]) -> list[Range]:
    """Writes the rows of some logs into files that they share, a range for each run of a log's positions without a gap.

    The rows are ordered by log and position.
    """
    runs: list[_Run] = []
    for piece in sorted(pieces, key=lambda piece: (piece.log, piece.low, -piece.high)):
        if not runs or piece.log != runs[-1].log or piece.low > runs[-1].high + 1:
            runs.append(_Run(piece.log, piece.low, piece.low - 1))
        if piece.high > runs[-1].high:
            runs[-1].add(piece, write.position)
    return _written(write, runs)


def own_range(write: StreamWrite, whole: Range, low: int) -> Range:
    """The part of a range from `low` on, written anew into files of its own; the old files are left to others."""
    position = pc.field(write.position)
    wanted = (position >= low) & (position <= whole.high)
    if whole.mates:
        wanted &= pc.field(write.log) == whole.log
    tables = [read_written(write.uri, file).filter(wanted) for file in whole.files]
    gaps = tuple(part for gap in whole.gaps for part in _beyond(gap, low))
    (part,) = _written(write, [_Run(whole.log, low, whole.high, tables, gaps, whole.marks)])
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


def _written(write: StreamWrite, runs: Sequence[_Run]) -> list[Range]:
    full = [[table for table in run.tables if table.num_rows] for run in runs]
    together = [table for tables in full for table in tables]
    files = _write_files(write, together) if together else ()
    ranges = [_range(write, run, tables, files) for run, tables in zip(runs, full, strict=True)]
    mates = tuple(part.place for part in ranges if part.files)
    return [replace(part, mates=mates) if part.files and len(mates) > 1 else part for part in ranges]


def _range(write: StreamWrite, run: _Run, tables: Sequence[pa.Table], files: tuple[DataFile, ...]) -> Range:
    none = Range(run.log, run.low, run.high, gaps=run.gaps, marks=run.marks)
    if not tables:
        return none
    arrived = [pc.min_max(t[write.arrived].cast(pa.int64())).as_py() for t in tables if write.arrived in t.column_names]
    known = [times for times in arrived if times["min"] is not None]
    return replace(
        none,
        rows=sum(table.num_rows for table in tables),
        files=files,
        oldest_us=min((times["min"] for times in known), default=None),
        newest_us=max((times["max"] for times in known), default=None),
    )


def _write_files(write: StreamWrite, tables: Sequence[pa.Table]) -> tuple[DataFile, ...]:
    schema, checks = _layout(write)
    by_schema: dict[pa.Schema, TableFiles] = {}
    opened = storage.filesystem(write.uri)
    for rows in tables:
        fitting = conform(rows, schema, write.uri, evolve=True)
        if fitting.schema not in by_schema:  # a batch with other extra columns has files of its own
            by_schema[fitting.schema] = TableFiles(opened, fitting.schema, write.partition_by, TARGET_BYTES, checks)
        by_schema[fitting.schema].add(fitting)
    return tuple(file for several in by_schema.values() for file in several.take())


def _layout(write: StreamWrite) -> tuple[pa.Schema, tuple[str, ...]]:
    """The table's schema and CHECK constraints, as they were some seconds ago; a commit looks at them again."""
    known = _LAYOUTS.get(write.uri)
    if known is None or known[0] != write or time.monotonic() - known[1] > _LAYOUT_SECONDS:
        table = open_table(write.uri)
        layout = agreed_schema(write.table, table), constraints(table) if table is not None else ()
        known = _LAYOUTS[write.uri] = write, time.monotonic(), layout
    return known[2]


_LAYOUT_SECONDS = 30.0
_LAYOUTS: dict[str, tuple[StreamWrite, float, tuple[pa.Schema, tuple[str, ...]]]] = {}
