"""Telephone numbers in E.164."""

from __future__ import annotations

from functools import lru_cache

import phonenumbers

from transforms.silver.country import alpha_2
from transforms.silver.text import standard_text

_CACHED_NUMBERS = 100_000  # about 30 MB a worker; parsing costs some 50 µs a number


def standard_phone(value: str, country: str | None, default_country: str) -> str | None:
    """E.164 ("+442079460018"), a national number read in `country`; None for what is no number.

    Args:
      country: ISO 3166-1 alpha-3 of the row, or None.
      default_country: ISO 3166-1 alpha-2, for rows without one.

    A number has a length its country uses and more than one digit value. That it is assigned is not asked: numbering
    plans grow, and the ranges kept for fiction would fail. An extension is dropped, E.164 has none.
    """
    return _e164(value, alpha_2(country) or default_country)


@lru_cache(maxsize=_CACHED_NUMBERS)
def _e164(value: str, region: str) -> str | None:
    value = standard_text(value)
    if not value:
        return ""
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    if not possible or len(set(str(number.national_number))) == 1:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
