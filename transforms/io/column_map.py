"""Which column of a person's own file is which: given, by the same name, or by a common one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from transforms.errors import UsageError, UserError

# Common names, as they are written without case, spaces and punctuation.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "CUSTOMER_ID": ("customer", "customerid", "custid", "custno", "customerno", "customernumber", "clientid", "client",
                    "userid", "user", "memberid", "buyerid", "kundennummer"),
    "TRANSACTION_ID": ("transaction", "orderid", "order", "orderno", "ordernumber", "invoice", "invoiceno", "invoiceid",
                       "receipt", "receiptid", "basketid"),
    "ITEM_ID": ("item", "lineid", "orderlineid", "lineitemid", "orderitemid"),
    "TRANSACTION_DATE": ("date", "datetime", "timestamp", "time", "orderdate", "invoicedate", "purchasedate",
                         "createdat", "orderedat", "transactiontime"),
    "TOTAL_AMOUNT": ("amount", "total", "value", "revenue", "sales", "ordertotal", "totalprice", "price", "spend"),
    "PRODUCT_ID": ("product", "productcode", "stockcode", "sku", "articleid", "article", "asin", "itemcode"),
    "PRODUCT_NAME": ("description", "productdescription", "title", "name", "itemname"),
    "QUANTITY": ("qty", "quantitysold", "units", "count", "pieces"),
    "UNIT_PRICE": ("price", "unitcost", "priceperunit", "itemprice"),
    "TOTAL_PRICE": ("linetotal", "amount", "total", "lineamount"),
    "FIRST_NAME": ("givenname", "forename", "firstname", "vorname"),
    "LAST_NAME": ("surname", "familyname", "lastname", "nachname"),
    "EMAIL_ADDRESS": ("email", "mail", "emailaddress", "contactemail"),
    "PHONE_NUMBER": ("phone", "telephone", "mobile", "tel", "phoneno", "mobilenumber"),
    "DATE_OF_BIRTH": ("birthdate", "dob", "birthday", "dateofbirth"),
    "ADDRESS_LINE_1": ("address", "street", "address1", "streetaddress"),
    "CITY": ("town", "locality"),
    "STATE_CODE": ("state", "region", "province"),
    "ZIP_CODE": ("zip", "postcode", "postalcode", "plz"),
    "COUNTRY_CODE": ("country", "countryname"),
    "CURRENCY_CODE": ("currency", "ccy"),
    "CHANNEL": ("saleschannel", "source"),
    "EVENT_DATE": ("timestamp", "time", "eventtime", "date", "datetime", "ts", "occurredat"),
    "EVENT_TYPE": ("event", "type", "action", "eventname"),
    "EVENT_ID": ("id", "eventid"),
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A column that a command wants; `synonyms` come before the common ones."""

    name: str
    required: bool = False
    synonyms: tuple[str, ...] = ()


_HOW = {"given": " (given)", "common name": " (common name)"}


@dataclass(frozen=True)
class ColumnMap:
    """`columns`: target -> column of the file; `how`: target -> "given", "same name" or "common name"."""

    columns: dict[str, str]
    how: dict[str, str]
    left_over: tuple[str, ...]

    def describe(self) -> str:
        """One line for the person whose file it is."""
        told = [
            target if source == target else f"{target} = {source}{_HOW.get(self.how[target], '')}"
            for target, source in self.columns.items()
        ]
        kept = [name.strip() or "a column without a name" for name in self.left_over]
        extra = f"; kept as they are: {', '.join(kept)}" if kept else ""
        return (", ".join(told) or "none recognised") + extra


def parse_map(given: Sequence[str]) -> dict[str, str]:
    """["TOTAL_AMOUNT=amount", ...] -> {"TOTAL_AMOUNT": "amount"}.

    Raises:
      UserError: a part is not of the form target=column, or a target occurs twice.
    """
    result: dict[str, str] = {}
    for part in given:
        target, equals, column = part.partition("=")
        if not (equals and target.strip() and column.strip()):
            raise UsageError(f"--map {part!r} is not understood", remedy="write it as --map TARGET=column")
        if target.strip() in result:
            raise UsageError(f"--map names {target.strip()} twice", remedy="name each target once")
        result[target.strip()] = column.strip()
    return result


