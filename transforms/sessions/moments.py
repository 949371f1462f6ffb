"""Times as people's files hold them, as UTC microseconds."""

from __future__ import annotations

import polars as pl

from transforms.bronze.cells import cast_cells
from transforms.sessions.event import EVENTS

_UTC = pl.Datetime("us", "UTC")
# Unix time: seconds below the first limit (the year 5138), milliseconds below the next, then micro- and nanoseconds.
_SCALES = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0), (float("inf"), 0.001))


def read_moments(cells: pl.Series) -> pl.Series:
    """ISO 8601 (without a zone: UTC) or Unix time in seconds, milliseconds, microseconds or nanoseconds; else null.

    The unit of Unix time is told by its size, so that it is the same for a whole file only where all times are of one
    era: milliseconds before 1973 look like seconds.
    """
    if cells.dtype.is_numeric():
        return _unix(cells)
    moments = _fast(cells)
    rest = cells.is_not_null() & moments.is_null()
    if not rest.any():
        return moments
    left = cells.filter(rest)
    found = cast_cells(left, EVENTS.field("event_time").type).values
    if left.dtype == pl.String:
        number = left.str.strip_chars().cast(pl.Float64, strict=False)
        exact = left.str.strip_chars().cast(pl.Int64, strict=False)
        found = _unix(exact).fill_null(_unix(number)).fill_null(found)
    return moments.scatter(rest.arg_true(), found)


def _fast(cells: pl.Series) -> pl.Series:
    """What is a time already, or ISO 8601 in UTC as machines write it."""
    if isinstance(cells.dtype, pl.Datetime):
        zoned = cells.dt.replace_time_zone("UTC") if cells.dtype.time_zone is None else cells
        return zoned.dt.convert_time_zone("UTC").cast(_UTC)
    if cells.dtype != pl.String:
        return pl.Series(cells.name, [None], _UTC).new_from_index(0, len(cells))
    return cells.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", strict=False, time_unit="us").dt.replace_time_zone("UTC")


def _unix(number: pl.Series) -> pl.Series:
    """Whole numbers are exact to the microsecond, others as exact as 64-bit floating point is."""
    size = number.cast(pl.Float64).abs()
    micros = pl.Series(number.name, [None], pl.Int64).new_from_index(0, len(number))
    low = -1.0
    for high, scale in _SCALES:
        here = (size.is_between(low, high, closed="right") & micros.is_null()).fill_null(False)
        if here.any():
            if number.dtype.is_integer():
                whole = number.cast(pl.Int64, strict=False)
                scaled = whole * int(scale) if scale >= 1 else whole // 1000
            else:
                scaled = (number.cast(pl.Float64) * scale).round().cast(pl.Int64, strict=False)
            micros = scaled.zip_with(here, micros) if not here.all() else scaled
        low = high
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
