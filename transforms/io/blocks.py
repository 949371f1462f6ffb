"""Reads text in blocks of whole records, with bounded memory whatever a record's length."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from transforms.io.source import MAX_RECORD_BYTES, RAW_LIMIT, Reject, too_long

BLOCK_BYTES = 8 << 20
CHUNK_BYTES = 4 << 20
BOM = b"\xef\xbb\xbf"


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
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def until_broken(chunks: Iterator[bytes], broken: list[TruncatedStream]) -> Iterator[bytes]:
    """The chunks up to where the stream breaks; `broken` then holds why."""
    try:
        yield from chunks
    except TruncatedStream as error:
        broken.append(error)


def after_bom(chunks: Iterator[bytes]) -> tuple[Iterator[bytes], int]:
    """(the chunks without a byte order mark, how many bytes it had)."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(BOM):
            break
    length = len(BOM) if head.startswith(BOM) else 0
    return itertools.chain([head[length:]] if head[length:] else [], chunks), length


def record_blocks(
    chunks: Iterator[bytes], offset: int, last_end: Callable[[bytes], int], broken: Sequence[TruncatedStream]
) -> Iterator[Block]:
    """Cuts chunks into blocks that end where a record ends.

    Args:
      offset: the position of the first chunk's first byte.
      last_end: the index just behind the last record end in some bytes, 0 if there is none. The bytes given always
        start at a record's start.
      broken: see `until_broken`, through which the chunks come.

    A record that is longer than MAX_RECORD_BYTES and not yet at its end is skipped and given as a reject
    (`line_too_long`) with its first MiB; a compressed stream that breaks gives the record it broke in as a reject
    (`truncated_gzip`).
    """
    buffer = b""
    rejects: list[Reject] = []
    for chunk in chunks:
        buffer += chunk
        if len(buffer) < BLOCK_BYTES:
            continue
        end = last_end(buffer)
        if end:
            yield Block(buffer[:end], offset, tuple(rejects))
            rejects, offset, buffer = [], offset + end, buffer[end:]
        elif len(buffer) > MAX_RECORD_BYTES:
            head, size, passed, buffer = skip_line(buffer, chunks)
            rejects.append(Reject(offset, head, size, *too_long()))
            offset += passed
    if broken:
        end = last_end(buffer)
        rest, buffer = buffer[end:], buffer[:end]
        rejects.append(Reject(offset + end, rest, len(rest), "truncated_gzip", str(broken[0])))
    if buffer or rejects:
        yield Block(buffer, offset, tuple(rejects))


def skip_line(buffer: bytes, chunks: Iterator[bytes]) -> tuple[bytes, int, int, bytes]:
    """(first bytes, length, length with its line end, what follows) of the line that starts the buffer."""
    head, passed, last = b"", 0, b""
    while True:
        end = buffer.find(b"\n")
        piece = buffer if end < 0 else buffer[:end]
        head += piece[: RAW_LIMIT - len(head)]
        passed += len(piece)
        last = piece[-1:] or last
        if end >= 0:
            size = passed - (last == b"\r")
            return head[:size], size, passed + 1, buffer[end + 1 :]
        buffer = next(chunks, b"")
        if not buffer:
            return head, passed, passed, b""


def last_line_end(data: bytes) -> int:
    """The index behind the last line feed."""
    return data.rfind(b"\n") + 1


@dataclass(frozen=True)
class Lines:
    """Lines of a block, blank ones left out: where each starts and ends, without its line end (LF or CR LF)."""

    data: bytes
    starts: np.ndarray
    ends: np.ndarray
    clean: bool  # between the lines there are only line ends

    @classmethod
    def of(cls, data: bytes) -> Lines:
        view = np.frombuffer(data, np.uint8)
        feeds = np.flatnonzero(view == 10)
        stops = feeds if not data or data.endswith(b"\n") else np.append(feeds, len(data))
        starts = np.concatenate([[0], stops[:-1] + 1]).astype(np.int64) if len(stops) else stops
        at_feed = stops < len(data)
        ends = stops - (at_feed & (stops > starts) & (view[np.maximum(stops - 1, 0)] == 13)) if len(stops) else stops
        keep = ends > starts
        spaced = np.flatnonzero(keep & (view[starts] <= 32)) if len(data) else starts
        blank = [i for i in spaced.tolist() if _is_blank(data[starts[i] : ends[i]])]
        keep[blank] = False
        return cls(data, starts[keep], ends[keep], clean=not blank)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, i: int) -> bytes:
        return self.data[self.starts[i] : self.ends[i]]

    @property
    def view(self) -> np.ndarray:
        return np.frombuffer(self.data, np.uint8)

    def drop(self, which: Sequence[int]) -> Lines:
        """The lines but those; the others' bytes become line ends, so that a parser passes them over."""
        keep = np.ones(len(self), bool)
        keep[list(which)] = False
        return Lines(self.data, self.starts[keep], self.ends[keep], clean=False)._blanked()

    def part(self, first: int, last: int) -> Lines:
        """The lines from `first` up to `last`, which is left out, alone."""
        low, high = int(self.starts[first]), int(self.ends[last - 1])
        return Lines(self.data[low:high], self.starts[first:last] - low, self.ends[first:last] - low, self.clean)

    def text(self) -> bytes:
        """The lines and nothing else but line ends."""
        return self.data if self.clean else self._blanked().data

    def _blanked(self) -> Lines:
        blank = bytearray(self.data)
        opens, closes = np.concatenate([[0], self.ends]), np.concatenate([self.starts, [len(blank)]])
        wide = np.flatnonzero(closes - opens > 1)  # one byte between two lines is their line end
        for start, end in zip(opens[wide].tolist(), closes[wide].tolist(), strict=True):
            blank[start:end] = b"\n" * (end - start)
        for edge in (slice(0, closes[0]), slice(opens[-1], None)):
            blank[edge] = b"\n" * len(blank[edge])
        return Lines(bytes(blank), self.starts, self.ends, clean=True)

    def holding(self, places: Sequence[int] | np.ndarray) -> np.ndarray:
        """The numbers of the lines that hold these bytes; a byte outside of every line is passed over."""
        at = np.asarray(places, np.int64)
        found = np.searchsorted(self.ends, at, side="right")
        inside = found < len(self)
        inside[inside] = self.starts[found[inside]] <= at[inside]
        return np.unique(found[inside])

    def count(self, places: np.ndarray) -> np.ndarray:
        """How many of the places (ascending) lie in each line."""
        return np.searchsorted(places, self.ends) - np.searchsorted(places, self.starts)

    def undecodable(self) -> list[int]:
        """The numbers of the lines that are no UTF-8."""
        if self.data.isascii() or _is_utf8(self.data):
            return []
        return [i for i in range(len(self)) if not _is_utf8(self[i])]

    def raw(self) -> pa.BinaryArray:
        """The bytes of each line, cut out of the block without a Python loop."""
        if not len(self):
            return pa.array([], pa.binary())
        # Lines and gaps alternate, and the lines are the even slices.
        edges = np.empty(2 * len(self) + 1, np.int32)
        edges[0:-1:2], edges[1:-1:2], edges[-1] = self.starts, self.ends, len(self.data)
        buffers = [None, pa.py_buffer(edges), pa.py_buffer(self.data)]
        pieces = pa.BinaryArray.from_buffers(pa.binary(), 2 * len(self), buffers)
        return pieces.take(pa.array(np.arange(0, 2 * len(self), 2)))


def _is_blank(line: bytes) -> bool:
    return len(line) <= MAX_RECORD_BYTES and not line.strip()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
