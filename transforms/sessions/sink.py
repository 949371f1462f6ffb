"""The stream's sessions on Beam: from rows that bronze has to a table of sessions, exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import FixedWindows

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.io.delta_positions import Range, StreamCommit, StreamWrite, committer, write_ranges
from transforms.io.delta_stream import ReadCommitted
from transforms.io.delta_tail import Backlog
from transforms.positions import Piece
from transforms.sessions.fold import Tolerance
from transforms.sessions.live import LATE_EVENTS, LIVE_SESSIONS, LOG, STEP, LiveTables, bronze_columns, events_of
from transforms.sessions.rules import SessionRules
from transforms.sessions.stream import SessionizeStream, Standing

_SESSIONS, _LATE = "sessions", "late"


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
            self.rules, self.tolerance, tables.buckets, restore=_Restore(tables), silence_closes=True
        )
        return (
            {_SESSIONS: self._keyed(made.sessions, _SESSIONS), _LATE: self._keyed(made.late, _LATE)}
            | "SessionRanges" >> beam.CoGroupByKey()
            | "WriteSessions" >> beam.ParDo(_WriteFn(self.sessions, self.late))
            | "OneCommitter" >> beam.GroupByKey()
            | "CommitSessions" >> beam.ParDo(_CommitFn(self.sessions, self.late))
        )

    def _keyed(self, pieces: beam.PCollection[Piece], name: str) -> beam.PCollection:
        return (
            pieces
            | f"Window {name}" >> beam.WindowInto(FixedWindows(self.window_seconds))
            | f"Key {name}" >> beam.Map(lambda piece: (piece.log, piece)).with_output_types(tuple[str, Piece])
        )


def _as_events(piece: Piece, country: str) -> Piece:
    return Piece(piece.log, piece.low, piece.high, as_batch(events_of(as_table(piece.rows), country)), piece.gap)


@dataclass(frozen=True)
class _Restore:
    tables: LiveTables

    def __call__(self, log: str) -> Standing:
        return Standing(*self.tables.standing(log))


class _WriteFn(beam.DoFn):
    def __init__(self, sessions: StreamWrite, late: StreamWrite) -> None:
        self._sessions, self._late = sessions, late

    def process(self, element: tuple[str, dict[str, Iterable[Piece]]]) -> Iterator[tuple[None, tuple[str, Range]]]:
        pieces = element[1]
        for part in write_ranges(self._late, [_told(p, LATE_EVENTS) for p in pieces[_LATE]], joined=False):
            yield None, (_LATE, part)
        for part in write_ranges(self._sessions, [_told(p, LIVE_SESSIONS) for p in pieces[_SESSIONS]]):
            yield None, (_SESSIONS, part)


def _told(piece: Piece, schema: pa.Schema) -> Piece:
    """The piece's rows with the log and, for sessions, the step they left at."""
    rows = as_table(piece.rows).append_column(LOG, pa.repeat(piece.log, piece.rows.num_rows))
    if STEP.name in schema.names:
        rows = rows.append_column(STEP, pa.repeat(pa.scalar(piece.high), piece.rows.num_rows))
    return Piece(piece.log, piece.low, piece.high, as_batch(rows.cast(schema)), piece.gap, piece.marks)


class _CommitFn(beam.DoFn):
    def __init__(self, sessions: StreamWrite, late: StreamWrite) -> None:
        self._sessions, self._late = sessions, late

    def process(self, element: tuple[None, Iterable[tuple[str, Range]]]) -> Iterator[StreamCommit]:
        ranges = list(element[1])
        late = [part for kind, part in ranges if kind == _LATE]
        if late:  # before the sessions: on a restart they tell which rows were not taken up
            committer(self._late).offer(late)
        done = committer(self._sessions).offer(part for kind, part in ranges if kind == _SESSIONS)
        if done is not None:
            Metrics.counter("stream", "sessions_committed").inc(done.rows)
            yield done
