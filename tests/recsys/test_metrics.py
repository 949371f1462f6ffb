"""The measures, against closed forms and a slow plain reading."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.evaluate.bootstrap import difference, estimate
from recsys.evaluate.catalogue import coverage, diversity, novelty, popularity_bias
from recsys.evaluate.metrics import Targets, accuracy

ITEMS = 9
users = st.lists(
    st.tuples(st.permutations(range(ITEMS)), st.integers(0, 4), st.sets(st.integers(0, ITEMS - 1), min_size=1)),
    min_size=1, max_size=6,
)  # fmt: skip


def plain(shown: list[int], wanted: set[int], k: int) -> tuple[float, float, float]:
    hits = [item in wanted for item in shown]
    gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit)
    best = sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))
    precisions = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
    return sum(hits) / len(wanted), gain / best, sum(precisions) / min(k, len(wanted))


@given(users)
@settings(max_examples=150, deadline=None)
def test_the_measures_are_those_of_the_plain_reading(some):
    lists = np.full((len(some), 5), -1)
    for row, (order, missing, _) in enumerate(some):
        lists[row, : 5 - missing] = order[: 5 - missing]
    pairs = [(row, item) for row, (_, _, wanted) in enumerate(some) for item in [*wanted, min(wanted)]]
    targets = Targets.of(*np.array(pairs).T, len(some))
    got = accuracy(lists, targets)
    for row, (_, _, wanted) in enumerate(some):
        expected = plain([i for i in lists[row].tolist() if i >= 0], wanted, 5)
        assert [got[name][row] for name in ("recall", "ndcg", "map")] == pytest.approx(expected)


def test_a_perfect_list_has_one_and_a_useless_one_nothing():
    targets = Targets.of(np.array([0, 0, 1]), np.array([3, 1, 2]), 2)
    got = accuracy(np.array([[1, 3, 0], [0, 1, 3]]), targets)
    assert {name: values.tolist() for name, values in got.items()} == {name: [1.0, 0.0] for name in got}


def test_the_measures_of_the_catalogue():
    lists = np.array([[0, 1], [0, 2], [0, -1]])
    taken = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]]))
    popularity = np.array([3, 2, 0, 0])
    assert coverage(lists, 4) == 0.75
    assert novelty(np.array([[0, 2]]), popularity, 3) == pytest.approx((0 + 2) / 2)
    assert diversity(lists, taken) == pytest.approx(((1 - 2 / math.sqrt(6)) + 1) / 2)
    assert popularity_bias(np.array([[0, 1]]), popularity) == pytest.approx(2.5 / (13 / 5))
    # Lists drawn as people take things have a bias of 1.
    drawn = np.random.default_rng(1).choice(4, (4_000, 5), p=popularity / 5)
    assert popularity_bias(drawn, popularity) == pytest.approx(1, abs=0.01)
    empty = np.full((2, 2), -1)
    assert (coverage(empty, 4), novelty(empty, popularity, 3), diversity(empty, taken)) == (0, 0, 0)


def test_intervals_hold_the_truth_as_often_as_they_say():
    random = np.random.default_rng(3)
    held = [
        found.low <= 0.3 <= found.high
        for found in (estimate((random.random(80) < 0.3).astype(float), 400, seed) for seed in range(300))
    ]
    assert 0.90 < np.mean(held) < 0.985


def test_a_difference_is_of_the_same_users():
    random = np.random.default_rng(4)
    theirs = random.random(500)
    better = difference(theirs + 0.01, theirs)
    assert better.low == pytest.approx(0.01) and better.mean == pytest.approx(0.01)
    assert estimate(theirs + 0.01).low < theirs.mean()  # the intervals of the means overlap all the same
