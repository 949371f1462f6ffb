"""Rows to bodies of events, and the partition each row belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.generator.jsonl import to_json_lines
from transforms.io.event_hubs_bodies import ARROW, JSON, JSON_LINES
from transforms.io.source import Reject, rejected_batch

Form = Literal["row", "lines", "arrow"]
CONTENT_TYPES: dict[Form, str] = {"row": JSON, "lines": JSON_LINES, "arrow": ARROW}


@dataclass(frozen=True)
class Body:
    """One event to send: the number of its partition, its bytes and how many rows they hold."""

    partition: int
    data: bytes
    rows: int


def encode_rows(
    rows: pa.RecordBatch, form: Form, partition: np.ndarray, target_bytes: int, limit_bytes: int
) -> tuple[list[Body], pa.RecordBatch]:
    """(events in row order within each partition, rows too large for one event).

    Args:
      rows: columns whose names begin with "_" are left out.
      form: one JSON row an event, JSON lines, or an Arrow stream.
      partition: the partition number of each row.
      target_bytes: about how large an event of many rows becomes.
      limit_bytes: the most an event may hold. A row beyond it is a reject (`event_too_large`, schema REJECTED;
        `_position` is the row's number in the batch).
    """
    table = pa.Table.from_batches([rows.select([n for n in rows.schema.names if not n.startswith("_")])])
    order = np.argsort(partition, kind="stable")
    bodies: list[Body] = []
    rejects: list[Reject] = []
    numbers, starts = np.unique(partition[order], return_index=True)
    for number, places in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True) if len(order) else ():
        part = table.take(pa.array(places)) if len(numbers) > 1 else table
        chunks = _arrow(part, target_bytes, limit_bytes) if form == "arrow" else _json(part, form, target_bytes)
        at = 0
        for data, count in chunks:
            if len(data) <= limit_bytes:
                bodies.append(Body(number, data, count))
            else:  # one row, since larger chunks are halved before
                reason = f"the row makes an event of {len(data):,} bytes, the hub takes {limit_bytes:,}"
                rejects.append(Reject(int(places[at]), data, len(data), "event_too_large", reason))
            at += count
    return bodies, rejected_batch(rejects)


def _json(part: pa.Table, form: Form, target_bytes: int) -> Iterator[tuple[bytes, int]]:
    """(lines, how many), never more than the target unless it is one line."""
    text = to_json_lines(part)
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
    first, begin = 0, 0
    while first < len(ends):
        last = first + 1
        if form == "lines":
            last = max(last, int(np.searchsorted(ends, begin + target_bytes, side="right")))
        end = int(ends[last - 1])
        yield text[begin : end - 1], last - first
        first, begin = last, end


def _arrow(part: pa.Table, target_bytes: int, limit_bytes: int) -> Iterator[tuple[bytes, int]]:
    step = max(1, int(target_bytes / max(1, part.nbytes / max(1, part.num_rows))))
    for at in range(0, part.num_rows, step):
        yield from _halved(part.slice(at, step), limit_bytes)


def _halved(part: pa.Table, limit_bytes: int) -> Iterator[tuple[bytes, int]]:
    data = _stream(part)
    if len(data) <= limit_bytes or part.num_rows == 1:
        yield data, part.num_rows
        return
    half = part.num_rows // 2
    yield from _halved(part.slice(0, half), limit_bytes)
    yield from _halved(part.slice(half), limit_bytes)


def _stream(part: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, part.schema) as writer:
        writer.write_table(part)
    return sink.getvalue().to_pybytes()


def partition_numbers(keys: pa.Array | None, rows: int, partitions: int, turn: int) -> np.ndarray:
    """The partition number of each row: where the service puts an event with this key; in turn where there is none.

    Bob Jenkins' lookup3 (2006), both words folded to an int16, as the clients of the service have it. It is computed
    here since one batch of events carries one key, and there are nearly as many keys as rows.

    Args:
      keys: of any type; a null or empty one is none.
      turn: the partition of the first row that has no key.
    """
    spread = (np.arange(rows) + turn) % partitions
    if keys is None:
        return spread
    text = pc.cast(keys, pa.string()).dictionary_encode()
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    values = [value.encode() for value in text.dictionary.to_pylist()]
    numbers = np.append(_hashes(values) % partitions, -1)
    found = numbers[pc.fill_null(text.indices, len(values)).to_numpy(zero_copy_only=False)]
    empty = np.array([not value for value in values] + [True])
    found[empty[pc.fill_null(text.indices, len(values)).to_numpy(zero_copy_only=False)]] = -1
    return np.where(found < 0, spread, found)


def _hashes(values: list[bytes]) -> np.ndarray:
    """The service's hash of each key, as an int16 in int64."""
    lengths = np.array([len(value) for value in values], np.int64)
    blocks = np.maximum(1, -(-lengths // 12))
    width = int(blocks.max(initial=1)) * 12
    padded = b"".join(value.ljust(width, b"\0") for value in values)
    words = np.frombuffer(padded, "<u4").reshape(len(values), width // 12, 3).astype(np.uint32)
    state = [(np.uint32(0xDEADBEEF) + lengths.astype(np.uint32)) for _ in range(3)]
    for block in range(words.shape[1]):
        live, last = blocks > block, blocks == block + 1
        a, b, c = (np.where(live, old + words[:, block, i], old) for i, old in enumerate(state))
        mixed, ended = _mix(a, b, c), _final(a, b, c)
        state = [
            np.where(last, end, np.where(live, mix, old)) for end, mix, old in zip(ended, mixed, state, strict=True)
        ]
    _, b, c = state
    return ((b ^ c) & np.uint32(0xFFFF)).astype(np.uint16).astype(np.int16).astype(np.int64)


def _rotate(x: np.ndarray, k: int) -> np.ndarray:
    return (x << np.uint32(k)) | (x >> np.uint32(32 - k))


def _mix(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for k in (4, 6, 8, 16, 19, 4):
        a, c = (a - c) ^ _rotate(c, k), c + b
        a, b, c = b, c, a
    return a, b, c


def _final(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for k in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - _rotate(b, k)
        a, b, c = b, c, a
    return c, a, b  # seven steps turn the words once too often
