"""What the session kernels read: one row an event of a visitor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EVENTS = pa.schema(
    [
        pa.field("visitor", pa.string(), nullable=False),  # who: a customer, a cookie, a device
        pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("event_id", pa.string()),  # tells a row sent twice from two events; null never equals null
        pa.field("event_type", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("source", pa.string()),  # where the visit came from
        pa.field("campaign", pa.string()),
        pa.field("page", pa.string()),
        pa.field("order_id", pa.string()),
        pa.field("value", pa.decimal128(18, 4)),
        pa.field("tracker_session", pa.string()),  # the session as the tracker numbered it, if it did
    ]
)
OPTIONAL = tuple(field.name for field in EVENTS if field.nullable)
# Years 1 to 9999 in microseconds since 1970: beyond them a gap or a time zone could leave the range of 64 bits.
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_800_000_000


class Split(NamedTuple):
    """`accepted`: rows the kernels take, every column of EVENTS; `refused`: per row of the input, why not, or null."""

    accepted: pa.Table
    refused: pa.Array


def split_events(events: pa.Table | pa.RecordBatch) -> Split:
    """Keeps the rows that have a visitor and a time between the years 1 and 9999; columns that lack become null.

    `refused` holds "required" (no visitor, or no time) and "time_out_of_range"; no reason holds a value.
    """
    visitor, time = events["visitor"].cast(pa.string()), events["event_time"].cast(EVENTS.field("event_time").type)
    there = pc.and_(pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(visitor), ""), False), pc.is_valid(time))
    micros = pc.fill_null(time.cast(pa.int64()), 0)
    inside = pc.and_(pc.greater_equal(micros, EARLIEST), pc.less(micros, LATEST))
    refused = pc.if_else(there, pc.if_else(inside, pa.scalar(None, pa.string()), "time_out_of_range"), "required")
    refused = refused.combine_chunks() if isinstance(refused, pa.ChunkedArray) else refused
    table = pa.Table.from_batches([events]) if isinstance(events, pa.RecordBatch) else events
    kept = table if refused.null_count == len(refused) else table.filter(pc.is_null(refused))
    return Split(complete(kept), refused)


def complete(events: pa.Table) -> pa.Table:
    """The rows as EVENTS has them: its columns, its order and its types; columns that lack are null."""
    names = events.column_names
    columns = [events[f.name].cast(f.type) if f.name in names else pa.nulls(events.num_rows, f.type) for f in EVENTS]
    return pa.table(columns, schema=EVENTS)


def units_of(values: pa.Array) -> np.ndarray:
    """Decimals of 18 digits as whole numbers of their last place; null is 0. Nothing is copied where none is null."""
    filled = values if values.null_count == 0 else values.fill_null(0)
    if len(filled) == 0:
        return np.empty(0, np.int64)
    words = np.frombuffer(filled.buffers()[1], np.int64)[::2]  # 18 digits fit in the low word, with its sign
    return words[filled.offset : filled.offset + len(filled)]


def decimals_of(units: np.ndarray, kind: pa.DataType) -> pa.Array:
    """The other way round."""
    words = np.empty((len(units), 2), np.int64)
    words[:, 0], words[:, 1] = units, units >> 63
    return pa.Array.from_buffers(kind, len(units), [None, pa.py_buffer(words)])
