"""What makes a stream into a Delta table exact: the table itself knows how far each partition of the log got."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from transforms.errors import UserError
from transforms.io import storage
from transforms.io.delta_commit import Plan, TableWrite, agreed_schema, discard, prepare, try_commit
from transforms.io.delta_files import DataFile, TableFiles
from transforms.io.delta_modes import Append
from transforms.io.delta_schema import conform
from transforms.io.delta_sink import TARGET_BYTES
from transforms.io.delta_table import constraints, create_table, existing_table, explain, open_table, transactions_of
from transforms.positions import Advance, Piece, advance

ATTEMPTS = 60


class Fenced(UserError):
    """A newer stream took the table over; this one must stop."""


class PositionGap(UserError):
    """Positions are missing before those at hand, and did not come in time."""


def position_app(stream: str, log: str) -> str:
    """The Delta transaction whose version is the last position of `log` that `stream` has put into a table."""
    return f"stream/{stream}/{log}"


def owner_app(stream: str) -> str:
    """The Delta transaction whose version is the epoch of the stream's one writer."""
    return f"stream/{stream}/owner"


def positions(uri: str, stream: str, logs: Iterable[str]) -> dict[str, int]:
    """The last committed position of each log; -1 where there is none."""
    table, logs = open_table(uri), list(logs)
    known = {} if table is None else transactions_of(table, (position_app(stream, log) for log in logs))
    return {log: known.get(position_app(stream, log), -1) for log in logs}


def mark_app(stream: str, log: str, name: str) -> str:
    """The Delta transaction whose version is a number that goes with the position of `log`; see `Piece.marks`."""
    return f"{position_app(stream, log)}#{name}"


def marks(uri: str, stream: str, log: str, names: Sequence[str]) -> dict[str, int]:
    """The last committed marks of a log; those that are not there are left out."""
    apps = {mark_app(stream, log, name): name for name in names}
    table = open_table(uri)
    known = {} if table is None else transactions_of(table, apps)
    return {apps[app]: value for app, value in known.items()}


def take_over(
    uri: str, schema: pa.Schema, partition_by: Sequence[str], stream: str, begin: dict[str, int] | None = None
) -> int:
    """Makes the caller the only writer of `stream` to the table, created if absent; gives the epoch that fences others.

    Args:
      begin: log -> the first position wanted, for logs that the table does not know yet.
    """
    create_table(uri, schema, partition_by)
    for attempt in range(ATTEMPTS):
        table = existing_table(uri)
        known = transactions_of(table, [owner_app(stream), *(position_app(stream, log) for log in begin or {})])
        epoch = known.get(owner_app(stream), 0) + 1
        first = {position_app(stream, log): low - 1 for log, low in (begin or {}).items()}
        new = [(app, at) for app, at in first.items() if app not in known and at >= 0]
        facts = json.dumps({"stream": stream, "epoch": epoch})
        try:
            try_commit(uri, table, Plan([]), [(owner_app(stream), epoch), *new], facts)
        except CommitFailedError:
            _back_off(attempt)
            continue
        except (DeltaError, OSError) as error:
            raise explain(error, uri) from error
        return epoch
    raise UserError(f"gave up after {ATTEMPTS} attempts, other writers were always faster", uri, "run again later")


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
    gap: tuple[int, int] | None = None
    marks: tuple[tuple[str, int], ...] = ()
    before: tuple[Range, ...] = ()
    seen_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class StreamCommit:
    """One commit of a stream: the version it made, its rows, and the ranges that became part of the table."""

    uri: str
    version: int
    rows: int
    ranges: tuple[Range, ...]
    dropped: int = 0
    held: int = 0


def write_ranges(write: StreamWrite, pieces: Iterable[Piece]) -> list[Range]:
    """Writes the rows of one log into files, a range for each run of positions without a gap."""
    ranges: list[Range] = []
    run: list[pa.Table] = []
    low = high = -1
    log, gap = "", None
    marks: tuple[tuple[str, int], ...] = ()
    for piece in sorted(pieces, key=lambda piece: (piece.low, -piece.high)):
        if log and piece.high <= high:
            continue
        if log and piece.low > high + 1:
            ranges.append(replace(_write_range(write, log, low, high, run, gap), marks=marks))
            log = ""
        if not log:
            log, low, high, run, gap, marks = piece.log, piece.low, piece.low - 1, [], None, ()
        run.append(_rows_from(pa.Table.from_batches([piece.rows]), write.position, high + 1))
        high, gap, marks = piece.high, gap or piece.gap, piece.marks or marks
    if log:
        ranges.append(replace(_write_range(write, log, low, high, run, gap), marks=marks))
    return ranges


def _rows_from(rows: pa.Table, position: str, low: int) -> pa.Table:
    if not rows.num_rows or pc.min(rows[position]).as_py() >= low:
        return rows
    return rows.filter(pc.field(position) >= low)


