"""Brings every value of a table into the one spelling its column's contract asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.contracts import Column, Contract
from transforms.silver.address import standard_address, standard_postcode, standard_state
from transforms.silver.country import check_country, standard_country
from transforms.silver.currency import standard_currency
from transforms.silver.distinct import as_array, per_distinct, per_distinct_pair
from transforms.silver.email import CLEAN_EMAIL, standard_email
from transforms.silver.flags import add_flags
from transforms.silver.name import CLEAN_NAME, standard_city, standard_name
from transforms.silver.phone import standard_phone
from transforms.silver.text import CLEAN_CODE, CLEAN_TEXT, standard_code, standard_text


@dataclass(frozen=True)
class _Standard:
    """How one kind of value is spelt.

    Attributes:
      function: "" for a blank, None for an unusable value.
      clean: a regular expression that only standard values match, so that most values need no work.
      may_cut: whether a value beyond the column's length is still good when cut.
    """

    function: Callable[[str], str | None]
    clean: str | None = None
    may_cut: bool = False


@dataclass(frozen=True)
class _NationalStandard:
    """How one kind of value is spelt in a country: value, alpha-3 of the row or None, alpha-2 by default."""

    function: Callable[[str, str | None, str], str | None]


_STANDARDS: dict[str, _Standard | _NationalStandard] = {
    "text": _Standard(standard_text, CLEAN_TEXT, may_cut=True),
    "code": _Standard(standard_code, CLEAN_CODE, may_cut=True),
    "name": _Standard(standard_name, CLEAN_NAME, may_cut=True),
    "city": _Standard(standard_city, CLEAN_NAME, may_cut=True),
    "address": _Standard(standard_address, may_cut=True),
    "email": _Standard(standard_email, CLEAN_EMAIL),
    "country": _Standard(standard_country),
    "currency": _Standard(standard_currency),
    "phone": _NationalStandard(standard_phone),
    "postcode": _NationalStandard(standard_postcode),
    "state": _NationalStandard(standard_state),
}


def _as_it_is(value: str) -> str:
    return value


_AS_IT_IS = _Standard(_as_it_is, may_cut=True)  # columns without a standard: addresses of pages, JSON


def standardise(table: pa.Table, contract: Contract, default_country: str = "GB") -> pa.Table:
    """Rewrites the values of the columns that have a standard; the same rows, in the same order.

    A blank becomes null. A value that cannot be brought into its standard becomes null with the flag
    "invalid:COLUMN"; text beyond the column's length is cut with the flag "too_long:COLUMN", except in key and
    foreign-key columns, which `check` judges. Bronze keeps the value as it came. Doing it twice changes nothing.

    Args:
      table: the contract's columns in their Arrow types; others pass through.
      default_country: ISO 3166-1 alpha-2, for phone numbers and postcodes of rows without a country.

    Raises:
      UserError: `default_country` is no country code.
    """
    check_country(default_country)
    columns = {name: as_array(table[name]) for name in table.column_names}
    flags: dict[str, np.ndarray] = {}
    country = next((c.name for c in contract.columns if c.standard == "country"), None)
    uncut = {*contract.key, *(key.column for key in contract.foreign_keys)}
    for column in sorted(contract.columns, key=lambda c: c.standard != "country"):
        values = columns[column.name]
        invalid = np.zeros(table.num_rows, bool)
        if column.standard:
            context = columns[country] if country else pa.nulls(table.num_rows, pa.string())
            values, invalid = _standardised(values, context, column, default_country)
        if column.allowed:
            values = _as_allowed(values, column.allowed)
        if column.type.max_length and column.name not in uncut:
            values, cut, dropped = _fitted(values, column)
            flags[f"too_long:{column.name}"] = cut
            invalid = invalid | dropped
        flags[f"invalid:{column.name}"] = invalid
        columns[column.name] = values
    return add_flags(pa.table(columns), flags)


def _standardised(
    values: pa.Array, context: pa.Array, column: Column, default_country: str
) -> tuple[pa.Array, np.ndarray]:
    """The values in their standard, and which of them had none."""
    standard = _STANDARDS[column.standard]
    if isinstance(standard, _NationalStandard):
        national, todo = standard.function, values.is_valid()
        found = per_distinct_pair(
            values.filter(todo), context.filter(todo), lambda value, country: national(value, country, default_country)
        )
    else:
        todo = _unclean(values, standard.clean) if standard.clean else values.is_valid()
        found = per_distinct(values.filter(todo), standard.function)
    invalid = np.zeros(len(values), bool)
    if not len(found):
        return values, invalid
    invalid[_numpy(todo)] = _numpy(found.is_null())
    found = pc.if_else(pc.equal(found, ""), pa.scalar(None, pa.string()), found)
    return pc.replace_with_mask(values, todo, found), invalid


def _unclean(values: pa.Array, clean: str) -> pa.Array:
    """The rows whose value is not known to be standard; false for null."""
    matched = pl.Series(pl.from_arrow(values)).str.contains(clean)
    return pa.array(~matched.fill_null(True).to_numpy())


def _as_allowed(values: pa.Array, allowed: Sequence[str]) -> pa.Array:
    """Spells a value of an enumeration as it is declared: "PAGE VIEW" and "page-view" are "PAGE_VIEW"."""
    todo = pc.and_(values.is_valid(), pc.invert(pc.is_in(values, pa.array(allowed))))
    if not pc.any(todo).as_py():
        return values
    declared = {_loose(value): value for value in allowed}
    return pc.replace_with_mask(
        values, todo, per_distinct(values.filter(todo), lambda value: declared.get(_loose(value), value))
    )


def _loose(value: str) -> str:
    return re.sub(r"[\s_-]+", "_", value)


def _fitted(values: pa.Array, column: Column) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The values within the column's length, which of them were cut, and which could not be cut and are dropped."""
    longest, nothing = column.type.max_length or 0, np.zeros(len(values), bool)
    if (pc.max(pc.binary_length(values)).as_py() or 0) <= longest:
        return values, nothing, nothing
    long = pc.fill_null(pc.greater(pc.utf8_length(values), longest), False)
    standard = _STANDARDS.get(column.standard, _AS_IT_IS)
    if isinstance(standard, _NationalStandard) or not standard.may_cut:
        return pc.if_else(long, pa.scalar(None, pa.string()), values), nothing, _numpy(long)
    function = standard.function
    fitting = per_distinct(values.filter(long), lambda value: _cut(value, longest, function))
    return pc.replace_with_mask(values, long, fitting), _numpy(long), nothing


def _cut(value: str, longest: int, function: Callable[[str], str | None]) -> str | None:
    """The longest beginning that fits and is standard itself: what is left of a cut may be spelt otherwise."""
    for end in range(longest, 0, -1):
        cut = value[:end].rstrip() if function is not _as_it_is else value[:end]
        if cut and function(cut) == cut:
            return cut
    return None


def _numpy(mask: pa.Array) -> np.ndarray:
    return mask.to_numpy(zero_copy_only=False)
