"""JSON lines to text columns: a fast parser for what is sound, an exact one to find what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.io.blocks import Block, gunzip, last_line_end, line_starts, plain, record_blocks
from transforms.io.source import Naming, Parsed, Reject, Split, rejected_batch


def read_json_lines(file: BinaryIO, split: Split, naming: Naming, known: tuple[str, ...]) -> Iterator[Parsed]:
    """The records whose first byte lies in the split.

    Every column is text as it came: numbers and booleans as JSON writes them, nested values as JSON, null where the
    key is absent. Of a key that occurs twice in one object, the first value counts.
    """
    if split.file.compression == "gzip":
        chunks, offset = gunzip(file), 0
    else:
        offset = _first_record(file, split)
        chunks = _until(file, offset, split)
    keys = list(known)
    for block in record_blocks(chunks, offset, last_line_end):
        yield parse_block(block, naming, keys)


def _first_record(file: BinaryIO, split: Split) -> int:
    """The first record start at or behind the split's start."""
    bom = 3 if file.read(3) == b"\xef\xbb\xbf" else 0
    if split.start <= bom:
        file.seek(bom)
        return bom
    file.seek(split.start - 1)
    position = split.start - 1
    while chunk := file.read(1 << 20):  # a record may begin long before the split
        end = chunk.find(b"\n")
        if end >= 0:
            position += end + 1
            break
        position += len(chunk)
    file.seek(position)
    return position


def _until(file: BinaryIO, offset: int, split: Split) -> Iterator[bytes]:
    """Chunks up to the end of the record that crosses the split's end."""
    left = split.end - offset
    if left <= 0:
        return
    for chunk in plain(file):
        if len(chunk) < left:
            left -= len(chunk)
            yield chunk
            continue
        if chunk[left - 1 : left] == b"\n":
            yield chunk[:left]
            return
        end = chunk.find(b"\n", left)
        while end < 0:
            yield chunk
            chunk = file.read(4 << 20)
            if not chunk:
                return
            end = chunk.find(b"\n")
        yield chunk[: end + 1]
        return


def parse_block(block: Block, naming: Naming, keys: list[str]) -> Parsed:
    """Parses the records of a block; `keys` are those expected, and grow by those found."""
    data = block.data
    starts, ends = line_starts(data)
    starts, ends = _without_blanks(data, starts, ends)
    rejects: list[Reject] = list(block.rejects)
    sound, text = _screen(data, starts, ends, block.offset, rejects), data
    if len(sound) < len(starts):
        starts, ends = starts[sound], ends[sound]
        text = _blanked(data, starts, ends)
    rows = _fast(text, len(starts), keys) if len(starts) else None
    if rows is None:
        good, found, bad = _examine(data, starts, ends, block.offset)
        rejects += bad
        renamed = {naming(key) for key in found}
        keys[:] = [*found, *(key for key in keys if key not in found and naming(key) not in renamed)]
        starts, ends = starts[good], ends[good]
        rows = _parse(_blanked(data, starts, ends), keys)
        if rows is None or rows.height != len(starts):
            good, bad = _strict(data, starts, ends, block.offset)
            rejects += bad
            starts, ends = starts[good], ends[good]
            rows = _parse(_blanked(data, starts, ends), keys)
        assert rows is not None
    return Parsed(_with_origin(rows, data, starts, ends, block.offset, naming), rejected_batch(rejects))


