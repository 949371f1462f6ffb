"""CSV to text columns: each record with its place and its bytes, whatever the quotes do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from transforms.errors import UserError
from transforms.io import blocks
from transforms.io.blocks import BOM, Lines, TruncatedStream, gunzip, plain, skip_line, until_broken
from transforms.io.csv_records import Records, find_records, first_record
from transforms.io.source import Naming, Parsed, Reject, Split, rejected_batch, too_long

_DELIMITERS = (b",", b";", b"\t", b"|")
_SAID = re.compile(rb'"?sep=([,;|\t])"?\r?\n', re.IGNORECASE)


def read_header(file: BinaryIO, compression: str) -> tuple[list[str], bytes, int]:
    """(column names, delimiter, position of the first record); no names for a file without a line.

    Raises:
      UserError: the file is UTF-16, or its lines do not end in a line feed.
    """
    data, final = b"", False
    chunks = gunzip(file) if compression == "gzip" else plain(file)
    while True:
        try:
            chunk = next(chunks, b"")
        except TruncatedStream:
            return [], b",", 0  # no row can be told; reading gives the reject
        data, final = data + chunk, not chunk
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError("the file is UTF-16", remedy="save it as CSV UTF-8")
        if data[:4] == b"PK\x03\x04":
            raise UserError("the file is a workbook or a zip archive", remedy="save it as CSV UTF-8, or unpack it")
        body = data.removeprefix(BOM)
        offset = len(data) - len(body)
        blank = len(body) - len(body.lstrip(b"\r\n"))  # empty lines before the header
        said = _SAID.match(body, blank)  # Excel: the delimiter in a line of its own
        if said:
            blank = said.end()
        found = _header_of(body[blank:], final, said[1] if said else None)
        if found:
            return found[0], found[1], offset + blank + found[2]
        if final or len(data) > blocks.MAX_RECORD_BYTES:
            return [], b",", len(data) if final else 0


def _header_of(data: bytes, final: bool, said: bytes | None) -> tuple[list[str], bytes, int] | None:
    line = re.sub(rb'"(?:[^"]|"")*"', b"", data[: blocks.RAW_LIMIT]).split(b"\n", 1)[0]
    if b"\r" in line[:-1] and b"\n" not in data:
        raise UserError("the lines end in a carriage return alone", remedy="save the file with line feeds")
    delimiter = said or max(_DELIMITERS, key=lambda mark: (line.count(mark), -_DELIMITERS.index(mark)))
    found = first_record(data, delimiter, final, blocks.MAX_RECORD_BYTES)
    if found is None:
        return None
    names, following = found
    if names is None:
        raise UserError("a quote in the header line does not close", remedy="mend the file's first line")
    return names, delimiter, following


def read_csv(file: BinaryIO, split: Split, naming: Naming) -> Iterator[Parsed]:
    """All records behind the header line; an empty cell that is not quoted is null."""
    names, delimiter, offset = read_header(file, split.file.compression)
    columns = naming.unique(names)
    file.seek(0)
    broken: list[TruncatedStream] = []
    chunks = until_broken(gunzip(file) if split.file.compression == "gzip" else plain(file), broken)
    chunks = _skip(chunks, offset)
    limit, buffer, final = blocks.MAX_RECORD_BYTES, b"", False
    while not final:
        chunk = next(chunks, b"")
        final, buffer = not chunk, buffer + chunk
        if len(buffer) < blocks.BLOCK_BYTES and not final:
            continue
        records = find_records(buffer, delimiter, final and not broken, limit)
        if len(records.starts) or records.unclosed:
            yield _parsed(records, offset, columns)
        buffer, offset = buffer[records.consumed :], offset + records.consumed
        if not final and len(buffer) > limit and buffer.find(b"\n") < 0:
            head, size, passed, buffer = skip_line(buffer, chunks)
            yield _only(columns, Reject(offset, head, size, *too_long()))
            offset += passed
    if broken:
        yield _only(columns, Reject(offset, buffer, len(buffer), "truncated_gzip", str(broken[0])))


def _skip(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:]
        count = 0


def _only(columns: list[str], reject: Reject) -> Parsed:
    schema = pa.schema([*((name, pa.string()) for name in columns), ("_position", pa.int64()), ("_raw", pa.binary())])
    return Parsed(pa.RecordBatch.from_pylist([], schema=schema), rejected_batch([reject]))


def _parsed(records: Records, offset: int, columns: list[str]) -> Parsed:
    lines = Lines(records.data, records.starts, records.ends, clean=False)
    faults = _faults(records, lines, len(columns))
    rejects = [
        Reject(offset + int(lines.starts[i]), lines[i], len(lines[i]), *fault)
        for i, fault in sorted(faults.items())
        if fault
    ]
    for start, end in records.unclosed:
        long = end - start > blocks.MAX_RECORD_BYTES
        fault = too_long() if long else ("csv_syntax", "a quote opens in this line and does not close")
        rejects.append(Reject(offset + start, records.data[start:end], end - start, *fault))
    keep = np.ones(len(lines), bool)
    keep[list(faults)] = False
    good = np.flatnonzero(keep)
    kept = Lines(records.data, lines.starts[good], lines.ends[good], clean=False)
    position = pa.array(kept.starts + offset, pa.int64())
    arrays = [*records.columns(good, len(columns)), position, kept.raw()]
    return Parsed(pa.RecordBatch.from_arrays(arrays, names=[*columns, "_position", "_raw"]), rejected_batch(rejects))


def _faults(records: Records, lines: Lines, width: int) -> dict[int, tuple[str, str] | None]:
    """What is wrong with a record, by its number; None for a line of nothing but spaces, which is no record."""
    faults: dict[int, tuple[str, str] | None] = {}
    for i in np.flatnonzero(records.counts != width).tolist():
        cells = int(records.counts[i])
        faults[i] = "column_count", f"the record has {cells} cells, the header {width}"
    for i in lines.undecodable():
        faults[i] = "encoding", "the record is no UTF-8"
    if b"\0" in records.data:
        for i in lines.holding(np.flatnonzero(lines.view == 0)).tolist():
            faults[i] = "nul_byte", "the record holds a NUL byte"
    for i in np.flatnonzero(records.counts == 1).tolist():
        if not lines[i].strip():
            faults[i] = None
    return faults
