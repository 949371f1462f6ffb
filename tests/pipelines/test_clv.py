"""The command `clv` on people's own files."""

import json

import polars as pl
import pytest

from pipelines.clv import parse_days, run_clv
from tests.gold.orders_data import planted_orders
from tests.pipelines.test_cli import c360
from transforms.errors import UsageError, UserError
from transforms.gold.value.ledger import ORDERS, open_ledger
from transforms.gold.value.lifetime import ValueRules, value_customers, value_rows


@pytest.fixture(scope="module")
def orders():
    return planted_orders(400, 300)


def own_file(orders: pl.DataFrame, path) -> None:
    """As people write it: other names, two lines an order, price and quantity."""
    half = pl.col("amount_cents") // 2
    lines = [
        orders.select(
            pl.col("customer").alias("Client ID"),
            pl.col("at").dt.strftime("%Y-%m-%d %H:%M:%S").alias("Order Date"),
            pl.col("order_id").alias("Invoice No"),
            (cents / 100).alias("Price"),
            pl.lit(1).alias("Qty"),
            pl.lit("x").alias("note"),
        )
        for cents in (half, pl.col("amount_cents") - half)
    ]
    pl.concat(lines).sample(fraction=1.0, shuffle=True, seed=3).write_csv(path)


def test_a_file_gives_the_rows_of_the_kernel_and_says_who_won(tmp_path, orders):
    own_file(orders, tmp_path / "orders.csv")
    arguments = ("--transactions", tmp_path / "orders.csv", "--out", tmp_path / "v.parquet", "--holdout", "60d")
    said = json.loads(c360("clv", *map(str, arguments), "--json"))
    ledger = open_ledger(orders.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ORDERS))
    valuation = value_customers(ledger, ValueRules(holdout_days=60))
    expected = pl.DataFrame(value_rows(ledger, valuation))
    found = pl.read_parquet(tmp_path / "v.parquet")
    assert found.equals(expected)
    assert said["winner"] == valuation.contest.winner and said["customers"] == 400
    assert {score["model"] for score in said["scores"]} >= {"bg_nbd", "mbg_nbd", "last_period", "mean"}


def test_rows_that_do_not_count_are_counted(tmp_path):
    lines = [
        "customer,date,amount,status",
        "a,2024-01-01,10.00,COMPLETED",
        "a,2024-01-05,20.00,CANCELLED",
        ",2024-01-05,20.00,COMPLETED",
        "b,soon,20.00,COMPLETED",
        "b,2024-01-03,,COMPLETED",
        "b,2999-01-03,5.00,COMPLETED",
        "b,2024-01-04,-5.00,",
    ]
    (tmp_path / "o.csv").write_text("\n".join(lines))
    said = c360("clv", "--transactions", str(tmp_path / "o.csv"), "--out", str(tmp_path / "v.csv"),
                "--rejects", str(tmp_path / "r.csv"), "--json")  # fmt: skip
    facts = json.loads(said)
    assert facts["left_out"] == {"not_done": 1, "no_amount": 1, "later": 1}
    assert facts["rejected"] == {"required": 1, "not_a_timestamp": 1}
    rows = pl.read_csv(tmp_path / "v.csv")
    assert rows.select("customer_id", "order_days_count", "net_value").rows() == [("a", 1, 10.0), ("b", 0, -5.0)]


@pytest.mark.parametrize(
    ("changed", "error", "word"),
    [
        ({"holdout": "soon"}, UsageError, "soon"),
        ({"model": "pareto"}, UsageError, "pareto"),
        ({"as_of": "tomorrow"}, UsageError, "tomorrow"),
        ({"maps": ["amount=nothing"]}, UserError, "nothing"),
        ({"maps": ["order_id=amount"]}, UserError, "--map amount="),
        ({"as_of": "2001-01-01"}, UserError, r"after --as-of 2001-01-01 \(the earliest is of 2024-01-01\)"),
    ],
)
def test_wrong_use_says_what_and_leaves_no_file(tmp_path, changed, error, word):
    (tmp_path / "o.csv").write_text("customer,date,amount\na,2024-01-01,10.00\n")
    given = {"maps": [], "holdout": "90d", "model": "", "as_of": None, "rejects": None, "format": None}
    with pytest.raises(error, match=word):
        run_clv(str(tmp_path / "o.csv"), str(tmp_path / "v.csv"), **given | changed, as_json=True)
    assert not (tmp_path / "v.csv").exists()


