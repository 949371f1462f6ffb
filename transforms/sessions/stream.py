"""Events to sessions on Beam, as they come: one state a bucket, and sessions leave when nothing can change them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Duration, Timestamp

from transforms.batches import PieceCoder, RecordBatchCoder, as_batch, register_batch_coder
from transforms.errors import UserError
from transforms.levels import set_level
from transforms.positions import Piece, advance
from transforms.sessions.bucket import FED, NO_CLOCK, STEPS, Standing, bucket_pieces, reach_of, taken
from transforms.sessions.event import split_events
from transforms.sessions.fold import CLOCK, Folded, SessionState, Tolerance, finish, fold
from transforms.sessions.reach import UNKNOWN, Reach, merged
from transforms.sessions.rules import SessionRules
from transforms.sessions.sessionize import REJECTED

_MAIN = "main"
_DAY_SECONDS = 86_400
_LEAP_US = 43_200_000_000  # half a day


class StreamSessions(NamedTuple):
    """`sessions`: pieces of SESSIONS that are final; `late`: batches of LATE; `rejected`: as of `SessionizeEvents`."""

    sessions: beam.PCollection
    late: beam.PCollection
    rejected: beam.PCollection


@dataclass(eq=False)
class SessionizeStream(beam.PTransform):
    """PCollection[Piece of EVENTS] -> `StreamSessions`. Windows: global; timestamps: arrival, as of the source.

    All rows of a visitor are in one log. Rows know their POSITION if pieces may overlap. Pieces may come in any
    order, overlap and repeat; each position counts once. A missing piece holds up its log. Of more than `max_held` that
    wait the later half is kept: what was there before those, a source that goes on until it has caught up (as
    `ReadCommitted`) gives again. It raises when as many wait again and nothing came of what is missing, be it that
    the source skipped it or that the engine lost state.

    The clock is the latest event time that two visitors of the log have reached (`Reach`), so what is late and which
    sessions there are follows from the rows in the log's order, whatever their cut, the engine and the time at the
    wall, and a visitor whose clock is wrong makes nobody late. A log that is silent closes nothing: what is open
    leaves with the next rows, when the source ends if `close_at_end`, or if `silence_closes` when the watermark, and
    so the arrival of anything new, is the longest gap and the lateness behind the last piece. The clock then jumps as
    far behind the latest event, if that is at most half a day ahead of it, so that rows older than what left are late.

    Rows wait in a bag and are folded when the clock has moved by `fold_seconds`: so the cost of looking at the state
    is bounded a second of the stream's time, and a session leaves that much later at most.

    `sessions` are pieces of the log "<log>/<bucket>". Sessions also leave between two positions, in silence, so their
    pieces count in steps: position p of the log is step p * STEPS. Marks say from where the rows are that have not
    left ("safe", a position), the clock ("clock", microseconds) and the reach: with those, `restore` has what a bucket
    held.
    Pieces come also without rows, so that the marks move. `late` are the rows that those pieces have `aside`: a sink
    has to keep them before the sessions, or they would be taken for open ones after a restart.

    State a bucket: the rows of open sessions (Arrow, LZ4), those that wait, and a cursor. Metrics in "sessions":
    state_rows, state_bytes (distributions), closed, late, duplicates, repeated_pieces, rejected.

    Attributes:
      start: the first wanted position of a log; without it the first piece that comes says where a log begins.
      restore: bucket's log -> where it stands; instead of `start`, after a restart.
    """

    rules: SessionRules
    tolerance: Tolerance = field(default_factory=Tolerance)
    buckets: int = 8
    start: Callable[[str], int] | None = None
    restore: Callable[[str], Standing] | None = None
    fold_seconds: float = 5
    silence_closes: bool = False
    close_at_end: bool = False
    max_held: int = 200

    def __post_init__(self) -> None:
        super().__init__()
        if not 0 < self.fold_seconds <= 3600:
            raise UserError(f"folding every {self.fold_seconds:g} s", remedy="choose more than 0 and at most 3600 s")
        if not 1 <= self.buckets <= 4096:
            raise UserError(f"{self.buckets} buckets a log", remedy="choose between 1 and 4096")

    def expand(self, pieces: beam.PCollection[Piece]) -> StreamSessions:
        register_batch_coder()
        bucket = _BucketFn(self.buckets, self.tolerance.skew_us)
        buckets = pieces | "BucketVisitors" >> beam.ParDo(bucket).with_outputs(REJECTED, main=_MAIN)
        keyed = buckets[_MAIN] | "ByBucket" >> beam.Map(_keyed).with_output_types(tuple[str, Piece])
        cut = keyed | "CutOpenSessions" >> beam.ParDo(_SessionsFn(self)).with_output_types(Piece)
        return StreamSessions(
            cut,
            cut | "Late" >> beam.FlatMap(_aside).with_output_types(pa.RecordBatch),
            buckets[REJECTED] | "Rejected" >> beam.Map(_same).with_output_types(pa.RecordBatch),
        )


def _same(element: Any) -> Any:
    return element


def _aside(piece: Piece) -> Iterator[pa.RecordBatch]:
    if piece.aside is not None:
        yield piece.aside


def _keyed(piece: Piece) -> tuple[str, Piece]:
    return piece.log, piece


class _BucketFn(beam.DoFn):
    def __init__(self, buckets: int, skew_us: int) -> None:
        self._buckets, self._skew_us = buckets, skew_us
        self._rejected = Metrics.counter("sessions", "rejected")

    def process(self, piece: Piece) -> Iterator[Piece | beam.pvalue.TaggedOutput]:
        _, refused = split_events(piece.rows)
        if refused.null_count < len(refused):
            self._rejected.inc(len(refused) - refused.null_count)
            yield beam.pvalue.TaggedOutput(
                REJECTED, piece.rows.append_column("rule", refused).filter(refused.is_valid())
            )
            piece = Piece(piece.log, piece.low, piece.high, piece.rows.filter(refused.is_null()), piece.gap)
        yield from bucket_pieces(piece, self._buckets, self._skew_us)


class _Place(NamedTuple):
    """Where a bucket is: the last position taken, the last step given on, the clock, when it was folded, what waits,
    and the log's reach; how many pieces are held, the first position of those, and the cursor when some were let go.
    """

    cursor: int
    given: int
    clock_us: int
    folded_us: int
    waiting: int
    held: int
    first_us: int
    witness: int
    second_us: int
    held_low: int = 0
    let_go_at: int = -1

    @property
    def reach(self) -> Reach:
        return Reach(self.first_us, self.witness, self.second_us)

    def silent(self, silence_us: int) -> _Place:
        """With the clock behind a silence; a leader who is far ahead of all others is not believed even then."""
        is_believed = self.clock_us == NO_CLOCK or self.first_us - self.clock_us <= _LEAP_US
        latest = max(self.clock_us, self.first_us) if is_believed else self.clock_us
        return self._replace(clock_us=latest + silence_us)


class _SessionsFn(beam.DoFn):
    OPEN = ReadModifyWriteStateSpec("open", BytesCoder())
    PLACE = ReadModifyWriteStateSpec("place", TupleCoder([VarIntCoder()] * len(_Place._fields)))
    WAITING = BagStateSpec("waiting", RecordBatchCoder())
    HELD = BagStateSpec("held", PieceCoder())
    ENDED = TimerSpec("ended", TimeDomain.WATERMARK)
    SILENT = TimerSpec("silent", TimeDomain.WATERMARK)

    def __init__(self, spec: SessionizeStream) -> None:
        self._rules, self._tolerance, self._start, self._restore = spec.rules, spec.tolerance, spec.start, spec.restore
        self._silence_us = spec.rules.longest_gap_us + spec.tolerance.late_us + 1 if spec.silence_closes else None
        self._every_us, self._close, self._max_held = round(spec.fold_seconds * 1e6), spec.close_at_end, spec.max_held
        self._rows = Metrics.distribution("sessions", "state_rows")
        self._bytes = Metrics.distribution("sessions", "state_bytes")
        self._counters = {n: Metrics.counter("sessions", n) for n in ("closed", "late", "duplicates")}
        self._repeated = Metrics.counter("sessions", "repeated_pieces")

    def process(
        self,
        element: tuple[str, Piece],
        opened: Any = beam.DoFn.StateParam(OPEN),
        places: Any = beam.DoFn.StateParam(PLACE),
        waiting: Any = beam.DoFn.StateParam(WAITING),
        held: Any = beam.DoFn.StateParam(HELD),
        ended: Any = beam.DoFn.TimerParam(ENDED),
        silent: Any = beam.DoFn.TimerParam(SILENT),
        arrived: Any = beam.DoFn.TimestampParam,
    ) -> Iterator[Piece]:
        key, piece = element
        found = places.read()
        if not found:  # a day before the end of time, so that windows that come behind still take what leaves then
            ended.set(GlobalWindow().max_timestamp() - _DAY_SECONDS)
        place = self._take(key, _Place(*found) if found else self._begin(piece, opened), piece, waiting, held)
        if place.clock_us // self._every_us > place.folded_us // self._every_us:
            folded, place = self._fold(key, place, opened, waiting)
            place = place._replace(given=(yield from self._out(key, place, folded)))
        places.write(tuple(place))
        if self._silence_us is not None:
            since = arrived if arrived.micros > 0 else Timestamp.now()  # what is read back tells no arrival
            silent.set(since + Duration(micros=self._silence_us))

    @on_timer(SILENT)
    def at_silence(
        self,
        key: Any = beam.DoFn.KeyParam,
        due: Any = beam.DoFn.TimestampParam,
        opened: Any = beam.DoFn.StateParam(OPEN),
        places: Any = beam.DoFn.StateParam(PLACE),
        waiting: Any = beam.DoFn.StateParam(WAITING),
    ) -> Iterator[Piece]:
        if due.micros > time.time() * 1e6:
            return  # the source ended, and took the watermark to the end of time: that is no silence
        place = _Place(*places.read())
        if place.held or place.first_us == NO_CLOCK or self._silence_us is None:
            return
        place = place.silent(self._silence_us)
        folded, place = self._fold(key, place, opened, waiting)
        places.write(tuple(place._replace(given=(yield from self._out(key, place, folded)))))

    @on_timer(ENDED)
    def at_end(
        self,
        key: Any = beam.DoFn.KeyParam,
        opened: Any = beam.DoFn.StateParam(OPEN),
        places: Any = beam.DoFn.StateParam(PLACE),
        waiting: Any = beam.DoFn.StateParam(WAITING),
    ) -> Iterator[Piece]:
        place = _Place(*places.read())
        if place.held:
            raise _missing(key, place)
        folded, place = self._fold(key, place, opened, waiting)
        place = place._replace(given=(yield from self._out(key, place, folded)))
        if self._close:
            last = finish(SessionState.from_bytes(opened.read()), self._rules)
            opened.write(last.state.to_bytes())
            place = place._replace(given=(yield from self._out(key, place, last)))
        places.write(tuple(place))

    def _begin(self, piece: Piece, opened: Any) -> _Place:
        if self._restore is not None:
            stood = self._restore(piece.log)
            if stood.rows.num_rows:  # they were taken up before: none of them is late, and none ends a session
                held = stood.rows.drop_columns([CLOCK.name])
                state = fold(SessionState.empty(), held, stood.clock_us, self._rules, self._tolerance).state
                opened.write(state.to_bytes())
            return _Place(stood.cursor, stood.given, stood.clock_us, stood.clock_us, 0, 0, *stood.reach)
        first = piece.low if self._start is None else self._start(piece.log.rpartition("/")[0])
        return _Place(first - 1, first * STEPS - 1, NO_CLOCK, NO_CLOCK, 0, 0, *UNKNOWN)

    def _take(self, key: str, place: _Place, piece: Piece, waiting: Any, held: Any) -> _Place:
        """Puts what goes on at the cursor to what waits, and holds what is ahead."""
        if piece.low > place.cursor + 1:
            return self._hold(key, place, piece, held)
        is_reached = place.held and max(piece.high, place.cursor) + 1 >= place.held_low
        done = advance(place.cursor, [piece, *held.read()] if is_reached else [piece])
        self._repeated.inc(done.dropped)
        clock, reach, count = place.clock_us, place.reach, 0
        for one, keep_from in done.accepted:
            rows = taken(one, keep_from, reach, clock)
            if rows.num_rows:
                waiting.add(rows)
            reach = Reach(*map(int, merged(reach, reach_of(one.rows))))
            clock, count = max(clock, reach.second_us), count + rows.num_rows
        place = place._replace(cursor=done.cursor, clock_us=clock, waiting=place.waiting + count, **reach._asdict())
        return _holding(place, done.held, held) if is_reached else place

    def _hold(self, key: str, place: _Place, piece: Piece, held: Any) -> _Place:
        """Keeps a piece that is ahead; without a look at the others, unless they are too many."""
        held.add(piece)
        low = min(piece.low, place.held_low) if place.held else piece.low
        place = place._replace(held=place.held + 1, held_low=low)
        if place.held <= self._max_held:
            return place
        if place.let_go_at == place.cursor:
            raise _missing(key, place)
        kept = sorted(held.read(), key=lambda one: one.low)[-(self._max_held // 2) :]
        return _holding(place, kept, held)._replace(let_go_at=place.cursor)

    def _fold(self, key: str, place: _Place, opened: Any, waiting: Any) -> tuple[Folded, _Place]:
        batches = list(waiting.read()) if place.waiting else []
        state = SessionState.from_bytes(opened.read())
        rows = pa.Table.from_batches(batches, schema=FED)
        folded = fold(state, rows, place.clock_us, self._rules, self._tolerance)
        encoded = folded.state.to_bytes()
        opened.write(encoded)
        waiting.clear()
        self._bytes.update(len(encoded))
        set_level("sessions/state_bytes", key, len(encoded))
        return folded, place._replace(folded_us=place.clock_us, waiting=0)

    def _out(self, key: str, place: _Place, folded: Folded) -> Generator[Piece, None, int]:
        """Gives out what a fold made; returns the last step given."""
        self._rows.update(folded.state.rows.num_rows)
        set_level("sessions/state_rows", key, folded.state.rows.num_rows)
        self._counters["closed"].inc(folded.closed.num_rows)
        self._counters["late"].inc(folded.late.num_rows)
        self._counters["duplicates"].inc(folded.duplicates)
        late = as_batch(folded.late) if folded.late.num_rows else None
        last = place.cursor * STEPS
        if last <= place.given and not folded.closed.num_rows and late is None:
            return place.given
        safe = folded.state.safe_position
        marks = [("safe", place.cursor + 1 if safe is None else safe)]
        marks += [("clock", place.clock_us), *place.reach._asdict().items()] if place.first_us != NO_CLOCK else []
        last = max(last, place.given + 1)
        yield Piece(key, place.given + 1, last, as_batch(folded.closed), None, tuple(marks), late)
        return last


def _holding(place: _Place, pieces: Sequence[Piece], held: Any) -> _Place:
    """These, and no others."""
    held.clear()
    for one in pieces:
        held.add(one)
    return place._replace(held=len(pieces), held_low=min((one.low for one in pieces), default=0))


def _missing(key: str, place: _Place) -> UserError:
    return UserError(
        f"positions behind {place.cursor} are missing while {place.held} later pieces wait",
        f"sessions of {key}",
        "the source skipped them, or the engine lost state (on Prism run with --experiments=prism_disable_sdf_split)",
    )
