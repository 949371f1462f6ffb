"""The command `train`: what it writes, what its card says, and what it refuses; `serve`'s choice of folders."""

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.recommend import Wish
from pipelines.serve import model_folders
from pipelines.train import refuse, run_train
from recsys.evaluate.compare import Result
from transforms.errors import UsageError, UserError


@pytest.fixture
def rounds(tmp_path):
    """Everyone goes round a circle of 20 items: what comes next is known from the last item alone."""
    random = np.random.default_rng(3)
    rows = []
    for user in range(160):
        first = int(random.integers(20))
        for day in range(int(random.integers(5, 10))):
            rows.append((f"u{user}", f"i{(first + day) % 20:02}", datetime(2024, 1, 1) + timedelta(days=day)))
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").write_csv(tmp_path / "log.csv")
    items = {"sku": [f"i{n:02}" for n in range(20)], "title": ["a thing"] * 20, "department": ["x", "y"] * 10}
    pl.DataFrame(items | {"price": [1.5] * 20, "available": ["yes", "no"] * 10}).write_csv(tmp_path / "items.csv")
    return tmp_path


@pytest.mark.slow
def test_a_model_is_written_with_its_card_and_knows_what_is_sold(rounds, capsys):
    model = rounds / "models" / "recommend"
    wish = Wish(k=5, evaluate="leave-last-out", repeats=False)
    run_train(str(rounds / "log.csv"), str(rounds / "items.csv"), str(model), wish, [], None, None, True)
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["best"]) == (1, "chain") and [one.name for one in model.iterdir()] == ["1"]
    card = json.loads((model / "1/assets.extra/model_card.json").read_text())
    assert card["results"] == told["evaluation"] and card["data"]["persons"] == 160
    text = (model / "1/assets.extra/model_card.md").read_text()
    assert "# Model recommend, version 1" in text and "| chain |" in text and "## Limits" in text

    from recsys.tensorflow import tf

    answer = tf.saved_model.load(str(model / "1")).signatures["serving_default"](
        history_items=tf.constant([["i03"]]),
        history_seconds=tf.constant([[1]], tf.int64),
        now=tf.constant([0], tf.int64),
    )
    assert {int(one[1:]) % 2 for one in answer["items"].numpy().astype(str)[0] if one} == {0}  # odd ones are sold out


def _result(name, ndcg):
    return Result(name, np.zeros((2, 1)), {"ndcg": np.array([ndcg, ndcg])}, {})


def test_a_model_that_lost_is_refused_and_the_winner_named():
    with pytest.raises(UserError, match=r"lost to ease \(NDCG@10 0.1000 against 0.2000\), and is not promoted"):
        refuse([_result("ease", 0.2), _result("chain", 0.1)], "ease", 10)


def test_a_folder_is_a_model_or_holds_models(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        model_folders(str(tmp_path / "none"), None)
    (tmp_path / "shop" / "3").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    assert model_folders(str(tmp_path / "shop"), None) == {"shop": tmp_path / "shop"}
    assert model_folders(str(tmp_path / "shop"), "web") == {"web": tmp_path / "shop"}
    assert model_folders(str(tmp_path), None) == {"other": tmp_path / "other", "shop": tmp_path / "shop"}
    with pytest.raises(UsageError, match="for one model"):
        model_folders(str(tmp_path), "web")
