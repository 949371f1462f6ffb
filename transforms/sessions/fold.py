"""Sessions of a stream: rows come bit by bit, a watermark says how far, and sessions that nothing can change leave."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.errors import UserError
from transforms.sessions.cut import cut_sessions
from transforms.sessions.event import EVENTS
from transforms.sessions.reach import NEVER
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import SESSIONS, summarise_sessions

_TIME = EVENTS.field("event_time").type
# What a stream's rows have beside the columns of EVENTS; both may lack.
CLOCK = pa.field("clock", _TIME)  # how far the source was when it gave the row
POSITION = pa.field("position", pa.int64())  # of the row in its source
_BOUND = pa.field("_bound", pa.int64())  # of the row's session, as in `Cut`
OPEN = pa.schema([*EVENTS, POSITION, _BOUND])
LATE = pa.schema([*EVENTS, CLOCK, POSITION, pa.field("reason", pa.string(), nullable=False)])
TOO_LATE, AHEAD = "late", "ahead_of_clock"
END = 2**62  # a watermark behind all times: the source has ended


@dataclass(frozen=True)
class Tolerance:
    """How far a row's event time may lie from the clock, behind it and ahead of it.

    A row that was ahead of its own arrival by more than `skew_seconds` says nothing of the clock; it waits for it.
    """

    late_seconds: float = 600
    ahead_seconds: float = 30 * 86_400
    skew_seconds: float = 300

    def __post_init__(self) -> None:
        if not (0 <= self.late_seconds <= 30 * 86_400 and 0 <= self.ahead_seconds <= 366 * 86_400):
            raise UserError(
                f"rows {self.late_seconds:g} s late or {self.ahead_seconds:g} s ahead would be waited for",
                remedy="allow at most 30 days late and a year ahead",
            )

    @property
    def late_us(self) -> int:
        return round(self.late_seconds * 1e6)

    @property
    def skew_us(self) -> int:
        return round(self.skew_seconds * 1e6)

    @property
    def ahead_us(self) -> int:
        return round(self.ahead_seconds * 1e6)


@dataclass(frozen=True)
class SessionState:
    """The rows of all sessions that may still change, and the watermark up to which they are known.

    At most the rows of the last longest session + gap + lateness are in it, and those ahead of the clock.
    """

    rows: pa.Table
    watermark_us: int | None = None

    @staticmethod
    def empty() -> SessionState:
        return SessionState(OPEN.empty_table())

    @property
    def safe_position(self) -> int | None:
        """The first position a replay needs to have these rows again; None when none is open, or none is known."""
        return pa.compute.min(self.rows["position"]).as_py()

    def to_bytes(self) -> bytes:
        """One Arrow IPC stream, LZ4."""
        told = {"watermark": "" if self.watermark_us is None else str(self.watermark_us)}
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(sink, OPEN.with_metadata(told), options=options) as writer:
            writer.write_table(self.rows.replace_schema_metadata(told))
        return sink.getvalue().to_pybytes()

    @staticmethod
    def from_bytes(encoded: bytes | None) -> SessionState:
        if not encoded:
            return SessionState.empty()
        with pa.ipc.open_stream(encoded) as reader:
            told, rows = reader.schema.metadata[b"watermark"], reader.read_all()
        return SessionState(rows.replace_schema_metadata(None), int(told) if told else None)


@dataclass(frozen=True)
class Folded:
    """`state` to go on with, `closed` sessions (SESSIONS), `late` rows (LATE), and how many rows came twice."""

    state: SessionState
    closed: pa.Table
    late: pa.Table
    duplicates: int


def fold(
    state: SessionState, rows: pa.Table, watermark_us: int, rules: SessionRules, tolerance: Tolerance = Tolerance()
) -> Folded:
    """Takes up rows, moves the watermark and lets go of what is final. Feeding any split of the same rows in any
    order, none of them late, and then the watermark END closes exactly the sessions of `sessions_of`.

    A row is late when its event time is before the clock minus the allowed lateness. The clock is the row's own
    `clock` or, where that lacks or is behind, the state's watermark: nothing that comes in the same call counts. So
    for rows that bring their clock, what is late does not depend on how they are cut into calls. A row is ahead when
    its event time is further on than its clock (or the new watermark, if it brings none) plus what is allowed; kept,
    it would stay for as long.

    A session is final, and leaves once, when the watermark minus the allowed lateness has come to its bound (`Cut`):
    no row that is not late can change it. So no session that left is ever superseded by the stream itself; late rows
    wait for the next batch run.

    Args:
      rows: columns of EVENTS, and CLOCK and POSITION if there are; each with a visitor and a time.
      watermark_us: no row that comes later is earlier than this minus the lateness, or else it is late. It never
        goes back: one that is lower counts as the state's.
    """
    before, horizon = state.watermark_us, max(watermark_us, state.watermark_us or watermark_us)
    given = _frame(rows)
    reason = _reasons(given, before, horizon, tolerance)
    late = _late(given, reason) if reason.null_count() < len(reason) else LATE.empty_table()
    fresh = given.filter(reason.is_null()).drop("clock")
    held = pl.DataFrame(pl.from_arrow(state.rows))
    final_us = horizon - tolerance.late_us
    # Only visitors with new rows or with a final session are cut again, and then with all their rows.
    due = pl.concat([fresh["visitor"], held.filter(pl.col("_bound") <= final_us)["visitor"]]).unique()
    moved = held["visitor"].is_in(due.implode())
    work = pl.concat([held.filter(moved).drop("_bound"), fresh])
    rest = held.filter(~moved)
    cut = cut_sessions(work, rules)
    closed = cut.bounds <= final_us
    lengths = cut.ends - cut.starts
    stay = cut.events.with_columns(_bound=pl.Series(np.repeat(cut.bounds, lengths), dtype=pl.Int64))
    stay = stay.filter(pl.Series(np.repeat(~closed, lengths), dtype=pl.Boolean))
    sessions = summarise_sessions(cut, rules, np.flatnonzero(closed)) if closed.any() else SESSIONS.empty_table()
    open_rows = _table(pl.concat([rest, stay.select(rest.columns)]), OPEN)
    return Folded(SessionState(open_rows, horizon), sessions, late, cut.duplicates)


def finish(state: SessionState, rules: SessionRules) -> Folded:
    """Closes all that is open: the source has ended."""
    folded = fold(state, EVENTS.empty_table(), END, rules, Tolerance(0))
    return replace(folded, state=SessionState(folded.state.rows, state.watermark_us))


def _frame(rows: pa.Table) -> pl.DataFrame:
    """The rows with all columns of EVENTS, CLOCK and POSITION."""
    names = rows.column_names
    fields = [*EVENTS, CLOCK, POSITION]
    columns = [rows[f.name].cast(f.type) if f.name in names else pa.nulls(rows.num_rows, f.type) for f in fields]
    return pl.DataFrame(pl.from_arrow(pa.table(columns, schema=pa.schema(fields))))


def _reasons(rows: pl.DataFrame, before: int | None, horizon: int, tolerance: Tolerance) -> pl.Series:
    """Why a row is not taken up; null for those that are."""
    time, clock = pl.col("event_time").to_physical(), pl.col("clock").to_physical()
    known = pl.max_horizontal(clock, pl.lit(before, pl.Int64))
    late = (time < known - tolerance.late_us).fill_null(False)
    reference = pl.when(clock.is_null()).then(horizon).otherwise(known)
    ahead = (time > reference + tolerance.ahead_us) & (reference > NEVER)
    return rows.select(pl.when(late).then(pl.lit(TOO_LATE)).when(ahead).then(pl.lit(AHEAD)).alias("reason")).to_series()


def _late(rows: pl.DataFrame, reason: pl.Series) -> pa.Table:
    return _table(rows.with_columns(reason).filter(reason.is_not_null()), LATE)


def _table(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return rows.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).combine_chunks()
