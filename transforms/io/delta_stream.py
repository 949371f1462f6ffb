"""A Delta table fed by an endless log: pieces in, one commit a window out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import FixedWindows

from transforms.batches import register_batch_coder
from transforms.io import storage
from transforms.io.delta_positions import Range, StreamCommit, StreamWrite, committer, write_ranges
from transforms.positions import Piece


@dataclass(eq=False)
class WriteStream(beam.PTransform):
    """PCollection[Piece] -> PCollection[StreamCommit]: appends the rows, one commit a window, each position once.

    Pieces may come twice, overlap, come in any order, or come again from an older position: what the table has is
    dropped, overlaps are trimmed, and what is ahead waits. The window follows the elements' timestamps (arrival), so
    these must not go back within a log, or the grouping would drop them.

    Raises, and so ends the job, which is safe at any moment:
      Fenced: another stream of the name took the table over.
      PositionGap: a range waited longer than `hold_seconds` for the one before it.
    """

    write: StreamWrite
    window_seconds: float = 1.0

    def __post_init__(self) -> None:
        super().__init__()
        storage.storage_options(self.write.uri)

    def expand(self, pieces: beam.PCollection[Piece]) -> beam.PCollection[StreamCommit]:
        register_batch_coder()
        return (
            pieces
            | "ByLog" >> beam.Map(lambda piece: (piece.log, piece)).with_output_types(tuple[str, Piece])
            | "EachWindow" >> beam.WindowInto(FixedWindows(self.window_seconds))
            | "LogRanges" >> beam.GroupByKey()
            | "WriteRanges" >> beam.ParDo(_WriteRangesFn(self.write)).with_output_types(tuple[None, Range])
            | "OneCommitter" >> beam.GroupByKey()
            | "CommitRanges" >> beam.ParDo(_CommitRangesFn(self.write))
        )


class _WriteRangesFn(beam.DoFn):
    def __init__(self, write: StreamWrite) -> None:
        self._write = write

    def process(self, element: tuple[str, Iterable[Piece]]) -> Iterator[tuple[None, Range]]:
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
