"""Casts one column of source cells, text or typed, to the type its contract declares."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import UsageError

# Tried in this order, each on what the ones before could not read. A time without a zone is UTC.
_TIMESTAMP_FORMATS = (
    ("%Y-%m-%dT%H:%M:%S%.fZ", False),
    ("%Y-%m-%d %H:%M:%S%.f", False),
    ("%Y-%m-%dT%H:%M:%S%.f", False),
    ("%Y-%m-%dT%H:%M:%S%.f%#z", True),
    ("%Y-%m-%d %H:%M:%S%.f%#z", True),
    ("%Y-%m-%dT%H:%M", False),
    ("%Y-%m-%d %H:%M", False),
)
_TRUE = ("true", "t", "yes", "y", "1")
_FALSE = ("false", "f", "no", "n", "0")


_DAY = re.compile(r"^\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})(?:$|[ T,])")
_CLOCKS = ("", " %H:%M", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p")
DATES = {"iso": "", "day-first": "%d-%m-", "month-first": "%m-%d-"}


@dataclass(frozen=True)
class Spelling:
    """How text writes numbers and dates.

    Attributes:
      decimal: "." or "," with the other mark, spaces or apostrophes between thousands; empty: a point, and nothing
        between thousands.
      dates: "iso", or what a date like 03/04/2010 begins with: "day-first" or "month-first". ISO is always read.

    Raises:
      UserError: neither is one of these.
    """

    decimal: str = ""
    dates: str = "iso"

    def __post_init__(self) -> None:
        if self.decimal not in ("", ".", ","):
            raise UsageError(f"{self.decimal!r} is no decimal mark", remedy="use --decimal . or --decimal ,")
        if self.dates not in DATES:
            raise UsageError(f"{self.dates!r} is no order of dates", remedy=f"use --dates {' or '.join(DATES)}")

    def numbers(self, text: pl.Series) -> pl.Series:
        """Numbers with a point and nothing between thousands; null where it is not written so."""
        if not self.decimal:
            return text
        thousands = "." if self.decimal == "," else ","
        mark, group = re.escape(self.decimal), rf"[{re.escape(thousands)} '\u2019\u00a0\u202f]"
        form = rf"^[+-]?(?:\d+|\d{{1,3}}(?:{group}\d{{3}})+)?(?:{mark}\d*)?(?:[eE][+-]?\d+)?$"
        fits = text.str.contains(form).fill_null(False)
        return text.set(~fits, None).str.replace_all(group, "").str.replace(self.decimal, ".", literal=True)

    def times(self, text: pl.Series) -> pl.Series:
        """Times of dates that begin with a day or a month, as `dates` says; null for others, also ISO. UTC."""
        fits = text.str.contains(_DAY.pattern).fill_null(False)
        clean = text.set(~fits, None).str.replace(r"^(\d+)[./](\d+)[./](\d+)", "$1-$2-$3").str.replace(r"[T,]\s*", " ")
        times = pl.Series(text.name, [None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, len(text))
        for digits, year in ((4, "%Y"), (2, "%y")):
            wide = clean.str.contains(rf"^\d+-\d+-\d{{{digits}}}(?: |$)").fill_null(False)
            for clock in _CLOCKS:
                read = clean.set(~wide, None).str.to_datetime(
                    DATES[self.dates] + year + clock, strict=False, time_unit="us"
                )
                times = times.zip_with(times.is_not_null(), read.dt.replace_time_zone("UTC"))
        return times


AS_USUAL = Spelling()


@dataclass(frozen=True)
class Cells:
    """`values` in the wanted type; `failed`: true where a cell held something that is not of that type.

    `rounded`: true where a decimal had more places than wanted; None where none had.
    """

    values: pl.Series
    failed: pl.Series
    rounded: pl.Series | None = None


def cast_cells(cells: pl.Series, wanted: pa.DataType, spelling: Spelling = AS_USUAL) -> Cells:
    """Casts `cells`, or says which could not be cast; a failed cell is null in `values`.

    Blank text is a missing value for every type but text. Decimals are rounded to the declared scale; a decimal
    with more integer digits than declared fails. Timestamps become UTC; one without a zone is taken as UTC.
    """
    target = _polars_type(wanted)
    if cells.dtype == target or cells.dtype == pl.Null:
        return Cells(cells.cast(target), _none(cells))
    if cells.dtype == pl.Binary:
        text = pl.Series(cells.name, [_decoded(value) for value in cells.to_list()], dtype=pl.String)
        read = cast_cells(text, wanted, spelling)
        return Cells(read.values, read.failed | (cells.is_not_null() & text.is_null()))
    if target == pl.String:
        return Cells(_as_text(cells), _none(cells))
    if cells.dtype != pl.String:
        typed = _cast_typed(cells, target)
        if typed is not None:
            return Cells(typed, cells.is_not_null() & typed.is_null(), _rounded(cells, typed))
        cells = _as_text(cells)
    text = cells.str.strip_chars()
    given = (text != "").fill_null(False)
    if not given.all():
        text = text.set(~given, None)
    parsed = _parse_spelt(text, target, spelling)
    return Cells(parsed, given & parsed.is_null(), _rounded(spelling.numbers(text), parsed))


def text_cells(cells: pl.Series) -> pl.Series:
    """Any cells as text, none lost: bytes that are no UTF-8 are written as escapes."""
    if cells.dtype != pl.Binary:
        return cast_cells(cells, pa.string()).values
    text = [None if value is None else value.decode("utf-8", "backslashreplace") for value in cells.to_list()]
    return pl.Series(cells.name, text, dtype=pl.String)


def _rounded(cells: pl.Series, values: pl.Series) -> pl.Series | None:
    """Where a decimal is not what its cell said. The noise of binary fractions (0.1 + 0.2) is no rounding."""
    if not isinstance(values.dtype, pl.Decimal) or cells.dtype.is_integer():
        return None
    said, kept = cells.cast(pl.Float64, strict=False), values.cast(pl.Float64)
    noise = 1e-6 if cells.dtype == pl.Float32 else 1e-12 if cells.dtype == pl.Float64 else 2.0**-50
    rounded = ((said - kept).abs() > kept.abs() * noise).fill_null(False)
    return rounded if rounded.any() else None


def _polars_type(wanted: pa.DataType) -> pl.DataType:
    return pl.Series(pl.from_arrow(pa.array([], wanted))).dtype


def _none(cells: pl.Series) -> pl.Series:
    return pl.Series(cells.name, np.zeros(len(cells), bool))


def _as_text(cells: pl.Series) -> pl.Series:
    if cells.dtype == pl.String:
        return cells
    if cells.dtype.is_nested():
        return pl.Series(cells.name, [None if v is None else _json(v) for v in cells.to_list()], dtype=pl.String)
    if cells.dtype.is_float():
        whole = cells.cast(pl.Int64, strict=False)  # identifiers read as floats: 13085.0 is customer 13085
        same = (whole.cast(pl.Float64) == cells.cast(pl.Float64)).fill_null(False)
        return cells.cast(pl.String).zip_with(~same, whole.cast(pl.String))
    try:
        return cells.cast(pl.String)
    except pl.exceptions.PolarsError:  # durations and the like have no text of their own
        return pl.Series(cells.name, [None if v is None else str(v) for v in cells.to_list()], dtype=pl.String)


def _decoded(value: bytes | None) -> str | None:
    """The text, or None for bytes that are no UTF-8."""
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _cast_typed(cells: pl.Series, target: pl.DataType) -> pl.Series | None:
    """Casts between typed columns, or None where the cells are better read as text."""
    source = cells.dtype
    if isinstance(target, pl.Datetime):
        if isinstance(source, pl.Datetime):
            utc = cells.dt.replace_time_zone("UTC") if source.time_zone is None else cells.dt.convert_time_zone("UTC")
            return utc.cast(target)
        return cells.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") if source == pl.Date else None
    if target == pl.Date:
        return cells.dt.date() if isinstance(source, pl.Datetime) else None
    if target == pl.Int64 and source.is_numeric():
        whole = cells.cast(pl.Int64, strict=False)
        exact = (whole.cast(pl.Float64) == cells.cast(pl.Float64)).fill_null(False)
        return whole.set(~exact, None)
    if isinstance(target, pl.Decimal) and source.is_numeric():
        return cells.cast(target, strict=False)
    if target == pl.Float64 and source.is_numeric():
        return cells.cast(pl.Float64, strict=False)
    return None


def _parse_spelt(text: pl.Series, target: pl.DataType, spelling: Spelling) -> pl.Series:
    if target.is_numeric():
        return _parse(spelling.numbers(text), target)
    if spelling.dates == "iso" or not target.is_temporal():
        return _parse(text, target)
    spelt = spelling.times(text)
    rest = text.set(spelt.is_not_null(), None)
    spelt = spelt.dt.date() if target == pl.Date else spelt
    return spelt.zip_with(spelt.is_not_null(), _parse(rest, target))


def _parse(text: pl.Series, target: pl.DataType) -> pl.Series:
    if target == pl.Int64:
        return _parse_integers(text)
    if target == pl.Date:
        return _parse_dates(text)
    if isinstance(target, pl.Datetime):
        return _parse_timestamps(text)
    if target == pl.Boolean:
        lower = text.str.to_lowercase()
        return lower.is_in(_TRUE).set(~lower.is_in(_TRUE + _FALSE).fill_null(False), None)
    return text.cast(target, strict=False)


def _parse_integers(text: pl.Series) -> pl.Series:
    whole = text.cast(pl.Int64, strict=False)
    rest = text.is_not_null() & whole.is_null()
    if not rest.any():
        return whole
    number = text.filter(rest).cast(pl.Float64, strict=False)  # "5.0", "1e3"
    exact = (number.is_finite() & (number == number.round(0)) & (number.abs() < 2**53)).fill_null(False)
    return whole.scatter(rest.arg_true(), number.set(~exact, None).cast(pl.Int64, strict=False))


def _parse_dates(text: pl.Series) -> pl.Series:
    dates = _whole_years(text.str.to_date("%Y-%m-%d", strict=False), text)
    rest = text.is_not_null() & dates.is_null()
    if not rest.any():
        return dates
    return dates.scatter(rest.arg_true(), _parse_timestamps(text.filter(rest)).dt.date())


def _parse_timestamps(text: pl.Series) -> pl.Series:
    times = pl.Series(text.name, [None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, len(text))
    for read in (*(_reader(*form) for form in _TIMESTAMP_FORMATS), _read_days, _read_epochs):
        rest = text.is_not_null() & times.is_null()
        if not rest.any():
            break
        found = read(text.filter(rest))
        times = found if rest.all() else times.scatter(rest.arg_true(), found)
    return _whole_years(times, text)


def _whole_years(when: pl.Series, text: pl.Series) -> pl.Series:
    """Without what was read from "01-12-10" as of the year 1."""
    early = (when.dt.year() < 1000).fill_null(False)
    return when.set(early & ~text.str.contains(r"^\d{4}").fill_null(False), None) if early.any() else when


def _reader(form: str, zoned: bool):  # type: ignore[no-untyped-def]
    def read(text: pl.Series) -> pl.Series:
        if zoned:
            return text.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
        return text.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone("UTC")

    return read


def _read_days(text: pl.Series) -> pl.Series:
    return text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _read_epochs(text: pl.Series) -> pl.Series:
    """Unix time in whole seconds (10 digits) or milliseconds (13 digits)."""
    number = text.cast(pl.Int64, strict=False)
    digits = text.str.len_chars()
    micros = (number * 1_000_000).set(digits != 10, None)
    micros = micros.zip_with(digits != 13, number * 1_000)
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def reads_as_number(cells: pl.Series, spelling: Spelling = AS_USUAL) -> pl.Series:
    """True where a cell is a number, written so: tells an overflow from something that is no number."""
    text = spelling.numbers(cells.str.strip_chars()) if cells.dtype == pl.String else cells.cast(pl.String)
    number = text.cast(pl.Float64, strict=False)  # 1e400 reads as infinite, as the word does
    return (number.is_finite() | (number.is_infinite() & text.str.contains(r"\d"))).fill_null(False)


def arrow(series: pl.Series, wanted: pa.DataType) -> pa.Array:
    """The series as one Arrow array of exactly the wanted type."""
    array = series.to_arrow(compat_level=pl.CompatLevel.oldest())
    return array if array.type == wanted else pc.cast(array, wanted)
