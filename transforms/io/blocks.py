"""Reads text in blocks of whole records, with bounded memory whatever a record's length."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from transforms.io.source import MAX_RECORD_BYTES, RAW_LIMIT, Reject

BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Block:
    """Whole records: `data` starts at byte `offset` of the uncompressed file. `rejects` were cut out on the way."""

    data: bytes
    offset: int
    rejects: tuple[Reject, ...] = ()


class TruncatedStream(Exception):
    """A compressed file ended too early; what was read before is good."""


def gunzip(file: BinaryIO) -> Iterator[bytes]:
    """The uncompressed chunks of a gzip file of any number of members.

    Raises:
      TruncatedStream: the file is cut, damaged, or no gzip at all; chunks before that were given.
    """
    member = zlib.decompressobj(31)
    pending, begun = b"", False
    while True:
        chunk = pending or file.read(1 << 20)
        pending = b""
        if not chunk:
            if begun and not member.eof:
                raise TruncatedStream("the gzip stream ends too early")
            return
        if member.eof:
            chunk = chunk.lstrip(b"\0")  # padding between members
            if not chunk:
                continue
            member, begun = zlib.decompressobj(31), False
        try:
            data = member.decompress(chunk, 4 << 20)
            begun = True
            if data:
                yield data
            while member.unconsumed_tail:
                data = member.decompress(member.unconsumed_tail, 4 << 20)
                if data:
                    yield data
        except zlib.error:
            raise TruncatedStream("the gzip stream is damaged") from None
        pending = member.unused_data


def plain(file: BinaryIO) -> Iterator[bytes]:
    """The chunks of a file."""
    while chunk := file.read(4 << 20):
        yield chunk


def record_blocks(chunks: Iterator[bytes], offset: int, last_end: Callable[[bytes], int]) -> Iterator[Block]:
    """Cuts chunks into blocks that end where a record ends.

    Args:
      offset: the position of the first chunk's first byte.
      last_end: the index just behind the last record end in some bytes, 0 if there is none. The bytes given always
        start at a record's start.

    A record longer than MAX_RECORD_BYTES is skipped to its line end and given as a reject (`line_too_long`) with its
    first MiB; a compressed stream that breaks gives the record it broke in as a reject (`truncated_gzip`).
    """
    buffer = b""
    rejects: list[Reject] = []
    try:
        for chunk in chunks:
            buffer += chunk
            if len(buffer) < BLOCK_BYTES:
                continue
            end = last_end(buffer)
            if end:
                yield Block(buffer[:end], offset, tuple(rejects))
                rejects, offset, buffer = [], offset + end, buffer[end:]
            elif len(buffer) > MAX_RECORD_BYTES:
                head, size, buffer = _skip_line(buffer, chunks)
                reason = f"the record is longer than {MAX_RECORD_BYTES:,} bytes"
                rejects.append(Reject(offset, head, size, "line_too_long", reason))
                offset += size + 1
    except TruncatedStream as broken:
        end = last_end(buffer)
        rest = buffer[end:]
        reject = Reject(offset + end, rest, len(rest), "truncated_gzip", str(broken))
        yield Block(buffer[:end], offset, (*rejects, reject))
        return
    if buffer or rejects:
        yield Block(buffer, offset, tuple(rejects))


def _skip_line(buffer: bytes, chunks: Iterator[bytes]) -> tuple[bytes, int, bytes]:
    """(first bytes, length, what follows the line end) of the line that starts the buffer."""
    head, size = buffer[:RAW_LIMIT], 0
    while True:
        end = buffer.find(b"\n")
        if end >= 0:
            return head, size + end, buffer[end + 1 :]
        size += len(buffer)
        buffer = next(chunks, b"")
        if not buffer:
            return head, size, b""


def line_starts(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(start, end) of each line without its line end, blank lines left out."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10)
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return starts, ends


def last_line_end(data: bytes) -> int:
    """The index behind the last line feed."""
    return data.rfind(b"\n") + 1