@pytest.mark.parametrize(
    ("row", "word"),
    [("2999-01-01,10.00,", "in the future"), ("2024-01-01,10.00,FAILED", r"no row can be used \(1 cancelled")],
)
def test_a_file_without_a_usable_order_says_why(tmp_path, row, word):
    (tmp_path / "o.csv").write_text(f"customer,date,amount,status\na,{row}\n")
    with pytest.raises(UserError, match=word):
        run_clv(str(tmp_path / "o.csv"), str(tmp_path / "v.csv"), maps=[], holdout="90d", model="", as_of=None,
                rejects=None, format=None, as_json=True)  # fmt: skip


def test_odd_customers_have_a_defined_answer(tmp_path):
    """One order, all on one day, only returns, free, negative, mixed currencies, and one with a million events."""
    odd = [
        *[("one_order", 3, 10.0, "EUR"), ("free", 4, 0.0, "EUR"), ("negative", 4, -3.0, "EUR")],
        *[("one_day", 5, 10.0, "EUR")] * 4,
        *[("only_returns", day, -20.0, "EUR") for day in (1, 9)],
        *[("mixed", 1, 30.0, "EUR"), ("mixed", 2, 30.0, "EUR"), ("mixed", 3, 99.0, "USD")],
    ]
    few = pl.DataFrame(odd, schema=["customer", "day", "amount", "currency"], orient="row")
    many = pl.select(
        pl.lit("many").alias("customer"),
        (pl.int_range(1_000_000) % 300).alias("day"),
        pl.lit(1.0).alias("amount"),
        pl.lit("EUR").alias("currency"),
    )
    date = (pl.date(2024, 1, 1) + pl.duration(days="day")).alias("date")
    rows = pl.concat([few, many]).select("customer", date, "amount", "currency")
    rows.write_parquet(tmp_path / "o.parquet")
    run_clv(str(tmp_path / "o.parquet"), str(tmp_path / "v.parquet"), maps=[], holdout="60d", model="", as_of=None,
            rejects=None, format=None, as_json=True)  # fmt: skip
    made = pl.read_parquet(tmp_path / "v.parquet")
    found = {row["customer_id"]: row for row in made.to_dicts()}
    days = {name: (row["order_days_count"], row["orders_count"], row["net_value"]) for name, row in found.items()}
    assert days == {
        "one_order": (1, 1, 10.0),
        "one_day": (1, 4, 40.0),
        "free": (0, 0, 0.0),
        "negative": (0, 0, -3.0),
        "only_returns": (0, 0, -40.0),
        "mixed": (3, 3, 60.0),
        "many": (300, 1_000_000, 1_000_000.0),
    }
    assert {name for name, row in found.items() if row["mixed_currency"]} == {"mixed"}
    expected = made.select(pl.selectors.matches(r"^expected_(orders|value)_\d+_days$"))
    assert all(column.is_finite().all() and (column >= 0).all() for column in expected)
    nothing = made.filter(pl.col("customer_id").is_in(["free", "negative", "only_returns"]))
    assert nothing["expected_orders_365_days"].to_list() == [0.0] * 3 and nothing["model"].is_null().all()


def test_days_are_read_as_people_write_them():
    assert [parse_days(text) for text in ("90d", "12w", "90", "48h")] == [90, 84, 90, 2]
    with pytest.raises(UsageError):
        parse_days("36h")
