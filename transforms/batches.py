"""Arrow record batches as Beam elements."""

from __future__ import annotations

import json
import struct

import apache_beam as beam
import pyarrow as pa

from transforms.positions import Piece

_LENGTH = struct.Struct("<I")


class RecordBatchCoder(beam.coders.Coder):
    """Encodes a `pyarrow.RecordBatch` as one LZ4-compressed Arrow IPC stream."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(sink, value.schema, options=options) as writer:
            writer.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        return int(value.nbytes)  # without it Beam encodes batches only to weigh them

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type:
        return pa.RecordBatch


class PieceCoder(beam.coders.Coder):
    """Encodes a `Piece` as its range and its rows, those as `RecordBatchCoder` does."""

    def __init__(self) -> None:
        self._rows = RecordBatchCoder()

    def encode(self, value: Piece) -> bytes:
        rows = self._rows.encode(value.rows)
        aside = b"" if value.aside is None else self._rows.encode(value.aside)
        head = json.dumps([value.log, value.low, value.high, value.gap, value.marks, len(aside)]).encode()
        return b"".join([_LENGTH.pack(len(head)), head, aside, rows])

    def decode(self, encoded: bytes) -> Piece:
        (length,) = _LENGTH.unpack_from(encoded)
        start = _LENGTH.size + length
        log, low, high, gap, marks, size = json.loads(encoded[_LENGTH.size : start])
        aside = self._rows.decode(encoded[start : start + size]) if size else None
        rows = self._rows.decode(encoded[start + size :])
        return Piece(log, low, high, rows, tuple(gap) if gap else None, tuple(map(tuple, marks)), aside)

    def estimate_size(self, value: Piece) -> int:
        return int(value.rows.nbytes) + 64

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type:
        return Piece


def register_batch_coder() -> None:
    """Makes Beam carry record batches and pieces as Arrow; called from each `expand`, or Beam would pickle them."""
    beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)
    beam.coders.registry.register_coder(Piece, PieceCoder)


def as_table(batch: pa.RecordBatch) -> pa.Table:
    """A table over the same buffers, nothing copied."""
    return pa.Table.from_batches([batch])


def as_batch(table: pa.Table) -> pa.RecordBatch:
    """The rows of `table` as one batch; copies only when the table has several chunks."""
    if table.num_rows == 0:
        return pa.RecordBatch.from_pylist([], schema=table.schema)
    batches = table.to_batches()  # `combine_chunks` would copy a single chunk, too
    return batches[0] if len(batches) == 1 else table.combine_chunks().to_batches()[0]
