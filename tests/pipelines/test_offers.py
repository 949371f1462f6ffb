"""Recommendations for the lake: silver to gold by a written model, learnt from silver by `train`."""

import polars as pl
import pytest

from pipelines.offers import RECOMMENDATIONS_TABLE, offer_all, plan, read_lake
from pipelines.report import ReportFacts
from pipelines.report import offers as report_offers
from tests.pipelines.conftest import customer, item, transaction, write_lines
from transforms.errors import UserError
from transforms.io.delta import read_table
from transforms.warehouse.sources import SOURCES

PEOPLE, VISITS = 80, 4


@pytest.fixture
def sold(shop):
    """Two tastes of 8 products: everyone buys one again and again, beside a new one of one's own taste a visit."""
    orders, lines = [], []
    for person in range(PEOPLE):
        taste = "AB"[person % 2]
        for visit in range(VISITS):
            number = person * VISITS + visit
            when = f"2010-0{visit + 1}-{person % 27 + 1:02}T10:00:00Z"
            orders.append(transaction(number, CUSTOMER_ID=f"C{person}", TRANSACTION_DATE=when))
            for line, product in enumerate((person % 8, (person + visit + 1) % 8)):
                one = item(number * 2 + line, TRANSACTION_ID=f"T{number}", PRODUCT_ID=f"{taste}{product}")
                lines.append(one | {"PRODUCT_NAME": f"{taste} thing {product}", "CATEGORY": taste})
    write_lines(shop.root / "t" / "1.jsonl", orders)
    write_lines(shop.root / "i" / "1.jsonl", lines)
    write_lines(shop.root / "c" / "1.jsonl", [customer(n) for n in (0, 1, 900)])
    shop.bronze(transactions=shop.root / "t", items=shop.root / "i", customers=shop.root / "c")
    shop.silver()
    return shop


def test_silver_is_a_log_to_learn_from(sold):
    read = read_lake(sold.lake)
    assert (len(read.log), len(read.log.user_ids), len(read.log.item_ids)) == (PEOPLE * VISITS * 2, PEOPLE, 16)
    assert read.words is not None and set(read.words["text"].str.to_lowercase().str.slice(1)) == {
        f" thing {n}" for n in range(8)
    }


def test_without_a_model_or_silver_it_says_what_to_do(shop, tmp_path):
    with pytest.raises(UserError, match="no version of a model"):
        offer_all(shop.lake, shop.run("recommend"), str(tmp_path / "none"), 5)
    with pytest.raises(UserError, match="no silver table"):
        plan(shop.lake, shop.run("recommend"), "recommend/1", 5)


@pytest.fixture
def model(sold):
    """One that offers what was taken, the newest first, and what is "popular" to strangers."""
    from recsys.tensorflow import tf
    from tests.recsys.test_batch import Backwards

    module = Backwards()
    tf.saved_model.save(module, str(sold.root / "models/back/4"), signatures={"with_rules": module.serve})
    return str(sold.root / "models/back")


def test_everyone_in_silver_gets_a_list_in_gold_once_a_version(sold, model):
    done = offer_all(sold.lake, sold.run("recommend"), model, 3)
    assert done is not None and done.table == RECOMMENDATIONS_TABLE
    rows = pl.DataFrame(read_table(sold.lake.gold(RECOMMENDATIONS_TABLE)))
    assert set(SOURCES["RECOMMENDATIONS"].schema.names) < set(rows.columns)
    assert rows.n_unique("recommendation_id") == rows.height == 3 * PEOPLE + 1 == done.counts.accepted
    assert rows.filter(pl.col("customer_id") == "C900")["product_id"].to_list() == ["popular"]  # who never bought
    bought = rows.filter(pl.col("customer_id") != "C900").with_columns(n=pl.col("customer_id").str.slice(1).cast(int))
    expected = {
        (f"C{n}", f"{'AB'[n % 2]}{product}")
        for n in range(PEOPLE) for product in {n % 8, (n + VISITS) % 8, (n + VISITS - 1) % 8}
    }  # fmt: skip
    assert set(bought.select("customer_id", "product_id").iter_rows()) <= expected
    assert set(rows["model_version"]) == {"4"} and set(rows["model"]) == {"back"}
    facts = report_offers.gather(sold.lake)
    assert sum(row["offers"] for row in facts["offers"].to_pylist()) == rows.height
    shown = pl.DataFrame(facts["offered"])
    assert shown.filter(kind="offered").height == 9 and shown["name"].str.to_lowercase().str.contains("thing").all()
    html = report_offers.offers(ReportFacts(**facts))
    assert "Person 3 bought last" in html and "back version 4" in html and "customer" not in html
    assert offer_all(sold.lake, sold.run("recommend"), model, 3) is None
    assert offer_all(sold.lake, sold.run("recommend"), model, 2) is not None
