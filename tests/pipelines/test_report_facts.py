"""What `gather` finds in a lake, against plain sums over the same rows."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from pipelines.config import Lake
from pipelines.report import gather, render
from pipelines.report.customers import _concentration
from pipelines.runs import RUNS
from tests.gold.buckets import transaction
from transforms.contracts import CONTRACTS
from transforms.errors import UserError
from transforms.gold import rfm
from transforms.gold.complete import complete_customers
from transforms.gold.customer_360 import SCHEMA, attach_customers, summarise_customers
from transforms.gold.tables import GoldContext, count_bucket
from transforms.io.delta import append_rows
from transforms.silver.profile import profile

AS_OF = datetime(2010, 12, 20, tzinfo=UTC)


def _table(name: str, rows: list[dict]) -> pa.Table:
    schema = CONTRACTS[name].arrow
    return pa.Table.from_pylist([dict.fromkeys(schema.names) | row for row in rows], schema)


def _orders() -> list[dict]:
    rng = np.random.default_rng(5)
    kinds, states = ["PURCHASE"] * 8 + ["RETURN", "REFUND"], ["COMPLETED"] * 9 + ["FAILED"]
    return [
        transaction(
            n,
            CUSTOMER_ID=None if n % 10 == 0 else f"C{rng.integers(20)}",
            TRANSACTION_DATE=datetime(2010, 10, 3, tzinfo=UTC) + timedelta(hours=int(rng.integers(0, 24 * 70))),
            TRANSACTION_TYPE=str(rng.choice(kinds)),
            TRANSACTION_STATUS=str(rng.choice(states)),
            CURRENCY_CODE="EUR" if n % 17 == 0 else "GBP",
            TOTAL_AMOUNT=Decimal(int(rng.integers(1, 99_999))).scaleb(-2),
            CHANNEL=str(rng.choice(["POS", "ECOMMERCE"])),
        )
        for n in range(300)
    ]


def _items() -> list[dict]:
    rng = np.random.default_rng(6)
    return [
        {
            "ITEM_ID": f"I{n}",
            "TRANSACTION_ID": f"T{rng.integers(300)}",
            "PRODUCT_ID": f"P{(product := int(rng.integers(30)))}",
            "PRODUCT_NAME": f"Product {product}" if n % 5 else f"product {product}",
            "CATEGORY": ["Home", "Garden", None][product % 3],
            "QUANTITY": int(rng.integers(1, 9)),
            "TOTAL_PRICE": Decimal(int(rng.integers(1, 9_999))).scaleb(-2),
            "ITEM_STATUS": "RETURNED" if n % 7 == 0 else "SOLD",
        }
        for n in range(900)
    ]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Bronze scores, silver orders and items, customer_360, runs and profiles, written without a pipeline."""
    place = Lake(str(tmp_path_factory.mktemp("somewhere") / "lake"))
    orders, items = _table("CUSTOMER_TRANSACTIONS", _orders()), _table("CUSTOMER_TRANSACTION_ITEMS", _items())
    for table, name in ((orders, "CUSTOMER_TRANSACTIONS"), (items, "CUSTOMER_TRANSACTION_ITEMS")):
        append_rows(place.silver(CONTRACTS[name]), table, ())
    scores = pa.array([1.0, 0.95, 0.9, 0.5, 0.49, 0.0])
    append_rows(place.bronze(CONTRACTS["CUSTOMERS"]), pa.table({"_quality_score": scores}), ())
    bucket = {"CUSTOMER_TRANSACTIONS": orders, "CUSTOMER_TRANSACTION_ITEMS": attach_customers(items, orders)}
    rows, _ = count_bucket(bucket, GoldContext(AS_OF))
    people = complete_customers(summarise_customers(bucket, AS_OF), rows, AS_OF)
    append_rows(place.gold("customer_360"), rfm.score(people, rfm.thresholds(rfm.summarise(people))), ())
    run = {"started_at": AS_OF, "ended_at": AS_OF, "output": "", "output_version": 0, "read": 300, "accepted": 300}
    run |= {"rejected": 0, "duplicates": 0, "conflicts": 0}
    silver = {"run_id": "r1", "command": "silver", "table": "CUSTOMER_TRANSACTIONS", "inputs": ["a.jsonl@1"]}
    gold = {"run_id": "r2", "command": "gold", "table": "customer_360", "inputs": [f"as_of@{AS_OF.isoformat()}"]}
    append_rows(place.runs, pa.Table.from_pylist([run | silver, run | gold], schema=RUNS), ())
    for day, run in enumerate(("r0", "r1")):
        found = profile(orders, CONTRACTS["CUSTOMER_TRANSACTIONS"])
        at = AS_OF - timedelta(days=1 - day)
        append_rows(place.profiles, found.to_table(run, "CUSTOMER_TRANSACTIONS", at), ())
    return place


