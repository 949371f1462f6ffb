"""One file of a partition's log: a row of blocks, each an append of one or more events, guarded by a checksum.

A block is 40 bytes of head (size of the rest, CRC-32 of all after it, first sequence number, first offset, enqueued
time in ms, event count), the events' sizes (uint32 each), and the events. A block is written whole or, after a crash,
cut off whole: so a batch is stored or it is not.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct(">IIqqqII")
_GUARDED = 8  # the checksum covers what follows the size and itself
_INDEX_BYTES = 512 << 10


class Block(NamedTuple):
    """The head of a block and where it lies."""

    position: int
    size: int
    sequence: int
    offset: int
    enqueued_ms: int
    events: int

    @property
    def end(self) -> int:
        return self.position + self.size


def pack_block(sequence: int, offset: int, enqueued_ms: int, events: list[bytes]) -> bytes:
    """The bytes of a block."""
    sizes = struct.pack(f">{len(events)}I", *map(len, events))
    body = b"".join((sizes, *events))
    head = _HEAD.pack(len(body), 0, sequence, offset, enqueued_ms, len(events), 0)
    checksum = zlib.crc32(body, zlib.crc32(head[_GUARDED:]))
    return head[:4] + struct.pack(">I", checksum) + head[_GUARDED:] + body


@dataclass
class Segment:
    """A file that holds events from `sequence` on; `end_position` is where the next block goes."""

    path: Path
    sequence: int
    file: int = -1
    end_position: int = 0
    end_sequence: int = 0
    end_offset: int = 0
    last_offset: int = -1
    last_ms: int = 0
    index: list[Block] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, check: bool) -> Segment:
        """Opens a file of a former server; with `check`, every block's checksum, and a torn tail is cut off."""
        segment = cls(path, int(path.stem), os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        segment.end_sequence = segment.sequence
        size = os.fstat(segment.file).st_size
        last = None
        for block in segment.blocks(0, size, check):
            segment.note(block)
            last = block
        if last is not None:
            segment.last_offset = segment.offsets(last)[-1]
            segment.end_offset = segment.last_offset + segment.sizes(last)[-1]
        if segment.end_position < size:
            os.ftruncate(segment.file, segment.end_position)
        return segment

    def note(self, block: Block) -> None:
        """Takes a block written at the end into account."""
        if not self.index or block.position - self.index[-1].position >= _INDEX_BYTES:
            self.index.append(block)
        self.end_position = block.end
        self.end_sequence = block.sequence + block.events
        self.last_ms = block.enqueued_ms

    def blocks(self, position: int, end: int | None = None, check: bool = False) -> Iterator[Block]:
        """The heads of the blocks from `position` on; ends at the first that is not whole (or, with `check`, sound)."""
        end = self.end_position if end is None else end
        if position + _HEAD.size > end:
            return
        expected = None
        with mmap.mmap(self.file, end, access=mmap.ACCESS_READ) as data:
            while position + _HEAD.size <= end:
                size, checksum, sequence, offset, enqueued_ms, count, _ = _HEAD.unpack_from(data, position)
                block = Block(position, _HEAD.size + size, sequence, offset, enqueued_ms, count)
                whole = block.end <= end and count and expected in (None, sequence)
                if not whole or (check and zlib.crc32(memoryview(data)[position + _GUARDED : block.end]) != checksum):
                    return
                yield block
                position, expected = block.end, sequence + count

    def sizes(self, block: Block) -> tuple[int, ...]:
        raw = os.pread(self.file, 4 * block.events, block.position + _HEAD.size)
        return struct.unpack(f">{block.events}I", raw)

    def offsets(self, block: Block) -> list[int]:
        """The offset of each event of a block: bytes of events before it in the partition."""
        return list(accumulate(self.sizes(block)[:-1], initial=block.offset))

    def find(self, key: Callable[[Block], int], wanted: int) -> Block | None:
        """The last block whose `key` is at most `wanted`, or the first one; None when the file is empty."""
        if not self.index:
            return None
        start = max(0, bisect_right(self.index, wanted, key=key) - 1)
        found = self.index[start]
        for block in self.blocks(found.position):
            if key(block) > wanted:
                break
            found = block
        return found

    def events(self, position: int, read_bytes: int) -> tuple[int, list[bytes], int]:
        """(first sequence number, the events of whole blocks from `position` on, position after them).

        Reads about `read_bytes`, or one block where that is larger.
        """
        data = os.pread(self.file, min(read_bytes, self.end_position - position), position)
        if len(data) >= _HEAD.size:
            first = _HEAD.size + _HEAD.unpack_from(data)[0]
            if first > len(data):
                data = os.pread(self.file, first, position)
        sequence, at, events = -1, 0, []
        while at + _HEAD.size <= len(data):
            size, _, first_sequence, _, _, count, _ = _HEAD.unpack_from(data, at)
            if at + _HEAD.size + size > len(data):
                break
            sequence = first_sequence if sequence < 0 else sequence
            begin = at + _HEAD.size
            sizes = struct.unpack_from(f">{count}I", data, begin)
            place = begin + 4 * count
            for length in sizes:
                events.append(data[place : place + length])
                place += length
            at = begin + size
        return sequence, events, position + at

    def close(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
