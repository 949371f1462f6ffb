"""Bodies of events to rows: one JSON row, an array of them, JSON lines, or an Arrow stream; whole batches at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.bronze.cells import text_cells
from transforms.contracts import contract
from transforms.errors import UserError
from transforms.io.blocks import BOM, Block
from transforms.io.jsonl import JsonKeys, parse_block
from transforms.io.source import RAW_LIMIT, REJECTED, Naming

ARROW, JSON, JSON_LINES = "application/vnd.apache.arrow.stream", "application/json", "application/x-ndjson"
ENQUEUED = pa.field("_enqueued_at", pa.timestamp("us", tz="UTC"))
ORIGIN = (pa.field("_position", pa.int64()), pa.field("_row", pa.int32()), ENQUEUED)
REJECTED_EVENTS = pa.schema([*REJECTED, ORIGIN[1], ENQUEUED])

_ARROW_START = b"\xff\xff\xff\xff"  # how an encapsulated message begins
_KINDS = {ARROW: "arrow", JSON: "json", "text/json": "json", JSON_LINES: "lines", "application/jsonl": "lines"}
Fault = tuple[str, str]
_EMPTY: Fault = ("empty_event", "the event has no body")
_NOT_JSON: Fault = ("not_json", "the event says JSON and holds an Arrow stream")


@dataclass(frozen=True)
class Decoded:
    """Rows of one table's events.

    Attributes:
      rows: source columns (text, or typed from Arrow), `_position` int64 (the event's sequence number), `_row` int32
        (its number among the records of the event), `_enqueued_at`, `_raw` binary (null from Arrow); in this order of
        position and row.
      rejects: schema REJECTED_EVENTS; `_row` is 0 where the event as a whole is refused.
      empty: events that are sound and hold no row (an Arrow stream of none).
    """

    rows: pa.RecordBatch
    rejects: pa.RecordBatch
    empty: int


def by_table(
    events: pa.RecordBatch, default: str | None, known: Sequence[str]
) -> tuple[dict[str, pa.RecordBatch], pa.RecordBatch]:
    """The events of each table, and those of none as rejects (`unknown_schema`, REJECTED_EVENTS).

    Args:
      events: schema EVENTS; the schema id is "TABLE" or "TABLE/VERSION", TABLE as `contract` takes it.
      default: the table of events without a schema id.
      known: the tables that are wanted, by full name.
    """
    encoded = events["schema_id"].dictionary_encode()
    names = [_table(value, known) for value in encoded.dictionary.to_pylist()] + [default if default in known else None]
    codes = pc.fill_null(encoded.indices, len(names) - 1).to_numpy(zero_copy_only=False)
    tables = {
        name: events.filter(pa.array(np.isin(codes, [i for i, n in enumerate(names) if n == name])))
        for name in dict.fromkeys(name for i, name in enumerate(names) if name and (codes == i).any())
    }
    lost = events.filter(pa.array(np.isin(codes, [i for i, name in enumerate(names) if name is None])))
    fault = ("unknown_schema", "the schema id of the event names no table that is read here")
    return tables, _refused(lost, dict.fromkeys(range(lost.num_rows), fault))


def decode(events: pa.RecordBatch, table: str) -> Decoded:
    """The rows of `events` (schema EVENTS), all of one table; every event is a row or more, a reject, or empty.

    A body is what its content type says (JSON, JSON lines, Arrow stream); one of another type or of none is looked at.
    JSON may be one object, also over several lines, an array of objects, or lines of objects; a line that is none is a
    reject by itself, with the rules of `read_json_lines`. Further rules: `empty_event`, `not_arrow`, `not_json`,
    `another_table` (a schema id of another table, or an Arrow schema without a column of this one).
    """
    found = contract(table)
    naming = Naming(found.names)
    faults = _other_tables(events, found.name)
    bodies = events["body"].to_pylist()
    kinds = _kinds(events, bodies)
    faults |= {i: _NOT_JSON for i, kind in enumerate(kinds) if kind == "not json" and i not in faults}
    arrow = [i for i, kind in enumerate(kinds) if kind == "arrow" and i not in faults]
    text = [i for i, kind in enumerate(kinds) if kind != "arrow" and i not in faults]
    typed, empty = _from_arrow(bodies, arrow, naming, set(found.names), faults)
    lines = _from_json([(bodies[i], kinds[i]) for i in text], text, JsonKeys(naming, found.names), faults)
    rows = _united([*typed, *lines.rows])
    refused = pa.Table.from_batches([_refused(events, faults), _placed(lines.rejects, events, REJECTED_EVENTS)])
    ordered = refused.sort_by([("_position", "ascending"), ("_row", "ascending")]).combine_chunks()
    rejects = ordered.to_batches()[0] if ordered.num_rows else pa.RecordBatch.from_pylist([], schema=REJECTED_EVENTS)
    return Decoded(_placed(rows, events), rejects, empty)


def _table(schema_id: str, known: Sequence[str]) -> str | None:
    try:
        name = contract(schema_id.partition("/")[0]).name
    except UserError:
        return None
    return name if name in known else None


def _other_tables(events: pa.RecordBatch, table: str) -> dict[int, Fault]:
    """The events that say they are of another table."""
    encoded = events["schema_id"].dictionary_encode()
    wrong = [i for i, value in enumerate(encoded.dictionary.to_pylist()) if _table(value, (table,)) is None]
    if not wrong:
        return {}
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    fault = ("another_table", f"the schema id of the event is not {table}")
    return dict.fromkeys(np.flatnonzero(np.isin(codes, wrong)).tolist(), fault)


def _kinds(events: pa.RecordBatch, bodies: list[bytes]) -> list[str]:
    """What each body holds: "arrow", "json" (an object, an array, or lines), "lines", or "not json" as it says."""
    encoded = events["content_type"].dictionary_encode()
    said = [_KINDS.get(kind.partition(";")[0].strip().lower(), "") for kind in encoded.dictionary.to_pylist()] + [""]
    codes = pc.fill_null(encoded.indices, len(said) - 1).to_pylist()
    if not any(body.startswith(_ARROW_START) for body in bodies):
        return [said[code] or "json" for code in codes]
    streams = ["arrow" if kind in ("arrow", "") else "not json" for kind in said]
    return [
        streams[code] if body.startswith(_ARROW_START) else said[code] or "json"
        for code, body in zip(codes, bodies, strict=True)
    ]


def _from_arrow(
    bodies: list[bytes], which: list[int], naming: Naming, known: set[str], faults: dict[int, Fault]
) -> tuple[list[pa.Table], int]:
    """One table each schema met, with `_event` and `_row`; and how many streams hold no row."""
    groups: dict[pa.Schema, list[pa.Table]] = {}
    names: dict[pa.Schema, list[str]] = {}
    empty = 0
    for i in which:
        table = _read_stream(bodies[i])
        if table is None:
            faults[i] = ("not_arrow", "the body of the event is no Arrow stream") if bodies[i] else _EMPTY
            continue
        schema = table.schema.remove_metadata()
        if schema not in names:
            names[schema] = naming.unique(schema.names)
        if not known & set(names[schema]):
            faults[i] = ("another_table", "the Arrow stream has none of the table's columns")
        elif not table.num_rows:
            empty += 1
        else:
            places = [pa.repeat(pa.scalar(i, pa.int32()), len(table)), pa.array(np.arange(len(table), dtype=np.int32))]
            columns = [*_plain(table.columns), *places, pa.nulls(len(table), pa.binary())]
            groups.setdefault(schema, []).append(pa.table(columns, names=[*names[schema], "_event", "_row", "_raw"]))
    return [pa.concat_tables(tables) for tables in groups.values()], empty


def _read_stream(body: bytes) -> pa.Table | None:
    """The stream's rows, or None for what is no sound Arrow stream."""
    try:
        with pa.ipc.open_stream(body) as reader:
            table = reader.read_all()
        table.validate(full=True)  # bytes from outside: an offset may point anywhere
    except (pa.ArrowException, OSError, ValueError, MemoryError):
        return None
    return table


def _plain(columns: Iterable[pa.ChunkedArray]) -> list[pa.ChunkedArray]:
    return [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in columns]


@dataclass(frozen=True)
class _Lines:
    rows: list[pa.Table]
    rejects: pa.Table


def _from_json(bodies: list[tuple[bytes, str]], which: list[int], keys: JsonKeys, faults: dict[int, Fault]) -> _Lines:
    """All JSON bodies as one block of lines, parsed at once; rows and rejects with `_event` and `_row`."""
    texts = [b if b[:1] == b"{" and b"\n" not in b else _as_lines(b, kind) for b, kind in bodies]
    for i, text in zip(which, texts, strict=True):
        if not text or not text.strip():
            faults[i] = _EMPTY
    parsed = parse_block(Block(b"\n".join(texts), 0), keys)
    ends = np.cumsum([len(text) + 1 for text in texts]) if texts else np.zeros(0, np.int64)
    at = [batch["_position"].to_numpy(zero_copy_only=False) for batch in (parsed.rows, parsed.rejects)]
    line_event = [np.searchsorted(ends, places, side="right") for places in at]
    every = np.sort(np.concatenate(at))  # the records of an event are counted over rows and rejects
    first = np.searchsorted(every, np.concatenate([[0], ends[:-1]])) if texts else ends
    numbers = np.asarray(which, np.int32)
    result = []
    for batch, places, event in zip((parsed.rows, parsed.rejects), at, line_event, strict=True):
        row = (np.searchsorted(every, places) - first[event]).astype(np.int32) if len(places) else np.zeros(0, np.int32)
        table = pa.Table.from_batches([batch]).drop_columns(["_position"])
        of = numbers[event] if len(places) else np.zeros(0, np.int32)
        result.append(table.append_column("_event", pa.array(of)).append_column("_row", pa.array(row)))
    return _Lines([result[0]] if result[0].num_rows else [], result[1])


def _as_lines(body: bytes, kind: str) -> bytes:
    """The records of a body, each on one line. Line feeds inside of a JSON value can only be white space."""
    text = body.removeprefix(BOM).strip()
    if kind == "lines" or not text:
        return text
    if text[:1] == b"[":
        return _elements(text)
    first = text.split(b"\n", 1)[0].rstrip()
    if text[:1] == b"{" and not first.endswith(b"}"):
        return text.replace(b"\r", b" ").replace(b"\n", b" ")
    return text


def _elements(text: bytes) -> bytes:
    """The elements of a JSON array, one a line, each as it is written; what is none stays one line and is refused."""
    whole = text.replace(b"\r", b" ").replace(b"\n", b" ")
    try:
        decoded, scan = whole.decode("utf-8"), json.JSONDecoder(parse_float=str, parse_int=str).raw_decode
        elements, at = [], 0
        while decoded[at] in ("," if at else "["):
            begin = _skip(decoded, at + 1)
            _, end = scan(decoded, begin)
            elements.append(decoded[begin:end])
            at = _skip(decoded, end)
        sound = decoded[at] == "]" and at + 1 == len(decoded)
        return "\n".join(elements).encode() if sound else whole
    except (ValueError, IndexError, RecursionError):
        return whole


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t":
        at += 1
    return at


def _united(tables: list[pa.Table]) -> pa.Table:
    """All rows in one table; a column that comes in two types becomes text."""
    if not tables:
        return pa.table({"_event": pa.array([], pa.int32()), "_row": pa.array([], pa.int32()), "_raw": _NO_RAW})
    types: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            types.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, met in types.items() if len(met - {pa.null()}) > 1}
    alike: Callable[[pa.Table], pa.Table] = lambda table: pa.table(  # noqa: E731
        {name: _text(table[name]) if name in mixed else table[name] for name in table.column_names}
    )
    return pa.concat_tables([alike(table) for table in tables] if mixed else tables, promote_options="default")


