"""The columns of customer_360, declared once: name, type, unit, meaning, source, and what is there without data."""

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
    unit: str
    comment: str
    default: Any = None
    personal: bool = False

    @property
    def arrow(self) -> pa.Field:
        """The Arrow field: its metadata has `comment`, and `personal` ("true") for personal columns."""
        metadata = {"comment": self.comment} | ({"personal": "true"} if self.personal else {})
        required = self.default is not None or self.name in _KEYS
        return pa.field(self.name, self.type, nullable=not required, metadata=metadata)


@dataclass(frozen=True)
class Group:
    """Columns that are made of the same `source`; `later` ones by `complete.complete_customers`."""

    name: str
    source: str
    fields: tuple[Field, ...]
    later: bool = False


def _passed_through(name: str) -> Field:
    column = CUSTOMERS[name]
    doc = f"CUSTOMERS.{name} as silver has it" + (f": {column.doc}" if column.doc else "")
    kind = column.type.arrow
    unit = "day" if kind == pa.date32() else "points" if kind == pa.int64() else "code" if column.allowed else "text"
    return Field(name.lower(), kind, unit, doc, personal=column.personal)


def _count(name: str, comment: str) -> Field:
    return Field(name, pa.int64(), "count", comment, default=0)


def _whole(name: str, unit: str, comment: str) -> Field:
    return Field(name, pa.int64(), unit, comment)


def _money(name: str, comment: str, default: int | None = 0) -> Field:
    return Field(name, MONEY, "money", f"{comment}, in revenue_currency", default=default)


def _double(name: str, unit: str, comment: str) -> Field:
    return Field(name, pa.float64(), unit, comment)


def _at(name: str, comment: str) -> Field:
    return Field(name, _AT, "time, UTC", comment)


def _text(name: str, comment: str, unit: str = "text") -> Field:
    return Field(name, pa.string(), unit, comment)


def _flag(name: str, comment: str) -> Field:
    return Field(name, pa.bool_(), "yes or no", comment, default=False)


def _score(name: str, comment: str) -> Field:
    return _whole(name, "1 to 5", f"{comment}, by quintile, equal values equal scores; null without orders")


def _share(name: str, comment: str) -> Field:
    return _double(name, "0 to 1", comment)


def _horizon(days: int) -> list[Field]:
    after = f"in the {days} days after the day of reference"
    four = "; four in five end between low and high"
    return [
        _double(f"expected_orders_{days}_days", "orders", f"orders {after}{four}"),
        _double(f"expected_orders_{days}_days_low", "orders", "null where no holdout could tell"),
        _double(f"expected_orders_{days}_days_high", "orders", "null where no holdout could tell"),
        _double(f"expected_value_{days}_days", "value_currency", f"bought less sent back {after}{four}"),
        _double(f"expected_value_{days}_days_low", "value_currency", "null where no holdout could tell"),
        _double(f"expected_value_{days}_days_high", "value_currency", "null where no holdout could tell"),
    ]


def _risk(name: str) -> list[Field]:
    return [
        _whole(f"{name}_risk_score", "0 to 100", f"points of the {name} rules; null without a transaction"),
        _text(f"{name}_risk_level", "low below 30, medium below 60, else high", "code"),
        _text(f"{name}_risk_reasons", "the rules that gave points; null if none"),
    ]


_MARKETING = "visits and messages of the 30 days before count, (no touchpoint) if none; null without an order"

