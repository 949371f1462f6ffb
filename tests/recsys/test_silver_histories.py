"""What people took, out of silver: beside a slow plain version, on Beam in any buckets as in one go."""

from datetime import UTC, date, datetime, timedelta

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from recsys.batch.histories import GatherHistories
from recsys.batch.silver import CUSTOMERS, EVENTS, INPUTS, ITEMS, TOLD, TRANSACTIONS, looks, products, purchases
from recsys.interactions import SIGNAL_WEIGHTS
from transforms.contracts import CONTRACTS
from transforms.gold.persons import RECORD

START, AS_OF = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 20, tzinfo=UTC)


def table(name, rows, columns=None):
    """Rows (values in the order of INPUTS) as silver's columns have them."""
    names = columns or INPUTS[name]
    schema = pa.schema([CONTRACTS[name].arrow.field(column) for column in names])
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=schema)


@pytest.fixture(scope="module")
def shop():
    """A month of orders (some void, some sent back, some of guests) and of events."""
    random = np.random.default_rng(5)
    orders, lines, events = [], [], []
    for number in range(60):
        person = None if number % 11 == 0 else f"P{random.integers(8)}"
        kind, status = ("RETURN" if number % 7 == 0 else "PURCHASE"), [None, "COMPLETED", "CANCELLED"][number % 3]
        orders.append((f"T{number}", person, START + timedelta(hours=int(random.integers(700))), kind, status))
        for line in range(3):
            state = [None, "SOLD", "RETURNED"][line] if number % 5 == 0 else "SOLD"
            lines.append((f"T{number}", None if line == 1 and number == 4 else f"A{random.integers(9)}", 1, state))
    for number in range(90):
        kind = ["PAGE_VIEW", "CART_ADD", "SEARCH"][number % 3]
        person = None if number % 13 == 0 else f"P{random.integers(8)}"
        events.append((person, kind, START + timedelta(hours=number * 7), f"A{random.integers(9)}"))
    people = table(CUSTOMERS, [(f"P{n}", date(2023, 1, 1 + n)) for n in range(10)])
    return {
        CUSTOMERS: people.append_column(RECORD, people["CUSTOMER_ID"]),
        TRANSACTIONS: table(TRANSACTIONS, orders),
        ITEMS: table(ITEMS, lines),
        EVENTS: table(EVENTS, events),
    }


def plainly(shop, most):
    """{person: [(item, seconds, weight), ...]}, row by row."""
    taken = {f"P{n}": [] for n in range(10)}
    orders = {row["TRANSACTION_ID"]: row for row in shop[TRANSACTIONS].to_pylist()}
    for line in shop[ITEMS].to_pylist():
        order = orders[line["TRANSACTION_ID"]]
        good = order["TRANSACTION_TYPE"] == "PURCHASE" and order["TRANSACTION_STATUS"] != "CANCELLED"
        if good and line["ITEM_STATUS"] != "RETURNED" and line["PRODUCT_ID"] and order["CUSTOMER_ID"]:
            key = (order["TRANSACTION_DATE"], line["TRANSACTION_ID"], line["PRODUCT_ID"])
            taken[order["CUSTOMER_ID"]].append((*key, 1.0))
    for event in shop[EVENTS].to_pylist():
        weight = {"PAGE_VIEW": 0.2, "CART_ADD": 0.5}.get(event["EVENT_TYPE"])
        if weight and event["CUSTOMER_ID"]:
            taken[event["CUSTOMER_ID"]].append((event["EVENT_DATE"], "", event["PRODUCT_ID"], weight))
    return {
        person: [(item, int(at.timestamp()), weight) for at, _, item, weight in sorted(rows) if at <= AS_OF][-most:]
        for person, rows in taken.items()
    }


def told(batches):
    return {
        row["person_id"]: [
            (item, second, round(weight, 6))
            for item, second, weight in zip(
                row["history_items"], row["history_seconds"], row["history_weights"], strict=True
            )
        ]
        for batch in batches
        for row in batch.to_pylist()
    }


@pytest.mark.parametrize(("buckets", "most"), [(1, 200), (7, 4)])
def test_on_beam_the_histories_are_those_of_the_rows(shop, buckets, most):
    expected = plainly(shop, most)
    assert sum(map(len, expected.values())) >= (100 if most == 200 else 30)

    def same(batches):
        assert told(batches) == expected
        assert sum(batch.num_rows for batch in batches) == 10
        assert {row["customer_id"] for batch in batches for row in batch.to_pylist()} == set(expected)

    with beam.Pipeline(runner=FnApiRunner()) as root:
        tables = {
            name: root
            | f"Rows {name}" >> beam.Create([name])
            | f"Read {name}"
            >> beam.FlatMap(lambda name: shop[name].to_batches(max_chunksize=17)).with_output_types(pa.RecordBatch)
            for name in shop
        }
        assert_that(tables | GatherHistories(AS_OF, buckets, most), same)


def test_a_person_is_called_by_the_record_that_registered_first(shop):
    from recsys.batch.silver import histories
    from recsys.interactions import INTERACTIONS

    rows = [("P", "C9", date(2020, 1, 1)), ("P", "C2", date(2021, 1, 1)), ("P", "C1", None), ("Q", "C4", None)]
    columns = ["CUSTOMER_ID", RECORD, "REGISTRATION_DATE"]
    people = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])
    (made,) = histories(INTERACTIONS.empty_table(), people, AS_OF, 5, 10)
    assert made.select(["person_id", "customer_id"]).to_pylist() == [
        {"person_id": "P", "customer_id": "C9"},
        {"person_id": "Q", "customer_id": "C4"},
    ]


def test_signals_have_the_weights_of_training(shop):
    kinds = looks(shop[EVENTS])["signal"].to_pylist() + purchases(shop[ITEMS], shop[TRANSACTIONS])["signal"].to_pylist()
    assert set(kinds) == {"view", "cart", "purchase"} <= set(SIGNAL_WEIGHTS)


def test_a_product_has_its_last_price_and_its_words():
    from decimal import Decimal

    rows = [("A1", "Red Cup", None, "KITCHEN", Decimal("2.50")), ("A1", None, "Acme", None, Decimal("3.00"))]
    rows += [(None, "Nothing", None, None, None), ("A2", None, None, None, None)]
    made = products(table(ITEMS, rows, TOLD)).to_pylist()
    assert [(one["item"], one["text"], one["category"], one["price"]) for one in made] == [
        ("A1", "Red Cup Acme", "KITCHEN", 3.0),
        ("A2", "", None, None),
    ]
