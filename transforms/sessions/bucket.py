"""Pieces of a log of events, cut into one piece for each bucket of visitors, with how far the log was by then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from transforms.batches import as_batch, as_table
from transforms.positions import Piece
from transforms.sessions.event import EVENTS
from transforms.sessions.fold import CLOCK, POSITION
from transforms.sessions.reach import NEVER, UNKNOWN, Reach, merged, reaches, witnesses
from transforms.shuffle import split_buckets
from transforms.silver.keys import key_hashes

FED = pa.schema([*EVENTS, CLOCK, POSITION])  # what the stream's state is fed with
ARRIVED = pa.field("arrived", CLOCK.type)  # when the source took the row; may lack
NO_CLOCK = NEVER
STEPS = 1 << 20  # steps between two positions of a log; see `SessionizeStream`
_REACH = [pa.field(f"_{name}", pa.int64()) for name in Reach._fields]  # of the piece, up to the row
_PARTS = pa.schema([*EVENTS, POSITION, *_REACH])
_END_KEY = b"reach"


class Standing(NamedTuple):
    """Where a bucket stands when a job begins: the last position it took and the last step it gave out, the clock,
    the log's reach, and the rows (FED) of sessions that are open."""

    cursor: int
    given: int
    clock_us: int
    reach: Reach
    rows: pa.Table


def bucket_pieces(piece: Piece, buckets: int, skew_us: int = 0) -> Iterator[Piece]:
    """One piece with the same positions for each bucket, of the log "<log>/<bucket>"; most may hold no rows.

    Its rows know the reach of the piece up to them, and the piece that of its end (`reach_of`), so that the reach and
    the clock of the whole log follow from the pieces in order, wherever they are cut. A row's time counts at most as
    when it arrived, and not at all if it is further ahead of that than the skew.

    Args:
      piece: rows with columns of EVENTS, each with a visitor and a time; POSITION and ARRIVED if they know them.
    """
    rows, times = _rows_of(piece, skew_us)
    columns = [*rows.columns, *(pa.nulls(0, pa.int64()) for _ in _REACH)]
    end = UNKNOWN
    if rows.num_rows:
        visitors = key_hashes(rows, ("visitor",))
        reach = reaches(times, witnesses(visitors, rows[POSITION.name].to_numpy()))
        columns = [*rows.columns, *map(pa.array, reach)]
        end = Reach(*(int(values[-1]) for values in reach))
    told = _PARTS.with_metadata({_END_KEY: json.dumps(end).encode()})
    batch = as_batch(pa.table(columns, schema=told))
    parts = dict(split_buckets(batch, ("visitor",), buckets)) if rows.num_rows else {}
    none = batch.slice(0, 0)
    for bucket in range(buckets):
        yield replace(piece, log=f"{piece.log}/{bucket}", rows=parts.get(bucket, none))


def _rows_of(piece: Piece, skew_us: int) -> tuple[pa.Table, np.ndarray]:
    """Columns of EVENTS and POSITION, in order of it, and the times that count. A row that does not know its position
    has at least the piece's first."""
    given, names = as_table(piece.rows), piece.rows.schema.names
    fields = [*EVENTS, POSITION, ARRIVED]
    columns = {f.name: given[f.name].cast(f.type) if f.name in names else _nulls(given, f) for f in fields}
    columns[POSITION.name] = columns[POSITION.name].fill_null(piece.low)
    rows = pa.table(columns, schema=pa.schema(fields)).sort_by(POSITION.name)
    times = rows["event_time"].cast(pa.int64()).to_numpy()
    arrived = rows[ARRIVED.name].cast(pa.int64()).fill_null(-NEVER).to_numpy()
    counted = np.where(times > arrived + skew_us, NEVER, np.minimum(times, arrived))
    return rows.drop_columns([ARRIVED.name]), counted


def _nulls(rows: pa.Table, field: pa.Field) -> pa.Array:
    return pa.nulls(rows.num_rows, field.type)


def reach_of(rows: pa.RecordBatch) -> Reach:
    """The reach of the piece that these rows are a bucket of."""
    return Reach(*json.loads(rows.schema.metadata[_END_KEY]))


def taken(piece: Piece, keep_from: int, reach: Reach, clock_us: int) -> pa.RecordBatch:
    """The rows from a position on as FED, each with the clock of the log at that row: behind earlier pieces, not
    before.

    Args:
      reach, clock_us: of the log before the piece.
    """
    rows = as_table(piece.rows.replace_schema_metadata(None))
    if keep_from > piece.low:
        rows = rows.filter(pa.compute.greater_equal(rows[POSITION.name], keep_from))
    behind = merged(reach, Reach(*(rows[field.name].to_numpy() for field in _REACH)))
    clocks = pa.array(np.maximum(behind.second_us, clock_us)).view(CLOCK.type)
    rows = rows.drop_columns([field.name for field in _REACH])
    return as_batch(rows.append_column(CLOCK, clocks).select(FED.names))
