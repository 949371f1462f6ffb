"""Plain text and codes: one Unicode form, single spaces, no invisible characters."""

from __future__ import annotations

import re
import unicodedata

# What cannot be seen and carries no meaning in a value: control characters that are no white space, soft hyphen,
# zero-width space, direction marks, word joiner, byte order mark. Zero-width joiners stay: Persian names need them.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u2060\ufeff]")

CLEAN_TEXT = r"^[!-~]+( [!-~]+)*$"
CLEAN_CODE = r"^[!-`{-~]+( [!-`{-~]+)*$"


def standard_text(value: str) -> str:
    """NFC, trimmed, runs of white space as one space, invisible characters removed; "" when nothing is left."""
    if not value.isascii():
        value = unicodedata.normalize("NFC", value)
    if not value.isprintable():
        value = _INVISIBLE.sub("", value)
    return " ".join(value.split())


def standard_code(value: str) -> str:
    """As text, in upper case: "  visa " is "VISA"."""
    return standard_text(standard_text(value).upper())
