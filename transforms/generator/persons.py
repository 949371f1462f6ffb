"""Who the persons truly are: name, birth, address, phone and e-mail, before any record of them is kept."""

from __future__ import annotations

import unicodedata

import numpy as np
import polars as pl

from transforms.generator.names import CULTURES, MAIL_DOMAINS, MINORITIES, MINORITY_SHARE
from transforms.generator.places import COUNTRIES, STREET_NAMES
from transforms.generator.randomness import choose, fill, gather, zipf

HOUSEHOLD_SHARE, SHARED_PHONE, SHARED_SURNAME = 0.18, 0.5, 0.65
_CULTURE_NAMES = tuple(CULTURES)


def draw_persons(rng: np.random.Generator, countries: np.ndarray, first_number: int) -> pl.DataFrame:
    """One row a person, living in `countries` (indexes into COUNTRIES).

    Columns: number, person (identifier), country, woman, given, surname, birth (days since 1970), address, city,
    state, zip, phone (digits without country code), mail. About one person in six lives in the household of the
    person before: same address, often the same phone and surname. No two persons share an e-mail address.
    """
    size = len(countries)
    head = _heads(rng, countries)
    culture = _cultures(rng, countries)[head]
    woman = rng.random(size) < 0.52
    given = draw_given(rng, culture, woman)
    surname = draw_surname(rng, culture)
    family = np.where(rng.random(size) < SHARED_SURNAME, head, np.arange(size))
    telephone = np.where(rng.random(size) < SHARED_PHONE, head, np.arange(size))
    number = np.arange(first_number, first_number + size)
    frame = pl.DataFrame({
        "number": number,
        "country": countries,
        "culture": culture,
        "woman": woman,
        "given": given,
        "surname": surname.gather(family),
        "birth": (rng.triangular(-16_000, 1_500, 7_300, size)).astype(np.int64),
        "phone": draw_phone(rng, countries).gather(telephone),
    }).with_columns(person=pl.format("P{}", pl.col("number").cast(pl.String).str.zfill(8)))  # fmt: skip
    homes = draw_homes(rng, countries)[head]
    return pl.concat([frame, homes], how="horizontal").with_columns(
        mail=draw_mail(rng, frame["given"], frame["surname"], number)
    )


def _heads(rng: np.random.Generator, countries: np.ndarray) -> np.ndarray:
    """The index of the person whose home each person lives in: their own, or that of a compatriot shortly before."""
    size = len(countries)
    own = rng.random(size) >= HOUSEHOLD_SHARE
    own[:1] = True
    head = np.maximum.accumulate(np.where(own, np.arange(size), 0))
    return np.where(countries[head] == countries, head, np.arange(size))


def _cultures(rng: np.random.Generator, countries: np.ndarray) -> np.ndarray:
    main = np.array([_CULTURE_NAMES.index(country.culture) for country in COUNTRIES])[countries]
    others = np.array([_CULTURE_NAMES.index(name) for name, _ in MINORITIES])
    other = others[choose(rng, len(countries), [weight for _, weight in MINORITIES])]
    return np.where(rng.random(len(countries)) < MINORITY_SHARE, other, main)


def draw_given(rng: np.random.Generator, culture: np.ndarray, woman: np.ndarray) -> pl.Series:
    lists = [names for c in CULTURES.values() for names in (c.men, c.women)]
    return _draw_from(rng, lists, culture * 2 + woman, power=0.7)


def draw_surname(rng: np.random.Generator, culture: np.ndarray) -> pl.Series:
    return _draw_from(rng, [c.surnames for c in CULTURES.values()], culture, power=0.6)


def _draw_from(rng: np.random.Generator, lists: list[tuple[str, ...]], which: np.ndarray, power: float) -> pl.Series:
    """One name from the chosen list for each row; earlier names are more frequent."""
    starts = np.cumsum([0] + [len(names) for names in lists])[:-1]
    ranks = np.zeros(len(which), np.int64)
    for index, names in enumerate(lists):
        rows = np.flatnonzero(which == index)
        ranks[rows] = choose(rng, len(rows), zipf(len(names), 3.0, power))
    return gather([name for names in lists for name in names], starts[which] + ranks)


