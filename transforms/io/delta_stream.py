"""A Delta table fed by an endless log: pieces in, one commit a window out."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration

from transforms.batches import register_batch_coder
from transforms.io import storage
from transforms.io.delta_committer import StreamCommit, committer
from transforms.io.delta_ranges import Range, StreamWrite, write_ranges
from transforms.io.delta_tail import PIECE_POSITIONS, Backlog, read_ranges
from transforms.positions import Piece

_APART = Duration(60)
_NO_END = 1 << 62  # no log ever gets there
_LATENESS = Duration(600)  # an engine keeps a little of each window for as long: at 3600 Prism grew by 50 MB an hour


@dataclass(eq=False)
class WriteStream(beam.PTransform):
    """PCollection[Piece] -> PCollection[StreamCommit]: appends the rows, one commit a window, each position once.

    The rows of a window are in one file (a partition of the table), or in `writers`, whatever number of logs they are
    of: what a table costs is its files.

    Pieces may come twice, overlap, come in any order, or come again from an older position: what the table has is
    dropped, overlaps are trimmed, and what is ahead waits. The window follows the elements' timestamps (arrival), so
    these must not go back within a log, or the grouping would drop them.

    Raises, and so ends the job, which is safe at any moment:
      Fenced: another stream of the name took the table over.
      PositionGap: a range waited longer than `hold_seconds` for the one before it.
    """

    write: StreamWrite
    window_seconds: float = 1.0
    writers: int = 1

    def __post_init__(self) -> None:
        super().__init__()
        storage.storage_options(self.write.uri)

    def expand(self, pieces: beam.PCollection[Piece]) -> beam.PCollection[StreamCommit]:
        register_batch_coder()
        keyed = beam.Map(_by_writer, self.writers).with_output_types(tuple[int, Piece])
        return (
            pieces
            | "ByWriter" >> keyed
            | "EachWindow" >> arrival_windows(self.window_seconds)
            | "PiecesOfWriter" >> beam.GroupByKey()
            | "WriteRanges" >> beam.ParDo(_WriteRangesFn(self.write)).with_output_types(tuple[None, Range])
            | "CommitRanges" >> CommitRanges(self.write)
        )


@dataclass(eq=False)
class CommitRanges(beam.PTransform):
    """PCollection[(None, Range)] -> PCollection[StreamCommit], by one committer; see `PositionCommitter`."""

    write: StreamWrite

    def expand(self, ranges: beam.PCollection) -> beam.PCollection[StreamCommit]:
        return ranges | "OneCommitter" >> beam.GroupByKey() | "Commit" >> beam.ParDo(_CommitRangesFn(self.write))


def arrival_windows(seconds: float) -> beam.WindowInto:
    """Windows of arrival; what comes up to ten minutes behind the watermark leaves at once in a pane of its own.

    A grouping drops late elements without a word, and Prism 2.77 takes for a stage's watermark that of the partition
    that was read last, so that the others' elements may be late through no fault of theirs.
    """
    return beam.WindowInto(
        FixedWindows(seconds),
        trigger=AfterWatermark(late=AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
        allowed_lateness=_LATENESS,
    )


class Ends(beam.PTransform):
    """PCollection[StreamCommit] that nothing follows -> PCollection of next to nothing, that nothing follows.

    Prism 2.77 waits for the bundles of a step without outputs in a loop that takes a core for as long as they work
    (`stage.Execute` in its `internal/stage.go`: the channel that says all outputs are there is closed from the start).
    With this behind it a commit is not such a step; what is now the last one has nothing to do.
    """

    def expand(self, commits: beam.PCollection[StreamCommit]) -> beam.PCollection[tuple[None, Iterable[int]]]:
        counts = commits | "Rows" >> beam.Map(lambda done: (None, done.rows)).with_output_types(tuple[None, int])
        return counts | "Behind" >> beam.GroupByKey()


@dataclass(eq=False)
class ReadCommitted(beam.PTransform):
    """PCollection[StreamCommit] -> PCollection[Piece]: the rows that were committed, read back, in the global window.

    Together with what the table had when the job began (`backlog`) each position of a log comes at least once, and
    never before it is in the table. `rows` have `columns`; a range without rows is a piece without rows.
    """

    backlog: Backlog
    columns: tuple[str, ...]

    def expand(self, commits: beam.PCollection[StreamCommit]) -> beam.PCollection[Piece]:
        register_batch_coder()
        before = (
            commits.pipeline
            | "Logs" >> beam.Create(sorted(self.backlog.logs), reshuffle=False)
            | "ReadBacklog" >> beam.ParDo(_BacklogFn(self.backlog, self.columns)).with_output_types(Piece)
        )
        live = (
            commits
            | "AnyTime" >> beam.WindowInto(GlobalWindows())
            | "ReadBack" >> beam.ParDo(_ReadBackFn(self.backlog, self.columns)).with_output_types(Piece)
        )
        return (before, live) | beam.Flatten()


def _by_writer(piece: Piece, writers: int) -> tuple[int, Piece]:
    return zlib.crc32(piece.log.encode()) % writers, piece


class _ReadBackFn(beam.DoFn):
    def __init__(self, backlog: Backlog, columns: tuple[str, ...]) -> None:
        self._columns, self._told_apart = columns, (backlog.log_column, backlog.position)

    def process(self, done: StreamCommit) -> Iterator[Piece]:
        yield from read_ranges(done.uri, done.ranges, self._columns, *self._told_apart)


class _BacklogFn(beam.DoFn, RestrictionProvider):
    """A piece a bundle, however much there is, so that an engine has no more than that in hand at a time. What is
    committed meanwhile is read too, since whoever waits for all this may not have kept the whole of it.

    What is read back tells no arrival: its timestamps are at the beginning of time, so far apart that what gathers
    windows of arrival lets go of each piece before the next one comes.
    """

    def __init__(self, backlog: Backlog, columns: tuple[str, ...]) -> None:
        self._backlog, self._columns = backlog, columns

    def initial_restriction(self, log: str) -> OffsetRange:
        return OffsetRange(self._backlog.logs[log], _NO_END)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, log: str, restriction: OffsetRange) -> int:
        return max(0, self._backlog.last(log) + 1 - restriction.start)

    def split(self, log: str, restriction: OffsetRange) -> Iterator[OffsetRange]:
        yield restriction  # the pieces of a log are wanted in order

    def process(
        self,
        log: str,
        tracker: Any = beam.DoFn.RestrictionParam(),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue]:
        low, last = tracker.current_restriction().start, self._backlog.last(log)
        high = min(low + PIECE_POSITIONS - 1, last)
        if low <= last:
            if not tracker.try_claim(high):
                return
            at = (watermark.current_watermark() or MIN_TIMESTAMP) + _APART
            yield TimestampedValue(Piece(log, low, high, self._backlog.rows(log, low, high, self._columns)), at)
            watermark.set_watermark(at)
        if high < last:
            tracker.defer_remainder(Duration(0))
        else:
            tracker.try_claim(_NO_END)  # refused: the restriction is done


class _WriteRangesFn(beam.DoFn):
    def __init__(self, write: StreamWrite) -> None:
        self._write = write

    def process(self, element: tuple[int, Iterable[Piece]]) -> Iterator[tuple[None, Range]]:
        for written in write_ranges(self._write, element[1]):
            yield None, written


class _CommitRangesFn(beam.DoFn):
    def __init__(self, write: StreamWrite) -> None:
        self._write = write

    def process(self, element: tuple[None, Iterable[Range]]) -> Iterator[StreamCommit]:
        done = committer(self._write).offer(element[1])
        if done is not None:
            Metrics.counter("stream", "rows_committed").inc(done.rows)
            yield done
