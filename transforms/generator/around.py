"""The other ten tables around real orders: people, visits, messages and service for customers who truly bought."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.errors import UserError
from transforms.generator.campaigns import draw_campaigns, write_campaigns
from transforms.generator.catalogue import Catalogue, read_catalogue
from transforms.generator.categories import CATEGORIES, FEES
from transforms.generator.frames import DAY, HOUR, MINUTE, SECOND, YEAR
from transforms.generator.orders import Orders
from transforms.generator.persons import draw_persons
from transforms.generator.places import BY_CODE
from transforms.generator.population import Population, draw_habits
from transforms.generator.randomness import stream
from transforms.generator.records import draw_records
from transforms.generator.shard import Rates, Shard, Touched, build_around
from transforms.generator.spec import GeneratorSpec
from transforms.generator.touches import draw_touches, pick_campaigns, silence
from transforms.generator.truth import empty_truth

# Tuned to the Online Retail orders: about 250,000 events in 40,000 sessions, 120,000 steps of messages.
REAL_RATES = Rates(
    visits_per_order=0.85, tickets_per_order=0.085, tickets_per_return=0.4, loose_contacts_per_year=0.35,
    profile_share=0.6, sentiment_per_year=1.5, preferences_per_record=1.6,
)  # fmt: skip
AUDIENCE_SHARE = 0.6
CAUSED_SHARE, SILENT_DAYS, LEFT_SHARE = 0.08, 120, 0.8
_HOME = "GBR"


def around_real_orders(
    transactions: pa.Table, items: pa.Table, spec: GeneratorSpec, countries: dict[str, str] | None = None
) -> Iterator[tuple[str, pa.Table]]:
    """Yields (table, rows) of the ten tables around real orders, clean; see `build_around_real_orders`."""
    yield from build_around_real_orders(transactions, items, spec, countries).tables.items()


def build_around_real_orders(
    transactions: pa.Table, items: pa.Table, spec: GeneratorSpec, countries: dict[str, str] | None = None
) -> Shard:
    """Makes people and their doings that fit real orders, with the truth about them.

    Each real customer becomes a person, keeps the real CUSTOMER_ID as first record, and one in eight gets further
    records under new ids. Taste, rate and the first and last day are read from the real orders; a share of the
    orders gets a click before it, recorded as its cause. Nobody does anything before or after being a customer.

    Args:
      transactions, items: CUSTOMER_TRANSACTIONS and CUSTOMER_TRANSACTION_ITEMS in contract columns.
      spec: its seed counts; time span and number of customers are those of the orders.
      countries: ISO alpha-3 code of a CUSTOMER_ID; others live in the United Kingdom.
    """
    frame, lines = _read(transactions), _read(items)
    if not frame["CUSTOMER_ID"].is_not_null().any():
        raise UserError("no transaction has a CUSTOMER_ID", "CUSTOMER_TRANSACTIONS", "map the column of the customer")
    frame = frame.with_columns(at=pl.col("TRANSACTION_DATE").cast(pl.Int64))
    span = _span(frame, spec)
    catalogue = read_catalogue(lines)
    population = _population(frame, lines, catalogue, span, countries or {})
    orders = _orders(frame, lines, population, catalogue)
    campaigns = draw_campaigns(span, catalogue.categories)
    orders, touched = _plant_causes(stream(spec.seed, "touches", 0), population, campaigns, orders)
    shard = build_around(spec.seed, 0, span.end_us, population, catalogue, campaigns, orders, touched, REAL_RATES)
    made = {"MARKETING_CAMPAIGNS": write_campaigns(campaigns, span.end_us), **shard.tables}
    return Shard({name: made[name] for name in CONTRACTS if name in made}, {**empty_truth(), **shard.truth})


def _read(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _span(frame: pl.DataFrame, spec: GeneratorSpec) -> GeneratorSpec:
    first, last = frame["TRANSACTION_DATE"].min(), frame["TRANSACTION_DATE"].max()
    end = last.date() + timedelta(days=1)  # type: ignore[union-attr]
    return replace(spec, end=end, days=max((end - first.date()).days, 1))  # type: ignore[union-attr]


def _population(
    frame: pl.DataFrame, lines: pl.DataFrame, catalogue: Catalogue, span: GeneratorSpec, countries: dict[str, str]
) -> Population:
    rng = stream(span.seed, "people", 0)
    known = frame.filter(pl.col("CUSTOMER_ID").is_not_null())
    real = known.group_by("CUSTOMER_ID", maintain_order=True).agg(
        first=pl.col("at").min(), last=pl.col("at").max(), orders=(pl.col("TRANSACTION_TYPE") == "PURCHASE").sum()
    )
    size, ids = real.height, real["CUSTOMER_ID"]
    living = np.array([BY_CODE[countries.get(customer, _HOME)] for customer in ids.to_list()])
    first, last = real["first"].to_numpy(), real["last"].to_numpy()
    joined = first // DAY * DAY - (rng.random(size) ** 2 * 90).astype(np.int64) * DAY
    gone = (last < span.end_us - SILENT_DAYS * DAY) & (rng.random(size) < LEFT_SHARE)
    left = np.where(gone, last // DAY * DAY + (1 + rng.integers(0, 20, size)) * DAY, span.end_us)
    persons = draw_persons(rng, living, 1).with_columns(
        joined=joined, active_from=joined, left=left, churned=gone,
        rate=real["orders"].to_numpy() / np.maximum((left - joined) / YEAR, 0.1),
    ).with_columns(draw_habits(rng, living))  # fmt: skip
    records = draw_records(rng, persons)
    row, copy = records["person_row"].to_numpy(), records["copy"].to_numpy()
    taken = {int(customer) for customer in ids.to_list() if customer.isdecimal() and len(customer) < 18}
    new = pl.Series(np.cumsum(copy > 0) + max(900_000, *taken)).cast(pl.String)
    records = records.with_columns(
        CUSTOMER_ID=ids.gather(row).zip_with(pl.Series(copy == 0), new), person=pl.Series(row)
    )
    return Population(persons, _tastes(known, lines, ids, catalogue), records)


def _tastes(known: pl.DataFrame, lines: pl.DataFrame, ids: pl.Series, catalogue: Catalogue) -> np.ndarray:
    """What each real customer bought by category, drawn a little towards what everybody buys."""
    person = pl.DataFrame({"CUSTOMER_ID": ids, "person": np.arange(len(ids))})
    bought = (
        lines.lazy().join(known.lazy().select("TRANSACTION_ID", "CUSTOMER_ID"), on="TRANSACTION_ID")
        .join(person.lazy(), on="CUSTOMER_ID").group_by("person", "CATEGORY").len().collect()
    )  # fmt: skip
    category = bought["CATEGORY"].replace_strict(
        CATEGORIES, range(len(CATEGORIES)), default=len(CATEGORIES) - 1, return_dtype=pl.Int64
    )
    counts = np.zeros((len(ids), len(CATEGORIES)))
    np.add.at(counts, (bought["person"].to_numpy(), category.to_numpy()), bought["len"].to_numpy())
    shares = (counts + 2 * catalogue.popularity) * (catalogue.popularity > 0)
    return shares / shares.sum(axis=1, keepdims=True)


def _orders(frame: pl.DataFrame, lines: pl.DataFrame, population: Population, catalogue: Catalogue) -> Orders:
    rows = pl.DataFrame({
        "CUSTOMER_ID": population.records["CUSTOMER_ID"], "record": np.arange(population.records.height),
    })  # fmt: skip
    orders = frame.join(rows, on="CUSTOMER_ID", how="left", maintain_order="left").select(
        "TRANSACTION_ID",
        "at",
        record=pl.col("record").fill_null(-1),
        sold=pl.col("TRANSACTION_TYPE") == "PURCHASE",
        returned=pl.col("TRANSACTION_TYPE") != "PURCHASE",
        channel="CHANNEL",
        total=(pl.col("TOTAL_AMOUNT") * 100).cast(pl.Int64),
        campaign=pl.lit(-1, pl.Int64),
    )
    numbers = pl.DataFrame({"TRANSACTION_ID": orders["TRANSACTION_ID"], "order": np.arange(orders.height)})
    products = pl.DataFrame({
        "PRODUCT_ID": catalogue.products["PRODUCT_ID"], "product": np.arange(catalogue.products.height),
    })  # fmt: skip
    named = lines.filter(pl.col("CATEGORY") != FEES).select("TRANSACTION_ID", "PRODUCT_ID").join(
        numbers, on="TRANSACTION_ID", maintain_order="left"
    ).join(products, on="PRODUCT_ID", maintain_order="left")  # fmt: skip
    return Orders(orders, named.select("order", "product").sort("order", maintain_order=True))


def _plant_causes(
    rng: np.random.Generator, population: Population, campaigns: pl.DataFrame, orders: Orders
) -> tuple[Orders, Touched]:
    """Random messages, and before a share of the real orders a clicked one."""
    frame = orders.frame
    sold = np.flatnonzero(frame["sold"].to_numpy() & (frame["record"] >= 0).to_numpy())
    sold = sold[rng.random(len(sold)) < CAUSED_SHARE / 0.7]  # some find no campaign running
    at, record = frame["at"].to_numpy()[sold], frame["record"].to_numpy()[sold]
    campaign = pick_campaigns(rng, campaigns, at, longest=3 * DAY)
    start = campaigns["start"].to_numpy()[np.maximum(campaign, 0)]
    delay = np.minimum(rng.exponential(0.6, len(sold)) * DAY + 10 * MINUTE, 0.8 * (at - start)).astype(np.int64)
    clicked = at - delay
    opened = clicked - rng.integers(20 * SECOND, 10 * MINUTE, len(sold))
    delivered = np.maximum(opened - (rng.lognormal(4.0, 1.0, len(sold)) * MINUTE).astype(np.int64), start + 8 * HOUR)
    delivered = np.minimum(delivered, opened - MINUTE)
    sent = delivered - rng.integers(SECOND, MINUTE, len(sold))
    since = population.records["since"].to_numpy()[record]
    planted = pl.DataFrame({
        "record": record, "campaign": campaign, "sent": sent, "delivered": delivered, "opened": opened,
        "clicked": clicked, "left": np.iinfo(np.int64).max, "order": sold,
    }).filter(pl.Series((campaign >= 0) & (sent >= np.maximum(since, start))))  # fmt: skip
    planted = planted.unique(["record", "campaign"], keep="first", maintain_order=True)
    random = draw_touches(rng, population, campaigns, AUDIENCE_SHARE).join(
        planted, on=["record", "campaign"], how="anti", maintain_order="left"
    )
    touches = silence(pl.concat([random.with_columns(order=pl.lit(-1, pl.Int64)), planted], how="vertical_relaxed"))
    causes = touches.with_row_index("touch").filter(pl.col("order") >= 0)
    soon = causes.filter(frame["at"].gather(causes["order"]) - causes["clicked"] < DAY // 2)
    campaign_of = frame["campaign"].to_numpy().copy()
    campaign_of[soon["order"].to_numpy()] = soon["campaign"].to_numpy()
    return (
        Orders(frame.with_columns(campaign=campaign_of), orders.lines),
        Touched(touches, causes.select("touch", "order", lift=pl.lit(None, pl.Float64))),
    )
