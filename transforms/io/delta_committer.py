"""The one committer of a stream's table: ranges in any order in, commits that continue the table out."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from transforms.errors import UserError
from transforms.io.delta_commit import discard, prepare
from transforms.io.delta_files import DataFile
from transforms.io.delta_landed import new_attempt
from transforms.io.delta_log import TableLog
from transforms.io.delta_positions import check_owner, mark_app, owner_app, position_app
from transforms.io.delta_ranges import Range, StreamWrite, own_range
from transforms.io.delta_retry import attempts
from transforms.io.delta_table import explain
from transforms.positions import Advance, advance

_Kind = tuple[bytes, tuple[str, ...]] | None  # of a data file: its schema and what its rows were checked for


class PositionGap(UserError):
    """Positions are missing before those at hand, and did not come in time."""


@dataclass(frozen=True)
class StreamCommit:
    """One commit of a stream: the version it made, its rows, and the ranges that became part of the table."""

    uri: str
    version: int
    rows: int
    ranges: tuple[Range, ...]
    dropped: int = 0
    held: int = 0


class PositionCommitter:
    """Takes the ranges of all logs of one stream, in any order, and commits those that continue what the table has.

    Threads take turns. One a process and table (`committer`): what waits is kept here.
    """

    def __init__(self, write: StreamWrite) -> None:
        self._write = write
        self._waiting: dict[str, list[Range]] = {}
        self._log: TableLog | None = None
        self._fitting: tuple[DeltaTable | None, set[_Kind]] = (None, set())
        self._last = 0.0
        self._turn = threading.Lock()
        self._first = PositionCommitter(write.first) if write.first is not None else None

    @property
    def epoch(self) -> int | None:
        return self._write.epoch

    @property
    def waiting(self) -> list[Range]:
        """What is held for the next offer."""
        return [part for several in self._waiting.values() for part in several]

    def offer(self, ranges: Iterable[Range]) -> StreamCommit | None:
        """Commits what can be; None when there was nothing to commit yet."""
        with self._turn:
            for arrived in ranges:
                self._waiting.setdefault(arrived.log, []).append(arrived)
            return self._commit()

    def rest(self, timeout_seconds: float) -> None:
        """Waits for a commit in progress and lets no other one begin."""
        self._turn.acquire(timeout=timeout_seconds)

    def _commit(self) -> StreamCommit | None:
        began = time.time()
        for _ in attempts(self._write.uri):
            log = self._current()
            check_owner(log, self._write.uri, self._write.stream, self._write.epoch)
            plan = self._plan(log)
            due = time.time() - self._last >= self._write.idle_seconds
            if not plan.taken or not (plan.rows or plan.before or due):
                self._keep(plan, taken_too=True)
                return None
            if plan.before and self._first is not None:
                self._first.offer(plan.before)
            try:
                version = self._try(log, plan, began)
            except CommitFailedError:
                discard(self._write.uri, plan.scratch)
                continue
            except OSError as error:
                raise explain(error, self._write.uri) from error
            self._keep(plan)
            self._last = time.time()
            held = sum(map(len, self._waiting.values()))
            return StreamCommit(self._write.uri, version, plan.rows, tuple(plan.taken), plan.dropped, held)
        raise AssertionError("attempts() raises")

    def positions(self, logs: Iterable[str]) -> dict[str, int]:
        """The last position of each log that is in the table now; -1 where there is none."""
        with self._turn:
            log = self._current()
            known = ((name, log.transaction_version(position_app(self._write.stream, name))) for name in logs)
            return {name: -1 if at is None else at for name, at in known}

    def _current(self) -> TableLog:
        """One handle for reading the positions and for the commit; anything between the two is a conflict."""
        if self._log is None:
            self._log = TableLog(self._write.uri)
        else:
            self._log.refresh()
        return self._log

    def _plan(self, current: TableLog) -> _Plan:
        plan = _Plan()
        for log, ranges in self._waiting.items():
            app = position_app(self._write.stream, log)
            at = current.transaction_version(app)
            step = self._step(-1 if at is None else at, ranges)
            plan.dropped += step.dropped
            plan.held[log] = list(step.held)
            if step.accepted:
                plan.cursors[log] = step.cursor
            for whole, low in step.accepted:
                plan.add(whole if low <= whole.low else own_range(self._write, whole, low), whole)
            waited = time.time() - min((r.seen_at for r in step.held), default=time.time())
            if waited > self._write.hold_seconds:
                missing = f"{step.cursor + 1} to {min(r.low for r in step.held) - 1}"
                what = f"positions {missing} of {log} did not come"
                raise PositionGap(what, self._write.uri, "start the stream again")
        return self._parted(plan)

    def _parted(self, plan: _Plan) -> _Plan:
        """Gives a range files of its own where not all that share them go into the table now."""
        taken, plan.taken = plan.taken, []
        whole = {(*part.place, part.paths) for part in taken}
        for part in taken:
            together = all((*mate, part.paths) in whole for mate in part.mates)
            plan.add(part if together else own_range(self._write, part, part.low), part)
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

    def _try(self, log: TableLog, plan: _Plan, began: float) -> int:
        files = list({file.path: file for part in plan.taken for file in part.files}.values())
        self._check_fit(log, files)
        stream = self._write.stream
        transactions = [(position_app(stream, log), at) for log, at in plan.cursors.items()]
        marked = {mark_app(stream, part.log, name): n for part in plan.taken for name, n in part.marks}
        transactions += marked.items()
        if self._write.epoch is not None:
            transactions.append((owner_app(self._write.stream), self._write.epoch))
        counts = dict.fromkeys(("read", self._write.counted_as), plan.rows)
        begun = {"began_us": round(began * 1e6)}  # with the log entry's own time: how long a commit takes
        facts = {"stream": self._write.stream, **dict(self._write.note), "counts": counts, **plan.facts, **begun}
        return log.append(files, transactions, json.dumps(facts), new_attempt())

    def _check_fit(self, log: TableLog, files: Sequence[DataFile]) -> None:
        """That the table takes such files. It has another handle as soon as its schema or its rules change."""
        kinds: set[_Kind] = {None, *((file.schema, file.checked) for file in files)}  # None: the table itself
        table, known = self._fitting
        if table is log.table and kinds <= known:
            return
        if prepare(self._write.table, files, log.table) is not log.table:  # new columns were added: look again
            self._log = None
            raise CommitFailedError("the table gained columns")
        self._fitting = (log.table, kinds | known if table is log.table else kinds)

    def _keep(self, plan: _Plan, taken_too: bool = False) -> None:
        waiting = {log: list(ranges) for log, ranges in plan.held.items() if ranges}
        if taken_too:  # ranges without rows: remembered as one, until rows come or it is time
            for log, high in plan.cursors.items():
                mine = [part for part in plan.taken if part.log == log]
                gaps = tuple(gap for part in mine for gap in part.gaps)
                low, seen_at = min(part.low for part in mine), mine[0].seen_at
                whole = Range(log, low, high, gaps=gaps, marks=mine[-1].marks, seen_at=seen_at)
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

    def add(self, part: Range, made_of: Range) -> None:
        """Takes a range, whose files are scratch where it is not the one that came."""
        self.scratch += [] if part is made_of else part.files
        self.taken.append(part)

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
        gaps: dict[str, list[tuple[int, int]]] = {}
        for part in self.taken:
            gaps.setdefault(part.log, []).extend(part.gaps)
        lost = {"gaps": {log: several for log, several in gaps.items() if several}} if any(gaps.values()) else {}
        return {"rows": self.rows, "dropped": self.dropped, "positions": self.cursors, **times, **lost}


_COMMITTERS: dict[tuple[str, str], PositionCommitter] = {}
_GUARD = threading.Lock()


def committer(write: StreamWrite) -> PositionCommitter:
    """The process's one committer for a table: whatever instances a runner makes of the DoFn, they share what waits."""
    with _GUARD:
        key = (write.uri, write.stream)
        known = _COMMITTERS.get(key)
        if known is None or known.epoch != write.epoch:
            known = _COMMITTERS[key] = PositionCommitter(write)
        return known


def waiting_rows() -> int:
    """Rows that committers of this process hold, since positions before theirs have not come."""
    return sum(part.rows for one in list(_COMMITTERS.values()) for part in one.waiting)


def rest(timeout_seconds: float) -> None:
    """Waits for commits in progress and lets none begin; for a process that is about to end."""
    deadline = time.monotonic() + timeout_seconds
    for one in list(_COMMITTERS.values()):
        one.rest(max(0.0, deadline - time.monotonic()))