def _write_range(
    write: StreamWrite,
    log: str,
    low: int,
    high: int,
    tables: Sequence[pa.Table],
    gap: tuple[int, int] | None = None,
) -> Range:
    full = [table for table in tables if table.num_rows]
    if not full:
        return Range(log, low, high, gap=gap)
    table = open_table(write.uri)
    schema, checks = agreed_schema(write.table, table), constraints(table) if table is not None else ()
    by_schema: dict[pa.Schema, TableFiles] = {}
    opened = storage.filesystem(write.uri)
    for rows in full:
        fitting = conform(rows, schema, write.uri, evolve=True)
        if fitting.schema not in by_schema:  # a batch with other extra columns has files of its own
            layout = (fitting.schema, write.partition_by, TARGET_BYTES, checks)
            by_schema[fitting.schema] = TableFiles(opened, *layout)
        by_schema[fitting.schema].add(fitting)
    files = tuple(file for several in by_schema.values() for file in several.take())
    arrived = [pc.min_max(t[write.arrived].cast(pa.int64())).as_py() for t in full if write.arrived in t.column_names]
    known = [times for times in arrived if times["min"] is not None]
    oldest = min((times["min"] for times in known), default=None)
    newest = max((times["max"] for times in known), default=None)
    return Range(log, low, high, sum(t.num_rows for t in full), files, oldest, newest, gap)


def _trim(write: StreamWrite, whole: Range, low: int) -> Range:
    """The part of a range from `low` on, written anew; the old files stay behind, unnamed."""
    opened, tables = storage.filesystem(write.uri), []
    for file in whole.files:
        with opened.open_input_file(file.path) as source:
            rows = pq.ParquetFile(source).read()
        schema = file.arrow_schema
        for name, text in file.partition.items():
            value = pa.scalar(text, schema.field(name).type)
            rows = rows.append_column(schema.field(name), pa.repeat(value, len(rows)))
        tables.append(rows.select(schema.names).filter(pc.field(write.position) >= low))
    part = _write_range(write, whole.log, low, whole.high, tables, whole.gap)
    return replace(part, marks=whole.marks, before=whole.before, seen_at=whole.seen_at)


class PositionCommitter:
    """Takes the ranges of all logs of one stream, in any order, and commits those that continue what the table has.

    Not thread-safe; one a process and table (see `committer`).
    """

    def __init__(self, write: StreamWrite) -> None:
        self._write = write
        self._waiting: dict[str, list[Range]] = {}
        self._table: DeltaTable | None = None
        self._last = 0.0
        self._first = PositionCommitter(write.first) if write.first is not None else None

    @property
    def waiting(self) -> list[Range]:
        """What is held for the next offer."""
        return [part for several in self._waiting.values() for part in several]

    def offer(self, ranges: Iterable[Range]) -> StreamCommit | None:
        """Commits what can be; None when there was nothing to commit yet."""
        for arrived in ranges:
            self._waiting.setdefault(arrived.log, []).append(arrived)
        for attempt in range(ATTEMPTS):
            table = self._current()
            self._check_owner(table)
            plan = self._plan(table)
            due = time.time() - self._last >= self._write.idle_seconds
            if not plan.taken or not (plan.rows or plan.before or due):
                self._keep(plan, taken_too=True)
                return None
            if plan.before and self._first is not None:
                self._first.offer(plan.before)
            try:
                version = self._try(table, plan)
            except CommitFailedError:
                _back_off(attempt)
                continue
            except (DeltaError, OSError) as error:
                raise explain(error, self._write.uri) from error
            self._keep(plan)
            self._last = time.time()
            held = sum(map(len, self._waiting.values()))
            return StreamCommit(self._write.uri, version, plan.rows, tuple(plan.taken), plan.dropped, held)
        raise UserError(
            f"gave up after {ATTEMPTS} attempts, other writers were always faster", self._write.uri, "run again later"
        )

    def _current(self) -> DeltaTable:
        """One handle for reading the positions and for the commit; anything between the two is a conflict."""
        try:
            if self._table is None:
                self._table = existing_table(self._write.uri)
            else:
                self._table.update_incremental()
        except (DeltaError, OSError) as error:
            raise explain(error, self._write.uri) from error
        return self._table

    def _check_owner(self, table: DeltaTable) -> None:
        epoch = self._write.epoch
        if epoch is not None and table.transaction_version(owner_app(self._write.stream)) != epoch:
            raise Fenced(
                "another stream has taken this table over",
                self._write.uri,
                "stop one of the two; the newer one goes on where the table stands",
            )

    def _plan(self, table: DeltaTable) -> _Plan:
        plan = _Plan()
        for log, ranges in self._waiting.items():
            app = position_app(self._write.stream, log)
            at = table.transaction_version(app)
            step = self._step(-1 if at is None else at, ranges)
            plan.dropped += step.dropped
            plan.held[log] = list(step.held)
            if step.accepted:
                plan.cursors[log] = step.cursor
            for whole, low in step.accepted:
                part = whole if low <= whole.low else _trim(self._write, whole, low)
                plan.scratch += [] if part is whole else part.files
                plan.taken.append(part)
            waited = time.time() - min((r.seen_at for r in step.held), default=time.time())
            if waited > self._write.hold_seconds:
                missing = f"{step.cursor + 1} to {min(r.low for r in step.held) - 1}"
                what = f"positions {missing} of {log} did not come"
                raise PositionGap(what, self._write.uri, "start the stream again")
        return plan

    def _step(self, cursor: int, ranges: Sequence[Range]) -> Advance[Range]:
        if self._write.contiguous:
            return advance(cursor, ranges)
        taken: list[tuple[Range, int]] = []
        for part in sorted(ranges, key=lambda part: (part.low, -part.high)):
            if part.high > cursor:
                taken.append((part, max(part.low, cursor + 1)))
                cursor = part.high
        return Advance(tuple(taken), cursor, (), len(ranges) - len(taken))

    def _try(self, table: DeltaTable, plan: _Plan) -> int:
        files = [file for part in plan.taken for file in part.files]
        prepared = prepare(self._write.table, files, table)
        if prepared is not table:  # new columns were added meanwhile: look again on the new handle
            self._table = None
            discard(self._write.uri, plan.scratch)
            raise CommitFailedError("the table gained columns")
        stream = self._write.stream
        transactions = [(position_app(stream, log), at) for log, at in plan.cursors.items()]
        marked = {mark_app(stream, part.log, name): n for part in plan.taken for name, n in part.marks}
        transactions += marked.items()
        if self._write.epoch is not None:
            transactions.append((owner_app(self._write.stream), self._write.epoch))
        counts = dict.fromkeys(("read", self._write.counted_as), plan.rows)
        facts = {"stream": self._write.stream, **dict(self._write.note), "counts": counts, **plan.facts}
        return try_commit(self._write.uri, table, Plan(files, scratch=plan.scratch), transactions, json.dumps(facts))

    def _keep(self, plan: _Plan, taken_too: bool = False) -> None:
        waiting = {log: list(ranges) for log, ranges in plan.held.items() if ranges}
        if taken_too:  # ranges without rows: remembered as one, until rows come or it is time
            for log, high in plan.cursors.items():
                mine = [part for part in plan.taken if part.log == log]
                whole = Range(log, min(part.low for part in mine), high, marks=mine[-1].marks, seen_at=mine[0].seen_at)
                waiting.setdefault(log, []).append(whole)
        self._waiting = waiting


