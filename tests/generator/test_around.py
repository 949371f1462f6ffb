"""What is generated around real orders fits them."""

from __future__ import annotations

import polars as pl
import pytest

from transforms.errors import UserError
from transforms.generator.around import around_real_orders, build_around_real_orders
from transforms.generator.spec import GeneratorSpec


def test_every_real_customer_is_there_and_further_records_have_new_ids(real):
    bought = set(real.tables["CUSTOMER_TRANSACTIONS"]["CUSTOMER_ID"].drop_nulls())
    persons = real.truth["persons"]
    first = persons.filter(pl.col("change") == "first")
    assert set(first["customer_id"]) == bought
    assert len(bought) == 4_383
    further = set(persons["customer_id"]) - bought
    assert 400 < len(further) < 800


def test_volumes_are_those_of_the_demo(real):
    sizes = {name: frame.height for name, frame in real.tables.items()}
    for name, wanted in {
        "CUSTOMER_BEHAVIORAL_EVENTS": 250_000, "CUSTOMER_SESSION_DATA": 40_000, "CUSTOMER_ENGAGEMENT_EVENTS": 120_000,
        "MARKETING_CAMPAIGNS": 25, "CUSTOMER_SERVICE_TICKETS": 3_200, "CUSTOMER_SERVICE_INTERACTIONS": 5_000,
        "EXTERNAL_CUSTOMER_PROFILES": 3_000, "EXTERNAL_CUSTOMER_SENTIMENT": 4_000, "CUSTOMER_PREFERENCE_DATA": 8_000,
    }.items():  # fmt: skip
        assert sizes[name] == pytest.approx(wanted, rel=0.1), name


def test_people_live_where_their_orders_went(real):
    customers = real.tables["CUSTOMERS"]
    assert customers.filter(pl.col("CUSTOMER_ID") == "12347")["COUNTRY_CODE"].to_list() == ["ISL"]
    assert 0.85 < customers["COUNTRY_CODE"].is_in(["GBR", "UK"]).mean() < 0.95


def test_tastes_are_what_was_bought(real):
    tastes = real.truth["tastes"].join(real.truth["persons"].filter(pl.col("change") == "first"), on="person")
    top = tastes.sort("weight", descending=True).unique("customer_id", keep="first")
    items = real.tables["CUSTOMER_TRANSACTION_ITEMS"].filter(pl.col("CATEGORY") != "Postage & fees")
    bought = items.join(real.tables["CUSTOMER_TRANSACTIONS"], on="TRANSACTION_ID").drop_nulls("CUSTOMER_ID")
    counts = bought.group_by("CUSTOMER_ID", "CATEGORY").len().with_columns(most=pl.col("len").max().over("CUSTOMER_ID"))
    pairs = top.join(counts, left_on=["customer_id", "category"], right_on=["CUSTOMER_ID", "CATEGORY"])
    assert (pairs["len"] == pairs["most"]).mean() > 0.9
    assert pairs.height > 4_000


def test_who_left_did_nothing_afterwards(real):
    truth = real.truth["persons"].join(real.truth["churned"], on="person").drop_nulls("churned_at")
    assert truth.height > 500
    for name, moment in (("CUSTOMER_TRANSACTIONS", "TRANSACTION_DATE"), ("CUSTOMER_BEHAVIORAL_EVENTS", "EVENT_DATE")):
        rows = real.tables[name].join(truth, left_on="CUSTOMER_ID", right_on="customer_id")
        assert rows.filter(pl.col(moment) > pl.col("churned_at") + pl.duration(hours=2)).is_empty()


def test_the_iterator_yields_the_ten_tables_and_the_seed_decides(real):
    orders = real.shard.tables["CUSTOMER_TRANSACTIONS"].slice(0, 800)
    ids = pl.Series(pl.from_arrow(orders["TRANSACTION_ID"]))
    items = real.tables["CUSTOMER_TRANSACTION_ITEMS"].filter(pl.col("TRANSACTION_ID").is_in(ids.implode())).to_arrow()
    once = dict(around_real_orders(orders, items, GeneratorSpec(seed=1)))
    again = build_around_real_orders(orders, items, GeneratorSpec(seed=1)).tables
    other = build_around_real_orders(orders, items, GeneratorSpec(seed=2)).tables
    assert len(once) == 10
    assert all(table.equals(again[name]) for name, table in once.items())
    assert not once["CUSTOMERS"].equals(other["CUSTOMERS"])


def test_orders_without_any_customer_are_refused(real):
    tables = real.shard.tables
    orders = real.tables["CUSTOMER_TRANSACTIONS"].filter(pl.col("CUSTOMER_ID").is_null()).to_arrow()
    with pytest.raises(UserError, match="no transaction has a CUSTOMER_ID"):
        build_around_real_orders(orders, tables["CUSTOMER_TRANSACTION_ITEMS"], GeneratorSpec())
