"""A Delta table fed by a part of a log that has an end: pieces in, one commit out, and a stream goes on behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import apache_beam as beam

from transforms.batches import register_batch_coder
from transforms.io.delta_committer import PositionCommitter, PositionGap, StreamCommit
from transforms.io.delta_positions import positions
from transforms.io.delta_ranges import Range, StreamWrite, write_ranges
from transforms.positions import Piece


@dataclass(eq=False)
class AppendLogs(beam.PTransform):
    """PCollection[Piece], bounded, in any order -> PCollection[StreamCommit]: each position once, as `WriteStream` has
    them. What lies before the first piece of a log that the table does not know is told as a gap.

    Raises:
      PositionGap: positions between two pieces, or between the table and the first one, are missing; what comes before
        them is committed.
    """

    write: StreamWrite

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, pieces: beam.PCollection[Piece]) -> beam.PCollection[StreamCommit]:
        register_batch_coder()
        return (
            pieces
            | "WriteRanges" >> beam.FlatMap(_ranges, self.write).with_output_types(tuple[None, Range])
            | "AllRanges" >> beam.GroupByKey()
            | "Commit" >> beam.FlatMap(_commit, self.write)
        )


def _ranges(piece: Piece, write: StreamWrite) -> Iterator[tuple[None, Range]]:
    yield from ((None, part) for part in write_ranges(write, [piece]))


def _commit(element: tuple[None, Iterable[Range]], write: StreamWrite) -> Iterator[StreamCommit]:
    ranges = sorted(element[1], key=lambda part: (part.log, part.low, -part.high))
    known = positions(write.uri, write.stream, {part.log for part in ranges})
    firsts = {part.log: number for number, part in reversed(list(enumerate(ranges)))}
    for log, number in firsts.items():
        begin = ranges[number]
        if known[log] < 0 < begin.low:
            ranges[number] = replace(begin, low=0, gaps=((0, begin.low - 1), *begin.gaps))
    one = PositionCommitter(replace(write, idle_seconds=0))
    done = one.offer(ranges)
    if done is not None:
        yield done
    if one.waiting:
        first = min(one.waiting, key=lambda part: (part.log, part.low))
        at = positions(write.uri, write.stream, [first.log])[first.log]
        what = f"positions {at + 1} to {first.low - 1} of {first.log} are in no file"
        raise PositionGap(what, write.uri, "restore the file that had them, or let the hub give them to `stream` first")
