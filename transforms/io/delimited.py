"""CSV to text columns; records are found by quote parity, so each has a place and its bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from transforms.io.blocks import Block, gunzip, plain, record_blocks
from transforms.io.jsonl import lines_array
from transforms.io.source import MAX_RECORD_BYTES, Naming, Parsed, Reject, Split, rejected_batch

_DELIMITERS = b",;\t|"
_QUOTE, _LINE_FEED = 34, 10


def read_header(file: BinaryIO, compression: str) -> tuple[list[str], bytes, int]:
    """(column names, delimiter, position of the first record); no names for an empty file."""
    chunks = gunzip(file) if compression == "gzip" else plain(file)
    data = b""
    try:
        for chunk in chunks:
            data += chunk
            if _record_ends(data).size or len(data) > MAX_RECORD_BYTES:
                break
    except Exception:  # a broken stream: what was read may still hold the header
        pass
    bom = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    ends = _record_ends(data)
    end = int(ends[0]) if ends.size else len(data)
    line = data[bom:end].rstrip(b"\r\n")
    if not line.strip():
        return [], b",", end
    delimiter = max((line.count(bytes([d])), -i, bytes([d])) for i, d in enumerate(_DELIMITERS))[2]
    names = next(csv.reader(io.StringIO(line.decode("utf-8", "replace")), delimiter=delimiter.decode()))
    return names, delimiter, min(end + 1, len(data)) if ends.size else end


def read_csv(file: BinaryIO, split: Split, naming: Naming) -> Iterator[Parsed]:
    """All records behind the header line; an empty cell that is not quoted is null."""
    names, delimiter, first = read_header(file, split.file.compression)
    file.seek(0)
    chunks = _skip(gunzip(file) if split.file.compression == "gzip" else plain(file), first)
    columns = naming.unique(names)
    for block in record_blocks(chunks, first, _last_record_end):
        if columns:
            yield _parse(block, columns, delimiter)


def _skip(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:]
        count = 0


def _record_ends(data: bytes) -> np.ndarray:
    """Line feeds that no open quote covers. Doubled quotes keep the parity (RFC 4180, section 2)."""
    view = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(view == _LINE_FEED)
    quotes = np.flatnonzero(view == _QUOTE)
    return ends[np.searchsorted(quotes, ends) % 2 == 0] if quotes.size else ends


def _last_record_end(data: bytes) -> int:
    ends = _record_ends(data)
    return int(ends[-1]) + 1 if ends.size else 0


def _parse(block: Block, columns: list[str], delimiter: bytes) -> Parsed:
    data, rejects = block.data, list(block.rejects)
    ends = _record_ends(data)
    if data and (not ends.size or ends[-1] != len(data) - 1):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    view = np.frombuffer(data, np.uint8)
    ends = ends - ((ends > starts) & (view[np.maximum(ends - 1, 0)] == 13))
    keep = ends > starts
    starts, ends = starts[keep], ends[keep]
    table = _fast(data, len(starts), columns, delimiter)
    if table is None:
        good = []
        for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            wrong = _wrong(data[start:end], len(columns), delimiter)
            if wrong:
                rejects.append(Reject(block.offset + start, data[start:end], end - start, *wrong))
            else:
                good.append(i)
        starts, ends = starts[good], ends[good]
        sound = b"\n".join(data[s:e] for s, e in zip(starts.tolist(), ends.tolist(), strict=True))
        table = _cells(sound + b"\n", columns, delimiter) if good else _no_cells(columns)
    position = pa.array(starts + block.offset, pa.int64())
    arrays = [column.combine_chunks() for column in table.columns]
    batch = pa.RecordBatch.from_arrays(
        [*arrays, position, lines_array(data, starts, ends)], names=[*columns, "_position", "_raw"]
    )
    return Parsed(batch, rejected_batch(rejects))


def _fast(data: bytes, records: int, columns: list[str], delimiter: bytes) -> pa.Table | None:
    if b"\0" in data or not records:
        return None
    try:
        table = _cells(data, columns, delimiter)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return table if table.num_rows == records else None


def _cells(data: bytes, columns: list[str], delimiter: bytes) -> pa.Table:
    return pacsv.read_csv(
        pa.BufferReader(data),
        read_options=pacsv.ReadOptions(column_names=columns, block_size=max(len(data) + 1, 1 << 16)),
        parse_options=pacsv.ParseOptions(delimiter=delimiter.decode(), newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types={name: pa.string() for name in columns},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _no_cells(columns: list[str]) -> pa.Table:
    return pa.schema([(name, pa.string()) for name in columns]).empty_table()


def _wrong(record: bytes, width: int, delimiter: bytes) -> tuple[str, str] | None:
    if b"\0" in record:
        return "nul_byte", "the record holds a NUL byte"
    try:
        text = record.decode("utf-8")
    except UnicodeDecodeError as error:
        return "encoding", f"byte {error.start} of the record is no UTF-8"
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter.decode(), strict=True))
    except (csv.Error, StopIteration):
        return "csv_syntax", "the record's quotes do not close"
    if len(cells) != width:
        return "column_count", f"the record has {len(cells)} cells, the header {width}"
    try:
        _cells(record + b"\n", [f"c{i}" for i in range(width)], delimiter)
    except pa.ArrowInvalid:
        return "csv_syntax", "the record cannot be read as CSV"
    return None
