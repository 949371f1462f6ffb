"""The stream's sessions on Beam: from rows that bronze has to a table of sessions, exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.io.delta_committer import StreamCommit
from transforms.io.delta_ranges import Range, StreamWrite, write_ranges
from transforms.io.delta_stream import CommitRanges, ReadCommitted, arrival_windows
from transforms.io.delta_tail import Backlog
from transforms.positions import Piece
from transforms.sessions.fold import Tolerance
from transforms.sessions.live import LATE_EVENTS, LIVE_SESSIONS, LOG, STEP, LiveTables, bronze_columns, events_of
from transforms.sessions.rules import SessionRules
from transforms.sessions.stream import SessionizeStream


@dataclass(eq=False)
class StreamSessionsOf(beam.PTransform):
    """PCollection[StreamCommit] of bronze's behavioural events -> PCollection[StreamCommit] of the sessions.

    Final sessions are appended to `tables.sessions`, late rows to `tables.late` before them. Only what is in bronze
    is looked at; after a restart the open sessions are found again in the tables, and nothing else is kept.

    Attributes:
      logs: the partitions that feed bronze.
      sessions, late: how to write the two tables (LIVE_SESSIONS by `_step`, LATE_EVENTS by `position`).
    """

    tables: LiveTables
    logs: tuple[str, ...]
    sessions: StreamWrite
    late: StreamWrite
    rules: SessionRules = field(default_factory=SessionRules)
    tolerance: Tolerance = field(default_factory=Tolerance)
    window_seconds: float = 2.0

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, commits: beam.PCollection[StreamCommit]) -> beam.PCollection[StreamCommit]:
        register_batch_coder()
        tables = self.tables
        backlog = Backlog(tables.bronze, tables.stream, tables.first(self.logs))
        events = (
            commits
            | "ReadCommitted" >> ReadCommitted(backlog, bronze_columns())
            | "AsEvents" >> beam.Map(_as_events, tables.country).with_output_types(Piece)
        )
        made = events | "Sessionize" >> SessionizeStream(
            self.rules, self.tolerance, tables.buckets, restore=tables.standing, silence_closes=True
        )
        return (
            made.sessions
            | "OneFile" >> beam.Map(lambda piece: (None, piece)).with_output_types(tuple[None, Piece])
            | "EachWindow" >> arrival_windows(self.window_seconds)
            | "PiecesOfWindow" >> beam.GroupByKey()
            | "WriteSessions" >> beam.ParDo(_WriteFn(self.sessions, self.late))
            | "CommitSessions" >> CommitRanges(replace(self.sessions, first=self.late))
        )


def _as_events(piece: Piece, country: str) -> Piece:
    return Piece(piece.log, piece.low, piece.high, as_batch(events_of(as_table(piece.rows), country)), piece.gap)


class _WriteFn(beam.DoFn):
    def __init__(self, sessions: StreamWrite, late: StreamWrite) -> None:
        self._sessions, self._late = sessions, late

    def process(self, element: tuple[None, Iterable[Piece]]) -> Iterator[tuple[None, Range]]:
        pieces = list(element[1])
        late = [piece for piece in pieces if piece.aside is not None]
        before = [(piece, part) for piece in late for part in write_ranges(self._late, [_late_of(piece)])]
        for part in write_ranges(self._sessions, map(_final_of, pieces)):
            mine = [first for piece, first in before if piece.log == part.log and part.low <= piece.low <= part.high]
            yield None, replace(part, before=tuple(mine))


def _final_of(piece: Piece) -> Piece:
    """Rows of LIVE_SESSIONS."""
    rows = as_table(piece.rows).append_column(LOG, pa.repeat(piece.log, piece.rows.num_rows))
    rows = rows.append_column(STEP, pa.repeat(pa.scalar(piece.high), piece.rows.num_rows))
    return Piece(piece.log, piece.low, piece.high, as_batch(rows.cast(LIVE_SESSIONS)), piece.gap, piece.marks)


def _late_of(piece: Piece) -> Piece:
    """Rows of LATE_EVENTS, for the positions they have."""
    assert piece.aside is not None
    rows = as_table(piece.aside).append_column(LOG, pa.repeat(piece.log, piece.aside.num_rows)).cast(LATE_EVENTS)
    found = pc.min_max(rows["position"]).as_py()
    return Piece(piece.log, found["min"], found["max"], as_batch(rows))
