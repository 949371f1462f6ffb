"""Countries as ISO 3166-1 alpha-3."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import pycountry

from transforms.errors import UsageError
from transforms.silver.text import standard_text

# Names that retail systems use and ISO does not. What is no country ("Channel Islands" are two, "West Indies",
# "European Community", "Unspecified") is deliberately absent: it becomes null with a flag.
_OTHER_NAMES = {
    "uk": "GBR",
    "great britain": "GBR",
    "britain": "GBR",
    "england": "GBR",
    "scotland": "GBR",
    "wales": "GBR",
    "northern ireland": "GBR",
    "eire": "IRL",
    "republic of ireland": "IRL",
    "rsa": "ZAF",
    "united states of america": "USA",
    "us of a": "USA",
    "america": "USA",
    "uae": "ARE",
    "korea": "KOR",
    "south korea": "KOR",
    "north korea": "PRK",
    "russia": "RUS",
    "turkey": "TUR",
    "holland": "NLD",
    "burma": "MMR",
    "cape verde": "CPV",
    "czech republic": "CZE",
    "ivory coast": "CIV",
    "cote divoire": "CIV",
    "canary islands": "ESP",
    "macedonia": "MKD",
    "swaziland": "SWZ",
    "vatican": "VAT",
    "hong kong sar": "HKG",
    "macau": "MAC",
    "palestine": "PSE",
    "deutschland": "DEU",
    "espana": "ESP",
    "osterreich": "AUT",
    "schweiz": "CHE",
    "suisse": "CHE",
    "belgie": "BEL",
    "belgique": "BEL",
    "nederland": "NLD",
    "sverige": "SWE",
    "norge": "NOR",
    "danmark": "DNK",
    "suomi": "FIN",
    "italia": "ITA",
    "polska": "POL",
    "brasil": "BRA",
}


def standard_country(value: str) -> str | None:
    """ISO 3166-1 alpha-3 of a code or a name ("uk", "Eire", "Côte d'Ivoire"); None for what is no country."""
    return _table().get(_key(value)) if standard_text(value) else ""


@cache
def alpha_2(alpha_3: str | None) -> str | None:
    """ISO 3166-1 alpha-2 of an alpha-3 code; None when there is none."""
    found = pycountry.countries.get(alpha_3=alpha_3) if alpha_3 else None
    return found.alpha_2 if found else None


def _key(name: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w]+", " ", bare.replace("&", " and ").replace(".", "")).split()).removeprefix("the ")


@cache
def _table() -> dict[str, str]:
    fields = ("alpha_2", "alpha_3", "name", "official_name", "common_name")
    named = [(getattr(country, field, None), country.alpha_3) for country in pycountry.countries for field in fields]
    return {_key(name): code for name, code in named if name} | _OTHER_NAMES


def check_country(alpha_2: str) -> None:
    """Raises: UsageError: it is no ISO 3166-1 alpha-2 code in capitals."""
    if standard_country(alpha_2) is None or not re.fullmatch("[A-Z]{2}", alpha_2):
        raise UsageError(f"no country {alpha_2!r}", remedy="name one by its ISO 3166-1 alpha-2 code, like GB")
