"""Block keys: what records must have in common to be compared at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from transforms.identity.encode import NONE, Column, Encoded, joined
from transforms.identity.fold import sound
from transforms.silver.keys import column_hashes

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def block_key(records: Encoded, name: str) -> np.ndarray:
    """Codes (int64) of a derived key or of a standard column as it is; NONE where a record has none."""
    if name == "names":
        return _names(records)
    return _column(records, name).codes.astype(np.int64)


def block_hash(records: Encoded, name: str) -> np.ndarray:
    """A number (uint64) for each record: the same for records with one `block_key`, wherever they are; 0 for none."""
    if name == "names":
        given, surname = _hashed(records.column("given_name")), _hashed(records.column("surname"))
        pair = np.minimum(given, surname) * _MULTIPLIER + np.maximum(given, surname)
        return np.where((given > 0) & (surname > 0), pair, _hashed(_whole_names(records)))
    return _hashed(_column(records, name))


def _hashed(column: Column) -> np.ndarray:
    hashes = column_hashes(column.values.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return np.append(np.maximum(hashes, 1), np.uint64(0))[column.codes]


def _column(records: Encoded, name: str) -> Column:
    """A derived key or a standard column."""
    return _DERIVED[name](records) if name in _DERIVED else records.column(name)


KEYS = ("given_sound", "surname_sound", "given_initial", "surname_initial", "birth_parts", "birth_year", "birth_day",
        "mailbox", "names", "name_sounds", "name_start")  # fmt: skip


def _sounds(column: str) -> Callable[[Encoded], Column]:
    def work(values: pl.Series) -> pl.Series:
        return pl.Series(sound(values.to_list()), dtype=pl.String)

    return lambda records: records.column(column).derive("sound", work)


def _cut(column: str, start: int, length: int, least: int = 1) -> Callable[[Encoded], Column]:
    def work(values: pl.Series) -> pl.Series:
        cut = values.str.slice(start, length)
        return cut.set(cut.str.len_bytes() < least, None)

    return lambda records: records.column(column).derive(f"from {start} for {length}", work)


def _birth_parts(values: pl.Series) -> pl.Series:
    """The year, and day and month in either order: a date and itself with both exchanged have one key."""
    month, day = values.str.slice(4, 2), values.str.slice(6, 2)
    low = month.zip_with(month < day, day)
    high = day.zip_with(month < day, month)
    made = values.str.slice(0, 4) + low + high
    return made.set(values.str.len_bytes() < 8, None)


def _mailbox(values: pl.Series) -> pl.Series:
    """What stands before the @, if it is long enough to be somebody's."""
    local = values.str.extract(r"^([^@+]+)", 1).str.replace_all(r"[^a-z0-9]", "")
    return local.set((local.str.len_bytes() < 5).fill_null(True), None)


def _names(records: Encoded) -> np.ndarray:
    """Given name and surname in either order; a whole name by its words in the order of the alphabet."""
    given, surname = records.column("given_name").codes, records.column("surname").codes
    pair = joined([np.minimum(given, surname), np.maximum(given, surname)])
    whole = _whole_names(records).codes.astype(np.int64)
    return np.where(pair >= 0, pair, np.where(whole >= 0, whole + pair.max(initial=NONE) + 1, NONE))


def _whole_names(records: Encoded) -> Column:
    return records.column("name").derive("sorted words", _sorted_words)


def _sorted_words(values: pl.Series) -> pl.Series:
    return values.str.split(" ").list.sort().list.join(" ")


def _name_sounds(values: pl.Series) -> pl.Series:
    """How the two longest words of a whole name sound."""
    longest = (
        values.str.split(" ")
        .list.eval(pl.element().sort_by(pl.element().str.len_bytes(), descending=True))
        .list.head(2)
    )
    return pl.Series([" ".join(sorted(sound(words))) for words in longest.to_list()], dtype=pl.String)


def _of_name(name: str, work: Callable[[pl.Series], pl.Series]) -> Callable[[Encoded], Column]:
    return lambda records: records.column("name").derive(name, work)


_DERIVED: Mapping[str, Callable[[Encoded], Column]] = {
    "given_sound": _sounds("given_name"),
    "surname_sound": _sounds("surname"),
    "given_initial": _cut("given_name", 0, 1),
    "surname_initial": _cut("surname", 0, 1),
    "birth_parts": lambda records: records.column("birth_date").derive("birth parts", _birth_parts),
    "birth_year": _cut("birth_date", 0, 4, 4),
    "birth_day": _cut("birth_date", 4, 4, 4),
    "mailbox": lambda records: records.column("email").derive("mailbox", _mailbox),
    "name_sounds": _of_name("sounds", _name_sounds),
    "name_start": _of_name("start", lambda values: values.str.replace_all(" ", "", literal=True).str.slice(0, 4)),
}
