"""The command `recommend` on people's own files: read as people write them, judged beside baselines, written."""

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.own_files import Refusals, plan
from pipelines.recommend import RECOMMENDATIONS, Wish, read_log, run_recommend
from recsys.own_file import TARGETS, interactions_of, takes_again
from transforms.errors import UsageError, UserError


@pytest.fixture
def shop(tmp_path):
    """Two tastes of 8 items; everyone buys one item again and again beside 4 new ones of one's own taste."""
    random = np.random.default_rng(2)
    rows = []
    for user in range(90):
        taste = "ab"[user % 2]
        order = random.permutation(8)
        for visit in range(4):
            day = datetime(2024, 1, 1) + timedelta(days=int(visit * 10 + user % 7))
            for item in (order[0], order[1 + visit]):
                rows.append((f"C{user}", f"{taste}{item}", day, f"{user}-{visit}", 1, f"{taste} thing {item}"))
    names = ["Customer ID", "StockCode", "InvoiceDate", "Invoice", "Quantity", "Description"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    frame.sample(fraction=1.0, shuffle=True, seed=1).write_csv(tmp_path / "orders.csv")
    return tmp_path


def read(path):
    return read_log(plan(str(path), TARGETS, {}), [], Refusals())


def test_the_shop_is_read_as_it_was_written(shop):
    found = read(shop / "orders.csv")
    assert (len(found.log), len(found.log.user_ids), len(found.log.item_ids)) == (720, 90, 16)
    assert takes_again(found.log)
    assert found.words is not None and found.words.height == 16
    assert len(np.unique(found.log.baskets)) == 360


def test_the_chain_is_judged_beside_the_baselines_and_the_best_writes(shop, capsys):
    out = shop / "out.parquet"
    wish = Wish(k=3, evaluate="leave-last-out")
    run_recommend(str(shop / "orders.csv"), None, str(out), wish, [], None, None, True)
    told = json.loads(capsys.readouterr().out)
    table = {row["model"]: row for row in told["evaluation"]}
    assert {"popularity", "item kNN", "ease", "recency EASE", "implicit ALS", "own most frequent"} < set(table)
    assert table["chain"]["ndcg@3"] > table["popularity"]["ndcg@3"]
    assert told["repeats"] is True and told["judged"] == 90
    rows = pl.read_parquet(out)
    assert rows.schema.names() == RECOMMENDATIONS.names
    assert rows.height == 270 == told["recommendations"]
    assert rows.group_by("user").agg(pl.col("rank").sort())["rank"].to_list() == [[1, 2, 3]] * 90
    kept = rows.join(pl.read_csv(shop / "orders.csv"), left_on="user", right_on="Customer ID")
    mine = kept.filter(pl.col("item").str.head(1) == pl.col("StockCode").str.head(1))
    assert mine.height / kept.height > 0.9  # of one's own taste
    assert rows["reason"].str.len_chars().min() > 5


def test_signals_returns_and_rows_without_use_are_counted():
    rows = pl.DataFrame({
        "user": list("abcdef"), "item": list("xxxxxx"), "time": [datetime(2024, 1, 1)] * 6,
        "quantity": [1.0, -1.0, None, 0.0, 2.0, 2.0],
        "signal": ["Add to Cart", "view", None, "view", "remove_from_cart", "page_view"],
    })  # fmt: skip
    made = interactions_of(rows)
    assert made.rows.select("user", "signal").rows() == [("a", "cart"), ("c", "purchase"), ("f", "view")]
    assert (made.returned, made.other) == (2, 1)
    bare = rows.select("user", "item", "time")
    assert interactions_of(bare).rows["signal"].unique().to_list() == ["purchase"]
    rated = interactions_of(bare.with_columns(rating=pl.lit(4.0)))
    assert rated.rows["signal"].unique().to_list() == ["rating"]


def test_ratings_of_one_second_keep_the_order_of_the_file(tmp_path):
    lines = ["user_id,movie_id,rating,timestamp", "1,b,5,100", "1,a,4,100", "1,c,3,100"]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    log = read(tmp_path / "r.csv").log
    assert log.item_ids.gather(log.items).to_list() == ["b", "a", "c"]
    assert log.cutoffs.tolist() == [0, 1, 2]


def test_wrong_use_is_said_before_anything_is_learnt(tmp_path, shop):
    orders = str(shop / "orders.csv")
    with pytest.raises(UsageError, match="nothing to do"):
        run_recommend(orders, None, None, Wish(), [], None, None, False)
    with pytest.raises(UsageError, match="0 recommendations"):
        Wish(k=0)
    with pytest.raises(UsageError, match="no way to evaluate"):
        run_recommend(orders, None, None, Wish(evaluate="all"), [], None, None, True)
    (tmp_path / "returns.csv").write_text("user,item,time,quantity\n1,a,2024-01-01,-1\n")
    with pytest.raises(UserError, match="no row is an interaction"):
        run_recommend(str(tmp_path / "returns.csv"), None, str(tmp_path / "o.csv"), Wish(), [], None, None, True)
