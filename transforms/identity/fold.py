"""Text brought down to what is the same however it was written: small ASCII letters, digits, single spaces."""

from __future__ import annotations

import polars as pl
from anyascii import anyascii

from transforms.silver.address import STREET_WORDS

# What people and systems write where they have no value.
_NOTHING = ("na", "n a", "none", "null", "nan", "nil", "unknown", "unk", "not available", "not known", "not given",
            "no name", "anonymous", "missing", "undefined", "xx", "xxx", "xxxx", "test", "dummy", "empty")  # fmt: skip
_TITLES = r"^(?:mr|mrs|ms|miss|dr|prof|sir|herr|frau|mme|mlle) (\S)"
_SHORT_WORDS = {long.lower(): short for short, long in STREET_WORDS.items() if long.lower() != short} | {
    "street": "st", "str": "st", "road": "rd", "avenue": "av", "ave": "av", "avenida": "av", "calle": "c",
    "boulevard": "bd", "blvd": "bd",
    "apartment": "flat", "apt": "flat", "suite": "flat", "unit": "flat", "saint": "st", "north": "n", "south": "s",
    "east": "e", "west": "w", "mount": "mt", "fort": "ft", "village": "vlge", "caravan": "caravn",
}  # fmt: skip


def fold(values: pl.Series) -> pl.Series:
    """Lower case and in ASCII: "Müller" is "muller", "Γιώργος" is "giorgos"; null and blank are null."""
    small = values.str.strip_chars()
    foreign = small.str.contains(r"[^\x00-\x7f]").fill_null(False)
    if foreign.any():
        distinct = small.filter(foreign).unique()
        plain = pl.Series([anyascii(value) for value in distinct.to_list()], dtype=pl.String)
        found = small.replace_strict(distinct, plain, default=None, return_dtype=pl.String)
        small = found.zip_with(foreign, small)
    return _present(small.str.to_lowercase())


def fold_name(values: pl.Series) -> pl.Series:
    """Letters and single spaces; an apostrophe joins ("O'Brien" is "obrien"), a hyphen parts, a title goes."""
    words = fold(values).str.replace_all(r"['`’.]", "").str.replace_all(r"[^a-z]+", " ").str.strip_chars()
    return _known(words.str.replace(_TITLES, "$1"))


def fold_words(values: pl.Series) -> pl.Series:
    """Letters, digits and single spaces."""
    return _known(fold(values).str.replace_all(r"['`’.]", "").str.replace_all(r"[^a-z0-9]+", " ").str.strip_chars())


def fold_address(values: pl.Series) -> pl.Series:
    """As words, common words cut short ("12 High Street" and "12, high st." are "12 high st")."""
    words = fold(values).str.replace_all(r"['`’]", "").str.replace_all(r"[^a-z0-9]+", " ").str.strip_chars()
    padded = (" " + words + " ").str.replace_all(" ", "  ", literal=True)
    padded = padded.str.replace_all(r"(strasse|straat|str) ", "st ")
    short = padded.str.replace_many([f" {w} " for w in _SHORT_WORDS], [f" {w} " for w in _SHORT_WORDS.values()])
    return _known(short.str.replace_all(r"\s+", " ").str.strip_chars())


def fold_code(values: pl.Series) -> pl.Series:
    """Letters and digits only; a number that went through floating point loses its ".0"."""
    bare = fold(values).str.replace(r"^(\d+)\.0$", "$1").str.replace_all(r"[^a-z0-9]+", "")
    return _known(bare).set(_known(bare).str.contains(r"^0+$").fill_null(False), None)


def fold_email(values: pl.Series) -> pl.Series:
    """The address in small letters, without a display name; null for what has no @."""
    return values.str.to_lowercase().str.extract(r"([^\s<>@,;:\"]+@[^\s<>@,;\"]+\.[^\s<>@,;.\"]+)", 1)


def fold_phone(values: pl.Series) -> pl.Series:
    """The last eight digits, which do not depend on how country and trunk prefix were written; null for fewer than 5.

    Eight are what the shortest national numbers have; a number of one repeated digit is none.
    """
    digits = fold(values).str.replace(r"\.0$", "").str.replace(r"(x|ext).*$", "").str.replace_all(r"\D", "")
    short = digits.str.strip_chars_start("0").str.tail(8)
    repeated = pl.select(pl.any_horizontal([short.str.contains(f"^{d}+$") for d in range(10)])).to_series()
    return short.set(((short.str.len_chars() < 5) | repeated).fill_null(True), None)


def _present(values: pl.Series) -> pl.Series:
    return values.set((values.str.len_bytes() == 0).fill_null(True), None)


def _known(values: pl.Series) -> pl.Series:
    return values.set((values.str.len_bytes() == 0).fill_null(True) | values.is_in(_NOTHING).fill_null(False), None)


def sound(values: list[str]) -> list[str]:
    """How each folded name sounds: its first letter and the classes of its next three consonants (Soundex, 1918)."""
    return [_sound(value) for value in values]


_CLASSES = str.maketrans("bfpvcgjkqsxzdtlmnraeiouyhw", "11112222222233455600000077")


def _sound(name: str) -> str:
    name = name.replace(" ", "")
    first = {"k": "c", "q": "c", "z": "s", "y": "i", "j": "g", "v": "f"}.get(name[:1], name[:1])
    coded = name.replace("ph", "f").translate(_CLASSES).replace("7", "")
    kept = [a for a, b in zip(coded[1:], coded, strict=False) if a != b and a != "0"]
    return first + "".join(kept[:3])
