"""The table of near-real-time features: what a worker holds of it in memory, and how changes get into it.

Changes are appended and merged by size, since an upsert by copy-on-write costs as much as the table: with 4,900 changed
of 100,000 persons it took 0.7 to 1.2 s and wrote 20 MB anew, the append 0.03 to 0.1 s and 0.7 MB. In SQL, the row of a
person is `QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY updated_at DESC) = 1`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.errors import UserError
from transforms.gold.realtime import (
    DEFAULTS,
    EVENTS,
    FEATURES,
    Limits,
    as_of,
    condense,
    latest,
    regroup,
    touches_of,
    update,
)
from transforms.gold.realtime_persons import Persons
from transforms.gold.realtime_store import TouchStore
from transforms.gold.touches import TOUCHES, identified
from transforms.io import storage
from transforms.io.delta import committed, open_table, read_batches, read_table
from transforms.io.delta_committer import PositionCommitter, PositionGap, StreamCommit
from transforms.io.delta_files import DataFile, TableFiles
from transforms.io.delta_merge import TARGET_BYTES, merge_files, replace_files
from transforms.io.delta_ranges import Range, StreamWrite
from transforms.positions import Advance, Piece, advance
from transforms.shuffle import bucket_of

BUCKETS = 64
_MAP = "identity_map"  # the Delta transaction whose version is that of the map the features are grouped by
BUCKET = pa.field("_bucket", pa.int32(), nullable=False)
REALTIME_FEATURES = pa.schema([*FEATURES, BUCKET])
_NOTHING = pl.DataFrame(pl.from_arrow(TOUCHES.empty_table()))


@dataclass(frozen=True)
class FeatureTable:
    """How the features are kept.

    Attributes:
      write: the table, of schema REALTIME_FEATURES without partitions.
      touches_in_memory: how many a shard holds in memory besides those of the window at hand, some 200 bytes each; the
        others are in files of its own, see `TouchStore`.
      merge_every: after how many commits of a shard small files are merged; 0 leaves that to others.
    """

    write: StreamWrite
    limits: Limits = DEFAULTS
    touches_in_memory: int = 300_000
    merge_every: int = 60

    def __post_init__(self) -> None:
        if self.write.schema != REALTIME_FEATURES or self.write.partition_by:
            raise ValueError("features are written as REALTIME_FEATURES, without partitions")
        if self.touches_in_memory < 1:
            raise UserError(
                f"{self.touches_in_memory} touches in memory", self.write.uri, "allow some, say 300 thousand (60 MB)"
            )


class FeatureShard:
    """Takes pieces of touches and commits the changed features with the positions they cover, in one commit.

    A shard has its own persons, all rows of a person whatever their log. What it holds it reads from the table when it
    begins, so it may be lost at any moment; touches that come again change nothing. Not thread-safe.

    Args:
      persons: the identity map; when it has another version, the table is regrouped before rows are added by it.
      number, shards: whose persons these are: those whose bucket is `number`, modulo `shards`.
    """

    def __init__(self, table: FeatureTable, persons: Persons | None = None, number: int = 0, shards: int = 1) -> None:
        self._table, self._persons = table, persons or Persons(None)
        self._own = list(range(number, BUCKETS, shards))
        self._grouped: int | None = None  # the map's version
        self._commits = 0
        self._upkeep = _Upkeep()
        self._forget()

    def _forget(self) -> None:
        self._cursors: dict[str, int] = {}
        self._held: dict[str, tuple[Piece, ...]] = {}
        self._held_since: dict[str, float] = {}
        self._store: TouchStore | None = None
        self._committer = PositionCommitter(self._table.write)

    def offer(self, pieces: Iterable[Piece], now: datetime) -> StreamCommit | None:
        """Commits what the pieces bring; None when there was nothing to commit yet.

        Args:
          pieces: rows of TOUCHES, of logs whose positions this shard takes on its own; see `Piece`.

        Raises:
          Fenced, PositionGap: as of `WriteStream`. After any error the shard begins again where the table stands.
        """
        try:
            return self._offer(pieces, now)
        except BaseException:  # what was taken into memory may not be in the table
            self._forget()
            raise

    def _offer(self, pieces: Iterable[Piece], now: datetime) -> StreamCommit | None:
        by_log: dict[str, list[Piece]] = {}
        for piece in pieces:
            by_log.setdefault(piece.log, []).append(piece)
        self._follow(list(by_log))
        steps = {log: advance(self._cursors[log], [*self._held.get(log, ()), *new]) for log, new in by_log.items()}
        taken = [piece for step in steps.values() for piece, _ in step.accepted]
        rows = self._update(self._identified(_joined(taken)), now)
        done = self._committer.offer(self._ranges(steps, rows))
        for log, step in steps.items():
            self._cursors[log], self._held[log] = step.cursor, step.held
        self._check_held(steps)
        self._keep_up(done)
        return done

    @property
    def touches(self) -> int:
        """How many are in memory."""
        return len(self._store) if self._store is not None else 0

    @property
    def touches_on_disk(self) -> int:
        """How many are in files of its own; some may be there twice."""
        return self._store.on_disk if self._store is not None else 0

    def _follow(self, logs: Sequence[str]) -> None:
        """Begins where the table stands; if another worker had the shard meanwhile, what is in memory is old."""
        for log, stored in self._committer.positions(logs).items():
            if log in self._cursors and stored > self._cursors[log]:
                self._store = None
            self._cursors[log] = max(stored, self._cursors.get(log, -1))

    def _identified(self, touches: pl.DataFrame) -> pl.DataFrame:
        """By the map as it is now, which the table's rows are grouped by then, too: rows may wait for their turn."""
        person_of, version = self._persons.now(), self._persons.version
        if person_of is None or version is None:
            return touches
        if version != self._grouped:
            if committed(self._table.write.uri, [_MAP]).get(_MAP) != version:
                regroup_features(self._table, person_of, version)
                self._store = None
            self._grouped = version
        return identified(touches, person_of)

    def _update(self, new: pl.DataFrame, now: datetime) -> pa.Table:
        if not new.height:
            return REALTIME_FEATURES.empty_table()
        if self._store is None:
            self._store = self._stored()
        fresh, rows = update(self._store.of(new["person_id"].unique()), new, now, self._table.limits)
        self._store.add(fresh)
        return _bucketed(rows)

    def _stored(self) -> TouchStore:
        """What the table has of the shard's persons."""
        store = TouchStore(self._table.touches_in_memory, self._table.limits)
        where = ((BUCKET.name, "in", self._own),)
        for rows in read_batches(self._table.write.uri, where, columns=("person_id", EVENTS)):
            store.add(touches_of(pa.Table.from_batches([rows])))
        return store

    def _ranges(self, steps: dict[str, Advance[Piece]], rows: pa.Table) -> list[Range]:
        """The positions taken of each log, the files with the first of them: they are committed together."""
        files, count, ranges = self._written(rows), rows.num_rows, []
        for log, step in steps.items():
            if step.accepted:
                gaps = tuple(piece.gap for piece, _ in step.accepted if piece.gap)
                ranges.append(Range(log, self._cursors[log] + 1, step.cursor, count, files, gaps=gaps))
                files, count = (), 0
        return ranges

    def _written(self, rows: pa.Table) -> tuple[DataFile, ...]:
        if not rows.num_rows:
            return ()
        out = TableFiles(storage.filesystem(self._table.write.uri), REALTIME_FEATURES, (), TARGET_BYTES)
        out.add(rows)
        return tuple(out.take())

    def _check_held(self, steps: dict[str, Advance[Piece]]) -> None:
        for log, step in steps.items():
            since = self._held_since.setdefault(log, time.monotonic())
            if not step.held:
                del self._held_since[log]
            elif time.monotonic() - since > self._table.write.hold_seconds:
                missing = f"{step.cursor + 1} to {min(piece.low for piece in step.held) - 1}"
                what = f"positions {missing} of {log} did not come"
                raise PositionGap(what, self._table.write.uri, "start the stream again")

    def _keep_up(self, done: StreamCommit | None) -> None:
        """Merges beside the stream: commits go on meanwhile, and whoever loses a race for one tries again."""
        self._commits += done is not None
        if done is not None and self._table.merge_every and self._commits % self._table.merge_every == 0:
            self._upkeep.begin(self._table)


