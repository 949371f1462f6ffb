"""From working frames to contract tables.

While rows are being made, money and other decimals are whole numbers of the last digit (cents), times are microseconds
since 1970 and dates are days since 1970; `finish` gives them the contract's types.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS

SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
YEAR = 365.25 * DAY


def finish(name: str, frame: pl.DataFrame) -> pa.Table:
    """The rows of `frame` as the table `name`: all contract columns, in order, typed; an absent column is null."""
    schema = CONTRACTS[name].arrow
    arrays = [
        _array(frame[field.name], field.type) if field.name in frame.columns else pa.nulls(frame.height, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def _array(values: pl.Series, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(wanted) and values.dtype.is_integer():
        return decimals(values, wanted)
    if pa.types.is_timestamp(wanted) and values.dtype.is_integer():
        values = values.cast(pl.Datetime("us", "UTC"))
    elif pa.types.is_date(wanted) and values.dtype.is_integer():
        values = values.cast(pl.Int32).cast(pl.Date)
    array = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    return array if array.type == wanted else array.cast(wanted)


def decimals(unscaled: pl.Series, wanted: pa.Decimal128Type) -> pa.Array:
    """Exact decimals from whole numbers of the last digit, with nothing rounded and nothing parsed."""
    low = unscaled.cast(pl.Int64).fill_null(0).to_numpy()
    if len(low) and np.abs(low).max() >= 10**wanted.precision:
        raise ValueError(f"column {unscaled.name}: a value does not fit {wanted}")
    words = np.empty((len(low), 2), np.int64)
    words[:, 0], words[:, 1] = low, low >> 63
    valid = pa.array(unscaled.is_not_null().to_numpy()).buffers()[1] if unscaled.null_count() else None
    return pa.Array.from_buffers(wanted, len(low), [valid, pa.py_buffer(words)])


def identifiers(prefix: str, shard: int, size: int) -> pl.Series:
    """`size` identifiers that no other shard uses, such as `W00003-0000012`."""
    numbers = pl.Series(np.arange(size), dtype=pl.Int64).cast(pl.String).str.zfill(7)
    return pl.select(pl.lit(f"{prefix}{shard:05d}-") + numbers).to_series()