_NO_RAW = pa.array([], pa.binary())


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_temporal(column.type) and not pa.types.is_duration(column.type):
        return pc.cast(column, pa.string())  # with a "Z" where it has a zone
    return pa.chunked_array([text_cells(pl.Series("", column)).to_arrow(compat_level=pl.CompatLevel.oldest())]).cast(
        pa.string()
    )


def _placed(rows: pa.Table, events: pa.RecordBatch, schema: pa.Schema | None = None) -> pa.RecordBatch:
    """The rows with their event's position and time, in order of position and row."""
    event, row = rows["_event"].to_numpy(), rows["_row"].to_numpy()
    order = np.lexsort((row, event))
    if len(order) and (np.diff(order) < 0).any():
        rows, event = rows.take(pa.array(order)), event[order]
    at = pa.array(event)
    columns = {name: rows[name] for name in rows.column_names if name not in ("_event", "_raw", "_row")}
    columns |= {"_position": events["sequence_number"].take(at), "_row": rows["_row"]}
    columns |= {"_enqueued_at": events["enqueued_at"].take(at), "_raw": rows["_raw"]}
    table = pa.table(columns)
    table = table.select(schema.names).cast(schema) if schema else table
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _refused(events: pa.RecordBatch, faults: dict[int, Fault]) -> pa.RecordBatch:
    """Whole events as rejects."""
    which = sorted(faults)
    taken = events.take(pa.array(which, pa.int64()))
    bodies = taken["body"].to_pylist()
    columns = [
        taken["sequence_number"],
        pa.array([body[:RAW_LIMIT] for body in bodies], pa.binary()),
        pa.array([len(body) for body in bodies], pa.int64()),
        pa.array([faults[i][0] for i in which], pa.string()),
        pa.array([faults[i][1] for i in which], pa.string()),
        pa.array([0] * len(which), pa.int32()),
        taken["enqueued_at"],
    ]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTED_EVENTS)