def _without_blanks(data: bytes, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out lines of nothing but spaces; a carriage return is part of the line end."""
    view = np.frombuffer(data, np.uint8)
    ends = ends - ((ends > starts) & (view[np.maximum(ends - 1, 0)] == 13))
    keep = ends > starts
    short: np.ndarray | list[int] = (
        np.flatnonzero(keep & (view[np.minimum(starts, len(view) - 1)] <= 32)) if len(view) else []
    )
    for i in short:
        keep[i] = bool(data[starts[i] : ends[i]].strip())
    return starts[keep], ends[keep]


def _screen(data: bytes, starts: np.ndarray, ends: np.ndarray, offset: int, rejects: list[Reject]) -> np.ndarray:
    """The numbers of the records that may be sound; those that look broken are examined, one by one.

    Some broken records stand in most blocks. Cut lines, NUL bytes and bytes that are no UTF-8 can be found without
    reading all the others by themselves.
    """
    if not len(starts):
        return starts
    view = np.frombuffer(data, np.uint8)
    suspect = (view[starts] != ord("{")) | (view[ends - 1] != ord("}"))
    if b"\0" in data:
        suspect[np.searchsorted(ends, np.flatnonzero(view == 0)).clip(max=len(ends) - 1)] = True
    for place in _undecodable(data, ends):
        suspect[place] = True
    for i in np.flatnonzero(suspect):
        line = data[starts[i] : ends[i]]
        wrong = _wrong(line, {})
        if wrong:
            rejects.append(Reject(int(offset + starts[i]), line, len(line), *wrong))
        else:
            suspect[i] = False
    return np.flatnonzero(~suspect)


def _undecodable(data: bytes, ends: np.ndarray) -> Iterator[int]:
    """The numbers of the records that hold bytes which are no UTF-8."""
    at = 0
    while at < len(data):
        try:
            data[at:].decode("utf-8")
            return
        except UnicodeDecodeError as error:
            place = int(np.searchsorted(ends, at + error.start, side="right"))
            if place >= len(ends):
                return
            yield place
            at = int(ends[place])


def _fast(data: bytes, records: int, keys: list[str]) -> pl.DataFrame | None:
    """The parsed records, or None when something in the block needs a closer look."""
    if b"\0" in data or not keys:
        return None
    rows = _parse(data, keys)
    if rows is None or rows.height != records:
        return None
    # A column without nulls was in every record; the others are counted. More keys than that: an unknown one.
    nulls = rows.null_count().row(0)
    known = sum(data.count(b'"%s":' % key.encode()) if n else records for key, n in zip(keys, nulls, strict=True))
    return rows if known == data.count(b'":') else None


def _parse(data: bytes, keys: list[str]) -> pl.DataFrame | None:
    schema = dict.fromkeys(keys, pl.String)
    if not data.strip() or not keys:
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_ndjson(data, schema=schema)
    except pl.exceptions.PolarsError:
        return None


def _examine(
    data: bytes, starts: np.ndarray, ends: np.ndarray, offset: int
) -> tuple[np.ndarray, dict[str, None], list[Reject]]:
    """Reads each record by itself: (which are good, the keys met, the bad ones with their reason)."""
    good = np.ones(len(starts), bool)
    keys: dict[str, None] = {}
    rejects = []
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        line = data[start:end]
        wrong = _wrong(line, keys)
        if wrong:
            good[i] = False
            rejects.append(Reject(offset + start, line, len(line), *wrong))
    return good, keys, rejects


def _wrong(line: bytes, keys: dict[str, None]) -> tuple[str, str] | None:
    """(rule, reason) if the line is no JSON object; else None, and its keys are added."""
    if b"\0" in line:
        return "nul_byte", "the record holds a NUL byte"
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return "encoding", f"byte {error.start} of the record is no UTF-8"
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        return "json_syntax", f"the record is no JSON{at}"
    if not isinstance(value, dict):
        return "not_an_object", "the record is JSON, but no object"
    keys.update(dict.fromkeys(value))
    return None


def _strict(data: bytes, starts: np.ndarray, ends: np.ndarray, offset: int) -> tuple[np.ndarray, list[Reject]]:
    """Finds the records that Python reads and the fast parser does not, such as half a surrogate pair."""
    good, rejects = np.ones(len(starts), bool), []
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        line = data[start:end]
        if _parse(line, ["_"]) is None:
            good[i] = False
            rejects.append(Reject(offset + start, line, len(line), "json_syntax", "the record is no strict JSON"))
    return good, rejects


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _blanked(data: bytes, starts: np.ndarray, ends: np.ndarray) -> bytes:
    """The block with everything but the given records turned into line ends, which the parser passes over."""
    blank = bytearray(data)
    gaps_from = np.concatenate([[0], ends])
    gaps_to = np.concatenate([starts, [len(data)]])
    width = gaps_to - gaps_from
    wide = np.flatnonzero(width > 1)  # one byte between two records is their line end
    wide = np.union1d(wide, np.flatnonzero(width[[0, -1]]) * (len(width) - 1))
    for start, end in zip(gaps_from[wide].tolist(), gaps_to[wide].tolist(), strict=True):
        blank[start:end] = b"\n" * (end - start)
    return bytes(blank)


def _with_origin(
    rows: pl.DataFrame, data: bytes, starts: np.ndarray, ends: np.ndarray, offset: int, naming: Naming
) -> pa.RecordBatch:
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    names = naming.unique(table.column_names)
    columns = [column.combine_chunks().cast(pa.string()) for column in table.columns]
    raw = lines_array(data, starts, ends)
    position = pa.array(starts + offset, pa.int64())
    return pa.RecordBatch.from_arrays([*columns, position, raw], names=[*names, "_position", "_raw"])


def lines_array(data: bytes, starts: np.ndarray, ends: np.ndarray) -> pa.BinaryArray:
    """The bytes of each record, cut out of the block without a Python loop."""
    whole = pa.array([data], pa.binary())
    if not len(starts):
        return pa.array([], pa.binary())
    # Between two records lie line ends: records and gaps alternate, and the records are the even slices.
    edges = np.empty(2 * len(starts) + 1, np.int32)
    edges[0:-1:2], edges[1:-1:2], edges[-1] = starts, ends, len(data)
    pieces = pa.BinaryArray.from_buffers(pa.binary(), 2 * len(starts), [None, pa.py_buffer(edges), whole.buffers()[2]])
    return pieces.take(pa.array(np.arange(0, 2 * len(starts), 2)))
