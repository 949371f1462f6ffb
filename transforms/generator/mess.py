"""How the same fact gets written down differently: typing errors, nicknames, capitals, spaces, phone formats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from transforms.generator.names import NICKNAMES
from transforms.generator.places import COUNTRIES
from transforms.generator.randomness import gather

_ABBREVIATIONS = ((" Street", " St"), (" Road", " Rd."), (" Avenue", " Ave"), (" Lane", " Ln"), ("straße", "str."))
_SHORT_CODES = {"GBR": "UK", "DEU": "DE", "USA": "US", "FRA": "FR", "IRL": "IE", "NLD": "NL"}


def mistype(rng: np.random.Generator, words: pl.Series) -> pl.Series:
    """One typing error in each word of two letters or more: a letter swapped, dropped, doubled or replaced."""
    size = len(words)
    frame = pl.DataFrame({
        "w": words,
        "k": rng.integers(0, 4, size),
        "r": rng.random(size),
        "x": gather(list("aeionrst"), rng.integers(0, 8, size)),
    }).with_columns(n=pl.col("w").str.len_chars().cast(pl.Int64))  # fmt: skip
    frame = frame.with_columns(p=(1 + (pl.col("r") * (pl.col("n") - 1).clip(0)).floor().cast(pl.Int64)).clip(0, 48))
    head, here, rest = (
        pl.col("w").str.slice(0, pl.col("p") - 1),
        pl.col("w").str.slice(pl.col("p") - 1, 1),
        pl.col("w").str.slice(pl.col("p")),
    )
    following = rest.str.slice(0, 1)
    made = (
        pl.when(pl.col("n") < 2).then(pl.col("w"))
        .when((pl.col("k") == 0) & (here != following)).then(head + following + here + rest.str.slice(1))
        .when(pl.col("k") == 1).then(head + here + rest.str.slice(1))
        .when(pl.col("k") == 2).then(head + here + here + rest)
        .otherwise(head + here + pl.col("x") + rest.str.slice(1))
    )  # fmt: skip
    return frame.select(made.alias(words.name))[words.name]


def shorten(given: pl.Series) -> pl.Series:
    """The nickname of each given name, or the name itself where it has none."""
    return given.replace(list(NICKNAMES), list(NICKNAMES.values()))


def swap_day_and_month(birth: pl.Series) -> pl.Series:
    """Dates (days since 1970) with day and month exchanged where that is a date at all."""
    date = pl.col("b").cast(pl.Int32).cast(pl.Date)
    swapped = pl.date(date.dt.year(), date.dt.day(), date.dt.month())
    kept = pl.when(date.dt.day() <= 12).then(swapped).otherwise(date)
    return pl.DataFrame({"b": birth}).select(b=kept.cast(pl.Int32).cast(pl.Int64))["b"]


def write_phone(rng: np.random.Generator, digits: pl.Series, country: np.ndarray) -> pl.Series:
    """National digits as people type them: international with + or 00, or national, with or without spaces."""
    style = rng.choice(5, len(digits), p=[0.3, 0.1, 0.25, 0.2, 0.15])
    style = np.where((style == 1) & np.isin(country, _north_america()), 0, style)
    code = gather([c.calling for c in COUNTRIES], country)
    trunk = gather([c.trunk for c in COUNTRIES], country)
    frame = pl.DataFrame({"d": digits, "c": code, "t": trunk, "s": style})
    spaced = pl.format("{} {}", pl.col("d").str.slice(0, 4), pl.col("d").str.slice(4))
    written = (
        pl.when(pl.col("s") == 0).then(pl.format("+{}{}", "c", "d"))
        .when(pl.col("s") == 1).then(pl.format("00{}{}", "c", "d"))
        .when(pl.col("s") == 2).then(pl.format("{}{}", "t", "d"))
        .when(pl.col("s") == 3).then(pl.format("{}{}", "t", spaced))
        .otherwise(pl.format("+{} {}", "c", spaced))
    )  # fmt: skip
    return frame.select(p=written)["p"]


def _north_america() -> list[int]:
    return [i for i, country in enumerate(COUNTRIES) if country.calling == "1"]


def restyle(rng: np.random.Generator, values: pl.Series, upper: float, lower: float, spaces: float) -> pl.Series:
    """Some values in capitals, some in small letters, some with a blank around."""
    values = sometimes(rng, values, upper, lambda v: v.str.to_uppercase())
    values = sometimes(rng, values, lower, lambda v: v.str.to_lowercase())
    return sometimes(rng, values, spaces, lambda v: " " + v + " ")


def sometimes(
    rng: np.random.Generator, values: pl.Series, probability: float, change: Callable[[pl.Series], pl.Series]
) -> pl.Series:
    """`change(values)` in a share of the rows."""
    return change(values).zip_with(pl.Series(rng.random(len(values)) < probability), values)


def abbreviate(address: pl.Series) -> pl.Series:
    for long, short in _ABBREVIATIONS:
        address = address.str.replace(long, short, literal=True)
    return address


def write_country(rng: np.random.Generator, codes: pl.Series) -> pl.Series:
    """ISO alpha-3 codes, a few of them as other systems write them."""
    return sometimes(rng, codes, 0.04, lambda v: v.replace(list(_SHORT_CODES), list(_SHORT_CODES.values())))


def forget(rng: np.random.Generator, values: pl.Series, probability: float) -> pl.Series:
    """A share of the values left out."""
    return values.set(pl.Series(rng.random(len(values)) < probability), None)
