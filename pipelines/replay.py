"""Replay: refused rows go through again after a fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from pipelines.config import Lake, Run
from pipelines.notes import RunNote
from pipelines.options import Engine
from pipelines.registry import registered
from pipelines.reread import Attempt, read_again, through_silver
from pipelines.runs import TableRun, record_commits
from pipelines.settled import settled
from pipelines.silver import refine
from transforms.bronze.envelope import Origin
from transforms.bronze.evolution import business_schema
from transforms.bronze.ingest import IngestSpec
from transforms.contracts import Contract, contract
from transforms.counts import Counts
from transforms.errors import PartlyCommitted, UserError
from transforms.io.dead_letter import BRONZE, MODE, OPEN, REJECTS, REPLAYED, SILVER, UNFINISHED
from transforms.io.delta import (
    CommitResult,
    TableWrite,
    append_rows,
    arrow_schema,
    committed,
    open_table,
    read_batches,
    read_table,
    table_version,
    write_rows,
)
from transforms.io.source import RAW_LIMIT
from transforms.progress import METER

CHUNK_ROWS, CHUNK_BYTES = 20_000, 64 << 20  # of rejects in memory at a time
_BATCH_ROWS = 64  # a raw record may have a MiB


def replay(
    lake: Lake,
    run: Run,
    table: str | None = None,
    rule: str | None = None,
    country: str = "GB",
    engine: Engine = Engine(),
) -> tuple[TableRun, ...]:
    """Sends open rejects through again, by the step that refused them.

    A row that bronze takes now is appended with its own file and position, and the next silver run takes it up. A row
    that silver refused is in bronze already: if one passes now, silver's table is made from all of bronze again. The
    rejects of both are closed as "replayed". A row that does not pass stays open, with one attempt more and today's
    reason if the contract refused it, else the old one. Rejects of bronze that are longer than the dead-letter table
    keeps (1 MiB) stay as they are; so do those of a file that bronze does not hold, since the run that read it died and
    the next one refuses or takes them by itself, and those of a file that ended too soon (see `waiting`).

    Returns:
      For each table how many rejects were tried, passed and did not.

    Raises:
      UserError: the lake has no table of rejects.
    """
    version = table_version(lake.rejects)  # what this replay changes is not read again
    if version is None:
        raise UserError("there is no table of rejects", lake.rejects, "run the command bronze first, or give --lake")
    record_commits(lake)  # of runs that died before they could
    where = [*_open(table, rule), *(("rule", "!=", name) for name in UNFINISHED)]
    names = read_table(lake.rejects, ("table",), where, version)["table"]
    METER.expect(rejects=len(names))
    replays = [
        _Replay(lake, run, contract(name), version, (*where, ("table", "=", name)))
        for name in sorted(names.unique().to_pylist())
    ]
    done = {one: one.bronze() for one in replays}
    mended = {one: one.silver(country) for one in replays}
    again = frozenset(one.table.name for one, tried in mended.items() if tried.accepted_ids)
    if again:
        refine(lake, run, engine, country, rebuild=again)
    done = {one: done[one] + one.close(mended[one]) for one in replays}
    record_commits(lake)
    inputs = (f"ops/rejects@{version}",)
    return tuple(TableRun(one.table.name, inputs, counts=counts) for one, counts in done.items() if counts.read)


def waiting(lake: Lake, table: str | None = None, rule: str | None = None) -> int:
    """How many open rejects are the rest of a file that ended too soon: they wait for the whole file, under its name.

    Half a row can look like a row, so replay never sends them through.
    """
    where = (*_open(table, rule), ("rule", "in", UNFINISHED))
    return read_table(lake.rejects, ("rule",), where).num_rows


def _open(table: str | None, rule: str | None) -> list[tuple[str, str, object]]:
    where: list[tuple[str, str, object]] = [("status", "=", OPEN)]
    where += [("table", "=", contract(table).name)] if table else []
    return where + ([("rule", "=", rule)] if rule else [])


@dataclass(frozen=True)
class _Tried:
    """Rejects of silver: those that would pass now, and how many would not."""

    accepted_ids: list[str]
    refused: int


@dataclass(frozen=True)
class _Replay:
    """The replay of one table's rejects, as they are in `version` of the dead letters; `where` says which."""

    lake: Lake
    run: Run
    table: Contract
    version: int
    where: tuple[tuple[str, str, object], ...]

    def bronze(self) -> Counts:
        """Appends to bronze what it takes now."""
        counts = Counts()
        for rejects in self._chunks(("stage", "=", BRONZE), ("raw_bytes", "<=", RAW_LIMIT)):
            rejects, taken = settled(self.lake, self.table, rejects)
            done = taken | self._held(rejects["reject_id"].to_pylist())  # by a replay that died before it closed them
            attempt = read_again(_without(rejects, done), self._spec())
            self._append(attempt)
            self._close(rejects, done | set(attempt.accepted_ids), attempt.refused)
            counts += Counts(rejects.num_rows, len(done) + len(attempt.accepted_ids), len(attempt.refused))
        return counts

    def silver(self, country: str) -> _Tried:
        """Tries what silver refused. The rows are in bronze: silver is to be made from it again."""
        passed: list[str] = []
        refused = 0
        for rejects in self._chunks(("stage", "=", SILVER), ("raw_bytes", "<=", RAW_LIMIT)):
            attempt = through_silver(read_again(rejects, self._spec()), self._spec(), country)
            self._close(rejects, set(), attempt.refused)
            passed += attempt.accepted_ids
            refused += len(attempt.refused)
        return _Tried(passed, refused)

    def close(self, tried: _Tried) -> Counts:
        """Closes what passed, once silver has it; a replay that dies before does no harm and is done again."""
        passed = set(tried.accepted_ids)
        for rejects in self._chunks(("stage", "=", SILVER)) if passed else ():
            self._close(rejects, passed & set(rejects["reject_id"].to_pylist()), {})
        return Counts(len(passed) + tried.refused, len(passed), tried.refused)

    def _chunks(self, *which: tuple[str, str, object]) -> Iterator[pa.Table]:
        """The rejects in parts that fit in memory."""
        waiting: list[pa.RecordBatch] = []
        for batch in read_batches(self.lake.rejects, (*self.where, *which), self.version, _BATCH_ROWS):
            waiting.append(batch)
            if sum(b.num_rows for b in waiting) >= CHUNK_ROWS or sum(b.nbytes for b in waiting) >= CHUNK_BYTES:
                yield pa.Table.from_batches(waiting)
                METER.advance(rejects=sum(b.num_rows for b in waiting))
                waiting = []
        if waiting:
            yield pa.Table.from_batches(waiting)
            METER.advance(rejects=sum(b.num_rows for b in waiting))

    def _spec(self) -> IngestSpec:
        stored = open_table(self.lake.bronze(self.table))
        business = business_schema(self.table, arrow_schema(stored) if stored else None)
        version = max(registered(self.lake, self.table)[0], 1)
        origin = Origin("replay", "", self.run.run_id, self.run.started_at, version)
        return IngestSpec(self.table, business, origin)

    def _held(self, ids: list[str]) -> set[str]:
        """Those of the rejects that bronze has taken up."""
        held = committed(self.lake.bronze(self.table), [_name(key) for key in ids])
        return {key for key in ids if _name(key) in held}

    def _append(self, attempt: Attempt) -> None:
        """Appends the accepted rows that bronze does not have, each under its name, whoever else does the same."""
        uri, layout = self.lake.bronze(self.table), self.table.partition_by
        while True:
            held = self._held(attempt.accepted_ids)
            new = [key for key in attempt.accepted_ids if key not in held]
            if not new:
                return
            rows = attempt.accepted.filter(pa.array([key not in held for key in attempt.accepted_ids], pa.bool_()))
            names = tuple((_name(key), 1) for key in new)
            note = self._note(Counts(len(new), len(new)))
            try:
                append_rows(uri, rows, names, partition_by=layout, evolve=True, note=note)
            except PartlyCommitted:  # another replay was faster with some
                continue

    def _close(self, rejects: pa.Table, passed: set[str], refused: dict[str, tuple[str, str]]) -> None:
        if not passed and not refused:
            return
        note = self._note(Counts(read=len(refused), rejected=len(refused)))

        def said(done: CommitResult) -> str:  # of those that passed, the commit that took them up has told
            return note(replace(done, rows=0, stale=0))

        write = TableWrite(self.lake.rejects, REJECTS, MODE, evolve=True)
        write_rows(write, _closed(rejects, passed, refused, self.run), note=said if refused else None)

    def _note(self, counts: Counts) -> RunNote:
        return RunNote(self.run, self.table.name, (f"ops/rejects@{self.version}",), counts)


def _name(reject_id: str) -> str:
    """The Delta transaction in bronze that says this reject was taken up."""
    return f"replay/{reject_id}"


def _without(rejects: pa.Table, ids: set[str]) -> pa.Table:
    return rejects.filter(pa.array([key not in ids for key in rejects["reject_id"].to_pylist()], pa.bool_()))


def _closed(rejects: pa.Table, passed: set[str], refused: dict[str, tuple[str, str]], run: Run) -> pa.Table:
    """The rejects after one attempt more, whatever came of it."""
    rows = []
    for row in rejects.to_pylist():
        key = row["reject_id"]
        if key not in passed and key not in refused:
            continue
        row |= {"attempts": row["attempts"] + 1, "run_id": run.run_id}
        if key in passed:
            row["status"] = REPLAYED
        else:
            row["rule"], row["reason"] = refused[key]
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=REJECTS)
