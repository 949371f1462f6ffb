"""One row a person: who they are, what they bought, how they behave, answer and need help."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold import contacts, orders
from transforms.gold.fields import BASE, BASE_SCHEMA, MONEY, PASSED, SCHEMA
from transforms.gold.frames import ID, frame, money, until
from transforms.gold.persons import LEAD, RECORDS

__all__ = ["BASE_SCHEMA", "INPUTS", "SCHEMA", "attach_customers", "summarise_customers"]

attach_customers = orders.attach_customers
BEFORE_DAYS = 30  # what a segment's move is measured against
_AGO = f"{BEFORE_DAYS}_days_ago"

INPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "CUSTOMERS": (ID, *PASSED),
        "CUSTOMER_TRANSACTIONS": orders.TRANSACTION_COLUMNS,
        "CUSTOMER_TRANSACTION_ITEMS": orders.ITEM_COLUMNS,
        "CUSTOMER_SESSION_DATA": (ID, "SESSION_START", "CONVERSION_EVENT"),
        "CUSTOMER_BEHAVIORAL_EVENTS": (ID, "EVENT_DATE", "EVENT_TYPE", "CATEGORY_VIEWED"),
        "CUSTOMER_ENGAGEMENT_EVENTS": (ID, "ENGAGEMENT_DATE", "ENGAGEMENT_ACTION", "ENGAGEMENT_STATUS"),
        "CUSTOMER_PREFERENCE_DATA": (ID, "PREFERENCE_DATE", "PREFERENCE_STATUS", "PREFERENCE_SOURCE"),
        "CUSTOMER_SERVICE_TICKETS": (
            ID,
            "CREATION_DATE",
            "TICKET_STATUS",
            "TICKET_CATEGORY",
            "FIRST_RESPONSE_TIME",
            "TOTAL_RESOLUTION_TIME",
            "CUSTOMER_SATISFACTION",
        ),
        "CUSTOMER_SERVICE_INTERACTIONS": (ID, "INTERACTION_DATE", "SATISFACTION_SCORE", "ESCALATION_LEVEL"),
        "EXTERNAL_CUSTOMER_PROFILES": (ID, "PROFILE_DATE", "LAST_UPDATED", "INFLUENCE_SCORE"),
        "EXTERNAL_CUSTOMER_SENTIMENT": (ID, "SENTIMENT_DATE", "SENTIMENT_SCORE"),
    }
)

# What the customer did, not what was done to them: (table, time, which rows).
_ANSWERED = pl.col("ENGAGEMENT_ACTION").is_in(["OPENED", "CLICKED", "UNSUBSCRIBED"])
_ACTS: tuple[tuple[str, str, pl.Expr | bool], ...] = (
    ("CUSTOMERS", "REGISTRATION_DATE", True),
    ("CUSTOMERS", "LAST_LOGIN_DATE", True),
    ("CUSTOMER_TRANSACTIONS", "TRANSACTION_DATE", True),
    ("CUSTOMER_SESSION_DATA", "SESSION_START", True),
    ("CUSTOMER_BEHAVIORAL_EVENTS", "EVENT_DATE", True),
    ("CUSTOMER_ENGAGEMENT_EVENTS", "ENGAGEMENT_DATE", _ANSWERED),
    ("CUSTOMER_PREFERENCE_DATA", "PREFERENCE_DATE", pl.col("PREFERENCE_SOURCE") == "EXPLICIT"),
    ("CUSTOMER_SERVICE_TICKETS", "CREATION_DATE", True),
    ("CUSTOMER_SERVICE_INTERACTIONS", "INTERACTION_DATE", True),
)


def summarise_customers(bucket: Mapping[str, pa.Table], as_of: datetime) -> pa.Table:
    """One row a person, for all rows of a hash bucket of persons; scores stay null (see `rfm.score`).

    A person is a CUSTOMER_ID in CUSTOMERS or in any other table (see `persons.key_by_person`). A row depends on nothing
    but the rows of its person and `as_of`; neither order nor chunks of the input matter.

    Args:
      bucket: silver tables by name with at least the columns of `INPUTS`, keys unique; a missing table is an empty
        one. CUSTOMER_TRANSACTION_ITEMS comes from `attach_customers`. Rows without a CUSTOMER_ID are left out.
        CUSTOMERS may carry what `persons.join_records` adds.
      as_of: the day of reference, with a time zone; events after it are not seen (a person's name, status and the
        like have no history, they are as they are now).

    Returns: a table of schema `BASE_SCHEMA`, ordered by person_id.

    Raises:
      ValueError: `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of needs a time zone, got {as_of!r}; use datetime(..., tzinfo=timezone.utc)")
    tables = {name: _rows(name, bucket.get(name), as_of) for name in INPUTS}
    ids = pl.concat([rows.select(ID) for rows in tables.values()]).unique()
    people = ids
    for part in (
        _identity(ids, tables["CUSTOMERS"], bucket.get("CUSTOMERS")),
        *_summaries(tables),
        _before(tables["CUSTOMER_TRANSACTIONS"], as_of),
        _presence(tables, as_of),
    ):
        people = people.join(part, on=ID, how="left")
    return _conform(people.with_columns(_days("first_seen_at", as_of, "tenure_days"), *_scores(as_of)))


def _rows(name: str, table: pa.Table | None, as_of: datetime) -> pl.DataFrame:
    attached = name == "CUSTOMER_TRANSACTION_ITEMS"
    schema = orders.ATTACHED if attached else CONTRACTS[name].arrow
    rows = frame(table, schema, tuple(schema.names) if attached else INPUTS[name]).drop_nulls(ID)
    time = "TRANSACTION_DATE" if attached else CONTRACTS[name].event_time
    return until(rows, time, as_of) if time else rows


def _identity(ids: pl.DataFrame, customers: pl.DataFrame, table: pa.Table | None) -> pl.DataFrame:
    """Who each person is; without `join_records` each is the one record of their name."""
    named = customers.rename({name: name.lower() for name in PASSED})
    if table is not None and LEAD in table.column_names:
        named = named.join(pl.DataFrame(table.select([ID, LEAD, RECORDS])), on=ID, how="left")
    else:
        named = named.with_columns(pl.col(ID).alias(LEAD), pl.col(ID).alias(RECORDS))
    known = ids.join(named, on=ID, how="left")
    records = pl.when(pl.col(RECORDS).is_null()).then(0).otherwise(pl.col(RECORDS).str.count_matches(", ") + 1)
    return known.with_columns(
        pl.coalesce(LEAD, ID).alias("customer_id"),
        pl.coalesce(RECORDS, ID).alias("customer_ids"),
        records.cast(pl.Int64).alias("customer_records_count"),
    ).drop(LEAD, RECORDS)


def _summaries(tables: Mapping[str, pl.DataFrame]) -> list[pl.DataFrame]:
    tickets, interactions = tables["CUSTOMER_SERVICE_TICKETS"], tables["CUSTOMER_SERVICE_INTERACTIONS"]
    return [
        orders.summarise_orders(tables["CUSTOMER_TRANSACTIONS"]),
        orders.summarise_items(tables["CUSTOMER_TRANSACTION_ITEMS"]),
        contacts.summarise_sessions(tables["CUSTOMER_SESSION_DATA"]),
        contacts.summarise_events(tables["CUSTOMER_BEHAVIORAL_EVENTS"]),
        contacts.summarise_preferences(tables["CUSTOMER_PREFERENCE_DATA"]),
        contacts.summarise_tickets(tickets),
        contacts.summarise_interactions(interactions),
        contacts.summarise_satisfaction(tickets, interactions),
        contacts.summarise_profiles(tables["EXTERNAL_CUSTOMER_PROFILES"]),
        contacts.summarise_sentiment(tables["EXTERNAL_CUSTOMER_SENTIMENT"]),
    ]


def _presence(tables: Mapping[str, pl.DataFrame], as_of: datetime) -> pl.DataFrame:
    acts = pl.concat(
        until(tables[table].filter(which), time, as_of).select(
            ID, pl.col(time).cast(pl.Datetime("us", "UTC")).alias("at")
        )
        for table, time, which in _ACTS
    )
    at = pl.col("at")
    return acts.group_by(ID).agg(at.min().alias("first_seen_at"), at.max().alias("last_seen_at"))


def _days(since: str, as_of: datetime, name: str) -> pl.Expr:
    reference = pl.lit(as_of).dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
    return (reference - pl.col(since)).dt.total_days().alias(name)


def _before(transactions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """What recency and frequency were some days ago."""
    then = as_of - timedelta(days=BEFORE_DAYS)
    bought = until(transactions, "TRANSACTION_DATE", then).filter(orders.COMPLETED & orders.PURCHASE)
    return (
        bought.group_by(ID)
        .agg(pl.len().cast(pl.Int64).alias(f"orders_count_{_AGO}"), pl.col("TRANSACTION_DATE").max().alias("_last"))
        .with_columns(_days("_last", then, f"recency_days_{_AGO}"))
        .drop("_last")
    )


def _scores(as_of: datetime) -> list[pl.Expr]:
    blank = [pl.lit(None, pl.Int64).alias(f"{name}_score") for name in ("recency", "frequency", "monetary")]
    words = [pl.lit(None, pl.String).alias(name) for name in ("rfm_segment", f"rfm_segment_{_AGO}", "rfm_move")]
    return [_days("last_order_at", as_of, "recency_days"), *blank, *words]


def _conform(people: pl.DataFrame) -> pa.Table:
    defaults = [pl.col(field.name).fill_null(field.default) for field in BASE if field.default is not None]
    ready = people.rename({ID: "person_id"}).with_columns(defaults).sort("person_id").select(BASE_SCHEMA.names)
    plain = ready.to_arrow()
    columns = [
        money(plain[field.name]) if field.type == MONEY else plain[field.name].cast(field.type) for field in BASE
    ]
    return pa.Table.from_arrays(columns, schema=BASE_SCHEMA)