GROUPS: tuple[Group, ...] = (
    Group(
        "who",
        "CUSTOMERS, identity map",
        (
            _text("person_id", "the person; the CUSTOMER_ID where identity has set none", "key"),
            _text("customer_id", "the record of the person that registered first, CUSTOMERS.CUSTOMER_ID", "key"),
            _text("customer_ids", "all records of the person, joined by a comma and a space", "keys"),
            _count("customer_records_count", "how many records of CUSTOMERS the person has"),
            *(_passed_through(name) for name in PASSED),
        ),
    ),
    Group(
        "orders",
        "CUSTOMER_TRANSACTIONS, CUSTOMER_TRANSACTION_ITEMS",
        (
            _count("orders_count", "completed purchases"),
            _count("returns_count", "completed returns and refunds"),
            _count("exchanges_count", "completed exchanges"),
            _text(
                "revenue_currency",
                "the currency of most completed transactions, the only one that is summed",
                "ISO 4217",
            ),
            _flag("mixed_currency", "completed transactions in other currencies exist; not summed"),
            _money("gross_revenue", "sum of completed purchases"),
            _money("returned_amount", "sum of completed returns and refunds, positive whatever sign the source used"),
            _money("exchanged_amount", "sum of completed exchanges, signed"),
            _money("net_revenue", "gross_revenue - returned_amount + exchanged_amount"),
            _money("average_order_amount", "mean completed purchase, rounded half up; null without one", default=None),
            _money("discount_amount", "sum of DISCOUNT_AMOUNT of completed purchases"),
            _count("items_count", "units bought: QUANTITY of lines of completed purchases that were not returned"),
            _count("distinct_products_count", "different PRODUCT_IDs among the units bought"),
            _text("favourite_category", "CATEGORY of most lines bought; ties by units, then by name"),
            _at("first_order_at", "first completed purchase"),
            _at("last_order_at", "last completed purchase"),
        ),
    ),
    Group(
        "presence",
        "all tables",
        (
            _at("first_seen_at", "first act of the person in any table, registration included"),
            _at("last_seen_at", "last act of the person in any table; messages sent to them are no act of theirs"),
            _whole("tenure_days", "days", "from first_seen_at to the day of reference"),
            _whole(
                "recency_days", "days", "whole days from last_order_at to the day of reference; null without an order"
            ),
        ),
    ),
    Group(
        "recency, frequency, monetary",
        "CUSTOMER_TRANSACTIONS of all persons",
        (
            _score("recency_score", "5 = ordered most recently"),
            _score("frequency_score", "5 = most orders"),
            _score("monetary_score", "5 = highest net_revenue among persons of the same revenue_currency"),
            _text("rfm_segment", "name for recency_score and frequency_score; null without orders", "code"),
            _count("orders_count_30_days_ago", "completed purchases up to 30 days before the day of reference"),
            _whole("recency_days_30_days_ago", "days", "what recency_days was 30 days ago; null without orders then"),
            _text("rfm_segment_30_days_ago", "what rfm_segment was 30 days ago; null without orders then", "code"),
            _text("rfm_move", "since then: new, stayed, rose or fell (scores added, then recency)", "code"),
        ),
    ),
    Group(
        "channels",
        "CUSTOMER_TRANSACTIONS",
        (
            *(
                _share(f"share_{name}", f"share of orders by {name.upper()}; null without an order of known channel")
                for name in ("pos", "ecommerce", "mobile", "social")
            ),
            _text("favourite_order_channel", "CHANNEL of most orders; ties by name", "code"),
        ),
    ),
    Group(
        "worth to come",
        "gold/customer_value",
        (
            _share("alive_probability", "that they still buy, by the likelier of BG/NBD and MBG/NBD; null if unknown"),
            _text("value_currency", "of the expected values; null where unknown", "ISO 4217"),
            *(field for days in (30, 90, 365) for field in _horizon(days)),
            _text("value_model", "which model won the holdout and serves; null without an order", "code"),
        ),
        later=True,
    ),
    Group(
        "churn",
        "gold/churn",
        (
            _text("churn_status", "active, lapsed (long without an order) or no_orders; null without any", "code"),
            _whole("churn_horizon_days", "days", "so long without an order is churn"),
            _share("churn_probability", "of no order in churn_horizon_days; null unless active"),
            *(
                _text(f"churn_reason_{i}", f"what raises it most ({i}): a column, its value, what it adds in log odds")
                for i in (1, 2, 3)
            ),
        ),
        later=True,
    ),
    Group(
        "risk",
        "gold/customer_risk",
        tuple(field for name in ("payment", "return") for field in _risk(name)),
        later=True,
    ),
    Group(
        "web and app",
        "CUSTOMER_SESSION_DATA, CUSTOMER_BEHAVIORAL_EVENTS",
        (
            _count("sessions_count", "sessions as the tracker cut them"),
            _count("converted_sessions_count", "sessions with a conversion"),
            _at("last_session_at", "start of the last session"),
            _count("events_count", "interactions with pages"),
            _count("page_views_count", "pages viewed"),
            _count("cart_adds_count", "products put into the cart"),
            _text("favourite_viewed_category", "CATEGORY_VIEWED of most events; ties by name"),
        ),
    ),
    Group(
        "behaviour",
        "gold/customer_behaviour",
        (
            _count("active_days_last_90_days_count", "days with an event or an order, of the last 90"),
            _count("active_days_previous_90_days_count", "the same of the 90 days before"),
            _text(
                "activity_trend",
                "last 90 days against the 90 before: rising (a quarter more or better), falling (a fifth less or"
                " worse), steady; starting (none before), silent (none since); null without any day in either",
                "code",
            ),
        ),
        later=True,
    ),
    Group(
        "messages",
        "gold/customer_engagement",
        (
            _count("messages_sent_count", "messages, each once"),
            _count("messages_delivered_count", "messages that arrived"),
            _count("messages_opened_count", "messages that were opened, or clicked"),
            _count("messages_clicked_count", "messages that were clicked"),
            _share("open_rate", "opened of delivered messages; null when none was delivered"),
            _share("click_rate", "clicked of opened messages; null when none was opened"),
            _share("open_rate_last_60_days", "opened of those delivered in the last 60 days; null without one"),
            _share("open_rate_earlier", "opened of those delivered before; null without one"),
            _flag("fatigued", "opens half as often as before or less, or unsubscribed"),
            _flag("unsubscribed", "unsubscribed from messages at least once"),
            _text("message_channel", "the channel they want: stated, or else the one they answer most", "code"),
            _text("message_channel_source", "stated or inferred; stated beats inferred", "code"),
            _text("time_zone", "of their country and state; UTC where unknown; null without a message", "IANA name"),
            _whole("best_hour_local", "hour, 0 to 23", "in time_zone, the hour of most opens; null without one"),
        ),
        later=True,
    ),
    Group(
        "preferences",
        "CUSTOMER_PREFERENCE_DATA",
        (_count("active_preferences_count", "preferences with status ACTIVE"),),
    ),
    Group(
        "service",
        "CUSTOMER_SERVICE_TICKETS, CUSTOMER_SERVICE_INTERACTIONS",
        (
            _count("tickets_count", "support tickets"),
            _count("open_tickets_count", "support tickets that are OPEN or IN_PROGRESS"),
            _text("main_ticket_category", "TICKET_CATEGORY of most tickets; ties by name"),
            _at("last_ticket_at", "when the last ticket was opened"),
            _count("interactions_count", "contacts with support"),
            _count("escalations_count", "contacts with an ESCALATION_LEVEL above 0"),
            _double("average_satisfaction_score", "1 to 5", "mean of the scores given on tickets and contacts"),
            _double("average_first_response_minutes", "minutes", "mean FIRST_RESPONSE_TIME of tickets"),
            _double("average_resolution_minutes", "minutes", "mean TOTAL_RESOLUTION_TIME of tickets"),
        ),
    ),
    Group(
        "third parties",
        "EXTERNAL_CUSTOMER_PROFILES, EXTERNAL_CUSTOMER_SENTIMENT",
        (
            _count("external_profiles_count", "profiles that third parties keep"),
            _double("average_sentiment_score", "-1 to 1", "mean SENTIMENT_SCORE"),
            _double("last_sentiment_score", "-1 to 1", "the latest SENTIMENT_SCORE; of one moment the lowest"),
            _share("influence_score", "INFLUENCE_SCORE of the profile updated last; ties by the higher score"),
        ),
    ),
    Group(
        "journeys",
        "gold/touchpoints",
        (
            _count("touchpoints_count", "visits, page steps, messages answered, orders, returns, contacts"),
            _at("last_touch_at", "the last of them"),
            _text("last_touch_step", "what it was: VISIT, PAGE_VIEW, CART_ADD, OPENED, ORDER, SERVICE ...", "code"),
            _text("last_touch_channel", "traffic source, message channel, shop channel or way of contact", "code"),
            _text("last_touches", "the last five, the latest last: steps and channels joined by >"),
            _text("attribution_first_channel", f"where the path to the first order began; {_MARKETING}", "code"),
            _text("attribution_last_channel", f"what came last before the last order; {_MARKETING}", "code"),
        ),
        later=True,
    ),
)
FIELDS: tuple[Field, ...] = tuple(field for group in GROUPS for field in group.fields)
SCHEMA: pa.Schema = pa.schema([field.arrow for field in FIELDS])
# What `customer_360.summarise_customers` makes.
BASE: tuple[Field, ...] = tuple(field for group in GROUPS if not group.later for field in group.fields)
BASE_SCHEMA: pa.Schema = pa.schema([field.arrow for field in BASE])
