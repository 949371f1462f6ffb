"""Gold's tables of worth: buckets give what the whole gives, and transactions are read as orders rightly."""

import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from tests.gold.orders_data import planted_orders
from transforms.contracts.commerce import TRANSACTIONS
from transforms.gold.value.worth import (
    INPUTS,
    MODEL_SCORES,
    WORTH_TABLES,
    fit_worth,
    orders_of_transactions,
    orders_to_fit,
    worth_tables,
)

AS_OF = datetime(2023, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema([TRANSACTIONS.arrow.field(name) for name in INPUTS])


@pytest.fixture(scope="module")
def transactions():
    """Planted orders as silver has them, some customers in another currency."""
    orders = planted_orders(800, 500)
    return orders.select(
        pl.col("customer").alias("CUSTOMER_ID"),
        pl.col("order_id").alias("TRANSACTION_ID"),
        pl.col("at").alias("TRANSACTION_DATE"),
        pl.lit("PURCHASE").alias("TRANSACTION_TYPE"),
        pl.lit("COMPLETED").alias("TRANSACTION_STATUS"),
        (pl.col("amount_cents").cast(pl.Decimal(12, 0)) / 100).cast(pl.Decimal(10, 2)).alias("TOTAL_AMOUNT"),
        pl.when(pl.col("customer") < "c0000100").then(pl.lit("JPY")).otherwise(pl.lit("EUR")).alias("CURRENCY_CODE"),
    ).to_arrow(compat_level=pl.CompatLevel.oldest()).select(SCHEMA.names).cast(SCHEMA)  # fmt: skip


@pytest.fixture(scope="module")
def worth(transactions):
    return fit_worth(orders_of_transactions(transactions, AS_OF))


def test_buckets_give_the_rows_of_the_whole(transactions, worth):
    """Also after the journey to a worker, and with a bucket of only one currency."""
    sent = pickle.loads(pickle.dumps(worth))
    whole = worth_tables(transactions, worth, AS_OF)
    rows = pl.DataFrame(pl.from_arrow(transactions))
    buckets = [rows.filter(pl.col("CUSTOMER_ID").str.slice(7, 1).is_in(list(d))) for d in ("0123", "456789")]
    buckets = [bucket.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SCHEMA) for bucket in buckets]
    parts = [worth_tables(bucket, sent, AS_OF) for bucket in buckets]
    for name, schema in WORTH_TABLES.items():
        assert whole[name].schema.equals(schema)
        together = pl.concat([pl.DataFrame(part[name]) for part in parts]).sort("customer_id")
        assert together.equals(pl.DataFrame(whole[name])), name
    assert whole["customer_value"].num_rows == 800


def test_scores_tell_every_model_and_which_one_serves(worth):
    scores = pl.DataFrame(worth.scores)
    assert worth.scores.schema.equals(MODEL_SCORES)
    value = scores.filter(pl.col("task") == "value")
    assert value["model"].n_unique() == 9 and value.filter("served")["model"].n_unique() == 1
    churn = scores.filter((pl.col("task") == "churn") & (pl.col("measure") == "auc"))
    assert set(churn["model"]) == {"model", "recency"} and churn["value"].is_between(0.5, 1).all()
    assert worth.valuation.contest.judged == []  # ledgers do not travel to workers


def test_transactions_are_read_as_orders():
    given = [
        ("1", "PURCHASE", "COMPLETED", 10), ("2", "PURCHASE", None, 20), ("3", "PURCHASE", "FAILED", 30),
        ("4", "RETURN", "COMPLETED", 5), ("5", "REFUND", "COMPLETED", -6), ("6", "EXCHANGE", "COMPLETED", -2),
        ("7", "PURCHASE", "PENDING", 7),
    ]  # fmt: skip
    rows = [
        {"CUSTOMER_ID": "a", "TRANSACTION_ID": i, "TRANSACTION_DATE": AS_OF - timedelta(days=1), "CURRENCY_CODE": "EUR",
         "TRANSACTION_TYPE": kind, "TRANSACTION_STATUS": status, "TOTAL_AMOUNT": Decimal(amount)}
        for i, kind, status, amount in given
    ]  # fmt: skip
    late = rows[0] | {"TRANSACTION_ID": "8", "TRANSACTION_DATE": AS_OF + timedelta(days=1)}
    guest = rows[0] | {"TRANSACTION_ID": "9", "CUSTOMER_ID": None}
    orders = orders_of_transactions(pa.Table.from_pylist([*rows, late, guest], schema=SCHEMA), AS_OF)
    found = dict(zip(orders["order_id"].to_pylist(), orders["amount_cents"].to_pylist(), strict=True))
    assert found == {"1": 1000, "2": 2000, "4": -500, "5": -600, "6": -200}


def test_a_shop_without_orders_has_empty_tables():
    assert fit_worth(orders_of_transactions(None, AS_OF)) is None
    assert all(table.num_rows == 0 for table in worth_tables(None, None, AS_OF).values())


def test_the_order_of_the_transactions_changes_nothing(transactions, worth):
    """To the last bit: a stream and a batch leave the same rows in silver, in other files."""
    shuffled = pl.DataFrame(transactions).sample(fraction=1, shuffle=True, seed=3)
    other = shuffled.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SCHEMA)
    again = fit_worth(orders_of_transactions(other, AS_OF))
    assert again.scores.equals(worth.scores)
    ours, theirs = worth_tables(transactions, worth, AS_OF), worth_tables(other, again, AS_OF)
    for name in WORTH_TABLES:
        assert theirs[name].sort_by("customer_id").equals(ours[name].sort_by("customer_id")), name


def test_models_of_a_large_shop_are_fitted_to_whole_histories_of_some_customers(transactions):
    """However the table comes in pieces; memory is what is asked for, and no customer is cut in two."""
    rows = transactions.num_rows
    pieces = [transactions.slice(at, 97) for at in range(0, rows, 97)]
    every = orders_to_fit(pieces, rows, AS_OF)
    assert every.equals(orders_of_transactions(transactions, AS_OF)) and orders_to_fit([], 0, AS_OF) is None
    some = pl.DataFrame(orders_to_fit(pieces, rows, AS_OF, most=rows // 4))
    assert rows / 8 < some.height < rows / 2.5
    assert some.equals(pl.DataFrame(orders_to_fit([transactions], rows, AS_OF, most=rows // 4)))
    assert some.equals(pl.DataFrame(every).filter(pl.col("customer").is_in(some["customer"].unique().implode())))
