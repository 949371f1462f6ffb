"""The baselines have the figures that were measured independently; where the figures come from stands in the README."""

import pytest

from recsys.candidates.ease import Ease
from recsys.candidates.own import OwnMostFrequent
from recsys.candidates.popularity import Popularity
from recsys.evaluate.compare import judge
from recsys.evaluate.splits import leave_last_out
from recsys.own_file import takes_again
from tests.recsys.public_data import movielens, online_retail


@pytest.fixture(scope="module")
def retail():
    return online_retail()[0]


@pytest.mark.slow
def test_the_baselines_of_online_retail(retail):
    assert (len(retail.user_ids), len(retail.item_ids)) == (2_872, 3_992)
    assert takes_again(retail)
    expected = {
        (False, Popularity()): (0.025, 0.037),
        (False, Ease()): (0.080, 0.097),
        (True, Ease()): (0.126, 0.200),
        (True, OwnMostFrequent()): (0.187, 0.273),
    }
    for (repeats, source), figures in expected.items():
        split = leave_last_out(retail, repeats)
        found = judge(source.name, source.fit(split.train), split).values
        assert [found["recall"].mean(), found["ndcg"].mean()] == pytest.approx(figures, abs=0.002), source.name


@pytest.mark.slow
def test_ease_of_movielens():
    log = movielens()
    assert (len(log), len(log.user_ids), len(log.item_ids)) == (100_000, 943, 1_682)
    assert not takes_again(log)
    split = leave_last_out(log)
    found = judge("ease", Ease(l2=100.0).fit(split.train), split).values  # the regularisation of the known figures
    assert [found["recall"].mean(), found["ndcg"].mean()] == pytest.approx((0.149, 0.072), abs=0.002)
