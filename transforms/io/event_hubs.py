"""Event Hubs in: one splittable DoFn, one restriction a partition, one `Piece` a bounded pull."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow.compute as pc
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics.metric import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp

from transforms.batches import register_batch_coder
from transforms.errors import UserError
from transforms.io.event_hubs_client import EVENTS, HubReader, PartitionState
from transforms.io.event_hubs_connection import HubConnection, partitions
from transforms.io.event_hubs_pool import HeldReader, ReaderPool
from transforms.io.event_hubs_send import HubSender, Sent, send
from transforms.io.event_hubs_write import WriteToEventHubs
from transforms.levels import raise_level, set_level
from transforms.positions import Piece

__all__ = [
    "EVENTS",
    "HubConnection",
    "HubReader",
    "HubSender",
    "Limits",
    "PartitionState",
    "ReadFromEventHubs",
    "Sent",
    "WriteToEventHubs",
    "partitions",
    "send",
]

END = 1 << 62  # no partition ever gets there
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much is read at once, and how fast.

    Attributes:
      max_events, max_bytes: the most one piece holds.
      pull_seconds: how long one pull waits for the first event. An engine may read all partitions in one thread.
      pull_more_seconds: how long one pull goes on while events keep coming: what a piece costs is mostly the same for
        a few rows and for thousands.
      more_seconds: the pause where more is waiting. Flink cuts it to whole seconds: give 1 there.
      poll_seconds: the pause where nothing is waiting.
      max_events_per_second, max_bytes_per_second: over all partitions that a worker reads; one alone may use it up.
        Prism has no back-pressure: what a source reads faster than the sink writes piles up in memory. The defaults
        lie well above what the Python client can read, and below what the bronze sink took on two cores.
      idle_seconds: how long a partition is silent before its watermark follows the clock. What comes later all the same
        gets the watermark's time, so that nothing is ever late.
      slack_seconds: how far the watermark of a silent partition stays behind the clock.
      ask_seconds: how often the hub is asked where a partition ends: for the backlog, and for silent connections.
      check_seconds: how often the number of partitions is looked at.
      one_clock: one process reads all partitions, and the engine mixes up their watermarks as Prism does; see
        `ArrivalClock`.
      until_idle_seconds: ends when all partitions of all hubs together were silent for so long (those that the process
        reads, where an engine has several) and what was in them by then is read; None reads for ever.
      reader_processes: how many processes beside each worker step the client, about 25,000 events a second each; they
        read on while the worker is busy, one pull of each partition ahead. 0: the worker does it.
    """

    max_events: int = 5_000
    max_bytes: int = 8 << 20
    pull_seconds: float = 0.02
    pull_more_seconds: float = 0.3
    more_seconds: float = 0.02
    poll_seconds: float = 0.1
    max_events_per_second: float = 100_000
    max_bytes_per_second: float = 64 << 20
    idle_seconds: float = 0.3
    slack_seconds: float = 0.2
    ask_seconds: float = 10.0
    check_seconds: float = 60.0
    one_clock: bool = False
    until_idle_seconds: float | None = None
    reader_processes: int = 1

    def __post_init__(self) -> None:
        for name in ("max_events", "max_bytes", "pull_seconds", "max_events_per_second", "max_bytes_per_second"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")


class Partition(NamedTuple):
    """One partition to read; `of` is how many its hub has."""

    hub: str
    id: str
    of: int

    @property
    def log(self) -> str:
        return f"{self.hub}/{self.id}"


@dataclass(eq=False)
class ReadFromEventHubs(beam.PTransform):
    """Reads hubs for ever: PBegin -> PCollection[Piece], rows of schema EVENTS in sequence order.

    Each piece covers every position from the one wanted to the last one read, so that holes and what retention took
    are inside of it; the latter is named by `Piece.gap`, counted (`gaps`, `lost_events`) and logged. An element's
    timestamp is the enqueued time of its last event, but never earlier than the one before it in the partition (with
    `Limits.one_clock`: than any watermark), so that no piece is ever late; a silent partition's watermark follows the
    clock. Positions are contiguous within one reading of a partition; an engine may give a piece again (see
    `transforms.positions.advance`).

    Args:
      start: the first wanted sequence number of a log ("<hub>/<partition>"); called on the worker.
      owner_level: makes this reader the only one of its consumer group; a later one of the same level takes over.

    Raises:
      UserError (on the worker): wrong key, unknown hub, no answer for a minute, taken over by another reader, a start
        beyond the hub's end, another number of partitions than at the start.
    """

    connection: HubConnection
    hubs: tuple[str, ...]
    start: Callable[[str], int]
    limits: Limits = field(default_factory=Limits)
    owner_level: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if not self.hubs or len(set(self.hubs)) < len(self.hubs):
            raise UserError(f"hubs must be named, each once, not {self.hubs!r}", "--hub")

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        register_batch_coder()
        connection, hubs = self.connection, self.hubs
        read = beam.ParDo(_ReadFn(connection, self.start, self.limits, self.owner_level)).with_output_types(Piece)
        return (
            root
            | "Hubs" >> beam.Create([hubs])
            | "FindPartitions" >> beam.FlatMap(lambda names: find_partitions(connection, names))
            | "SpreadPartitions" >> beam.Reshuffle()
            | "ReadPartitions" >> read
        )


def find_partitions(connection: HubConnection, hubs: tuple[str, ...]) -> list[Partition]:
    """All partitions of the hubs."""
    found = [(hub, ids) for hub in hubs for ids in [partitions(connection, hub)]]
    return [Partition(hub, id_, len(ids)) for hub, ids in found for id_ in ids]


class _Tracker(OffsetRestrictionTracker):
    """Positions of one partition; may stop anywhere, and is never shared between two readers."""

    def is_bounded(self) -> bool:
        return False

    def try_split(self, fraction_of_remainder: float) -> tuple[OffsetRange, OffsetRange] | None:
        return super().try_split(0) if fraction_of_remainder == 0 else None  # type: ignore[no-any-return]


class _ReadFn(beam.DoFn, RestrictionProvider):
    def __init__(
        self, connection: HubConnection, start: Callable[[str], int], limits: Limits, owner_level: int | None
    ) -> None:
        self._start, self._limits = start, limits
        self._pool = ReaderPool(connection, owner_level, limits.reader_processes)
        names = ("events", "bytes", "gaps", "lost_events")
        self._counters = {name: Metrics.counter("event_hubs", name) for name in names}

    def initial_restriction(self, element: Partition) -> OffsetRange:
        return OffsetRange(self._start(element.log), END)

    def create_tracker(self, restriction: OffsetRange) -> _Tracker:
        return _Tracker(restriction)

    def restriction_size(self, element: Partition, restriction: OffsetRange) -> int:
        return self._pool.backlog(element.log, restriction.start)

    def split(self, element: Partition, restriction: OffsetRange) -> Iterator[OffsetRange]:
        yield restriction

    def truncate(self, element: Partition, restriction: OffsetRange) -> None:
        return None  # draining: bronze knows where to go on

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Partition,
        tracker: Any = beam.DoFn.RestrictionParam(),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
    ) -> Iterator[TimestampedValue]:
        yield from self._read(element, tracker, watermark)

    def _read(
        self, element: Partition, tracker: Any, watermark: ManualWatermarkEstimator
    ) -> Iterator[TimestampedValue]:
        begun, now, limits = time.monotonic(), time.time(), self._limits
        clock = self._pool.clock("" if limits.one_clock else element.log)
        clock.delivered(element.log)
        with self._pool.reader(element.hub, element.id, tracker.current_restriction().start) as reader:
            piece = reader.pull(limits.max_events, limits.pull_seconds, limits.max_bytes, limits.pull_more_seconds)
            overtaken = self._look(reader, element, idle=piece is None)
            piece = overtaken if piece is None else piece
            silent = reader.silent_seconds >= limits.idle_seconds
            self._pool.silence.seen(reader.silent_seconds)
            if piece is None and self._done(reader):
                tracker.try_claim(END)  # refused: the restriction is done
                return
        if piece is not None and not tracker.try_claim(piece.high):
            return  # stopped meanwhile; the rest begins before this piece
        last = (watermark.current_watermark() or Timestamp(0)).micros
        if piece is None:
            if silent:
                _advance(watermark, clock.watermark(int((now - limits.slack_seconds) * 1e6)))
            tracker.defer_remainder(_seconds(limits.poll_seconds))
            return
        arrived = clock.arrival(element.log, max(last, _arrival(piece) if piece.rows.num_rows else int(now * 1e6)))
        yield TimestampedValue(piece, Timestamp(micros=arrived))
        self._count(piece)
        _advance(watermark, clock.watermark(arrived))
        tracker.defer_remainder(_seconds(self._pause(piece, begun)))

    def _look(self, reader: HeldReader, partition: Partition, idle: bool) -> Piece | None:
        """Asks the hub what is due; where retention overtook a reader that nothing came to, the piece that says so."""
        if reader.due("partitions", self._limits.check_seconds):
            reader.check_partitions(partition.of)
        if not reader.due("state", self._limits.ask_seconds):
            return None
        behind = reader.ask().last_sequence_number >= reader.next
        if idle and behind and (gap := reader.overtaken()) is not None:
            return gap
        if idle and reader.silent_seconds > self._limits.ask_seconds:
            reader.check_end()
            if behind:
                reader.reopen()  # the hub has more, and the connection says nothing
        return None

    def _done(self, reader: HeldReader) -> bool:
        limit = self._limits.until_idle_seconds
        is_over = limit is not None and self._pool.silence.lasted(limit)
        return is_over and reader.ask().last_sequence_number < reader.next

    def _pause(self, piece: Piece, begun: float) -> float:
        """How long until the partition is read again: all of them draw on one allowance."""
        limits, events, size = self._limits, piece.rows.num_rows, piece.rows.nbytes
        costs = max(events / limits.max_events_per_second, size / limits.max_bytes_per_second)
        waits = self._pool.allowance.spend(costs, begun) - time.monotonic()
        return max(limits.more_seconds if events else limits.poll_seconds, waits)

    def _count(self, piece: Piece) -> None:
        self._counted("events", piece, piece.rows.num_rows)
        self._counted("bytes", piece, piece.rows.nbytes)
        self._gauged("backlog_events", piece, self._pool.backlog(piece.log, piece.high + 1))
        if piece.rows.num_rows:
            self._gauged("lag_seconds", piece, max(0, round(time.time() - _arrival(piece) / 1e6)))
        if piece.gap:
            self._counted("gaps", piece, 1)
            self._counted("lost_events", piece, piece.gap[1] - piece.gap[0] + 1)
            _LOGGER.warning("%s: events %d to %d are not in the hub any more (retention)", piece.log, *piece.gap)

    def _counted(self, name: str, piece: Piece, by: int) -> None:
        self._counters[name].inc(by)
        raise_level(f"event_hubs/{name}", piece.log, by)

    def _gauged(self, name: str, piece: Piece, value: int) -> None:
        Metrics.gauge("event_hubs", f"{name}/{piece.log}").set(value)
        set_level(f"event_hubs/{name}", piece.log, value)


def _arrival(piece: Piece) -> int:
    return int(pc.max(piece.rows["enqueued_at"]).cast("int64").as_py())


def _advance(watermark: ManualWatermarkEstimator, micros: int) -> None:
    if (watermark.current_watermark() or MIN_TIMESTAMP).micros < micros:
        watermark.set_watermark(Timestamp(micros=micros))


def _seconds(seconds: float) -> Duration:
    return Duration(micros=int(seconds * 1e6))
