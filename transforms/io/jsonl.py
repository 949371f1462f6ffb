"""JSON lines to text columns: a fast parser for what is sound, an exact one for the few records that need a look."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.io import blocks
from transforms.io.blocks import (
    Block,
    Lines,
    TruncatedStream,
    after_bom,
    gunzip,
    last_line_end,
    plain,
    record_blocks,
    until_broken,
)
from transforms.io.json_documents import as_lines, document
from transforms.io.source import Naming, Parsed, Reject, SourceFile, Split, rejected_batch, too_long

# Keys are data in some files ({"<customer>": ...}); what goes beyond stays in `_raw` and makes no column.
MAX_NEW_KEYS = 512
SAMPLE_BYTES = 256 << 10
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ANY: dict[str, type[pl.String]] = {"\0": pl.String}  # a column to ask for where none is wanted


def read_json_lines(file: BinaryIO, split: Split, naming: Naming, known: tuple[str, ...]) -> Iterator[Parsed]:
    """The records whose first byte lies in the split.

    Every column is text as it came: numbers and booleans as JSON writes them, nested values as JSON, null where the
    key is absent. Of a key that occurs twice in one object, the first value counts. A file named .json may also be one
    array of records, or records printed over several lines.
    """
    broken: list[TruncatedStream] = []
    depth = document(file, split.file)
    if split.file.compression == "gzip" or depth is not None:
        stream = gunzip(file) if split.file.compression == "gzip" else plain(file)
        chunks, offset = after_bom(until_broken(stream, broken))
        chunks = chunks if depth is None else as_lines(chunks, depth)
    else:
        offset = _first_record(file, split)
        chunks = _until(file, offset, split)
    keys = JsonKeys(naming, known)
    for block in record_blocks(chunks, offset, last_line_end, broken):
        yield parse_block(block, keys)


def read_keys(file: BinaryIO, source: SourceFile, sample_bytes: int = SAMPLE_BYTES) -> list[str]:
    """The keys of the first records, in the order they are met: what a file of JSON lines has for a header."""
    depth = document(file, source)
    data, chunks = b"", gunzip(file) if source.compression == "gzip" else plain(file)
    chunks = after_bom(chunks)[0]
    for chunk in until_broken(chunks if depth is None else as_lines(chunks, depth), []):
        data += chunk
        if len(data) >= sample_bytes and b"\n" in data:
            break
    sample = data[:sample_bytes]
    lines = sample[: last_line_end(sample)] if last_line_end(sample) and len(data) > sample_bytes else sample
    return list(dict.fromkeys(key for line in lines.splitlines() if not fault_of(line) for key in _object(line)))


def _first_record(file: BinaryIO, split: Split) -> int:
    """The first record start at or behind the split's start."""
    bom = 3 if file.read(3) == blocks.BOM else 0
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
        if position >= split.end:
            break  # no record begins in this split
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
        end = chunk.find(b"\n", left - 1)
        while end < 0:
            yield chunk
            chunk = file.read(blocks.CHUNK_BYTES)
            if not chunk:
                return
            end = chunk.find(b"\n")
        yield chunk[: end + 1]
        return


