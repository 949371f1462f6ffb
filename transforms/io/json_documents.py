"""JSON documents as JSON lines: an array of records, or records spread over several lines, byte for byte in place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from transforms.io.blocks import BOM, gunzip, until_broken
from transforms.io.source import SourceFile

_BLANK = b" \t\r\n"
_STARTS = re.compile(rb"\s*(?:(\[)|(\{)[ \t]*\r?\n)")
HEAD_BYTES = 4096


def document_depth(head: bytes) -> int | None:
    """How deep the records of a document lie, told by its first bytes: 1 in an array, 0 for objects over many lines.

    None for JSON lines. A printed object begins with a line of nothing but its brace; a record cut after it would
    be no record anyway.
    """
    found = _STARTS.match(head.removeprefix(BOM))
    return None if found is None else 1 if found[1] else 0


def document(file: BinaryIO, source: SourceFile) -> int | None:
    """See `document_depth`; only files named .json are looked at. The file is left at its beginning."""
    if not source.path.lower().removesuffix(".gz").removesuffix(".gzip").endswith(".json"):
        return None
    chunks = gunzip(file) if source.compression == "gzip" else iter([file.read(HEAD_BYTES)])
    head = next(until_broken(chunks, []), b"")
    file.seek(0)
    return document_depth(head[:HEAD_BYTES])


def as_lines(chunks: Iterator[bytes], depth: int) -> Iterator[bytes]:
    """The document with each record on one line, every byte where it was: what stands between records becomes line
    ends, line ends within records become spaces. Brackets that do not match leave one long record.

    Args:
      depth: how many brackets are open around a record.
    """
    state = _State()
    for chunk in chunks:
        yield state.flatten(chunk, depth)


@dataclass
class _State:
    """Where a document stands between two chunks."""

    open: int = 0
    in_text: bool = False
    escaped: bool = False  # the last byte was a backslash that escapes the next one

    def flatten(self, chunk: bytes, depth: int) -> bytes:
        view = np.frombuffer(chunk, np.uint8)
        marks = self._quotes(chunk)
        text = (np.cumsum(marks, dtype=np.int32) + self.in_text) % 2 == 1  # from an opening quote up to its closing one
        plain = ~text & ~marks
        steps = np.where(plain, np.isin(view, (91, 123)).astype(np.int8) - np.isin(view, (93, 125)), 0)
        after = self.open + np.cumsum(steps, dtype=np.int32)
        before = after - steps
        inside = np.maximum(before, after) > depth
        between = plain & ~inside & np.isin(view, (*_BLANK, 44, 91, 93))
        result = np.where(np.isin(view, (10, 13)), np.uint8(32), view)
        result[between] = 10
        if len(view):
            self.open, self.in_text = int(after[-1]), bool(text[-1])
        return result.tobytes()

    def _quotes(self, chunk: bytes) -> np.ndarray:
        """Where quotes stand that open or close a text."""
        found = np.zeros(len(chunk), bool)
        escaped_first = self.escaped
        if b"\\" not in chunk:
            found[:] = np.frombuffer(chunk, np.uint8) == 34
            if len(chunk):
                found[0] &= not escaped_first
                self.escaped = False
            return found
        at = 1 if escaped_first else 0
        self.escaped = False
        for match in re.compile(rb'\\.?|"', re.DOTALL).finditer(chunk, at):
            if match[0] == b'"':
                found[match.start()] = True
            elif len(match[0]) == 1:
                self.escaped = True
        return found
