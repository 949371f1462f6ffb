"""Names of people and places."""

from __future__ import annotations

import re
import unicodedata

from transforms.silver.text import standard_text

# Written small inside a name (Ludwig van Beethoven, Charles de Gaulle, Stoke-on-Trent), never as its last word.
_SMALL_IN_NAMES = (
    "van von vom zu zur der den dem de del della dei di da das do dos du la le las los ten ter af av bin ibn"
)
_PERSON_PARTICLES = frozenset(_SMALL_IN_NAMES.split())
_SMALL_IN_PLACES = (
    "on upon under by the of in near at le la les de der den am an and bei sur sous en aan aux du des del"
)
_PLACE_PARTICLES = frozenset(_SMALL_IN_PLACES.split())
_WORD = re.compile(r"[^\s'’.-]+|[\s'’.-]+")
_APOSTROPHES = ("'", "’")
_BETWEEN = frozenset(" '’.-")

CLEAN_NAME = r"^[A-Z][a-z]+( [A-Z][a-z]+)*$"


def standard_name(value: str) -> str:
    """A person's name as text; in capitals or in small letters only, it gets capitals where a name has them.

    Mixed case is left as its owner wrote it (McDonald, van der Berg), as are scripts without case. "MCDONALD" is
    "McDonald", "O'BRIEN" "O'Brien", "VAN DER BERG" "van der Berg".
    """
    return _recased(standard_text(value), _PERSON_PARTICLES, first_may_be_small=True)


def standard_city(value: str) -> str:
    """A place's name, by the same rule: "STOKE-ON-TRENT" is "Stoke-on-Trent". A trailing comma goes."""
    return _recased(standard_text(value).rstrip(" ,;"), _PLACE_PARTICLES, first_may_be_small=False)


def capitalised(word: str) -> str:
    """The word with its first letter large and the rest small, where that keeps its length."""
    small = word.lower()
    small = small if len(small) == len(word) else word
    first = small[:1].upper()
    return (first if len(first) == 1 else small[:1]) + small[1:]


def is_one_case(value: str) -> bool:
    """Whether all its letters are large, or all small: nobody chose the case of such text."""
    return value.isupper() or value.islower()


def _recased(value: str, particles: frozenset[str], first_may_be_small: bool) -> str:
    if not is_one_case(value):
        return value
    parts = _WORD.findall(value)
    words = [index for index, part in enumerate(parts) if part[0] not in _BETWEEN]
    for place, index in enumerate(words):
        last = place == len(words) - 1
        small = parts[index].lower() in particles and not last and (place > 0 or first_may_be_small)
        after = parts[index - 1] if index else ""
        parts[index] = parts[index].lower() if small else _capital_word(parts[index], after)
    return unicodedata.normalize("NFC", "".join(parts))


def _capital_word(word: str, after: str) -> str:
    if after.endswith(_APOSTROPHES) and len(word) == 1:
        return word.lower()  # the s of King's
    if len(word) > 4 and word[:2].lower() == "mc" and word.isalpha():
        return "Mc" + capitalised(word[2:])
    return capitalised(word)