class _Upkeep:
    """One merge at a time, in a thread that does not hold up the end of the process; its error is raised later."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def begin(self, table: FeatureTable) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        self._thread = threading.Thread(target=self._run, args=(table,), name="merge-features", daemon=True)
        self._thread.start()

    def _run(self, table: FeatureTable) -> None:
        try:
            merge_features(table)
        except (UserError, OSError, pa.ArrowException) as error:
            self._error = error


def merge_features(table: FeatureTable) -> int:
    """Joins small files of the table, and the rows of a person in them; gives how many files were replaced."""
    if open_table(table.write.uri) is None:
        return 0
    return merge_files(table.write.uri, _Condense(table.limits), BUCKET.name, BUCKETS)


def regroup_features(table: FeatureTable, person_of: pa.Table, version: int) -> None:
    """Groups the features of the table by another identity map, all or nothing, and notes the map's `version`.

    Reads and writes the whole table, some 64 MB of files at a time; what others append meanwhile stays as it is.
    """
    merge = _Regroup(person_of, table.limits)
    replace_files(table.write.uri, merge, BUCKET.name, BUCKETS, ((_MAP, version),))


def read_features(
    uri: str, now: datetime | None = None, persons: Sequence[str] | None = None, limits: Limits = DEFAULTS
) -> pa.Table:
    """FEATURES, one row a person, as of `now` (by default, as of each person's last event); no row for an unknown one.

    Args:
      persons: only these; by default all, in memory.
    """
    where: tuple[tuple[str, str, Any], ...] = ()
    if persons is not None:
        asked = pa.table({"person_id": pa.array(persons, pa.string())})
        where = ((BUCKET.name, "in", np.unique(person_buckets(asked)).tolist()), ("person_id", "in", list(persons)))
    if persons is not None and not persons:
        return FEATURES.empty_table()
    rows = latest(read_table(uri, columns=FEATURES.names, where=where), limits)
    return rows if now is None else as_of(rows, now, limits)


@dataclass(frozen=True)
class _Condense:
    limits: Limits

    def __call__(self, rows: pa.Table) -> pa.Table:
        return condense(rows, self.limits).sort_by([(BUCKET.name, "ascending"), ("person_id", "ascending")])


@dataclass(frozen=True)
class _Regroup:
    person_of: pa.Table
    limits: Limits

    def __call__(self, rows: pa.Table) -> pa.Table:
        return _bucketed(regroup(rows, self.person_of, self.limits))


def _joined(pieces: list[Piece]) -> pl.DataFrame:
    full = [piece.rows for piece in pieces if piece.rows.num_rows]
    return pl.DataFrame(pl.from_arrow(pa.Table.from_batches(full, TOUCHES))) if full else _NOTHING


def person_buckets(rows: pa.Table | pa.RecordBatch) -> np.ndarray:
    """The bucket, 0 to BUCKETS - 1, of each row's `person_id`."""
    return bucket_of(rows, ("person_id",), BUCKETS)


def _bucketed(rows: pa.Table) -> pa.Table:
    numbers = pa.array(person_buckets(rows).astype(np.int32))
    return rows.append_column(BUCKET, numbers).sort_by([(BUCKET.name, "ascending"), ("person_id", "ascending")])
