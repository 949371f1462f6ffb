"""Bronze rows of a stream as events, and what a bucket of sessions held, found again in the tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from transforms.bronze.envelope import ENQUEUED, columns_for_silver
from transforms.contracts import contract
from transforms.io.delta import open_table, read_table
from transforms.io.delta_positions import marks, positions
from transforms.io.delta_tail import Backlog
from transforms.sessions.behaviour import behavioural_events
from transforms.sessions.bucket import ARRIVED, FED, NO_CLOCK, STEPS, Standing
from transforms.sessions.event import EVENTS, split_events
from transforms.sessions.fold import LATE, POSITION
from transforms.sessions.reach import UNKNOWN, Reach
from transforms.sessions.summarise import SESSIONS
from transforms.shuffle import bucket_of
from transforms.silver.to_silver import to_silver

TABLE = "CUSTOMER_BEHAVIORAL_EVENTS"
LOG, STEP = pa.field("_log", pa.string(), nullable=False), pa.field("_step", pa.int64(), nullable=False)
LIVE_SESSIONS = pa.schema([*SESSIONS, LOG, STEP])  # of the stream: final ones only, with the step they left at
LATE_EVENTS = pa.schema([*LATE, LOG])
_SAME = ("position", "visitor", "event_time", "event_id")


def bronze_columns() -> tuple[str, ...]:
    """What `events_of` needs of a bronze row."""
    return columns_for_silver(contract(TABLE))


def events_of(bronze: pa.Table, country: str = "GB") -> pa.Table:
    """Bronze rows of CUSTOMER_BEHAVIORAL_EVENTS -> EVENTS, POSITION and ARRIVED, standardised as silver does it.

    Rows that silver refuses are left out, as are those without a visitor; order is kept.
    """
    accepted = to_silver(bronze, contract(TABLE), country).accepted
    events = behavioural_events(accepted).append_column(POSITION, accepted["_position"].combine_chunks())
    events = events.append_column(ARRIVED, accepted[ENQUEUED].combine_chunks())
    return events.filter(split_events(events).refused.is_null())


@dataclass(frozen=True)
class LiveTables:
    """Where a stream's sessions are.

    Attributes:
      bronze: the table of the events; `stream` tells whose positions count.
      sessions: of LIVE_SESSIONS; `late`: of LATE_EVENTS.
    """

    bronze: str
    sessions: str
    late: str
    stream: str
    buckets: int
    country: str = "GB"
    _events: dict[str, tuple[int, pa.Table]] = field(default_factory=dict, compare=False, repr=False)

    def standing(self, log: str) -> Standing:
        """Where a bucket "<log>/<bucket>" stands.

        What the bucket held are the rows since its safe position that were not late and are in none of its sessions.
        A row is in bronze before it is here, so bronze has them all.
        """
        given = positions(self.sessions, self.stream, [log])[log]
        if given < 0:
            return Standing(-1, -1, NO_CLOCK, UNKNOWN, FED.empty_table())
        cursor, told = given // STEPS, marks(self.sessions, self.stream, log, ("safe", "clock", *Reach._fields))
        whole, _, bucket = log.rpartition("/")
        held = self._since(whole, told["safe"], cursor)
        held = held.filter(pa.array(bucket_of(held, ("visitor",), self.buckets) == int(bucket)))
        rows = pl.DataFrame(pl.from_arrow(held)).filter(pl.col("position").is_between(told["safe"], cursor))
        rows = rows.join(self._late(log, told["safe"]), on=_SAME, how="anti", nulls_equal=True)
        rows = _outside(rows, self._sessions(log, told["safe"] * STEPS))
        missing = [pl.lit(None, pl.Datetime("us", "UTC")).alias("clock")]
        table = rows.with_columns(missing).select(FED.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(FED)
        clock = told.get("clock", NO_CLOCK)
        old = {"first_us": clock, "witness": 0, "second_us": clock}  # tables written before know it only
        return Standing(cursor, given, clock, Reach(**{name: told.get(name, old[name]) for name in old}), table)

    def first(self, logs: tuple[str, ...]) -> dict[str, int]:
        """log -> the first position that one of its buckets has not taken."""
        names = {log: [f"{log}/{bucket}" for bucket in range(self.buckets)] for log in logs}
        found = positions(self.sessions, self.stream, [name for several in names.values() for name in several])
        return {log: min(found[name] // STEPS for name in several) + 1 for log, several in names.items()}

    def _since(self, log: str, low: int, high: int) -> pa.Table:
        """The events of a log from a position on, read once for all of its buckets."""
        if log not in self._events or self._events[log][0] > low:
            begin = min(low, *(self._safe(f"{log}/{bucket}", low) for bucket in range(self.buckets)))
            backlog = Backlog(self.bronze, self.stream, {log: begin})
            pieces = [
                events_of(pa.Table.from_batches([p.rows]), self.country) for p in backlog.pieces(log, bronze_columns())
            ]
            none = pa.schema([*EVENTS, POSITION, ARRIVED]).empty_table()
            self._events[log] = (begin, pa.concat_tables([none, *pieces]))
        return self._events[log][1]

    def _safe(self, log: str, default: int) -> int:
        return marks(self.sessions, self.stream, log, ("safe",)).get("safe", default)

    def _late(self, log: str, low: int) -> pl.DataFrame:
        if open_table(self.late) is None:
            return pl.DataFrame(pl.from_arrow(LATE_EVENTS.empty_table())).select(_SAME)
        where = (("_log", "=", log), ("position", ">=", low))
        return pl.DataFrame(pl.from_arrow(read_table(self.late, columns=_SAME, where=where)))

    def _sessions(self, log: str, step: int) -> pl.DataFrame:
        columns = ("visitor", "started_at", "ended_at")
        where = (("_log", "=", log), ("_step", ">=", step))
        return pl.DataFrame(pl.from_arrow(read_table(self.sessions, columns=columns, where=where)))


def _outside(rows: pl.DataFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """The rows that lie in none of the sessions of their visitor."""
    numbered = rows.with_row_index("_row")
    inside = (
        numbered.select("_row", "visitor", "event_time")
        .join(sessions, on="visitor")
        .filter(pl.col("event_time").is_between("started_at", "ended_at"))
    )
    return numbered.join(inside.select("_row").unique(), on="_row", how="anti").drop("_row")
