"""CUSTOMER_PREFERENCE_DATA: what customers say they like, or are thought to."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.catalogue import Catalogue
from transforms.generator.frames import DAY, finish, identifiers
from transforms.generator.population import Population
from transforms.generator.randomness import choose, gather

TYPES = ("CATEGORY", "COMMUNICATION", "PRODUCT", "BRAND")
_MEDIA = ("EMAIL", "SMS", "PUSH", "POST", "NO CONTACT")


def write_preferences(
    rng: np.random.Generator, population: Population, catalogue: Catalogue, per_record: float, shard: int, end_us: int
) -> pa.Table:
    """About `per_record` rows a record, in order of date; likes, and how strong they are, follow the person's taste."""
    records = population.records
    record = np.repeat(np.arange(records.height), rng.poisson(per_record, records.height))
    size = len(record)
    kind = choose(rng, size, (0.5, 0.2, 0.2, 0.1))
    if "BRAND" not in catalogue.products.columns:
        kind[kind == 3] = 0
    category = population.drawn_taste(rng, record)
    product = catalogue.products[catalogue.draw(rng, category)]
    weight = population.tastes[records["person"].to_numpy()[record], category]
    since = records["since"].to_numpy()[record]
    strength = np.clip(0.25 + 0.7 * weight + rng.normal(0, 0.08, size), 0, 1)
    day = since + (rng.random(size) * np.maximum(end_us - since - DAY, 0)).astype(np.int64)
    value = pl.Series(np.zeros(size)).cast(pl.String)
    options = (
        product["CATEGORY"],
        gather(_MEDIA, choose(rng, size, (5, 1, 1, 1, 1))),
        product["PRODUCT_ID"],
        product["BRAND"] if "BRAND" in product.columns else product["CATEGORY"],
    )
    for index, option in enumerate(options):
        value = option.zip_with(pl.Series(kind == index), value)
    frame = pl.DataFrame({
        "CUSTOMER_ID": population.customer_ids(record),
        "PREFERENCE_TYPE": gather(TYPES, kind),
        "PREFERENCE_VALUE": value,
        "PREFERENCE_STRENGTH": (strength * 100).astype(np.int64),
        "PREFERENCE_SOURCE": gather(("EXPLICIT", "IMPLICIT", "INFERRED"), choose(rng, size, (0.35, 0.4, 0.25))),
        "PREFERENCE_DATE": day // DAY,
        "PREFERENCE_STATUS": gather(("ACTIVE", "INACTIVE", "OVERRIDDEN"), choose(rng, size, (0.88, 0.05, 0.07))),
    }).sort("PREFERENCE_DATE", maintain_order=True)  # fmt: skip
    return finish("CUSTOMER_PREFERENCE_DATA", frame.with_columns(PREFERENCE_ID=identifiers("R", shard, size)))
