"""The columns of customer_360, declared once: name, type, what it means, and what a customer without data has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from transforms.contracts.commerce import CUSTOMERS

# A sum of decimal(10,2) amounts stays below 10**18 cents for the first hundred million rows of one customer.
MONEY = pa.decimal128(18, 2)
_AT = pa.timestamp("us", tz="UTC")
# The columns of CUSTOMERS that are carried through.
PASSED: tuple[str, ...] = tuple(name for name in CUSTOMERS.names if name not in CUSTOMERS.key)


_KEYS = ("person_id", "customer_id", "customer_ids")


@dataclass(frozen=True)
class Field:
    """One column; `default` stands where a customer has no rows to count, None meaning unknown."""

    name: str
    type: pa.DataType
    comment: str
    default: Any = None
    personal: bool = False

    @property
    def arrow(self) -> pa.Field:
        """The Arrow field: its metadata has `comment`, and `personal` ("true") for personal columns."""
        metadata = {"comment": self.comment} | ({"personal": "true"} if self.personal else {})
        required = self.default is not None or self.name in _KEYS
        return pa.field(self.name, self.type, nullable=not required, metadata=metadata)


def _passed_through(name: str) -> Field:
    column = CUSTOMERS[name]
    doc = f"CUSTOMERS.{name} as silver has it" + (f": {column.doc}" if column.doc else "")
    return Field(name.lower(), column.type.arrow, doc, personal=column.personal)


def _count(name: str, comment: str) -> Field:
    return Field(name, pa.int64(), comment, default=0)


def _money(name: str, comment: str, default: int | None = 0) -> Field:
    return Field(name, MONEY, f"{comment}, in revenue_currency", default=default)


def _double(name: str, comment: str) -> Field:
    return Field(name, pa.float64(), comment)


def _at(name: str, comment: str) -> Field:
    return Field(name, _AT, comment)


def _text(name: str, comment: str) -> Field:
    return Field(name, pa.string(), comment)


def _score(name: str, comment: str) -> Field:
    return Field(name, pa.int64(), f"{comment}, 1 to 5 by quintile; null without orders")


FIELDS: tuple[Field, ...] = (
    _text("person_id", "the person; the CUSTOMER_ID where identity has set none"),
    _text("customer_id", "the record of the person that registered first, CUSTOMERS.CUSTOMER_ID"),
    _text("customer_ids", "all records of the person, joined by a comma and a space"),
    _count("customer_records_count", "how many records of CUSTOMERS the person has"),
    *(_passed_through(name) for name in PASSED),
    # orders
    _count("orders_count", "completed purchases"),
    _count("returns_count", "completed returns and refunds"),
    _count("exchanges_count", "completed exchanges"),
    _text("revenue_currency", "ISO 4217; the currency of most completed transactions, the only one that is summed"),
    Field("mixed_currency", pa.bool_(), "completed transactions in other currencies exist; not summed", default=False),
    _money("gross_revenue", "sum of completed purchases"),
    _money("returned_amount", "sum of completed returns and refunds, positive whatever sign the source used"),
    _money("exchanged_amount", "sum of completed exchanges, signed"),
    _money("net_revenue", "gross_revenue - returned_amount + exchanged_amount"),
    _money("average_order_amount", "mean completed purchase, rounded half up; null without one", default=None),
    _money("discount_amount", "sum of DISCOUNT_AMOUNT of completed purchases"),
    _count("items_count", "units bought: QUANTITY of the lines of completed purchases that were not returned"),
    _count("distinct_products_count", "different PRODUCT_IDs among the units bought"),
    _text("favourite_category", "CATEGORY of most lines bought; ties by units, then by name"),
    _at("first_order_at", "first completed purchase"),
    _at("last_order_at", "last completed purchase"),
    # presence
    _at("first_seen_at", "first act of the customer in any table, registration included"),
    _at("last_seen_at", "last act of the customer in any table; messages sent to them are no act of theirs"),
    Field("tenure_days", pa.int64(), "whole days from first_seen_at to the day of reference"),
    Field("recency_days", pa.int64(), "whole days from last_order_at to the day of reference; null without orders"),
    # recency, frequency, monetary
    _score("recency_score", "5 = ordered most recently"),
    _score("frequency_score", "5 = most orders"),
    _score("monetary_score", "5 = highest net_revenue among customers of the same revenue_currency"),
    _text("rfm_segment", "name for recency_score and frequency_score; null without orders"),
    # channels
    *(
        _double(f"share_{name}", f"share of orders by {name.upper()}, 0 to 1; null without an order of known channel")
        for name in ("pos", "ecommerce", "mobile", "social")
    ),
    _text("favourite_order_channel", "CHANNEL of most orders; ties by name"),
    # web and app
    _count("sessions_count", "sessions as the tracker cut them"),
    _count("converted_sessions_count", "sessions with a conversion"),
    _at("last_session_at", "start of the last session"),
    _count("events_count", "interactions with pages"),
    _count("page_views_count", "pages viewed"),
    _count("cart_adds_count", "products put into the cart"),
    # messages
    _count("messages_sent_count", "messages sent"),
    _count("messages_delivered_count", "messages delivered"),
    _count("messages_opened_count", "messages opened"),
    _count("messages_clicked_count", "messages clicked"),
    _double("open_rate", "opened of delivered messages, 0 to 1; null when none was delivered"),
    _double("click_rate", "clicked of opened messages, 0 to 1; null when none was opened"),
    Field("unsubscribed", pa.bool_(), "unsubscribed from messages at least once", default=False),
    _count("active_preferences_count", "preferences with status ACTIVE"),
    # service
    _count("tickets_count", "support tickets"),
    _count("open_tickets_count", "support tickets that are OPEN or IN_PROGRESS"),
    _count("interactions_count", "contacts with support"),
    _count("escalations_count", "contacts with an ESCALATION_LEVEL above 0"),
    _double("average_satisfaction_score", "mean of the scores given on tickets and contacts, 1 to 5"),
    _double("average_resolution_minutes", "mean TOTAL_RESOLUTION_TIME of tickets, minutes"),
    # third parties
    _count("external_profiles_count", "profiles that third parties keep"),
    _double("average_sentiment_score", "mean SENTIMENT_SCORE, -1 to 1"),
    _double("influence_score", "INFLUENCE_SCORE of the profile updated last, 0 to 1; ties by the higher score"),
)

SCHEMA: pa.Schema = pa.schema([field.arrow for field in FIELDS])
