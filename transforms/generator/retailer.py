"""The synthetic retailer, shard by shard."""

from __future__ import annotations

import numpy as np
import polars as pl

from transforms.contracts import CONTRACTS
from transforms.generator.campaigns import draw_campaigns, write_campaigns
from transforms.generator.catalogue import Catalogue, draw_catalogue
from transforms.generator.frames import DAY
from transforms.generator.orders import Orders
from transforms.generator.population import Population, draw_synthetic, draw_tastes
from transforms.generator.randomness import stream
from transforms.generator.records import draw_records
from transforms.generator.shard import Rates, Shard, Touched, build_around
from transforms.generator.spec import GeneratorSpec
from transforms.generator.tills import Sales, draw_sales
from transforms.generator.touches import clicks_that_sell, draw_touches
from transforms.generator.truth import empty_truth

_ID_SPACE = 1 << 30
SOON = DAY // 2  # a purchase this soon after a click still shows the campaign in its visit


def build_shard(spec: GeneratorSpec, shard: int) -> Shard:
    """All twelve tables of one group of persons, clean, and what is true about them.

    A shard depends on `spec` and its number alone, so shards can be made in any order or on different machines. No
    key occurs in two shards and no foreign key leaves one, but for the campaigns, which shard 0 holds.
    """
    first = shard * spec.shard_persons
    size = min(spec.shard_persons, spec.customers - first)
    if shard < 0 or size <= 0:
        raise ValueError(f"shard {shard} of {spec.shards}: count from 0")
    catalogue = draw_catalogue(spec)
    campaigns = draw_campaigns(spec, catalogue.categories)
    population = _population(spec, shard, first, size, catalogue)
    touches = draw_touches(stream(spec.seed, "touches", shard), population, campaigns)
    selling = clicks_that_sell(stream(spec.seed, "causes", shard), touches, campaigns)
    sales = draw_sales(stream(spec.seed, "sales", shard), population, catalogue, selling, shard, spec.end_us)
    lift = campaigns["lift"].gather(touches["campaign"].gather(sales.causes["touch"]))
    touched = Touched(touches, sales.causes.with_columns(lift=lift))
    made = build_around(
        spec.seed, shard, spec.end_us, population, catalogue, campaigns, _mark(sales, touches), touched, Rates()
    )
    tables = {
        **made.tables,
        "CUSTOMER_TRANSACTIONS": sales.transactions,
        "CUSTOMER_TRANSACTION_ITEMS": sales.items,
        "MARKETING_CAMPAIGNS": write_campaigns(campaigns, spec.end_us) if shard == 0 else None,
    }
    ordered = {name: tables[name] for name in CONTRACTS if tables.get(name) is not None}
    return Shard(ordered, {**empty_truth(), **made.truth})


def _population(spec: GeneratorSpec, shard: int, first: int, size: int, catalogue: Catalogue) -> Population:
    rng = stream(spec.seed, "people", shard)
    persons = draw_synthetic(rng, spec, first, size)
    records = draw_records(rng, persons)
    number = scramble(records["number"].to_numpy() * 4 + records["copy"].to_numpy())
    records = records.with_columns(
        CUSTOMER_ID="C" + pl.Series(number).cast(pl.String).str.zfill(10), person=pl.col("person_row")
    )
    return Population(persons, draw_tastes(rng, size, catalogue.popularity), records)


def scramble(numbers: np.ndarray) -> np.ndarray:
    """Maps 0 … 2^30 - 1 one to one onto itself, so that ids do not show which records belong together."""
    for factor, shift in ((387_420_489, 15), (715_827_883, 13)):
        numbers = numbers * factor % _ID_SPACE
        numbers = numbers ^ (numbers >> shift)
    return numbers


def _mark(sales: Sales, touches: pl.DataFrame) -> Orders:
    """The orders, with the campaign of the click that caused one of them hours before."""
    frame, causes = sales.orders.frame, sales.causes
    order, touch = causes["order"].to_numpy(), causes["touch"].to_numpy()
    soon = frame["at"].to_numpy()[order] - touches["clicked"].to_numpy()[touch] < SOON
    campaign = np.full(frame.height, -1)
    campaign[order[soon]] = touches["campaign"].to_numpy()[touch[soon]]
    return Orders(frame.with_columns(campaign=pl.Series(campaign)), sales.orders.lines)
