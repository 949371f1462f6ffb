"""Scorers side by side: lists obey the split, and planted tastes put the right scorer first."""

import numpy as np
import pytest

from recsys.candidates.own import OwnMostFrequent
from recsys.candidates.popularity import Popularity
from recsys.evaluate.compare import baselines, compare, judge, rank, winner
from recsys.evaluate.splits import leave_last_out
from tests.recsys.test_candidates import log_of


@pytest.fixture(scope="module")
def groups():
    """Two tastes of 10 items each; everyone takes 5 of one's own, one a day."""
    random = np.random.default_rng(1)
    return log_of([
        (f"u{user:03}", f"{'ab'[user % 2]}{item}", day, None)
        for user in range(200) for day, item in enumerate(random.permutation(10)[:5])
    ])  # fmt: skip


def test_item_to_item_finds_tastes_that_popularity_cannot(groups):
    found = {result.name: result for result in compare(baselines(False), leave_last_out(groups), 5)}
    mean = {name: result.values["recall"].mean() for name, result in found.items()}
    assert mean["popularity"] < 0.5  # 10 items are open, half of them of the wrong taste
    for name in ("ease", "recency EASE", "item kNN", "implicit ALS"):
        assert mean[name] > 0.75, name  # 5 of the 6 open items of one's own taste
    assert winner(list(found.values())).name != "popularity"


def test_lists_hold_nothing_taken_and_nothing_twice(groups):
    split = leave_last_out(groups)
    lists = judge("popularity", Popularity().fit(split.train), split, 8).lists
    for place in range(len(lists)):
        history = split.histories
        own = history.items[history.offsets[place] : history.offsets[place + 1]]
        assert len(set(lists[place])) == 8 and not set(lists[place]) & set(own)


def test_parts_of_the_work_give_the_lists_of_the_whole(groups, monkeypatch):
    split = leave_last_out(groups)
    scorer = OwnMostFrequent().fit(split.train)
    whole = rank(scorer.score, split.histories, 5, True)
    monkeypatch.setattr("recsys.evaluate.compare._CELLS", 60)
    assert np.array_equal(rank(scorer.score, split.histories, 5, True), whole)


def test_a_row_of_the_table(groups):
    split = leave_last_out(groups)
    result = judge("popularity", Popularity().fit(split.train), split, 5)
    row = result.row(5)
    assert row["recall@5"] == pytest.approx(result.values["recall"].mean(), abs=1e-4)
    assert result.groups["1 to 5 items"]["users"] == len(split.users) == 200
    assert 0 < row["coverage"] < 1 and row["popularity_bias"] > 1