@pytest.fixture(scope="module")
def found(lake):
    return gather(lake)


def _completed(kind: tuple[str, ...]) -> list[dict]:
    return [o for o in _orders() if o["TRANSACTION_STATUS"] == "COMPLETED" and o["TRANSACTION_TYPE"] in kind]


def test_months_are_plain_sums_in_the_main_currency(found):
    bought = [o for o in _completed(("PURCHASE",)) if o["CURRENCY_CODE"] == "GBP"]
    back = [o for o in _completed(("RETURN", "REFUND")) if o["CURRENCY_CODE"] == "GBP"]
    assert (found.currency, found.other_currencies, found.as_of) == ("GBP", True, AS_OF)
    for row in found.rows("monthly"):
        month = [o for o in bought if o["TRANSACTION_DATE"].date().replace(day=1) == row["month"]]
        returned = [o for o in back if o["TRANSACTION_DATE"].date().replace(day=1) == row["month"]]
        assert (row["orders"], row["returns"]) == (len(month), len(returned))
        assert row["gross"] == sum(o["TOTAL_AMOUNT"] for o in month)
        assert row["returned"] == sum(o["TOTAL_AMOUNT"] for o in returned)
    assert sum(row["orders"] for row in found.rows("monthly")) == len(bought)


def test_hours_count_every_order(found):
    times = [o["TRANSACTION_DATE"] for o in _completed(("PURCHASE",))]
    expected = Counter((time.isoweekday(), time.hour) for time in times)
    assert {(row["weekday"], row["hour"]): row["orders"] for row in found.rows("hours")} == expected


def test_products_are_the_best_selling_under_their_usual_name(found):
    sold = [item for item in _items() if item["ITEM_STATUS"] == "SOLD"]
    amounts: Counter = Counter()
    for item in sold:
        amounts[item["PRODUCT_ID"]] += item["TOTAL_PRICE"]
    best = sorted(amounts.items(), key=lambda pair: -pair[1])[:12]
    rows = found.rows("products")
    assert [(row["name"], row["amount"]) for row in rows] == [(f"Product {i[1:]}", amount) for i, amount in best]
    categories = {row["name"]: row["units"] for row in found.rows("categories")}
    assert categories["Home"] == sum(item["QUANTITY"] for item in sold if item["CATEGORY"] == "Home")
    assert set(categories) == {"Home", "Garden"}


def test_customers_add_up(found, lake):
    people = pl.DataFrame(pa.table(found.segments))
    assert found.totals["customers"] == len({o["CUSTOMER_ID"] for o in _orders()} - {None})
    assert people["customers"].sum() == sum(row["customers"] for row in found.rows("grid")) == found.totals["buyers"]
    assert float(people["net_revenue"].sum()) == pytest.approx(found.totals["net_revenue"])
    known = [o for o in _completed(("PURCHASE",)) if o["CUSTOMER_ID"]]
    assert found.totals["orders_count"] == len(known)
    assert {r["channel"]: r["orders"] for r in found.rows("channels")} == Counter(o["CHANNEL"] for o in known)


def test_layers_quality_and_profiles_are_those_of_the_lake(found):
    assert {(row["layer"], row["table"], row["rows"]) for row in found.rows("layers")} == {
        ("bronze", "CUSTOMERS", 6),
        ("silver", "CUSTOMER_TRANSACTIONS", 300),
        ("silver", "CUSTOMER_TRANSACTION_ITEMS", 900),
        ("gold", "customer_360", found.totals["customers"]),
    }
    assert [(row["band"], row["rows"]) for row in found.rows("quality")] == [(0, 2), (1, 1), (4, 2), (5, 1)]
    assert {row["run_id"] for row in found.rows("profiles")} == {"r1"}


def test_two_looks_at_one_lake_give_the_same_page_without_its_place(found, lake):
    page = render(found)
    assert render(gather(lake)) == page
    assert "somewhere" not in page and not any(f">{o['CUSTOMER_ID']}<" in page for o in _orders())


def test_an_empty_lake_is_answered_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match="run the commands"):
        gather(Lake(str(tmp_path)))


def test_equal_customers_lie_on_the_diagonal_and_losses_are_left_out():
    equal = _concentration(np.array([5.0] * 40 + [-3.0, 0.0]))
    assert np.allclose(equal["share_customers"], equal["share_revenue"])
    one = _concentration(np.array([100.0] + [1e-9] * 199))
    assert one.filter(pl.col("share_customers") >= 0.01)["share_revenue"].min() == pytest.approx(1)
    assert _concentration(np.array([-1.0])).height == 0


def test_what_customer_360_lacks_is_never_asked_for():
    from pipelines.report.customers import _READ

    assert set(_READ) <= set(SCHEMA.names)
    assert not any(SCHEMA.field(name).metadata.get(b"personal") for name in _READ)