def draw_homes(rng: np.random.Generator, countries: np.ndarray) -> pl.DataFrame:
    """address, city, state, zip for people in `countries`."""
    size = len(countries)
    lines = [_address_lines(i) for i in range(len(COUNTRIES))]
    starts, counts = _offsets([len(found) for found in lines])
    line = starts[countries] + (rng.random(size) * counts[countries]).astype(np.int64)
    flat = [text.split("1", 1) for found in lines for text in found]
    house = np.minimum(rng.geometric(0.02, size), 399)
    cities = [city.split("|") for country in COUNTRIES for city in country.cities]
    starts, counts = _offsets([len(country.cities) for country in COUNTRIES])
    place = starts[countries] + (rng.random(size) ** 1.3 * counts[countries]).astype(np.int64)
    before, after = gather([a for a, _ in flat], line), gather([b for _, b in flat], line)
    zips = fill(rng, [code for _, code, _ in cities], place)
    return pl.DataFrame({
        "address": before + pl.Series(house).cast(pl.String) + after,
        "city": gather([name for name, _, _ in cities], place),
        "state": gather([state or None for _, _, state in cities], place),
        "zip": zips.set(zips == "", None),
    })  # fmt: skip


def _address_lines(index: int) -> list[str]:
    country = COUNTRIES[index]
    names = STREET_NAMES.get(country.culture, STREET_NAMES["british"]).split()
    return [pattern.replace("{}", name.replace("-", " ")) for pattern in country.streets for name in names]


def _offsets(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.array(counts)
    return np.cumsum(sizes) - sizes, sizes


def draw_phone(rng: np.random.Generator, countries: np.ndarray) -> pl.Series:
    """National significant digits of a mobile phone."""
    patterns = [pattern for country in COUNTRIES for pattern in country.mobile]
    starts, counts = _offsets([len(country.mobile) for country in COUNTRIES])
    return fill(rng, patterns, starts[countries] + (rng.random(len(countries)) * counts[countries]).astype(np.int64))


def draw_mail(rng: np.random.Generator, given: pl.Series, surname: pl.Series, number: np.ndarray) -> pl.Series:
    """An e-mail address made of the names and of a number that belongs to the person alone."""
    first, last, digits = fold(given), fold(surname), pl.Series(number).cast(pl.String)
    domain = gather(MAIL_DOMAINS, choose(rng, len(number), zipf(len(MAIL_DOMAINS), 0.0)))
    style = pl.Series(rng.integers(0, 4, len(number)))
    parts = pl.DataFrame({"f": first, "l": last, "n": digits, "d": domain, "s": style})
    local = (
        pl.when(pl.col("s") == 0).then(pl.format("{}.{}{}", "f", "l", "n"))
        .when(pl.col("s") == 1).then(pl.format("{}{}{}", pl.col("f").str.slice(0, 1), "l", "n"))
        .when(pl.col("s") == 2).then(pl.format("{}_{}_{}", "l", "f", "n"))
        .otherwise(pl.format("{}{}", "f", "n"))
    )  # fmt: skip
    return parts.select(mail=pl.format("{}@{}", local, "d"))["mail"]


def fold(names: pl.Series) -> pl.Series:
    """Lower-case ASCII letters of each name; a name without any becomes "post"."""
    distinct = names.unique().to_list()
    return names.replace_strict(distinct, [_fold(name) for name in distinct], return_dtype=pl.String)


def _fold(name: str) -> str:
    plain = name.replace("ß", "ss").replace("ø", "o").replace("ł", "l").replace("Ł", "L")
    letters = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode().lower()
    return "".join(letter for letter in letters if letter.isalpha()) or "post"
