"""Silver rows read as touches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from transforms.contracts import CONTRACTS
from transforms.gold.touches import LISTED, TABLES, TOUCHES, read_touches

NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)
AT = pa.timestamp("us", tz="UTC")
BEHAVIOUR, ORDERS, MESSAGES, LINES = (
    "CUSTOMER_BEHAVIORAL_EVENTS",
    "CUSTOMER_TRANSACTIONS",
    "CUSTOMER_ENGAGEMENT_EVENTS",
    "CUSTOMER_TRANSACTION_ITEMS",
)
BASE = {
    BEHAVIOUR: {"EVENT_ID": "E1", "CUSTOMER_ID": "C1", "EVENT_TYPE": "PAGE_VIEW", "EVENT_DATE": NOON},
    ORDERS: {"TRANSACTION_ID": "T1", "CUSTOMER_ID": "C1", "TRANSACTION_DATE": NOON, "TRANSACTION_TYPE": "PURCHASE",
             "TOTAL_AMOUNT": Decimal("12.34"), "CURRENCY_CODE": "GBP", "CHANNEL": "POS"},
    MESSAGES: {"ENGAGEMENT_ID": "G1", "CUSTOMER_ID": "C1", "ENGAGEMENT_DATE": NOON, "ENGAGEMENT_TYPE": "EMAIL",
               "ENGAGEMENT_ACTION": "OPENED"},
    LINES: {"ITEM_ID": "I1", "TRANSACTION_ID": "T1", "PRODUCT_ID": "P1", "QUANTITY": 1, "CUSTOMER_ID": "C1",
            "TRANSACTION_DATE": NOON, "TRANSACTION_TYPE": "PURCHASE", "TRANSACTION_STATUS": "COMPLETED"},
}  # fmt: skip


def silver(table: str, *changes: dict) -> pa.Table:
    """Rows like BASE's with these values instead."""
    fields = {field.name: field.type for field in CONTRACTS[table].arrow}
    if table == LINES:
        fields |= {n: CONTRACTS[ORDERS].arrow.field(n).type for n in BASE[LINES] if n in CONTRACTS[ORDERS]}
    schema = pa.schema([*fields.items(), ("_ingested_at", AT), ("_enqueued_at", AT)])
    return pa.Table.from_pylist([BASE[table] | {"_ingested_at": NOON} | change for change in changes], schema=schema)


def types(table: str, *changes: dict) -> list[str]:
    return read_touches(table, silver(table, *changes))["type"].to_pylist()


@pytest.mark.parametrize("table", TABLES)
def test_a_row_is_one_touch_of_its_customer(table):
    touches = read_touches(table, silver(table, {}, {"CUSTOMER_ID": None}))
    assert touches.schema == TOUCHES
    assert touches.select(["person_id", "customer_id", "at", "ingested_at"]).to_pylist() == [
        {"person_id": "C1", "customer_id": "C1", "at": NOON, "ingested_at": NOON}
    ]


def test_keys_tell_rows_and_tables_apart_and_do_not_change_with_the_rest():
    keys = [
        read_touches(table, silver(table, {}, {"_ingested_at": NOON})).column("key").to_pylist() for table in TABLES
    ]
    assert all(first == second for first, second in keys)
    assert len({first for first, _ in keys}) == len(TABLES)
    same_id = silver(ORDERS, {"TRANSACTION_ID": "E1"})
    assert not read_touches(ORDERS, same_id)["key"].equals(read_touches(BEHAVIOUR, silver(BEHAVIOUR, {}))["key"])


def test_a_clock_ahead_counts_at_arrival_and_one_behind_as_it_says():
    hour = timedelta(hours=1)
    rows = silver(BEHAVIOUR, *({"_enqueued_at": at} for at in (NOON - hour, NOON + hour, None)))
    assert read_touches(BEHAVIOUR, rows)["at"].to_pylist() == [NOON - hour, NOON, NOON]


def test_a_purchase_is_completed_and_brings_its_money():
    statuses = ("COMPLETED", None, "PENDING", "CANCELLED")
    assert types(ORDERS, *({"TRANSACTION_STATUS": s} for s in statuses)) == [
        "PURCHASE", "PURCHASE", "ORDER_PENDING", "ORDER_CANCELLED",
    ]  # fmt: skip
    touch = read_touches(ORDERS, silver(ORDERS, {})).to_pylist()[0]
    assert (touch["amount_cents"], touch["currency"], touch["channel"]) == (1234, "GBP", "POS")


def test_messages_are_touches_only_when_answered():
    actions = ("SENT", "DELIVERED", "OPENED", "CLICKED")
    assert types(MESSAGES, *({"ENGAGEMENT_ACTION": a} for a in actions)) == ["MESSAGE_OPENED", "MESSAGE_CLICKED"]
    assert types(MESSAGES, {"ENGAGEMENT_STATUS": "BOUNCED"}) == ["MESSAGE_FAILED"]


def test_an_item_is_bought_when_sold_in_a_completed_purchase():
    changes = ({}, {"ITEM_STATUS": "RETURNED"}, {"TRANSACTION_TYPE": "RETURN"}, {"TRANSACTION_STATUS": "FAILED"})
    assert types(LINES, *changes) == ["ITEM_BOUGHT", "ITEM_OTHER", "ITEM_OTHER", "ITEM_OTHER"]
    assert not {"ITEM_BOUGHT", "ITEM_OTHER"} & set(LISTED)


def test_customers_with_a_person_become_it_others_are_their_own():
    person_of = pa.table({"customer_id": ["C1", "C2"], "person_id": ["ANN", "ANN"]})
    rows = silver(BEHAVIOUR, *({"EVENT_ID": c, "CUSTOMER_ID": c} for c in ("C1", "C2", "C3")))
    touches = read_touches(BEHAVIOUR, rows, person_of)
    assert touches["person_id"].to_pylist() == ["ANN", "ANN", "C3"]
    assert touches["customer_id"].to_pylist() == ["C1", "C2", "C3"]