@dataclass
class _Plan:
    """What one attempt would commit; `scratch` are files this attempt wrote, which one that surely failed deletes."""

    taken: list[Range] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    held: dict[str, list[Range]] = field(default_factory=dict)
    scratch: list[DataFile] = field(default_factory=list)
    dropped: int = 0

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.taken)

    @property
    def before(self) -> list[Range]:
        return [first for part in self.taken for first in part.before]

    @property
    def facts(self) -> dict[str, Any]:
        """What the commit says about itself in the log, for the live line and the report."""
        oldest = [part.oldest_us for part in self.taken if part.oldest_us is not None]
        newest = [part.newest_us for part in self.taken if part.newest_us is not None]
        times = {"oldest_us": min(oldest), "newest_us": max(newest)} if oldest and newest else {}
        gaps = {part.log: part.gap for part in self.taken if part.gap}
        lost = {"gaps": gaps} if gaps else {}
        return {"rows": self.rows, "dropped": self.dropped, "positions": self.cursors, **times, **lost}


def _back_off(attempt: int) -> None:
    time.sleep(random.random() * min(1.0, 0.01 * 2**attempt))


_COMMITTERS: dict[tuple[str, str], tuple[StreamWrite, PositionCommitter, threading.Lock]] = {}
_GUARD = threading.Lock()


class _Locked:
    """A committer that threads take turns with."""

    def __init__(self, committer: PositionCommitter, lock: threading.Lock) -> None:
        self._committer, self._lock = committer, lock

    def offer(self, ranges: Iterable[Range]) -> StreamCommit | None:
        with self._lock:
            return self._committer.offer(ranges)


def committer(write: StreamWrite) -> _Locked:
    """The process's one committer for a table: whatever instances a runner makes of the DoFn, they share what waits."""
    with _GUARD:
        key = (write.uri, write.stream)
        known = _COMMITTERS.get(key)
        if known is None or known[0].epoch != write.epoch:
            known = _COMMITTERS[key] = (write, PositionCommitter(write), threading.Lock())
        return _Locked(known[1], known[2])


def waiting_rows() -> int:
    """Rows that committers of this process hold, since positions before theirs have not come."""
    return sum(part.rows for _, one, _ in _COMMITTERS.values() for part in one.waiting)


def rest(timeout_seconds: float) -> None:
    """Waits for commits in progress and lets none begin; for a process that is about to end."""
    deadline = time.monotonic() + timeout_seconds
    for _, _, lock in list(_COMMITTERS.values()):
        lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
