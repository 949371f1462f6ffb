"""Gold's tables of worth and moves, from silver."""

import polars as pl

from tests.pipelines.conftest import transaction, write_lines
from transforms.gold.value.worth import WORTH_TABLES
from transforms.io.delta import read_table


def table(shop, name):
    return pl.DataFrame(read_table(shop.lake.gold(name)))


def test_every_customer_has_worth_churn_and_risk_and_moves_are_since_the_last_run(shop):
    write_lines(shop.root / "t" / "1.jsonl", [transaction(i) for i in range(40)])
    shop.bronze(transactions=shop.root / "t")
    shop.silver(), shop.gold()
    for name, schema in WORTH_TABLES.items():
        rows = read_table(shop.lake.gold(name))
        assert rows.schema.names == ["person_id", *schema.names[1:]]
        assert sorted(rows["person_id"].to_pylist()) == [f"C{i}" for i in range(5)], name
    first = table(shop, "customer_360").select("person_id", "rfm_segment", "orders_count")
    joined = table(shop, "customer_value").join(first, on="person_id")
    assert (joined["orders_count"] == joined["orders_count_right"]).all()
    moves = table(shop, "segment_moves")
    assert set(moves["from_segment"]) == {"(new)"} and moves["customers_count"].sum() == 5
    write_lines(shop.root / "t" / "2.jsonl", [transaction(100 + i, CUSTOMER_ID="C0") for i in range(3)])
    shop.bronze(transactions=shop.root / "t")
    shop.silver(), shop.gold()
    moves = table(shop, "segment_moves")
    assert "(new)" not in moves["from_segment"] and moves["customers_count"].sum() == 5
    before = dict(first.group_by("rfm_segment").len().rows())
    assert dict(moves.group_by("from_segment").agg(pl.col("customers_count").sum()).rows()) == before