def recognise(
    seen: Sequence[str], targets: Sequence[Target], explicit: Mapping[str, str], keyed: bool = False
) -> ColumnMap:
    """Finds each target among the columns seen: as given, by the same name, else by a common name.

    A column serves one target; names are compared without case, spaces and punctuation. `keyed`: the names are the
    format's own (JSON, Parquet); else they are a first line, which may be somebody's data.

    Raises:
      UserError: a given column or target does not exist, two columns fit one target, or a required one is missing.
    """
    names = {target.name.lower(): target.name for target in targets}
    columns: dict[str, str] = {}
    how: dict[str, str] = {}
    for asked, column in explicit.items():
        if asked.lower() not in names:
            raise UsageError(
                f"--map names {asked}, which is no column here", remedy=f"use one of {named(names.values())}"
            )
        alike = [name for name in seen if name.strip().lower() == column.lower()]
        column = column if column in seen or len(alike) != 1 else alike[0]
        if column not in seen:
            raise UsageError(
                f"--map wants the column {column!r}",
                where=has("the file", seen, targets, keyed),
                remedy="check its name",
            )
        if column in columns.values():
            raise UserError(f"--map uses the column {column!r} twice", remedy="a column can be one target only")
        columns[names[asked.lower()]], how[names[asked.lower()]] = column, "given"
    for label, match in (("same name", _same_name), ("common name", _common_name)):
        for target in targets:
            free = [name for name in dict.fromkeys(seen) if name not in columns.values()]
            if target.name in columns:
                continue
            fits = match(target, free)
            if len(fits) > 1:
                raise UserError(
                    f"{named(fits)} could each be {target.name}", remedy=f"say which with --map {target.name}=column"
                )
            if fits:
                columns[target.name], how[target.name] = fits[0], label
    missing = [target.name for target in targets if target.required and target.name not in columns]
    if missing:
        raise UserError(
            f"no column for {named(missing)}",
            where=has("the file", seen, targets, keyed or bool(explicit)),
            remedy=f"name it with --map {missing[0]}=column",
        )
    order = [target.name for target in targets if target.name in columns]
    left_over = tuple(name for name in seen if name not in columns.values())
    return ColumnMap({name: columns[name] for name in order}, how, left_over)


def has(what: str, seen: Sequence[str], targets: Sequence[Target], keyed: bool = False) -> str:
    """What columns a file has, for a message; the cells of a first line that may be no header are not shown.

    A line with one known name may still be a person's: Price and Street are surnames.
    """
    words = [word for target, common in SYNONYMS.items() for word in (target, *common)]
    known = {plain(word) for word in (*words, *(word for t in targets for word in (t.name, *t.synonyms)))}
    hits = [name for name in seen if plain(name) in known]
    if keyed or len(hits) > 1 or (hits and len(seen) == 1):
        return f"{what} has {named(seen)}"
    return f"its first line names {'only one' if hits else 'none'} of the columns: is there a header line?"


def plain(name: str) -> str:
    """The name without case, accents, spaces and punctuation."""
    return re.sub(r"[^0-9a-z]", "", normalize("NFKD", name.casefold()))


def _same_name(target: Target, seen: Sequence[str]) -> list[str]:
    exact = [name for name in seen if name == target.name]
    return exact or [name for name in seen if plain(name) == plain(target.name)]


def _common_name(target: Target, seen: Sequence[str]) -> list[str]:
    """The columns of the first synonym that occurs, so that a better name wins over a vaguer one."""
    for synonym in (*target.synonyms, *SYNONYMS.get(target.name, ())):
        fits = [name for name in seen if plain(name) == plain(synonym)]
        if fits:
            return fits
    return []


def named(names: object) -> str:
    """Column names for a message; a first line that looks like data may be somebody's, and is only counted."""
    shown = [str(name).strip() for name in names]  # type: ignore[attr-defined]
    if not all(
        re.fullmatch(r"[^\W\d][\w .\-/()#%&]{0,39}", name) and not re.search(r"\d{4}", name) for name in shown if name
    ):
        columns = "1 column" if len(shown) == 1 else f"{len(shown)} columns"
        return f"{columns} in its first line, which looks like data and not like a header"
    return ", ".join(shown[:20]) + (" ..." if len(shown) > 20 else "")
