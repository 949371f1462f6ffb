"""Tables as JSON lines."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pyarrow as pa

_TIMESTAMP = "%Y-%m-%dT%H:%M:%S%.6fZ"
_ESCAPED = r'["\\\x00-\x1f]'


def to_json_lines(table: pa.Table) -> bytes:
    """One object a row, keys in column order, null as null, each line ended by a newline.

    Dates are YYYY-MM-DD, timestamps YYYY-MM-DDTHH:MM:SS.ffffffZ in UTC, decimals numbers with all digits of their
    scale (12.50). Text is UTF-8; only what JSON requires is escaped.
    """
    if not table.num_rows:
        return b""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    # Each line is one concatenation: a column of only nulls, and what stands between two columns, is a literal.
    parts: list[pl.Expr] = []
    between = "{"
    for index, name in enumerate(frame.columns):
        between += ("," if index else "") + json.dumps(name, ensure_ascii=False) + ":"
        nulls = frame[name].null_count()
        if nulls == frame.height:
            between += "null"
            continue
        text, quote = _text(frame[name])
        if nulls:
            parts += [pl.lit(between), (quote + text + quote).fill_null("null")]
            between = ""
        else:
            parts += [pl.lit(between + quote), text]
            between = quote
    return _bytes(frame.lazy().select(pl.concat_str([*parts, pl.lit(between + "}\n")])).collect().to_series())


def _text(values: pl.Series) -> tuple[pl.Expr, str]:
    """The column as JSON text without quotes, and the quote it needs."""
    column, kind = pl.col(values.name), values.dtype
    if kind == pl.String:
        odd = values.filter(values.str.contains(_ESCAPED).fill_null(False)).unique().to_list()
        return column.replace(odd, [json.dumps(text, ensure_ascii=False)[1:-1] for text in odd]), '"'
    if isinstance(kind, pl.Datetime):
        return column.dt.strftime(_TIMESTAMP), '"'
    return column.cast(pl.String), '"' if kind == pl.Date else ""


def _bytes(lines: pl.Series) -> bytes:
    """The texts one after the other."""
    array = lines.to_arrow(compat_level=pl.CompatLevel.oldest())
    assert isinstance(array, pa.LargeStringArray)
    _, offsets, content = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return content.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes()
