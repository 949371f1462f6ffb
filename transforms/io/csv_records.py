"""Finds the records and cells of CSV text, in bulk where its quotes are regular, one by one where they are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_QUOTE, _LF, _CR = 34, 10, 13


@dataclass(frozen=True)
class Records:
    """The records of some text, in order: where each starts and ends (without its line end) and how many cells it has.

    `consumed` bytes are records; what follows belongs to a record that is not complete. `unclosed` are lines in which a
    quote opens that never closes.
    """

    data: bytes
    starts: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    consumed: int
    unclosed: tuple[tuple[int, int], ...] = ()
    cell_starts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    cell_ends: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    first_cell: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    quoted: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    spelled: tuple[tuple[bytes | None, ...], ...] | None = None  # the cells, where they were found one by one

    def columns(self, which: np.ndarray, width: int) -> list[pa.StringArray]:
        """The cells of the given records, which have `width` each, as text; an empty one is null unless quoted."""
        if self.spelled is not None:
            rows = [self.spelled[i] for i in which.tolist()]
            return [pa.array([_text(row[column]) for row in rows], pa.string()) for column in range(width)]
        # Cells and what stands between them alternate, so that one array of slices covers the text.
        edges = np.empty(2 * len(self.cell_starts) + 1, np.int32)
        edges[0:-1:2], edges[1:-1:2], edges[-1] = self.cell_starts, self.cell_ends, len(self.data)
        slices = pa.StringArray.from_buffers(2 * len(self.cell_starts), pa.py_buffer(edges), pa.py_buffer(self.data))
        empty = (self.cell_starts == self.cell_ends) & ~self.quoted
        first = self.first_cell[which]
        found = [slices.take(pa.array(2 * (first + i), mask=empty[first + i])) for i in range(width)]
        return [pc.replace_substring(one, '""', '"') for one in found] if b'""' in self.data else found


def _text(cell: bytes | None) -> str | None:
    return None if cell is None else cell.decode("utf-8")


def find_records(data: bytes, delimiter: bytes, final: bool, limit: int) -> Records:
    """The records of `data`, which begins where a record begins.

    A record ends at a line feed outside of quotes. A quote opens a cell only where the cell begins and closes it where
    it is not doubled (RFC 4180, section 2); elsewhere it is a letter like others (`5" pipe`). A quote that does not
    close within `limit` bytes or before the end spoils its own line only: reading goes on at the next one.

    Args:
      final: nothing follows `data`, so that its last record needs no line end.
    """
    regular = _find_in_bulk(data, delimiter[0], final, limit)
    return regular if regular is not None else _find_one_by_one(data, delimiter, final, limit)


def first_record(data: bytes, delimiter: bytes, final: bool, limit: int) -> tuple[list[str] | None, int] | None:
    """(cells, start of what follows) of the first record; no cells if its quotes do not close, None if more is to come.

    Bytes that are no UTF-8 are replaced.
    """
    for _, _, following, cells in _scan(data, delimiter, final, limit):
        return None if cells is None else [(cell or b"").decode("utf-8", "replace") for cell in cells], following
    return None


def _find_in_bulk(data: bytes, delimiter: int, final: bool, limit: int) -> Records | None:
    """The records by quote parity, or None if a quote stands where parity misleads."""
    view = np.frombuffer(data, np.uint8)
    edges = np.flatnonzero((view == delimiter) | (view == _LF))
    quotes = np.flatnonzero(view == _QUOTE)
    if quotes.size:
        edges = edges[np.searchsorted(quotes, edges) % 2 == 0]
    feeds = edges[view[edges] == _LF]
    consumed = int(feeds[-1]) + 1 if feeds.size else 0
    if final and consumed < len(data):
        consumed = len(data)
        edges, feeds = np.append(edges, consumed), np.append(feeds, consumed)
    quotes = quotes[quotes < consumed]
    if len(quotes) % 2 or not (consumed or len(data) <= limit) or not _regular(view, quotes, consumed, delimiter):
        return None
    edges = edges[edges < consumed] if consumed < len(data) else edges
    cell_starts = np.concatenate([[0], edges[:-1] + 1]).astype(np.int64) if edges.size else edges
    at_feed = (edges < len(data)) & (view[np.minimum(edges, len(view) - 1)] == _LF) if len(data) else edges < 0
    with_cr = at_feed & (edges > cell_starts) & (view[np.maximum(edges - 1, 0)] == _CR) if edges.size else at_feed
    cell_ends = edges - with_cr
    last = np.searchsorted(edges, feeds)
    first = np.concatenate([[0], last[:-1] + 1]).astype(np.int64) if last.size else last
    starts, ends = cell_starts[first], cell_ends[last]
    if (ends - starts > limit).any():
        return None
    quoted = (
        (cell_ends > cell_starts) & (view[np.minimum(cell_starts, len(view) - 1)] == _QUOTE) if edges.size else at_feed
    )
    counts = last - first + 1
    return Records(data, starts, ends, counts, consumed, (), cell_starts + quoted, cell_ends - quoted, first, quoted)


def _regular(view: np.ndarray, quotes: np.ndarray, consumed: int, delimiter: int) -> bool:
    """Whether every quote opens a cell, closes one, or is doubled inside of one."""
    if not quotes.size:
        return True
    opens, closes = quotes[0::2], quotes[1::2]
    doubled = np.append(opens[1:] == closes[:-1] + 1, False)  # this close and the next open are one quote
    before = view[np.maximum(opens - 1, 0)]
    begins = (opens == 0) | (before == delimiter) | (before == _LF)
    begins[1:] |= doubled[:-1]
    place = closes + 1
    after = view[np.minimum(place, len(view) - 1)]
    second = view[np.minimum(place + 1, len(view) - 1)]
    ends = doubled | (place >= consumed) | (after == delimiter) | (after == _LF)
    ends |= (after == _CR) & (second == _LF) & (place + 1 < consumed)
    return bool(begins.all() and ends.all())


def _find_one_by_one(data: bytes, delimiter: bytes, final: bool, limit: int) -> Records:
    starts, ends, spelled, unclosed = [], [], [], []
    consumed = 0
    for start, end, following, cells in _scan(data, delimiter, final, limit):
        if cells is None:
            unclosed.append((start, end))
        else:
            starts.append(start)
            ends.append(end)
            spelled.append(tuple(cells))
        consumed = following
    counts = np.array([len(cells) for cells in spelled], np.int64)
    return Records(
        data, np.array(starts, np.int64), np.array(ends, np.int64), counts, consumed, tuple(unclosed),
        spelled=tuple(spelled),
    )  # fmt: skip


def _scan(
    data: bytes, delimiter: bytes, final: bool, limit: int
) -> Iterator[tuple[int, int, int, list[bytes | None] | None]]:
    """(start, end, start of the next, cells) of each record; no cells for a line whose quote does not close."""
    other = b"[^" + re.escape(delimiter) + b"\n]"
    cell = re.compile(b'"((?>[^"]*(?:""[^"]*)*))"(' + other + b'*)|(?!")(' + other + b"*)")
    start = 0
    while start < len(data):
        cells: list[bytes | None] | None = []
        at, whole = start, False
        while cells is not None:
            found = cell.match(data, at)
            if found is None:
                break
            at = found.end()
            ended = at < len(data) and data[at] == _LF
            cells.append(_spelled(found, ended))
            if ended or at == len(data):
                whole = ended or final
                break
            at += 1
        end = at - (whole and at < len(data) and at > start and data[at - 1] == _CR)
        if whole and end - start <= limit:
            yield start, end, min(at + 1, len(data)), cells
            start = at + 1
            continue
        if not final and not whole and len(data) - start <= limit:
            return  # more is to come
        feed = data.find(b"\n", start)
        if feed < 0 and not final:
            return  # longer than the limit, and no line end: the reader skips it
        feed = len(data) if feed < 0 else feed
        end = feed - (feed < len(data) and feed > start and data[feed - 1] == _CR)
        yield start, end, min(feed + 1, len(data)), None
        start = feed + 1


def _spelled(found: re.Match[bytes], ended: bool) -> bytes | None:
    quoted, rest, bare = found.groups()
    last = bare if quoted is None else rest
    last = last.removesuffix(b"\r") if ended else last
    if quoted is None:
        return last or None
    return bytes(quoted.replace(b'""', b'"') + last)
