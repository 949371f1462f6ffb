"""Street addresses, states and postcodes."""

from __future__ import annotations

import re
from functools import cache

import pycountry

from transforms.silver.name import capitalised, is_one_case
from transforms.silver.text import standard_code, standard_text

# What stands at the end of a street's name and is commonly cut short. After it may come a unit, a number, a compass
# point or a comma; anywhere else "St" may be a saint and "Dr" a doctor.
STREET_WORDS = {
    "st": "Street",
    "str": "Street",
    "rd": "Road",
    "ave": "Avenue",
    "av": "Avenue",
    "blvd": "Boulevard",
    "dr": "Drive",
    "ln": "Lane",
    "ct": "Court",
    "crt": "Court",
    "pl": "Place",
    "sq": "Square",
    "cres": "Crescent",
    "cl": "Close",
    "gdns": "Gardens",
    "gdn": "Gardens",
    "gr": "Grove",
    "grv": "Grove",
    "hwy": "Highway",
    "pkwy": "Parkway",
    "pky": "Parkway",
    "ter": "Terrace",
    "terr": "Terrace",
    "tce": "Terrace",
    "cir": "Circle",
    "trl": "Trail",
}
_UNIT_WORDS = {"apt": "Apartment", "ste": "Suite", "bldg": "Building", "fl": "Floor", "flr": "Floor"}
_AFTER_STREETS = "n s e w ne nw se sw north south east west flat unit apartment suite building floor"
_FOLLOWERS = frozenset(_AFTER_STREETS.split())
_COMMA, _DIGIT, _ORDINAL = re.compile(r"[\s,]*,[\s,]*"), re.compile(r"\d"), re.compile(r"\d+(st|nd|rd|th)[.,]?")
_GB_LIKE = frozenset({"GBR", "GGY", "JEY", "IMN"})
_GB_POSTCODE = re.compile(r"([A-Z]{1,2}[0-9][A-Z0-9]?)([0-9][A-Z]{2})")
_CA_POSTCODE = re.compile(r"([A-Z][0-9][A-Z])([0-9][A-Z][0-9])")
_US_POSTCODE = re.compile(r"([0-9]{5})(?:([0-9]{4}))?")


def standard_address(value: str) -> str:
    """An address line with single spaces, street types in full, no stray commas; "12 HIGH ST," is "12 High Street"."""
    value = standard_text(value)
    value = (_COMMA.sub(", ", value) if "," in value else value).strip(" ,;")
    words = value.split(" ")
    if is_one_case(value):
        words = ["-".join(map(_recased, word.split("-"))) for word in words]
    return standard_text(" ".join(_in_full(words, index) for index in range(len(words))))


def _recased(word: str) -> str:
    """Capitalised; a house number's letter is large (221B), an ordinal's are small (5th)."""
    if _DIGIT.search(word):
        return word.lower() if _ORDINAL.fullmatch(word.lower()) else word.upper()
    return capitalised(word)


def _in_full(words: list[str], index: int) -> str:
    word = words[index]
    comma = "," if word.endswith(",") else ""
    bare = word.rstrip(".,").lower()
    following = words[index + 1].rstrip(".,").lower() if index + 1 < len(words) else ""
    if bare in _UNIT_WORDS and following[:1].isalnum():
        return _UNIT_WORDS[bare] + comma
    ends_street = (
        not following or comma or following in _FOLLOWERS or following in _UNIT_WORDS or "0" <= following < ":"
    )
    return STREET_WORDS[bare] + comma if bare in STREET_WORDS and index and ends_street else word


def standard_postcode(value: str, country: str | None, default_country: str) -> str | None:
    """Upper case in the country's own spelling ("sw1a1aa" is "SW1A 1AA", ZIP 5 or 9 digits); None where it cannot be.

    Args:
      country: ISO 3166-1 alpha-3 of the row, or None.
      default_country: ISO 3166-1 alpha-2, for rows without one.
    """
    value = standard_code(value)
    country = country or _alpha_3(default_country)
    bare = re.sub(r"[\s-]+", "", value)
    if not bare:
        return ""
    if country in _GB_LIKE:
        found = _GB_POSTCODE.fullmatch(bare)
        return " ".join(found.groups()) if found else None
    if country == "CAN":
        found = _CA_POSTCODE.fullmatch(bare)
        return " ".join(found.groups()) if found else None
    if country == "USA":
        found = _US_POSTCODE.fullmatch(bare)
        return "-".join(part for part in found.groups() if part) if found else None
    return value if re.fullmatch(r"[A-Z0-9]+(?:[ -][A-Z0-9]+)*", value) else None


def standard_state(value: str, country: str | None, default_country: str) -> str | None:
    """The code of a state in upper case, of its name too ("new york" is "NY"); None for what is longer than a code."""
    value = standard_code(value.replace(".", ""))
    if not value or re.fullmatch(r"[A-Z0-9]{1,3}", value):
        return value
    return _states(country or _alpha_3(default_country)).get(value)


@cache
def _states(country: str | None) -> dict[str, str]:
    found = pycountry.countries.get(alpha_3=country) if country else None
    parts = pycountry.subdivisions.get(country_code=found.alpha_2) if found else None
    return {standard_code(part.name): part.code.split("-", 1)[1] for part in parts or ()}


@cache
def _alpha_3(alpha_2: str) -> str | None:
    found = pycountry.countries.get(alpha_2=alpha_2.upper())
    return found.alpha_3 if found else None
