"""A lake of a few rows, written straight into Delta: what the warehouse must make of it is worked out by hand."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from transforms.warehouse.sources import SOURCES

DAY = datetime(2010, 12, 1, 9, 30, tzinfo=UTC)
NEXT_DAY = datetime(2010, 12, 2, 9, 30, tzinfo=UTC)


def key(*parts: str) -> str:
    return hashlib.md5("|".join(parts).encode()).hexdigest()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def customer(number: int, **changes):
    return {"CUSTOMER_ID": f"C{number}", "FIRST_NAME": f"Ada{number}", "LOYALTY_TIER": "GOLD"} | changes


def transaction(number: int, **changes):
    row = {
        "TRANSACTION_ID": f"T{number}",
        "CUSTOMER_ID": f"C{number % 3}",
        "CHANNEL": "ECOMMERCE",
        "TRANSACTION_DATE": at(f"2010-11-{number % 28 + 1:02d}T14:20:00"),
        "TRANSACTION_TYPE": "PURCHASE",
        "TRANSACTION_STATUS": "COMPLETED",
        "CURRENCY_CODE": "GBP",
        "TOTAL_AMOUNT": Decimal("10.25") + number,
    }
    return row | changes


def item(number: int, **changes):
    row = {"ITEM_ID": f"I{number}", "TRANSACTION_ID": f"T{number}", "PRODUCT_ID": f"P{number % 2}", "QUANTITY": 2}
    return row | changes


def session(number: int, **changes):
    row = {
        "SESSION_ID": f"S{number}",
        "CUSTOMER_ID": f"C{number % 3}",
        "SESSION_START": at(f"2010-11-{number % 28 + 1:02d}T14:00:00"),
        "TRAFFIC_SOURCE": "EMAIL" if number % 2 else "ORGANIC",
        "CAMPAIGN_ID": "K1",
        "CONVERSION_EVENT": number % 2 == 0,
    }
    return row | changes


def event(number: int, **changes):
    row = {
        "EVENT_ID": f"E{number}",
        "CUSTOMER_ID": f"C{number % 3}",
        "SESSION_ID": f"S{number // 3}",
        "EVENT_TYPE": ("PAGE_VIEW", "CLICK", "CART_ADD")[number % 3],
        "EVENT_DATE": at("2010-11-20T14:05:00"),
        "PRODUCT_ID": "P0",
        "DEVICE_TYPE": "MOBILE",
    }
    return row | changes


def write(lake: Path, source: str, rows: list[dict]) -> None:
    """Writes the rows as the table that `source` is read from, in place of what it held."""
    declared = SOURCES[source]
    write_deltalake(str(lake / declared.path), pa.Table.from_pylist(rows, declared.schema), mode="overwrite")


def fill(lake: Path, **changed: list[dict]) -> Path:
    """Six transactions of three customers, their items, sessions and events, and one contact with support."""
    rows = {
        "CUSTOMERS": [customer(number) for number in range(3)],
        "TRANSACTIONS": [transaction(number) for number in range(6)],
        "ITEMS": [item(number) for number in range(6)],
        "SESSIONS": [session(number) for number in range(6)],
        "BEHAVIORAL": [event(number) for number in range(18)],
        "CAMPAIGNS": [{"CAMPAIGN_ID": "K1", "CAMPAIGN_NAME": "Winter"}],
        "SERVICE": [{"INTERACTION_ID": "X1", "CUSTOMER_ID": "C1", "INTERACTION_DATE": at("2010-11-30T08:00:00")}],
    }
    for source, table in (rows | changed).items():
        write(lake, source, table)
    return lake
