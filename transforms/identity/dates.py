"""Birth dates in any form, as eight digits."""

from __future__ import annotations

import polars as pl

from transforms.identity.fold import fold

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR_FIRST = r"^(\d{4})\D?(\d{1,2})\D?(\d{1,2})(?:\D|$)"
_YEAR_LAST = r"^(\d{1,2})\D(\d{1,2})\D(\d{4}|\d{2})(?:\D|$)"
_WORDS = r"^(\d{1,2})(?:st|nd|rd|th)?[^\da-z]*([a-z]{3})[a-z]*\D+(\d{4})|^([a-z]{3})[a-z]*\D+(\d{1,2})\D+(\d{4})"


def fold_dates(values: pl.Series) -> pl.Series:
    """yyyymmdd of dates, times, numbers and text; an impossible date keeps its digits, since it may be a typing error.

    Of "03/04/1985" the day comes first, unless a value of the column has a second part above 12 and none a first. A
    year alone is four digits. Two-digit years are of the last hundred years. What is nothing of this is null.
    """
    if values.dtype.is_temporal():
        return values.cast(pl.Date, strict=False).dt.strftime("%Y%m%d")
    text = fold(values.cast(pl.String)).str.replace(r"\.0$", "")
    frame = pl.DataFrame({"v": text}).with_columns(
        a=pl.col("v").str.extract_groups(_YEAR_FIRST).struct.rename_fields(["y", "m", "d"]),
        b=pl.col("v").str.extract_groups(_YEAR_LAST).struct.rename_fields(["d", "m", "y"]),
        c=pl.col("v").str.extract_groups(_WORDS).struct.rename_fields(["d1", "m1", "y1", "m2", "d2", "y2"]),
    )
    first, second = (frame["b"].struct.field(part).cast(pl.Int64, strict=False) for part in ("d", "m"))
    day, month = ("m", "d") if (second > 12).any() and not (first > 12).any() else ("d", "m")
    part = pl.col("b").struct.field
    year = pl.when(part("y").str.len_chars() == 4).then(part("y")).otherwise(_full_year(part("y")))
    word = pl.col("c").struct.field
    named = pl.coalesce("c_month_1", "c_month_2")
    frame = frame.with_columns(
        c_month_1=word("m1").replace_strict(_NUMBERS, default=None),
        c_month_2=word("m2").replace_strict(_NUMBERS, default=None),
    )
    found = frame.select(
        pl.coalesce(
            _joined(*(pl.col("a").struct.field(p) for p in "ymd")),
            _joined(year, part(month), part(day)),
            _joined(pl.coalesce(word("y1"), word("y2")), named, pl.coalesce(word("d1"), word("d2"))),
            pl.col("v").str.extract(r"^(\d{4})$", 1),
        )
    ).to_series()
    return found.set(found.str.contains(r"^0*$").fill_null(True), None)


_NUMBERS = {name: f"{number:02d}" for number, name in enumerate(_MONTHS, 1)}


def _joined(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    return year + month.str.zfill(2) + day.str.zfill(2)


def _full_year(short: pl.Expr) -> pl.Expr:
    return pl.when(short.cast(pl.Int64, strict=False) > 25).then("19" + short).otherwise("20" + short)


def join_parts(year: pl.Series | None, month: pl.Series | None, day: pl.Series | None) -> pl.Series | None:
    """yyyymmdd of a birth date kept in parts; a year alone where month or day is missing."""
    if year is None:
        return None
    digits = [
        pl.Series([None] * len(year), dtype=pl.String)
        if part is None
        else part.cast(pl.String).str.replace(r"\.0$", "").str.extract(r"^\s*(\d+)\s*$", 1).str.zfill(2)
        for part in (year, month, day)
    ]
    return (digits[0] + digits[1] + digits[2]).fill_null(digits[0])
