"""Persons with their habits, and the customer records kept about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from transforms.generator.frames import DAY, YEAR
from transforms.generator.persons import draw_persons
from transforms.generator.places import BY_CODE, COUNTRIES, HOME_SHARES
from transforms.generator.randomness import choose, choose_by_row
from transforms.generator.spec import GeneratorSpec

CHANNELS = ("ECOMMERCE", "POS", "MOBILE", "SOCIAL")
DEVICES = ("DESKTOP", "MOBILE", "TABLET")


@dataclass(frozen=True)
class Population:
    """Everybody of one shard.

    Attributes:
      persons: one row a person: identity (see `draw_persons`) and habits (see `draw_habits`).
      tastes: persons by categories; each row sums to 1.
      records: one row a customer record: CUSTOMER_ID, person (row of `persons`), since (microseconds), change (how
        it differs from the person's first record), in order of person and time.
    """

    persons: pl.DataFrame
    tastes: np.ndarray
    records: pl.DataFrame

    def record_at(self, rng: np.random.Generator, person: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The row of `records` a person uses at a time: any of those that exist by then."""
        since = self.records["since"].to_numpy()
        first = np.searchsorted(self.records["person"].to_numpy(), np.arange(self.persons.height))
        last = np.append(first[1:], len(since))
        known = np.ones(len(person), np.int64)
        for step in (1, 2):
            row = first[person] + step
            known += (row < last[person]) & (since[np.minimum(row, len(since) - 1)] <= at)
        return first[person] + (rng.random(len(person)) * known).astype(np.int64)

    def habit(self, name: str, record: np.ndarray | None = None) -> np.ndarray:
        """A column of the persons, for each record given or for each person."""
        values = self.persons[name].to_numpy()
        return values if record is None else values[self.records["person"].to_numpy()[record]]

    def customer_ids(self, record: np.ndarray) -> pl.Series:
        """CUSTOMER_ID of each record; null for -1, a guest."""
        guest = pl.Series(record < 0)
        return self.records["CUSTOMER_ID"].gather(np.maximum(record, 0).astype(np.uint32)).set(guest, None)

    def drawn_taste(self, rng: np.random.Generator, record: np.ndarray) -> np.ndarray:
        """A category for each record, drawn by its person's taste; for a guest, by everybody's."""
        person = np.where(record < 0, self.persons.height, self.records["person"].to_numpy()[np.maximum(record, 0)])
        shares = np.vstack([self.tastes, self.tastes.mean(axis=0)])
        return choose_by_row(rng, np.cumsum(shares, axis=1), person)


def draw_synthetic(rng: np.random.Generator, spec: GeneratorSpec, first: int, size: int) -> pl.DataFrame:
    """Persons of a made-up retailer, with habits: `size` of them, numbered from `first`."""
    homes = np.array([BY_CODE[code] for code in HOME_SHARES])
    countries = np.repeat(homes[choose(rng, size, list(HOME_SHARES.values()))], 3)[:size]  # so that households form
    persons = draw_persons(rng, countries, first)
    before = rng.random(size) < 0.6
    joined = np.where(
        before, spec.start_us - rng.random(size) * 3 * YEAR, spec.start_us + rng.random(size) * spec.days * DAY
    )
    joined = (joined // DAY * DAY).astype(np.int64)
    # Pareto/NBD (Schmittlein, Morrison and Colombo 1987): gamma rates of buying and of dropping out.
    rate = rng.gamma(0.9, 6.0 / 0.9, size) + 0.3
    dropout_rate = rng.gamma(0.8, 0.5 / 0.8, size) + 1e-6
    lasts = np.minimum(rng.exponential(1 / dropout_rate), 1_000.0) * YEAR
    left = np.maximum(joined, spec.start_us) + lasts
    left = (np.minimum(left, spec.end_us + DAY) // DAY * DAY + DAY).astype(np.int64)
    return persons.with_columns(
        joined=joined,
        active_from=np.maximum(joined, spec.start_us),
        left=np.minimum(left, spec.end_us),
        churned=left < spec.end_us,
        rate=rate,
    ).with_columns(draw_habits(rng, persons["country"].to_numpy()))


def draw_habits(rng: np.random.Generator, countries: np.ndarray) -> list[pl.Series]:
    """price_level, channel, device (indexes), hours (time zone), openness (how readily messages are opened)."""
    size = len(countries)
    return [
        pl.Series("price_level", rng.normal(0.0, 1.0, size)),
        pl.Series("channel", choose(rng, size, (0.5, 0.25, 0.18, 0.07))),
        pl.Series("device", choose(rng, size, (0.42, 0.48, 0.1))),
        pl.Series("hours", np.array([country.hours for country in COUNTRIES])[countries]),
        pl.Series("openness", rng.beta(2.0, 4.0, size)),
    ]


def draw_tastes(rng: np.random.Generator, persons: int, popularity: np.ndarray) -> np.ndarray:
    """Shares over the categories, peaked: most persons like three or four."""
    shares = rng.gamma(0.35 * popularity / popularity.mean(), 1.0, (persons, len(popularity))) + 1e-9
    return shares / shares.sum(axis=1, keepdims=True)
