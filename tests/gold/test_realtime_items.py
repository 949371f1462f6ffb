"""Lines find their buyers in whichever order the two come."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gold import plain_realtime as plain
from transforms.gold.realtime import fold
from transforms.gold.realtime_items import LINES, NOTHING, ORDERS, attach_buyers
from transforms.gold.touches import read_touches

NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
fast = settings(max_examples=40, deadline=None)


@st.composite
def orders(draw: st.DrawFn) -> dict:
    number = draw(st.integers(0, 3))
    return {
        "TRANSACTION_ID": f"T{number}",
        "CUSTOMER_ID": None if number == 3 else f"C{number % 2}",  # T3 is a guest's
        "TRANSACTION_DATE": NOON,
        "TRANSACTION_TYPE": "PURCHASE",
        "TRANSACTION_STATUS": draw(st.sampled_from(["PENDING", "COMPLETED"])),
        "_ingested_at": NOON + timedelta(seconds=draw(st.integers(0, 5))),
        "_enqueued_at": NOON,
    }


@st.composite
def lines(draw: st.DrawFn) -> dict:
    number = draw(st.integers(0, 9))
    return {"ITEM_ID": f"I{number}", "TRANSACTION_ID": f"T{number % 5}", "PRODUCT_ID": f"P{number}",
            "ITEM_STATUS": "SOLD", "_ingested_at": NOON + timedelta(seconds=draw(st.integers(0, 5)))}  # fmt: skip


def attach(parts: list[tuple[list[dict], list[dict]]], horizon: timedelta = HOUR) -> tuple[pl.DataFrame, int]:
    """The touches that come of it, folded, and how many rows are remembered."""
    recent, found = NOTHING, plain.table([])
    for some, more in parts:
        came = (pa.Table.from_pylist(some, schema=ORDERS), pa.Table.from_pylist(more, schema=LINES))
        recent, attached = attach_buyers(recent, *came, horizon)
        touches = read_touches("CUSTOMER_TRANSACTION_ITEMS", attached)
        found = fold(found, pl.DataFrame(pl.from_arrow(touches)))
    return found, recent.orders.height + recent.lines.height


@fast
@given(st.lists(orders(), max_size=8), st.lists(lines(), max_size=12), st.integers(1, 5), st.integers(0, 99))
def test_in_any_order_and_cut_lines_get_the_buyer_of_the_latest_version(some, more, size, seed):
    rows = [("order", row) for row in some] + [("line", row) for row in more]
    random.Random(seed).shuffle(rows)
    cut = [rows[low : low + size] for low in range(0, len(rows), size)]
    parts = [([r for k, r in part if k == "order"], [r for k, r in part if k == "line"]) for part in cut]
    found, _ = attach(parts)
    latest = {}
    for row in sorted(some, key=lambda row: (row["_ingested_at"], row["TRANSACTION_STATUS"])):
        latest[row["TRANSACTION_ID"]] = row
    bought = {(line["PRODUCT_ID"], line["TRANSACTION_ID"]) for line in more if line["TRANSACTION_ID"] in latest}
    named = {(product, latest[order]["CUSTOMER_ID"], latest[order]["_ingested_at"]) for product, order in bought}
    expected = {row for row in named if row[1]}
    assert set(found.select("product_id", "person_id", "ingested_at").iter_rows()) == expected
    assert found.equals(attach([(some, more)])[0])


def test_what_is_older_than_the_horizon_is_forgotten():
    order = {"TRANSACTION_ID": "T0", "CUSTOMER_ID": "C0", "TRANSACTION_DATE": NOON, "TRANSACTION_TYPE": "PURCHASE",
             "TRANSACTION_STATUS": None, "_ingested_at": NOON, "_enqueued_at": None}  # fmt: skip
    line = {"ITEM_ID": "I0", "TRANSACTION_ID": "T0", "PRODUCT_ID": "P", "ITEM_STATUS": None}
    other = line | {"TRANSACTION_ID": "T9", "ITEM_ID": "I9"}
    parts = [([order], []), ([], [other | {"_ingested_at": NOON + HOUR}]), ([], [line | {"_ingested_at": NOON}])]
    assert attach(parts)[0]["product_id"].to_list() == ["P"]
    parts[1][1][0]["_ingested_at"] += timedelta(seconds=1)
    found, remembered = attach(parts)
    assert found.height == 0 and remembered == 1