class JsonKeys:
    """The keys looked for in a file and the columns they fill; grows by the keys that are met."""

    def __init__(self, naming: Naming, known: Iterable[str]) -> None:
        self._naming = naming
        self._expected = tuple(known)
        self._target = {key: naming(key) for key in known}
        self._new = 0

    @property
    def schema(self) -> dict[str, type[pl.String]]:
        return dict.fromkeys(self._target, pl.String)

    def add(self, keys: Iterable[str]) -> bool:
        """Whether any of the keys was new."""
        fresh = [key for key in keys if key not in self._target][: MAX_NEW_KEYS - self._new]
        self._target.update((key, self._naming(key)) for key in fresh)
        self._new += len(fresh)
        return bool(fresh)

    def columns(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
        """(one column each target, which rows fill an expected one twice); others appear only where they have values.

        Differently written keys ("id", "ID") fill one column, wherever in the file each of them stands.
        """
        sources: dict[str, list[str]] = {self._target[key]: [] for key in self._expected}
        for key in sorted(self._target, key=lambda key: (key != self._target[key], key)):
            if key in self._expected or rows[key].null_count() < rows.height:
                sources.setdefault(self._target[key], []).append(key)
        double = np.zeros(rows.height, bool)
        for keys in (sources[self._target[key]] for key in self._expected):
            if len(keys) > 1:
                double |= rows.select(pl.sum_horizontal(pl.col(keys).is_not_null()) > 1).to_series().to_numpy()
        columns = rows.select(pl.coalesce(keys).alias(target) for target, keys in sources.items())
        wanted = {self._target[key] for key in self._expected}
        several = {target: keys for target, keys in sources.items() if len(keys) > 1 and target not in wanted}
        return columns.hstack(_second_values(rows, several, columns.columns)), double


def _second_values(rows: pl.DataFrame, sources: dict[str, list[str]], taken: list[str]) -> list[pl.Series]:
    """What a record has in further keys of one name ("a b" beside "a_b"), in columns numbered record by record."""
    found = []
    for target, keys in sources.items():
        held = [pl.col(key).is_not_null().cast(pl.Int32) for key in keys]
        for number in range(2, len(keys) + 1):
            nth = [
                pl.when((pl.sum_horizontal(held[: i + 1]) == number) & (held[i] == 1)).then(pl.col(key))
                for i, key in enumerate(keys)
            ]
            column = rows.select(pl.coalesce(nth).alias(f"{target}_{number}")).to_series()
            if column.null_count() < rows.height and column.name not in taken:
                found.append(column)
    return found


def parse_block(block: Block, keys: JsonKeys) -> Parsed:
    """Parses the records of a block."""
    lines = Lines.of(block.data)
    rejects = list(block.rejects)
    lines = _without(lines, _screen(lines), block.offset, rejects)
    rows = _parse(lines.text(), len(lines), keys.schema)
    if rows is None:  # something the screen does not see: each record by itself
        lines = _without(lines, _faults(lines, range(len(lines))), block.offset, rejects)
        rows = _parse(lines.text(), len(lines), keys.schema)
    if rows is None:  # something that only the fast parser minds
        lines = _without(lines, dict(_unparsable(lines, 0, len(lines))), block.offset, rejects)
        rows = _parse(lines.text(), len(lines), keys.schema)
    assert rows is not None
    if keys.add(_unknown_keys(lines, rows)):
        rows = _parse(lines.text(), len(lines), keys.schema)
        assert rows is not None
    columns, double = keys.columns(_with_nested_text(lines, rows))
    if double.any():
        fault = ("duplicate_column", "two keys of the record name the same column")
        lines = _without(lines, dict.fromkeys(np.flatnonzero(double).tolist(), fault), block.offset, rejects)
        columns = columns.filter(pl.Series(~double))
    return Parsed(_with_origin(columns, lines, block.offset), rejected_batch(rejects))


def _without(lines: Lines, faults: dict[int, tuple[str, str]], offset: int, rejects: list[Reject]) -> Lines:
    """The lines that have no fault; the others become rejects."""
    if not faults:
        return lines
    for i, (rule, reason) in faults.items():
        rejects.append(Reject(offset + int(lines.starts[i]), lines[i], len(lines[i]), rule, reason))
    return lines.drop(list(faults))


def _screen(lines: Lines) -> dict[int, tuple[str, str]]:
    """The faults that are found without reading every record by itself.

    Some broken records stand in most blocks; cut lines, NUL bytes, bytes that are no UTF-8 and halves of a surrogate
    pair (which the fast parser would turn into a NUL) are the usual ones.
    """
    if not len(lines):
        return {}
    long = lines.ends - lines.starts > blocks.MAX_RECORD_BYTES
    suspect = (lines.view[lines.starts] != ord("{")) | (lines.view[lines.ends - 1] != ord("}"))
    if b"\0" in lines.data:
        suspect[lines.holding(np.flatnonzero(lines.view == 0))] = True
    if _SURROGATE.search(lines.data):
        suspect[lines.holding([m.start() for m in _SURROGATE.finditer(lines.data)])] = True
    for i in lines.undecodable():
        suspect[i] = True
    suspect &= ~long
    faults = {i: too_long() for i in np.flatnonzero(long).tolist()}
    return faults | _faults(lines, np.flatnonzero(suspect).tolist())


def _faults(lines: Lines, which: Iterable[int]) -> dict[int, tuple[str, str]]:
    return {i: fault for i in which if (fault := fault_of(lines[i]))}


def fault_of(line: bytes) -> tuple[str, str] | None:
    """(rule, reason) if the line is no JSON object."""
    if b"\0" in line:
        return "nul_byte", "the record holds a NUL byte"
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return "encoding", f"byte {error.start} of the record is no UTF-8"
    try:
        value = _decoder().decode(text)
        if _SURROGATE.search(line):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return "encoding", "the record holds half a surrogate pair"
    except RecursionError:  # how deep Python gets depends on its stack
        return None if _parse(line, 1, _ANY) is not None else ("json_syntax", "the record is nested too deep")
    except ValueError as error:
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        return "json_syntax", f"the record is no JSON{at}"
    return None if isinstance(value, dict) else ("not_an_object", "the record is JSON, but no object")


@functools.cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_refuse, parse_float=str, parse_int=str)  # numbers of any length


