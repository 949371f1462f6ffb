"""What a worker holds of persons' states: the latest touches in memory, older ones in files of its own, by person.

A log-structured store. Touches are added to memory; when that is full it is sorted by the hash of the person and
becomes a run, a file that is mapped and searched in place. Runs of a size are merged beside, and what can never count
again leaves then. The state of a person is the union of what all parts have of it, which is what `fold` makes of it, so
nothing is ever changed in place, and all of it may be lost: the table of features has it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.gold.realtime import Limits, fold
from transforms.gold.touches import TOUCHES

_NOTHING = pl.DataFrame(pl.from_arrow(TOUCHES.empty_table()))
_HASH = "_hash"
_SLICE = 50_000  # touches that a merge has in memory at a time, several times over
_BATCH = 250_000  # touches of a run that are searched at a time: of more but smaller batches each costs a search
_FAN_IN = 4
_CHUNKS = 64
_PLAIN = pl.CompatLevel.oldest()


class TouchStore:
    """A set of touches (TOUCHES), asked by person. Not thread-safe.

    Files have no names (they go with the process, however it ends), are where `tempfile` puts them, and have some 150
    bytes a touch; kept is what `fold` keeps.

    Args:
      most: how many touches are in memory at most; while runs are merged, some 250,000 more.
    """

    def __init__(self, most: int, limits: Limits) -> None:
        self._most, self._limits = most, limits
        self._recent = _NOTHING
        self._runs: list[_Run] = []
        self._merging: tuple[list[_Run], Future[_Run]] | None = None
        self._beside: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        """How many are in memory."""
        return self._recent.height

    @property
    def on_disk(self) -> int:
        """How many are in files; some may be there twice."""
        return sum(run.rows for run in self._runs)

    def of(self, people: pl.Series) -> pl.DataFrame:
        """The touches of some persons, in any order; there may be more than `fold` leaves."""
        recent = self._recent.filter(pl.col("person_id").is_in(people.implode()))
        if not self._runs:
            return recent
        hashes = np.unique(people.hash().to_numpy())
        found = [part for run in self._runs for part in run.find(hashes)]
        if not found:
            return recent
        older = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(found))).drop(_HASH)
        older = older.filter(pl.col("person_id").is_in(people.implode()))  # hashes may collide
        return pl.concat([recent, older])

    def add(self, touches: pl.DataFrame) -> None:
        """Takes up touches; those that are there already count once."""
        self._recent = pl.concat([self._recent, touches.select(TOUCHES.names)])
        if self._recent.n_chunks() > _CHUNKS:
            self._recent = self._recent.rechunk()
        if self._recent.height <= self._most:
            return
        folded = fold(_NOTHING, self._recent, self._limits)
        self._recent = folded
        if folded.height > self._most // 2:
            self._runs.append(_Run.of([_hashed(folded)], 0))
            self._recent = _NOTHING
            self._merge()

    def _merge(self) -> None:
        """Begins a merge of runs of one level beside, when there are enough; takes the result of the last one."""
        if self._merging is not None:
            merged, future = self._merging
            if not future.done():
                return
            self._merging = None
            self._runs = [run for run in self._runs if run not in merged] + [future.result()]
        for level in sorted({run.level for run in self._runs}):
            equal = [run for run in self._runs if run.level == level]
            if len(equal) >= _FAN_IN:
                self._beside = self._beside or ThreadPoolExecutor(1, "merge-touches")
                self._merging = equal, self._beside.submit(_merged, equal, self._limits)
                return


@dataclass(frozen=True, eq=False)
class _Run:
    """Touches sorted by the hash of their person, in batches of a mapped file; no person is in two batches."""

    level: int
    rows: int
    hashes: tuple[np.ndarray, ...]  # a batch
    batches: tuple[pa.RecordBatch, ...]

    @staticmethod
    def of(parts: Sequence[pl.DataFrame] | Iterator[pl.DataFrame], level: int) -> _Run:
        """Writes parts, each sorted by `_hash` and behind the one before."""
        with tempfile.NamedTemporaryFile(prefix="touches-") as file:
            schema = _hashed(_NOTHING).to_arrow(compat_level=_PLAIN).schema
            with pa.ipc.new_file(file.name, schema) as writer:
                for part in parts:
                    writer.write_table(part.rechunk().to_arrow(compat_level=_PLAIN))
            mapped = pa.ipc.open_file(pa.memory_map(file.name))
        batches = tuple(mapped.get_batch(number) for number in range(mapped.num_record_batches))
        hashes = tuple(batch.column(_HASH).to_numpy() for batch in batches)
        return _Run(level, sum(len(part) for part in hashes), hashes, batches)

    def find(self, wanted: np.ndarray) -> Iterator[pa.RecordBatch]:
        """The rows of some hashes, which are sorted and differ."""
        for hashes, batch in zip(self.hashes, self.batches, strict=True):
            mine = wanted[np.searchsorted(wanted, hashes[0]) : np.searchsorted(wanted, hashes[-1], "right")]
            low, high = np.searchsorted(hashes, mine), np.searchsorted(hashes, mine, "right")
            count = high - low
            if count.any():
                places = np.repeat(low - np.cumsum(count) + count, count) + np.arange(count.sum())
                yield batch.take(pa.array(places))

    def between(self, low: int, high: int) -> pl.DataFrame:
        """The rows whose hash is from `low` to before `high`."""
        found = [_NOTHING]
        for hashes, batch in zip(self.hashes, self.batches, strict=True):
            first, last = np.searchsorted(hashes, np.array([low, high - 1], np.uint64), "left").tolist()
            last += int(np.searchsorted(hashes[last:], np.uint64(high - 1), "right"))
            found.append(pl.DataFrame(pl.from_arrow(batch.slice(first, last - first))).drop(_HASH))
        return pl.concat(found)


def _hashed(touches: pl.DataFrame) -> pl.DataFrame:
    return touches.with_columns(pl.col("person_id").hash().alias(_HASH)).sort(_HASH, maintain_order=True)


def _merged(runs: Sequence[_Run], limits: Limits) -> _Run:
    """One run of the next level, a slice of all hashes at a time."""
    slices = max(1, -(-sum(run.rows for run in runs) // _SLICE))
    edges = [round(2**64 * number / slices) for number in range(slices + 1)]

    def parts() -> Iterator[pl.DataFrame]:
        for low, high in pairwise(edges):
            rows = pl.concat([run.between(low, high) for run in runs])
            if rows.height:
                yield _hashed(fold(_NOTHING, rows, limits))

    return _Run.of(_batched(parts()), runs[0].level + 1)


def _batched(parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Parts that follow each other, some as one."""
    some: list[pl.DataFrame] = []
    for part in parts:
        some.append(part)
        if sum(one.height for one in some) >= _BATCH:
            yield pl.concat(some)
            some = []
    if some:
        yield pl.concat(some)
