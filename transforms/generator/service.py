"""CUSTOMER_SERVICE_TICKETS and CUSTOMER_SERVICE_INTERACTIONS: questions around orders, complaints around returns."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.clock import draw_moments
from transforms.generator.frames import DAY, HOUR, MINUTE, finish, identifiers
from transforms.generator.orders import Orders
from transforms.generator.population import Population
from transforms.generator.randomness import choose, gather, within

CATEGORIES = ("BILLING", "TECHNICAL", "PRODUCT", "GENERAL")
PRIORITIES = ("LOW", "MEDIUM", "HIGH", "URGENT")
_MEDIA = ("EMAIL", "PHONE", "CHAT", "SOCIAL", "IN_PERSON")
_SUBJECTS = ("Question about an invoice", "Website does not work", "Item arrived damaged", "Delivery date")
_TOPICS = ("Invoice", "Checkout", "Damage", "Delivery")
_STORIES = (
    "The customer asks which items an amount on the invoice stands for.",
    "The basket is empty again after logging in.",
    "An item arrived damaged; the customer wants the money back.",
    "The customer asks when the parcel will come.",
)
_OUTCOMES = ("RESOLVED", "ANSWERED", "REFUNDED", "ESCALATED", "NO_ANSWER")
_AGENTS = 25


def draw_tickets(
    rng: np.random.Generator, population: Population, orders: Orders, end_us: int, after_order: float,
    after_return: float,
) -> pl.DataFrame:  # fmt: skip
    """One row a ticket in order of time: record, created, angry (about a return), category, priority, answered,
    resolved (microseconds, or null while open), satisfaction (1 to 5 or null)."""
    frame = orders.frame.filter(pl.col("record") >= 0)
    returned = frame["returned"].to_numpy()
    asks = rng.random(frame.height) < np.where(returned, after_return, after_order)
    wait = np.where(returned, -rng.random(frame.height) * 4 * DAY, rng.exponential(3.0, frame.height) * DAY)
    record, angry = frame["record"].to_numpy()[asks], returned[asks]
    created = (frame["at"].to_numpy() + wait.astype(np.int64))[asks] // MINUTE * MINUTE
    created = np.maximum(created, population.records["since"].to_numpy()[record] + 8 * HOUR)
    order = np.argsort(created, kind="stable")
    order = order[created[order] < end_us]
    record, angry, created, size = record[order], angry[order], created[order], len(order)
    priority = np.where(angry, choose(rng, size, (1, 4, 4, 1)), choose(rng, size, (5, 4, 1, 0.2)))
    answered = created + (rng.lognormal(4.2 - 0.4 * priority, 0.8) * MINUTE).astype(np.int64)
    resolved = answered + (rng.lognormal(7.0 - 0.2 * priority, 1.0) * MINUTE).astype(np.int64)
    slow = (resolved - created) / DAY
    mood = np.clip(np.round(4.6 - 1.1 * angry - 0.35 * slow + rng.normal(0, 0.8, size)), 1, 5).astype(np.int64)
    opened = resolved >= end_us
    return pl.DataFrame({
        "record": record,
        "created": created,
        "angry": angry,
        "category": np.where(angry, choose(rng, size, (1, 0.2, 4, 0.3)), choose(rng, size, (2, 1, 2, 3))),
        "priority": priority,
        "answered": answered,
        "resolved": pl.Series(resolved).set(pl.Series(opened), None),
        "satisfaction": pl.Series(mood).set(pl.Series(opened | (rng.random(size) < 0.45)), None),
        "medium": choose(rng, size, (5, 3, 3, 1, 0.5)),
        "agent": rng.integers(1, _AGENTS + 1, size),
    })  # fmt: skip


def write_tickets(tickets: pl.DataFrame, population: Population, shard: int) -> pa.Table:
    """The CUSTOMER_SERVICE_TICKETS table; an unresolved ticket is OPEN or IN_PROGRESS."""
    closed = pl.col("resolved").is_not_null()
    even = pl.col("agent") % 2 == 0
    return finish("CUSTOMER_SERVICE_TICKETS", tickets.select(
        TICKET_ID=identifiers("H", shard, tickets.height),
        CUSTOMER_ID=population.customer_ids(tickets["record"].to_numpy()),
        TICKET_STATUS=pl.when(closed & even).then(pl.lit("CLOSED")).when(closed).then(pl.lit("RESOLVED"))
        .when(even).then(pl.lit("OPEN")).otherwise(pl.lit("IN_PROGRESS")),
        TICKET_PRIORITY=gather(PRIORITIES, tickets["priority"].to_numpy()),
        CREATION_DATE="created",
        RESOLUTION_DATE="resolved",
        FIRST_RESPONSE_TIME=(pl.col("answered") - pl.col("created")) // MINUTE,
        TOTAL_RESOLUTION_TIME=(pl.col("resolved") - pl.col("created")) // MINUTE,
        ASSIGNED_AGENT_ID=pl.format("AG{}", pl.col("agent").cast(pl.String).str.zfill(3)),
        TICKET_SOURCE=gather(_MEDIA, tickets["medium"].to_numpy()),
        TICKET_CATEGORY=gather(CATEGORIES, tickets["category"].to_numpy()),
        CUSTOMER_SATISFACTION="satisfaction",
    ))  # fmt: skip


def _draw_contacts(
    rng: np.random.Generator, tickets: pl.DataFrame, population: Population, loose_per_year: float
) -> pl.DataFrame:
    """One row a contact: ticket (row or -1), record, at, angry, last (of its ticket), category."""
    counts = np.minimum(rng.geometric(0.75, tickets.height), 5)
    ticket = np.repeat(np.arange(tickets.height), counts)
    of_ticket, number = tickets[ticket], within(counts)
    answered = of_ticket["answered"].to_numpy()
    ends = of_ticket["resolved"].fill_null(of_ticket["answered"]).to_numpy()
    about = pl.DataFrame({
        "ticket": ticket,
        "record": of_ticket["record"],
        "at": answered + ((ends - answered) * number / np.maximum(counts[ticket], 1)).astype(np.int64),
        "angry": of_ticket["angry"],
        "last": number + 1 == counts[ticket],
        "category": of_ticket["category"],
    })  # fmt: skip
    who, when = draw_moments(rng, population.habit("active_from"), population.habit("left"),
                             np.full(population.persons.height, loose_per_year), population.habit("hours"))  # fmt: skip
    loose = pl.DataFrame({
        "ticket": np.full(len(who), -1),
        "record": population.record_at(rng, who, when),
        "at": when,
        "angry": np.zeros(len(who), bool),
        "last": np.ones(len(who), bool),
        "category": choose(rng, len(who), (1, 1, 1, 3)),
    })  # fmt: skip
    return pl.concat([about, loose], how="vertical_relaxed").sort("at", maintain_order=True)


def write_interactions(
    rng: np.random.Generator, tickets: pl.DataFrame, population: Population, loose_per_year: float, shard: int,
    end_us: int,
) -> pa.Table:  # fmt: skip
    """The CUSTOMER_SERVICE_INTERACTIONS table in order of time: contacts about tickets, and some without one."""
    contacts = _draw_contacts(rng, tickets, population, loose_per_year)
    contacts = contacts.with_columns(at=pl.col("at") // MINUTE * MINUTE).filter(pl.col("at") < end_us)
    size, ticket = contacts.height, contacts["ticket"].to_numpy()
    angry, last, category = (contacts[name].to_numpy() for name in ("angry", "last", "category"))
    medium = choose(rng, size, (5, 3, 3, 1, 0.5))
    mood = np.clip(0.35 - 0.6 * angry + rng.normal(0, 0.3, size), -1, 1)
    outcome = np.where(last, choose(rng, size, (6, 3, 1, 0, 0.3)), choose(rng, size, (0, 4, 0, 2, 1)))
    codes = identifiers("H", shard, tickets.height) if tickets.height else pl.Series(["-"])
    frame = pl.DataFrame({
        "INTERACTION_ID": identifiers("I", shard, size),
        "CUSTOMER_ID": population.customer_ids(contacts["record"].to_numpy()),
        "TICKET_ID": codes.gather(np.maximum(ticket, 0).astype(np.uint32)).set(pl.Series(ticket < 0), None),
        "INTERACTION_TYPE": gather(_MEDIA, medium),
        "INTERACTION_DATE": contacts["at"],
        "INTERACTION_CHANNEL": gather(("ONLINE", "CALL_CENTRE", "STORE"), np.array([0, 1, 0, 0, 2])[medium]),
        "AGENT_ID": "AG" + pl.Series(rng.integers(1, _AGENTS + 1, size)).cast(pl.String).str.zfill(3),
        "INTERACTION_SUBJECT": gather(_SUBJECTS, category),
        "INTERACTION_DESCRIPTION": gather(_STORIES, category),
        "INTERACTION_OUTCOME": gather(_OUTCOMES, outcome),
        "RESOLUTION_TIME": (rng.lognormal(2.6, 0.7, size)).astype(np.int64) + 1,
        "SATISFACTION_SCORE": pl.Series(np.clip(np.round(3.4 + 1.8 * mood), 1, 5).astype(np.int64))
        .set(pl.Series(rng.random(size) < 0.5), None),
        "SENTIMENT_SCORE": (mood * 100).astype(np.int64),
        "PRIORITY_LEVEL": gather(PRIORITIES, np.where(angry, choose(rng, size, (1, 4, 4, 1)),
                                                      choose(rng, size, (5, 4, 1, 0)))),
        "CATEGORY": gather(CATEGORIES, category),
        "SUBCATEGORY": gather(_TOPICS, category),
        "FOLLOW_UP_REQUIRED": ~contacts["last"],
        "ESCALATION_LEVEL": np.where(outcome == 3, 1 + (rng.random(size) < 0.2), 0).astype(np.int64),
    })  # fmt: skip
    return finish("CUSTOMER_SERVICE_INTERACTIONS", frame)