def _refuse(constant: str) -> None:
    raise ValueError("no JSON constant")


def _unparsable(lines: Lines, first: int, last: int) -> Iterator[tuple[int, tuple[str, str]]]:
    """The records that Python reads and the fast parser does not, by halving."""
    if first == last or _parse(lines.part(first, last).text(), last - first, _ANY) is not None:
        return
    if last - first == 1:
        yield first, ("json_syntax", "the record is no strict JSON")
        return
    middle = (first + last) // 2
    yield from _unparsable(lines, first, middle)
    yield from _unparsable(lines, middle, last)


def _parse(text: bytes, records: int, schema: dict[str, type[pl.String]]) -> pl.DataFrame | None:
    """The records' values, or None if not each line is an object."""
    if not records:
        return pl.DataFrame(schema=schema)
    try:
        rows = pl.read_ndjson(text, schema=schema or _ANY)
    except pl.exceptions.PolarsError:
        return None
    return rows if rows.height == records else None


def _unknown_keys(lines: Lines, rows: pl.DataFrame) -> list[str]:
    """Keys that no column of `rows` holds, at least those that have a value.

    The parser passes unknown keys over, so quotes before a colon are counted: a known key with a value accounts for
    one. No record can have fewer, save for a space before the colon; those that have more are read by themselves.
    """
    view = np.frombuffer(lines.text(), np.uint8)
    colons = np.flatnonzero(view == ord(":"))
    before, after = view[colons - 1], view[np.minimum(colons + 1, len(view) - 1)]
    spaced = colons[before <= ord(" ")]
    second = view[np.minimum(colons + 2, len(view) - 1)]
    null = (after == ord("n")) | ((after == ord(" ")) & (second == ord("n")))
    keys = colons[(before == ord('"')) & ~null]
    values = rows.height * rows.width - sum(rows.null_count().row(0))
    if not spaced.size and len(keys) == values:
        return []
    filled = rows.select(pl.sum_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    look = lines.count(keys) != filled
    look[lines.holding(spaced)] = True
    known, found = set(rows.columns), set[str]()
    for i in np.flatnonzero(look).tolist():
        if len(found) <= MAX_NEW_KEYS:
            found.update(_object(lines[i]).keys() - known)
    return sorted(found)


def _object(line: bytes) -> dict[str, object]:
    try:
        value: dict[str, object] = _decoder().decode(line.decode("utf-8"))
    except RecursionError:  # deeper than Python reads: its keys stay in `_raw`
        return {}
    return value


def _with_nested_text(lines: Lines, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the JSON text of nested values mended: the fast parser leaves out the escapes in their strings."""
    if b"\\" not in lines.data:
        return rows
    escaped = np.zeros(rows.height, bool)
    escaped[lines.holding(np.flatnonzero(lines.view == ord("\\")))] = True
    for key in rows.columns:
        nested = rows[key].str.contains(r"^[\[{]").fill_null(False).to_numpy() & escaped
        texts = {i: text for i in np.flatnonzero(nested).tolist() if (text := _nested_text(lines[i], key)) is not None}
        if texts:
            rows = rows.with_columns(rows[key].scatter(list(texts), list(texts.values())))
    return rows


def _nested_text(line: bytes, key: str) -> str | None:
    """The JSON text of an object's value if that is nested; of a key that occurs twice, of the first value."""
    try:
        value = json.loads(line, object_pairs_hook=lambda pairs: dict(reversed(pairs)))[key]
    except (ValueError, RecursionError):  # numbers and depths that Python refuses
        return None
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else None


def _with_origin(columns: pl.DataFrame, lines: Lines, offset: int) -> pa.RecordBatch:
    table = columns.to_arrow(compat_level=pl.CompatLevel.oldest())
    arrays = [column.combine_chunks().cast(pa.string()) for column in table.columns]
    position = pa.array(lines.starts + offset, pa.int64())
    names = [*table.column_names, "_position", "_raw"]
    return pa.RecordBatch.from_arrays([*arrays, position, lines.raw()], names=names)
