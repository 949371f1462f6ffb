"""The raw columns that TF Transform reads, and Arrow batches as it wants them: every cell a list."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

RAW: pa.Schema = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),  # of the product, "" for none
        pa.field("category", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        pa.field("hour", pa.int64(), nullable=False),
        pa.field("price", pa.float32(), nullable=False),
        pa.field("history_items", pa.list_(pa.string()), nullable=False),  # oldest first
        pa.field("history_age_seconds", pa.list_(pa.int64()), nullable=False),
    ]
)


def as_lists(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of RAW with each cell in a list of one, text as bytes; what TF Transform's adapter reads."""
    columns = []
    for field in RAW:
        column = rows.column(field.name)
        if not pa.types.is_list(field.type):
            offsets = pa.array(range(rows.num_rows + 1), pa.int32())
            column = pa.ListArray.from_arrays(offsets, pc.cast(column, field.type))
        columns.append(column.cast(_listed(field.type)))
    return pa.RecordBatch.from_arrays(columns, schema=LISTED)


def _listed(kind: pa.DataType) -> pa.DataType:
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return pa.list_(pa.binary() if pa.types.is_string(inner) else inner)


LISTED: pa.Schema = pa.schema([pa.field(field.name, _listed(field.type)) for field in RAW])
