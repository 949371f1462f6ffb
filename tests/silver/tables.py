"""Random tables of any contract: clean, messy and broken values side by side."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from transforms.contracts import CONTRACTS, Column, Contract

NOW = dt.datetime(2011, 6, 1, 12, tzinfo=dt.UTC)
ENVELOPE = {
    "_ingested_at": pa.timestamp("us", tz="UTC"),
    "_file": pa.string(),
    "_position": pa.int64(),
    "_quality_score": pa.float64(),
}
MESSY = {
    "email": [
        "Jo@X.com",
        "mailto:a.b@c.de",
        "Jo Lee <jo@lee.org>",
        "no",
        "a..b@c.de",
        "ö@exämple.de",
        "x" * 90 + "@abc.de.com",
    ],
    "phone": ["020 7946 0018", "+1 202-555-0125", "06 12 34 56 78", "07700900123 ext 4", "12", "0000000000", "call me"],
    "name": [
        "MCDONALD",
        "o'brien",
        "van der berg",
        "VAN DER BERG",
        "李小龍",
        "ΓΙΩΡΓΟΣ",
        "Anne-Marie",
        "A" * 60,
        "MC " * 20,
    ],
    "city": ["STOKE-ON-TRENT", "london,", "la rochelle", "ST. ANDREWS"],
    "address": ["12 HIGH ST,", "3 St James Rd", "1 dr martin ave apt 4", "St", ",", "1 St " * 30],
    "postcode": ["sw1a1aa", "12345-6789", "123456789", "k1a0b1", "1012 ab", "???"],
    "state": ["ny", "new york", "N.Y.", "ontario", "NSW"],
    "country": ["uk", "EIRE", "GBR", "usa", "fr", "Channel Islands", "Canada", "Unspecified"],
    "currency": ["£", "gbp", "EUR", "xxx", "money"],
    "code": ["visa", " A1 ", "a-1", "ß", "x" * 40, "page view"],
    "text": ["a  b", "tab\there", "nul\x00", "e\u0301", "\u200bhidden", "y" * 600],
    "": ["https://x.example/?q=1", "[]", " ", "z" * 600],
}
BLANKS = ["", " ", "\t", "\u00a0"]


def stages_of(row: dict[str, Any], contract: Contract) -> list[Any]:
    """How far a row has come by the contract's precedences, the greater the later; null earliest."""
    found = []
    for stages in contract.precedence:
        value = row[stages.column]
        known = not stages.values or value in stages.values
        found.append((stages.values.index(value) if stages.values else value) if known else None)
    return found


def texts(column: Column) -> st.SearchStrategy[str]:
    """Values of a text column: messy ones, blanks, anything at all, and mostly allowed ones of an enumeration."""
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    kinds = [st.sampled_from(MESSY[column.standard]), anything, st.sampled_from(BLANKS)]
    if column.allowed:
        good = st.sampled_from([*column.allowed, *(value.lower().replace("_", " ") for value in column.allowed)])
        kinds = [good, good, good, good, *kinds]
    return st.one_of(*kinds)


def values(column: Column) -> st.SearchStrategy[Any]:
    kind = column.type.arrow
    if pa.types.is_string(kind):
        found: st.SearchStrategy[Any] = texts(column)
    elif pa.types.is_decimal(kind):
        digits = 10**kind.precision - 1
        small = st.integers(-500, 500)
        found = st.one_of(small, small, st.integers(-digits, digits)).map(lambda n: Decimal(n).scaleb(-kind.scale))
    elif pa.types.is_integer(kind):
        found = st.one_of(st.integers(-3, 12), st.integers(-(2**62), 2**62))
    elif pa.types.is_boolean(kind):
        found = st.booleans()
    else:
        hours = st.integers(-40, 40).map(lambda n: NOW + dt.timedelta(hours=n))
        found = hours.map(lambda t: t.date()) if pa.types.is_date(kind) else hours
    return found if not column.nullable else st.one_of(st.none(), found, found, found)


def bronze_rows(contract: Contract) -> st.SearchStrategy[dict[str, Any]]:
    declared = {column.name: values(column) for column in contract.columns}
    return st.fixed_dictionaries(
        declared
        | {
            "NEW_COLUMN": st.sampled_from([None, "a", " a "]),
            "_ingested_at": st.sampled_from([NOW, NOW - dt.timedelta(1)]),
        }
    )


def bronze_tables(contract: Contract, max_size: int = 6) -> st.SearchStrategy[pa.Table]:
    return st.lists(bronze_rows(contract), max_size=max_size).map(lambda rows: bronze(rows, contract))


def any_tables(max_size: int = 6) -> st.SearchStrategy[tuple[Contract, pa.Table]]:
    """A contract and a table of it."""
    return st.sampled_from(list(CONTRACTS.values())).flatmap(
        lambda contract: st.tuples(st.just(contract), bronze_tables(contract, max_size))
    )


def bronze(rows: list[dict[str, Any]], contract: Contract) -> pa.Table:
    """Rows with the contract's columns, one that evolution added, and the envelope; a column not given is null."""
    fields = [pa.field(f.name, f.type) for f in contract.arrow] + [pa.field("NEW_COLUMN", pa.string())]
    schema = pa.schema(fields + [pa.field(name, kind) for name, kind in ENVELOPE.items()])
    envelope = {"_ingested_at": NOW, "_file": "f.csv", "_quality_score": 1.0}
    return pa.Table.from_pylist([envelope | {"_position": i} | row for i, row in enumerate(rows)], schema=schema)


def rows_of(contract: Contract, *rows: dict[str, Any]) -> pa.Table:
    """Bronze rows in which required columns that are not given hold a plausible value."""
    return bronze([{c.name: plain(c) for c in contract.columns if not c.nullable} | row for row in rows], contract)


def plain(column: Column) -> Any:
    kind = column.type.arrow
    if pa.types.is_string(kind):
        return column.allowed[0] if column.allowed else "K1"
    if pa.types.is_decimal(kind):
        return Decimal(1)
    if pa.types.is_integer(kind):
        return 1
    return NOW.date() if pa.types.is_date(kind) else NOW
