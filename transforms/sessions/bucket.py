"""Pieces of a log of events, cut into one piece for each bucket of visitors, with the clock they were given at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from transforms.batches import as_batch, as_table
from transforms.positions import Piece
from transforms.sessions.event import EVENTS
from transforms.sessions.fold import CLOCK, POSITION
from transforms.shuffle import split_buckets

FED = pa.schema([*EVENTS, CLOCK, POSITION])  # what the stream's state is fed with
NO_CLOCK = -(2**62)  # before all times
STEPS = 1 << 20  # steps between two positions of a log; see `SessionizeStream`
_CLOCK_KEY = b"clock_us"


class Standing(NamedTuple):
    """Where a bucket stands when a job begins: the last position it took and the last step it gave out, the clock,
    and the rows (FED) of sessions that are open."""

    cursor: int
    given: int
    clock_us: int
    rows: pa.Table


def bucket_pieces(piece: Piece, buckets: int, arrived_us: int) -> Iterator[Piece]:
    """One piece with the same positions for each bucket, of the log "<log>/<bucket>"; most may hold no rows.

    The clock of a row is the latest event time up to it in its piece, and that of a piece (`clock_of`) up to its end,
    so that the latest event time of the whole log follows from the pieces in order, wherever they are cut. A tracker
    whose own clock is wrong cannot push it beyond `arrived_us`, when the rows arrived.

    Args:
      piece: rows with columns of EVENTS, each with a visitor and a time, and POSITION if they know it.
    """
    rows = _fed(piece)
    times = rows["event_time"].cast(pa.int64()).to_numpy()
    clocks = np.maximum.accumulate(np.append(NO_CLOCK, np.minimum(times, max(arrived_us, NO_CLOCK))))
    told = {_CLOCK_KEY: str(clocks[-1]).encode()}
    rows = rows.set_column(rows.schema.get_field_index(CLOCK.name), CLOCK, pa.array(clocks[1:]).view(CLOCK.type))
    rows = rows.replace_schema_metadata(told)
    parts = dict(split_buckets(as_batch(rows), ("visitor",), buckets)) if rows.num_rows else {}
    none = pa.RecordBatch.from_pylist([], schema=rows.schema)
    for bucket in range(buckets):
        yield replace(piece, log=f"{piece.log}/{bucket}", rows=parts.get(bucket, none))


def _fed(piece: Piece) -> pa.Table:
    """The rows as FED has them, in order; one that does not know its position has at least the piece's first."""
    rows, names = as_table(piece.rows), piece.rows.schema.names
    columns = {f.name: rows[f.name].cast(f.type) if f.name in names else pa.nulls(rows.num_rows, f.type) for f in FED}
    columns[POSITION.name] = columns[POSITION.name].fill_null(piece.low)
    return pa.table(columns, schema=FED).sort_by(POSITION.name)


def clock_of(rows: pa.RecordBatch) -> int:
    """How far the log was behind these rows, microseconds of event time; NO_CLOCK if it told none."""
    return int((rows.schema.metadata or {}).get(_CLOCK_KEY, NO_CLOCK))


def taken(piece: Piece, keep_from: int, clock_us: int) -> pa.RecordBatch:
    """The rows from a position on, each with the clock of the log at that row: behind earlier pieces, not before."""
    rows = piece.rows.replace_schema_metadata(None)
    if keep_from > piece.low:
        rows = rows.filter(pa.compute.greater_equal(rows[POSITION.name], keep_from))
    clocks = np.maximum(rows[CLOCK.name].cast(pa.int64()).to_numpy(zero_copy_only=False), clock_us)
    return rows.set_column(rows.schema.get_field_index(CLOCK.name), CLOCK, pa.array(clocks).view(CLOCK.type))
