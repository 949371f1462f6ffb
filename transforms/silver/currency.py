"""Currencies as ISO 4217."""

from __future__ import annotations

from functools import cache

import pycountry

from transforms.silver.text import standard_code

_SYMBOLS = {
    "£": "GBP",
    "€": "EUR",
    "$": "USD",
    "US$": "USD",
    "A$": "AUD",
    "C$": "CAD",
    "¥": "JPY",
    "₹": "INR",
    "₩": "KRW",
    "₽": "RUB",
    "₺": "TRY",
    "₴": "UAH",
    "ZŁ": "PLN",
    "STG": "GBP",
    "EURO": "EUR",
}
_NOT_MONEY = {"XXX", "XTS"}  # "no currency" and "for tests"


def standard_currency(value: str) -> str | None:
    """The ISO 4217 code of a code or a symbol ("gbp", "£"); None for what is no currency."""
    code = standard_code(value)
    if not code or code in _codes():
        return code
    return _SYMBOLS.get(code)


@cache
def _codes() -> frozenset[str]:
    return frozenset(currency.alpha_3 for currency in pycountry.currencies) - _NOT_MONEY
