"""One shard: everything around a group of persons and their orders, and what is true about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.catalogue import Catalogue
from transforms.generator.engagement import CLICKED, engagement_ids, write_engagement
from transforms.generator.events import draw_behaviour
from transforms.generator.external import write_profiles, write_sentiment
from transforms.generator.orders import Orders
from transforms.generator.population import Population
from transforms.generator.preferences import write_preferences
from transforms.generator.randomness import stream
from transforms.generator.records import write_customers
from transforms.generator.service import draw_tickets, write_interactions, write_tickets
from transforms.generator.sessions import draw_sessions
from transforms.generator.truth import truth_of_people, typed


@dataclass(frozen=True)
class Shard:
    """`tables` by contract name, in the order of the contracts; `truth` by the names of `truth.SCHEMAS`."""

    tables: dict[str, pa.Table]
    truth: dict[str, pa.Table]


@dataclass(frozen=True)
class Rates:
    """How much happens around an order, a record or a person."""

    visits_per_order: float = 1.4
    tickets_per_order: float = 0.05
    tickets_per_return: float = 0.3
    loose_contacts_per_year: float = 0.2
    profile_share: float = 0.45
    sentiment_per_year: float = 0.8
    preferences_per_record: float = 1.6


@dataclass(frozen=True)
class Touched:
    """Messages, and those that caused an order: `causes` has touch and order (rows) and lift."""

    touches: pl.DataFrame
    causes: pl.DataFrame


def build_around(
    seed: int,
    shard: int,
    end_us: int,
    population: Population,
    catalogue: Catalogue,
    campaigns: pl.DataFrame,
    orders: Orders,
    touched: Touched,
    rates: Rates,
) -> Shard:
    """The tables other than campaigns, transactions and items; rows are in order of time where they have one."""

    def rng(part: str) -> np.random.Generator:
        return stream(seed, part, shard)

    visits = draw_sessions(rng("sessions"), population, orders, touched.touches, campaigns, rates.visits_per_order)
    behaviour = draw_behaviour(rng("events"), population, catalogue, orders, visits, campaigns, shard, end_us)
    tickets = draw_tickets(
        rng("tickets"), population, orders, end_us, rates.tickets_per_order, rates.tickets_per_return
    )
    tables = {
        "CUSTOMERS": write_customers(rng("customers"), population.records, end_us),
        "CUSTOMER_SESSION_DATA": behaviour.sessions,
        "CUSTOMER_BEHAVIORAL_EVENTS": behaviour.events,
        "CUSTOMER_ENGAGEMENT_EVENTS": write_engagement(
            population, touched.touches, campaigns, touched.causes["touch"].to_numpy(), shard, end_us),
        "CUSTOMER_PREFERENCE_DATA": write_preferences(
            rng("preferences"), population, catalogue, rates.preferences_per_record, shard, end_us),
        "CUSTOMER_SERVICE_TICKETS": write_tickets(tickets, population, shard),
        "CUSTOMER_SERVICE_INTERACTIONS": write_interactions(
            rng("interactions"), tickets, population, rates.loose_contacts_per_year, shard, end_us),
        "EXTERNAL_CUSTOMER_PROFILES": write_profiles(
            rng("profiles"), population, catalogue, rates.profile_share, shard, end_us),
        "EXTERNAL_CUSTOMER_SENTIMENT": write_sentiment(
            rng("sentiment"), population, orders, rates.sentiment_per_year, shard, end_us),
    }  # fmt: skip
    truth = truth_of_people(population, catalogue.categories)
    truth["causes"] = _causes(population, campaigns, orders, touched, shard)
    truth["visitors"] = typed("visitors", behaviour.visitors)
    return Shard(tables, truth)


def _causes(population: Population, campaigns: pl.DataFrame, orders: Orders, touched: Touched, shard: int) -> pa.Table:
    order_rows, touch_rows = touched.causes["order"].to_numpy(), touched.causes["touch"].to_numpy()
    bought, touch = orders.frame[order_rows], touched.touches[touch_rows]
    return typed("causes", pl.DataFrame({
        "transaction_id": bought["TRANSACTION_ID"],
        "customer_id": population.customer_ids(bought["record"].to_numpy()),
        "campaign_id": campaigns["CAMPAIGN_ID"].gather(touch["campaign"]),
        "engagement_id": engagement_ids(shard, touch_rows, np.full(len(touch_rows), CLICKED)),
        "touched_at": touch["clicked"].cast(pl.Datetime("us", "UTC")),
        "lift": touched.causes["lift"],
    }))  # fmt: skip
