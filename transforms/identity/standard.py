"""Records brought into comparison-ready columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import UserError
from transforms.identity.dates import fold_dates, join_parts
from transforms.identity.fields import FIELDS, RECORD_KEY
from transforms.identity.fold import fold, fold_address, fold_code, fold_email, fold_name, fold_phone, fold_words

_DONE = {b"identity": b"standard records 1"}
_GENDERS = {"m": "m", "male": "m", "man": "m", "herr": "m", "mr": "m", "f": "f", "female": "f", "w": "f", "woman": "f",
            "frau": "f", "mrs": "f", "ms": "f"}  # fmt: skip


def standardise_records(records: pa.Table) -> pa.Table:
    """The records in the one spelling in which they are compared; records that are so already are returned as they are.

    Args:
      records: `record_key` (string, unique) and any of FIELDS, of any type; other columns are left out.

    Returns: `record_key` and those of FIELDS that were there, as text (the two `_verified` as bool), null for blanks
    and for what people write where they have no value; birth dates as yyyymmdd, phones as eight digits, house number
    and street in one. In the same order. Whoever compares new records with old ones every day keeps this table.

    Raises:
      UserError: a key is missing or repeated, or a column holds lists or structs.
    """
    if (records.schema.metadata or {}).get(b"identity") == _DONE[b"identity"]:
        return records
    _check_keys(records)
    found = {name: _folded(records, name) for name in FIELDS if name in records.column_names}
    parts = [found.pop(f"birth_{part}", None) for part in ("year", "month", "day")]
    whole, joined = found.get("birth_date"), join_parts(parts[0], parts[1], parts[2])
    if joined is not None:
        found["birth_date"] = joined if whole is None else whole.fill_null(joined)
    number = found.pop("street_number", None)
    if number is not None and "street" in found:
        street = found["street"]
        found["street"] = (number.fill_null("") + " " + street).str.strip_chars()
    if "postcode" in found:  # ZIP+4 is a place in the ZIP
        found["postcode"] = found["postcode"].str.replace(r"^(\d{5})\d{4}$", "$1")
    _split_names(found)
    table = pl.DataFrame(found).to_arrow(compat_level=pl.CompatLevel.oldest())
    keys = records[RECORD_KEY].cast(pa.string())
    columns = {RECORD_KEY: keys} | {name: pc.cast(table[name], _type(name)) for name in table.column_names}
    return pa.table(columns).replace_schema_metadata(_DONE)


def _type(name: str) -> pa.DataType:
    return pa.bool_() if FIELDS[name].kind == "flag" else pa.string()


def _check_keys(records: pa.Table) -> None:
    if RECORD_KEY not in records.column_names:
        raise UserError(f"records have no column {RECORD_KEY}", "identity", "give each record a key of its own")
    keys = records[RECORD_KEY]
    if keys.null_count or pc.count_distinct(keys).as_py() != len(keys):
        raise UserError(f"{RECORD_KEY} is missing or repeated", "identity", "give each record a key of its own")


def _folded(records: pa.Table, name: str) -> pl.Series:
    column = records[name]
    if pa.types.is_nested(column.type):
        raise UserError(f"column {name} holds {column.type}", "identity", "give text, numbers, dates or times")
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.string())
    values = pl.Series(name, pl.from_arrow(column))
    if name == "name":  # "Smith, John"
        values = values.cast(pl.String).str.replace(r"^([^,]+), *([^,]+)$", "$2 $1")
    return _FOLDS[FIELDS[name].kind](values).alias(name)


def _as_text(fold_text: Callable[[pl.Series], pl.Series]) -> Callable[[pl.Series], pl.Series]:
    def folded(values: pl.Series) -> pl.Series:
        return fold_text(values.cast(pl.String))

    return folded


def _fold_gender(values: pl.Series) -> pl.Series:
    return fold(values).replace_strict(_GENDERS, default=None, return_dtype=pl.String)


def _fold_flag(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        return values.fill_null(False)
    return values.cast(pl.String).str.to_lowercase().is_in(["true", "t", "yes", "y", "1", "1.0"]).fill_null(False)


_FOLDS: Mapping[str, Callable[[pl.Series], pl.Series]] = {
    "name": _as_text(fold_name),
    "text": _as_text(fold_words),
    "place": _as_text(fold_address),
    "address": _as_text(fold_address),
    "code": _as_text(fold_code),
    "email": _as_text(fold_email),
    "phone": _as_text(fold_phone),
    "gender": _as_text(_fold_gender),
    "number": _as_text(fold_code),
    "date": fold_dates,
    "flag": _fold_flag,
}


def _split_names(found: dict[str, pl.Series]) -> None:
    """Where there are both names or birth dates, whole names are persons', and their last word is the surname."""
    parts = {"given_name", "surname"} & found.keys()
    persons = len(parts) == 2 or (not parts and "birth_date" in found)
    if "name" not in found or not persons:
        return
    whole = found.pop("name")
    nothing = pl.Series([None] * len(whole), dtype=pl.String)
    given, surname = found.get("given_name", nothing), found.get("surname", nothing)
    bare = given.is_null() & surname.is_null()
    found["surname"] = whole.str.extract(r"(\S+)$", 1).zip_with(bare, surname)
    found["given_name"] = whole.str.extract(r"^(.*) \S+$", 1).zip_with(bare, given)
