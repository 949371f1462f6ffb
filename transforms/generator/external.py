"""EXTERNAL_CUSTOMER_PROFILES and EXTERNAL_CUSTOMER_SENTIMENT: what third parties know and say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.catalogue import Catalogue
from transforms.generator.clock import draw_moments
from transforms.generator.frames import DAY, HOUR, YEAR, finish, identifiers
from transforms.generator.orders import Orders
from transforms.generator.population import Population
from transforms.generator.randomness import choose, gather

_SOURCES = ("FACEBOOK", "TWITTER", "LINKEDIN", "ENRICHMENT")
_AGES = ("18-24", "25-34", "35-44", "45-54", "55+")
_STUDIES = ("Secondary school", "Vocational", "Bachelor", "Master", "Doctorate")
_JOBS = ("Teacher", "Nurse", "Engineer", "Clerk", "Designer", "Manager", "Electrician", "Retired", "Student", "Cook")
_INCOMES = ("under 20k", "20k-40k", "40k-60k", "60k-100k", "over 100k")
_LIVES = ("urban", "family", "outdoor", "homeowner", "traveller", "pets", "crafts")
_CONTEXTS = ("Lovely things, will order again.", "Ordered something, it came.", "Not what I had hoped for.")
_WORDS = (("love", "beautiful", "fast delivery"), ("ok", "parcel", "shop"), ("broken", "late", "disappointed"))


def write_profiles(
    rng: np.random.Generator, population: Population, catalogue: Catalogue, share: float, shard: int, end_us: int
) -> pa.Table:
    """A profile about a share of the records, in order of date; age and interests are mostly true."""
    record = np.flatnonzero(rng.random(population.records.height) < share)
    size = len(record)
    since = population.records["since"].to_numpy()[record]
    at = since + (rng.random(size) * np.maximum(end_us - since, 0)).astype(np.int64)
    order = np.argsort(at // DAY, kind="stable")
    record, at = record[order], at[order]
    age = (at / YEAR - population.habit("birth", record) * DAY / YEAR) + rng.normal(0, 3, size)
    level = population.habit("price_level", record)
    liked = [population.drawn_taste(rng, record) for _ in range(3)]
    source = choose(rng, size, (3, 2, 1, 4))
    activity = choose(rng, size, (1, 2, 2))
    return finish("EXTERNAL_CUSTOMER_PROFILES", pl.DataFrame({
        "PROFILE_ID": identifiers("X", shard, size),
        "CUSTOMER_ID": population.customer_ids(record),
        "DATA_SOURCE": gather(_SOURCES, source),
        "PROFILE_TYPE": gather(("SOCIAL", "DEMOGRAPHIC", "PSYCHOGRAPHIC"), np.where(source == 3,
                               1 + (rng.random(size) < 0.3), 0)),
        "PROFILE_DATE": at // DAY,
        "AGE_RANGE": gather(_AGES, np.digitize(age, (25, 35, 45, 55))),
        "GENDER": gather(("M", "F", None), np.where(rng.random(size) < 0.1, 2, population.habit("woman", record))),
        "EDUCATION_LEVEL": gather(_STUDIES, choose(rng, size, (3, 3, 4, 2, 0.4))),
        "OCCUPATION": gather(_JOBS, rng.integers(0, len(_JOBS), size)),
        "INCOME_RANGE": gather(_INCOMES, np.digitize(level + rng.normal(0, 0.6, size), (-1.2, 0, 1.0, 2.0))),
        "INTERESTS": json_array([gather(catalogue.categories, index) for index in liked]),
        "LIFESTYLE_FACTORS": json_array([gather(_LIVES, rng.integers(0, len(_LIVES), size)) for _ in range(2)]),
        "SOCIAL_MEDIA_ACTIVITY": gather(("HIGH", "MEDIUM", "LOW"), activity),
        "INFLUENCE_SCORE": (rng.beta(2, 3 + 2 * activity) * 100).astype(np.int64),
        "DATA_QUALITY_SCORE": (rng.beta(8, 2, size) * 100).astype(np.int64),
        "LAST_UPDATED": np.minimum(at + rng.integers(0, 20, size) * HOUR, end_us - 1),
    }))  # fmt: skip


def write_sentiment(
    rng: np.random.Generator, population: Population, orders: Orders, per_year: float, shard: int, end_us: int
) -> pa.Table:
    """What people said in public on a day, in order of date; worse in the weeks after they sent something back."""
    who, at = draw_moments(rng, population.habit("active_from"), population.habit("left"),
                           np.full(population.persons.height, per_year), population.habit("hours"))  # fmt: skip
    order = np.argsort(at // DAY, kind="stable")
    who, at = who[order], at[order]
    record, size = population.record_at(rng, who, at), len(who)
    returns = orders.frame.filter(pl.col("returned") & (pl.col("record") >= 0))
    person = population.records["person"].to_numpy()
    last = np.full(population.persons.height, np.iinfo(np.int64).min // 2)
    if returns.height:
        np.maximum.at(last, person[returns["record"].to_numpy()], returns["at"].to_numpy())
    angry = np.abs(at - last[who]) < 30 * DAY
    score = np.clip(0.3 - 0.6 * angry + rng.normal(0, 0.35, size), -1, 1)
    count = rng.geometric(0.25, size)
    good = rng.binomial(count, np.clip(0.45 + 0.45 * score, 0, 1))
    bad = rng.binomial(count - good, np.clip(0.4 - 0.4 * score, 0, 1))
    tone = np.digitize(-score, (-0.25, 0.1))
    return finish("EXTERNAL_CUSTOMER_SENTIMENT", pl.DataFrame({
        "SENTIMENT_ID": identifiers("Y", shard, size),
        "CUSTOMER_ID": population.customer_ids(record),
        "DATA_SOURCE": gather(_SOURCES[:3], choose(rng, size, (3, 3, 1))),
        "SENTIMENT_DATE": at // DAY,
        "SENTIMENT_TYPE": gather(("BRAND", "PRODUCT", "SERVICE", "COMPETITOR"), choose(rng, size, (4, 3, 2, 0.5))),
        "SENTIMENT_SCORE": (score * 100).astype(np.int64),
        "SENTIMENT_MAGNITUDE": (np.minimum(np.abs(score) + rng.random(size) * 0.2, 1) * 100).astype(np.int64),
        "MENTION_COUNT": count,
        "POSITIVE_MENTIONS": good,
        "NEGATIVE_MENTIONS": bad,
        "NEUTRAL_MENTIONS": count - good - bad,
        "CONTEXT": gather(_CONTEXTS, tone),
        "KEYWORDS": json_array([gather([w for three in _WORDS for w in three], tone * 3 + rng.integers(0, 3, size))]),
    }))  # fmt: skip


def json_array(columns: list[pl.Series]) -> pl.Series:
    """A JSON array of the values of each row; values hold nothing that JSON escapes. Repeated values stand once."""
    rows = pl.DataFrame({str(i): column for i, column in enumerate(columns)})
    parts = pl.concat_list(pl.all()).list.unique(maintain_order=True)
    return rows.select(j=pl.lit('["') + parts.list.join('", "') + pl.lit('"]'))["j"]
