"""One partition: events in order in append-only files, found by sequence number, offset or enqueued time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transforms.io.event_hubs_loopback.messages import Event
from transforms.io.event_hubs_loopback.segment import Block, Segment, pack_block

_READ_BYTES = 256 << 10


@dataclass(frozen=True)
class Position:
    """Where a reader begins: at `kind` ("sequence-number", "offset", "enqueued-time") `value`, or after it.

    The offset "-1" is before the first event, "@latest" after the last one.
    """

    kind: str
    value: str
    inclusive: bool = False


@dataclass(eq=False)
class PartitionLog:
    """Holds the events `first` <= sequence number < `end`; what is staged has its number but no reader sees it yet."""

    folder: Path
    segment_bytes: int = 64 << 20
    first: int = 0
    end: int = 0
    segments: list[Segment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._staged: list[tuple[int, int, int, list[bytes]]] = []
        self._next, self._next_offset, self._next_ms = 0, 0, 0

    @classmethod
    def open(cls, folder: Path, segment_bytes: int = 64 << 20) -> PartitionLog:
        """Opens or makes a partition's folder; a torn tail of the last file is cut off."""
        folder.mkdir(parents=True, exist_ok=True)
        log = cls(folder, segment_bytes)
        paths = sorted(folder.glob("*.log"))
        log.segments = [Segment.open(path, check=path == paths[-1]) for path in paths]
        trimmed = folder / "first"
        log.first = int(trimmed.read_text()) if trimmed.exists() else 0
        if not log.segments:
            log._add_segment(log.first)
        log.end = max(log.segments[-1].end_sequence, log.first)
        log._forget()
        log._rewind()
        return log

    @property
    def last_offset(self) -> int:
        return max((s.last_offset for s in self.segments if s.end_sequence > s.sequence), default=-1)

    @property
    def last_ms(self) -> int:
        return max(s.last_ms for s in self.segments)

    def stage(self, events: Sequence[Event], now_ms: int) -> None:
        """Gives a batch its numbers; `flush` stores it."""
        self._next_ms = max(now_ms, self._next_ms)
        sequence, offset, stamped = self._next, self._next_offset, []
        for event in events:
            stamped.append(event.stamped(self._next, self._next_offset, self._next_ms))
            self._next += 1
            self._next_offset += len(stamped[-1])
        self._staged.append((sequence, offset, self._next_ms, stamped))

    def flush(self, durable: bool = False) -> None:
        """Writes what is staged, in one write; on an `OSError` nothing of it is stored and its numbers are free again.

        With `durable` it is on the disk on return, not only in the operating system.
        """
        staged, self._staged = self._staged, []
        if not staged:
            return
        try:
            self._write(staged, durable)
        except OSError:
            self._rewind()
            raise

    def _write(self, staged: list[tuple[int, int, int, list[bytes]]], durable: bool) -> None:
        segment = self.segments[-1]
        if segment.end_position >= self.segment_bytes:
            segment = self._add_segment(self.end)
        packed = [pack_block(*block) for block in staged]
        try:
            _write_all(segment.file, b"".join(packed), segment.end_position)
            if durable:
                os.fdatasync(segment.file)
        except OSError:
            os.ftruncate(segment.file, segment.end_position)
            raise
        for (sequence, offset, enqueued_ms, events), data in zip(staged, packed, strict=True):
            segment.note(Block(segment.end_position, len(data), sequence, offset, enqueued_ms, len(events)))
        segment.last_offset = self._next_offset - len(staged[-1][3][-1])
        segment.end_offset = self._next_offset
        self.end = segment.end_sequence

    def _rewind(self) -> None:
        last = self.segments[-1]
        self._next, self._next_ms = self.end, self.last_ms
        self._next_offset = max((s.end_offset for s in self.segments), default=last.end_offset)

    def _add_segment(self, sequence: int) -> Segment:
        path = self.folder / f"{sequence:020d}.log"
        segment = Segment(path, sequence, os.open(path, os.O_RDWR | os.O_CREAT, 0o600), end_sequence=sequence)
        if self.segments:
            segment.end_offset, segment.last_ms = self.segments[-1].end_offset, self.segments[-1].last_ms
        self.segments.append(segment)
        return segment

    def find(self, position: Position) -> int:
        """The sequence number of the first event a reader at `position` gets; raises `ValueError` if it is no number.

        What is trimmed is not waited for: the oldest event there is comes next.
        """
        if position.value == "@latest":
            return self.end
        wanted = int(position.value) + (0 if position.inclusive else 1)
        if position.kind == "sequence-number":
            return min(max(wanted, self.first), self.end)
        if position.kind == "enqueued-time":
            return max(self._first_at(lambda block: block.enqueued_ms, wanted), self.first)
        return max(self._first_at_offset(wanted), self.first)

    def _first_at(self, key: Callable[[Block], int], wanted: int) -> int:
        """The first block whose `key` is at least `wanted`, as a sequence number."""
        for segment in self.segments:
            block = segment.find(key, wanted - 1)
            if block is None:
                continue
            for later in segment.blocks(block.position):
                if key(later) >= wanted:
                    return later.sequence
        return self.end

    def _first_at_offset(self, wanted: int) -> int:
        for segment in self.segments:
            if segment.last_offset < wanted:
                continue
            block = segment.find(lambda block: block.offset, wanted - 1)
            if block is None:
                continue
            for later in segment.blocks(block.position):
                for i, offset in enumerate(segment.offsets(later)):
                    if offset >= wanted:
                        return later.sequence + i
        return self.end

    def trim(self, before: int) -> None:
        """Forgets the events below `before`, for good; whole files of them are deleted."""
        before = min(before, self.end)
        if before <= self.first:
            return
        fresh = self.folder / "first.new"
        fresh.write_text(str(before))
        os.replace(fresh, self.folder / "first")
        self.first = before
        self._forget()

    def retain(self, oldest_ms: int | None, most_bytes: int | None) -> None:
        """Forgets files that hold only events older than `oldest_ms`, and the oldest files beyond `most_bytes`."""
        size = sum(s.end_position for s in self.segments)
        for segment in tuple(self.segments):
            old = oldest_ms is not None and segment.last_ms < oldest_ms
            large = most_bytes is not None and size > most_bytes and segment is not self.segments[-1]
            if not old and not large:
                break
            size -= segment.end_position
            self.trim(segment.end_sequence)
        self._forget()

    def _forget(self) -> None:
        # The newest file with an event stays, trimmed or not: it says which offset and time come next.
        while len(self.segments) > 1 and self.segments[0].end_sequence <= self.first and self.segments[1].index:
            gone = self.segments.pop(0)
            gone.close()
            gone.path.unlink(missing_ok=True)

    def close(self) -> None:
        for segment in self.segments:
            segment.close()


@dataclass
class LogReader:
    """A reader's place in a partition; where the log was trimmed beyond it, it goes on with the oldest event."""

    log: PartitionLog
    sequence: int
    _segment: Segment | None = None
    _position: int = 0

    def chunk(self) -> tuple[int, list[bytes]]:
        """(first sequence number, events) from the place on, some 256 KB of them; the place moves behind them."""
        log = self.log
        if self.sequence < log.first:
            self.sequence, self._segment = log.first, None
        if self.sequence >= log.end:
            return self.sequence, []
        if self._segment is None or self._position >= self._segment.end_position:
            self._seek()
        assert self._segment is not None
        first, events, self._position = self._segment.events(self._position, _READ_BYTES)
        wanted, self.sequence = self.sequence, first + len(events)
        return wanted, events[wanted - first :]

    def _seek(self) -> None:
        segment = next(s for s in self.log.segments if s.end_sequence > self.sequence)
        block = segment.find(lambda block: block.sequence, self.sequence)
        assert block is not None
        self._segment, self._position = segment, block.position


def _write_all(file: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, position)
        view, position = view[written:], position + written
