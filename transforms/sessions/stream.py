"""Events to sessions on Beam, as they come: one state a bucket, and sessions leave when nothing can change them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow

from transforms.batches import RecordBatchCoder, as_batch, register_batch_coder
from transforms.errors import UserError
from transforms.sessions.event import EVENTS
from transforms.sessions.fold import CLOCK, END, POSITION, Folded, SessionState, Tolerance, finish, fold
from transforms.sessions.piece import Piece, advance, with_clock
from transforms.sessions.rules import SessionRules

LATE_ROWS = "late"
_SESSIONS = "sessions"
_WAITING = pa.schema([*EVENTS, CLOCK, POSITION])
_DAY_SECONDS = 86_400
_NO_CLOCK = -(2**62)  # before all times


class StreamSessions(NamedTuple):
    """`sessions`: (key, batch of SESSIONS that are final, stamped: see `SessionizeStream`); `late`: batches of LATE."""

    sessions: beam.PCollection
    late: beam.PCollection


@dataclass(eq=False)
class SessionizeStream(beam.PTransform):
    """PCollection[(key, pa.RecordBatch)] of pieces -> `StreamSessions`. Windows: global; timestamps: arrival.

    A key is a number for a bucket of visitors of one partition; all rows of a visitor come with one key. A batch holds
    columns of EVENTS (visitor and time are there), `POSITION` if rows may come twice, `CLOCK` if rows know it, and its
    place (`Piece.stamped`). Pieces may come in any order, overlap and repeat; each position counts once. A piece that
    is missing holds up its key, and raises when `max_held` others wait: a state that the engine lost, too.

    Rows wait in a bag and are taken up when the clock, which the pieces bring, has moved by `fold_seconds`: the cost
    of looking at the state is bounded a second of the stream's time, and a session leaves that much later at most.
    The element's watermark is used for one thing: when the source has ended, what waits is taken up and, if
    `close_at_end`, all open sessions leave. What leaves does not depend on time at the wall.

    Each batch of sessions is stamped with the positions since the last one (`first`, `last`), the clock, and `safe`:
    where a replay has to begin to meet all open rows again. It comes also when no session left, so that `safe` moves.

    State a key: the rows of open sessions (Arrow, LZ4), those of the last `fold_seconds`, and a cursor. Metrics, in
    namespace "sessions": state_rows, state_bytes (distributions), closed, late, duplicates, repeated_pieces.
    """

    rules: SessionRules
    tolerance: Tolerance = field(default_factory=Tolerance)
    fold_seconds: float = 5
    close_at_end: bool = False
    max_held: int = 1000

    def __post_init__(self) -> None:
        super().__init__()
        if not 0 < self.fold_seconds <= 3600:
            raise UserError(f"folding every {self.fold_seconds:g} s", remedy="choose more than 0 and at most 3600 s")

    def expand(self, pieces: beam.PCollection) -> StreamSessions:
        register_batch_coder()
        outputs = pieces | "CutOpenSessions" >> beam.ParDo(_SessionsFn(self)).with_outputs(LATE_ROWS, main=_SESSIONS)
        sessions = outputs[_SESSIONS] | "Sessions" >> beam.Map(_same).with_output_types(tuple[int, pa.RecordBatch])
        late = outputs[LATE_ROWS] | "Late" >> beam.Map(_same).with_output_types(pa.RecordBatch)
        return StreamSessions(sessions, late)


def _same(element: Any) -> Any:
    return element


class _Place(NamedTuple):
    """Where a key is: the last position taken and given on, the clock, when it was folded, and what waits."""

    cursor: int
    given: int
    clock_us: int
    folded_us: int
    waiting: int
    held: int


class _SessionsFn(beam.DoFn):
    OPEN = ReadModifyWriteStateSpec("open", BytesCoder())
    PLACE = ReadModifyWriteStateSpec("place", TupleCoder([VarIntCoder()] * len(_Place._fields)))
    WAITING = BagStateSpec("waiting", RecordBatchCoder())
    HELD = BagStateSpec("held", RecordBatchCoder())
    ENDED = TimerSpec("ended", TimeDomain.WATERMARK)

    def __init__(self, spec: SessionizeStream) -> None:
        self._rules, self._tolerance = spec.rules, spec.tolerance
        self._every_us, self._close, self._max_held = round(spec.fold_seconds * 1e6), spec.close_at_end, spec.max_held
        self._rows = Metrics.distribution("sessions", "state_rows")
        self._bytes = Metrics.distribution("sessions", "state_bytes")
        self._counters = {n: Metrics.counter("sessions", n) for n in ("closed", "late", "duplicates")}
        self._repeated = Metrics.counter("sessions", "repeated_pieces")

    def process(
        self,
        element: tuple[int, pa.RecordBatch],
        opened: Any = beam.DoFn.StateParam(OPEN),
        places: Any = beam.DoFn.StateParam(PLACE),
        waiting: Any = beam.DoFn.StateParam(WAITING),
        held: Any = beam.DoFn.StateParam(HELD),
        ended: Any = beam.DoFn.TimerParam(ENDED),
    ) -> Iterator[tuple[int, pa.RecordBatch] | beam.pvalue.TaggedOutput]:
        key, piece = element[0], Piece.of(element[1])
        place = _Place(*found) if (found := places.read()) else None
        if place is None:
            ended.set(GlobalWindow().max_timestamp() - _DAY_SECONDS)  # a day for windows that come behind
            begin = (piece.first if piece.start is None else piece.start) - 1
            place = _Place(begin, begin, _NO_CLOCK, _NO_CLOCK, 0, 0)
        place = self._take(key, place, piece, waiting, held)
        if place.clock_us // self._every_us > place.folded_us // self._every_us:
            folded, place = self._fold(place, opened, waiting)
            yield from self._out(key, place, folded)
            place = place._replace(given=place.cursor)
        places.write(tuple(place))

    @on_timer(ENDED)
    def at_end(
        self,
        key: Any = beam.DoFn.KeyParam,
        opened: Any = beam.DoFn.StateParam(OPEN),
        places: Any = beam.DoFn.StateParam(PLACE),
        waiting: Any = beam.DoFn.StateParam(WAITING),
    ) -> Iterator[tuple[int, pa.RecordBatch] | beam.pvalue.TaggedOutput]:
        place = _Place(*places.read())
        if place.held:
            raise _missing(key, place)
        folded, place = self._fold(place, opened, waiting)
        yield from self._out(key, place, folded)
        if self._close:
            place = place._replace(given=place.cursor)
            last = finish(SessionState.from_bytes(opened.read()), self._rules)
            opened.write(last.state.to_bytes())
            yield from self._out(key, place, last)
        places.write(tuple(place._replace(given=place.cursor)))

    def _take(self, key: int, place: _Place, piece: Piece, waiting: Any, held: Any) -> _Place:
        """Puts what goes on at the cursor to what waits, and holds what is ahead."""
        pieces = [piece, *(Piece.of(batch) for batch in held.read())] if place.held else [piece]
        done = advance(place.cursor, pieces)
        self._repeated.inc(done.dropped)
        clock = place.clock_us
        for one in done.accepted:
            if one.rows.num_rows:
                waiting.add(_waiting_rows(with_clock(one.rows, None if clock == _NO_CLOCK else clock), one.first))
            clock = max(clock, one.clock_us)
        if done.held != [] or place.held:
            held.clear()
            for one in done.held:
                held.add(one.stamped())
        place = place._replace(
            cursor=done.cursor,
            clock_us=clock,
            waiting=place.waiting + sum(one.rows.num_rows for one in done.accepted),
            held=len(done.held),
        )
        if place.held > self._max_held:
            raise _missing(key, place)
        return place

    def _fold(self, place: _Place, opened: Any, waiting: Any) -> tuple[Folded, _Place]:
        batches = list(waiting.read()) if place.waiting else []
        rows = pa.Table.from_batches(batches, schema=_WAITING)
        state = SessionState.from_bytes(opened.read())
        folded = fold(state, rows, place.clock_us, self._rules, self._tolerance)
        encoded = folded.state.to_bytes()
        opened.write(encoded)
        waiting.clear()
        self._bytes.update(len(encoded))
        return folded, place._replace(folded_us=place.clock_us, waiting=0)

    def _out(
        self, key: int, place: _Place, folded: Folded
    ) -> Iterator[tuple[int, pa.RecordBatch] | beam.pvalue.TaggedOutput]:
        self._rows.update(folded.state.rows.num_rows)
        for name, count in (
            ("closed", folded.closed.num_rows),
            ("late", folded.late.num_rows),
            ("duplicates", folded.duplicates),
        ):
            self._counters[name].inc(count)
        safe = folded.state.safe_position
        piece = Piece(place.given + 1, place.cursor, place.clock_us, as_batch(folded.closed)).stamped()
        told = {**piece.schema.metadata, b"safe": str(place.cursor + 1 if safe is None else safe).encode()}
        yield key, piece.replace_schema_metadata(told)
        if folded.late.num_rows:
            yield beam.pvalue.TaggedOutput(LATE_ROWS, as_batch(folded.late))


def _waiting_rows(rows: pa.RecordBatch, first: int) -> pa.RecordBatch:
    """The columns that are folded; a row that does not know its position has at least its piece's first."""
    names = rows.schema.names
    columns = [rows[f.name].cast(f.type) if f.name in names else pa.nulls(rows.num_rows, f.type) for f in _WAITING]
    columns[-1] = columns[-1].fill_null(first)
    return pa.RecordBatch.from_arrays(columns, schema=_WAITING)


def _missing(key: int, place: _Place) -> RuntimeError:
    return RuntimeError(
        f"sessions of key {key}: positions behind {place.cursor} are missing while {place.held} later pieces wait; "
        "the source skipped them, or the engine lost state (on Prism run with --experiments=prism_disable_sdf_split)"
    )


__all__ = ["END", "LATE_ROWS", "SessionizeStream", "StreamSessions"]
