"""Numbers as a reader wants them: thousands separated, with their unit."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from html import escape

Number = int | float | Decimal


def count(value: Number | None) -> str:
    """1234567 -> "1,234,567"."""
    return "–" if value is None else f"{int(value):,}"


def number(value: Number | None, places: int = 2) -> str:
    """1234.567 -> "1,234.57"; whole numbers without places."""
    if value is None:
        return "–"
    return f"{int(value):,}" if value == int(value) else f"{value:,.{places}f}"


def money(value: Number | None, currency: str) -> str:
    """8348208.56 -> "8,348,209 GBP"; below a hundred with cents."""
    if value is None:
        return "–"
    text = f"{value:,.2f}" if abs(float(value)) < 100 else f"{value:,.0f}"
    return f"{text}\u00a0{currency}".rstrip("\u00a0")


def share(part: Number | None, whole: Number = 1) -> str:
    """(1, 8) -> "12.5 %"."""
    if part is None or not whole:
        return "–"
    percent: float = 100 * float(part) / float(whole)
    places = 2 if 0 < abs(percent) < 1 else 1
    return f"{percent:.{places}f}\u00a0%"


def of(value: int, one: str, many: str = "") -> str:
    """(1, "row") -> "1 row"; (2, "row") -> "2 rows"."""
    return f"{value:,}\u00a0{one if value == 1 else many or one + 's'}"


def day(value: date | None) -> str:
    return "–" if value is None else f"{value.day} {value:%B %Y}"


def month(value: date) -> str:
    return f"{value:%B %Y}"


def title(text: str) -> str:
    """ "CUSTOMER_TRANSACTION_ITEMS" -> "Customer transaction items"."""
    return escape(text.replace("_", " ").capitalize())


def short(text: str, length: int = 28) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
