"""Sources of candidates, each against a slow plain reading or what it must be by its definition."""

from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from recsys.candidates.als import ImplicitAls, _solve
from recsys.candidates.content import Content
from recsys.candidates.ease import Ease
from recsys.candidates.item_knn import BoughtTogether, ItemKnn
from recsys.candidates.own import OwnMostFrequent, RepeatDue
from recsys.candidates.popularity import Popularity, Trending
from recsys.candidates.source import NEVER, best, user_matrix, without_taken
from recsys.interactions import INTERACTIONS, encode
from tests.recsys.test_interactions import START

USERS, ITEMS = 30, 12


def log_of(rows, in_file_order=False):
    """Rows (user, item, day, basket or None)."""
    users, items, days, baskets = zip(*rows, strict=True)
    times = [START + timedelta(days=day) for day in days]
    columns = [list(users), list(items), times, ["purchase"] * len(users), list(baskets)]
    return encode(pa.table(columns, schema=INTERACTIONS), in_file_order)


@pytest.fixture(scope="module")
def log():
    random = np.random.default_rng(5)
    rows = []
    for user in range(USERS):
        for basket in range(random.integers(1, 5)):
            day = int(random.integers(0, 60))
            for item in random.choice(ITEMS, random.integers(1, 5), replace=False):
                rows.append((f"u{user:02}", f"i{item:02}", day, f"{user}-{basket}"))
    return log_of(rows)


@pytest.fixture(scope="module")
def taken(log):
    return user_matrix(log).toarray()


def everyone(log):
    return log.histories(np.arange(len(log.user_ids)))


def test_the_best_come_first_and_what_is_taken_never():
    scores = np.array([[1, 3, 3, 2], [0, 0, 0, 5]], np.float32)
    assert best(scores, 3).tolist() == [[1, 2, 3], [3, 0, 1]]
    assert best(np.array([[1, NEVER, NEVER]], np.float32), 9).tolist() == [[0, -1, -1]]
    log = log_of([("a", "x", 0, None), ("a", "y", 1, None), ("b", "z", 1, None)])
    assert best(without_taken(np.ones((2, 3), np.float32), everyone(log)), 3).tolist() == [[2, -1, -1], [0, 1, -1]]


def test_popularity_counts_users(log, taken):
    assert Popularity().fit(log).score(everyone(log))[3].tolist() == taken.sum(0).tolist()


def test_ease_is_the_ridge_regression_of_each_item_on_all_others(log, taken):
    weights = Ease(l2=3.0).fit(log).weights
    gram = taken.T @ taken
    for item in range(ITEMS):
        others = np.delete(np.arange(ITEMS), item)
        left = gram[np.ix_(others, others)] + 3.0 * np.eye(ITEMS - 1)
        assert weights[others, item] == pytest.approx(np.linalg.solve(left, gram[others, item]), abs=1e-5)
    assert not np.diag(weights).any()
    assert Ease(3.0).fit(log).score(everyone(log)) == pytest.approx(taken @ weights, abs=1e-5)


def test_ease_of_the_most_taken_items_alone_is_ease_without_the_others(log, taken):
    few = Ease(l2=3.0, most_items=5).fit(log)
    gram = (taken.T @ taken)[np.ix_(few.kept, few.kept)] + 3.0 * np.eye(5)
    inverse = np.linalg.inv(gram)
    assert few.weights[0, 1] == pytest.approx(-inverse[0, 1] / inverse[1, 1], abs=1e-5)
    assert set(np.flatnonzero(few.score(everyone(log)).any(0))) <= set(few.kept)
    assert taken.sum(0)[few.kept].min() >= np.delete(taken.sum(0), few.kept).max()


def test_recent_items_count_more(log):
    history = log_of(
        [("a", "i00", 0, None), ("a", "i01", 1, None), *[("b", f"i{i:02}", 1, None) for i in range(ITEMS)]]
    )
    ease = Ease(3.0, half_life_items=1.0).fit(log)
    assert ease.score(everyone(history))[0] == pytest.approx(ease.weights[0] / 2 + ease.weights[1], abs=1e-5)


def test_neighbours_are_cosines(log, taken):
    got = ItemKnn(neighbours=4, shrink=2.0).fit(log).weights.toarray()
    norms = np.sqrt(np.outer(taken.sum(0), taken.sum(0)))
    cosines = (taken.T @ taken) / (norms + 2.0)
    np.fill_diagonal(cosines, 0)
    for item in range(ITEMS):
        assert np.sort(got[item])[-4:] == pytest.approx(np.sort(cosines[item])[-4:], abs=1e-5)
        assert (got[item] > 0).sum() == min(4, (cosines[item] > 0).sum())


def test_bought_together_counts_baskets(log):
    got = BoughtTogether(neighbours=ITEMS, shrink=1.0).fit(log).weights.toarray()
    counts = np.bincount(log.items, minlength=ITEMS)
    expected = np.zeros((ITEMS, ITEMS))
    for basket in np.unique(log.baskets):
        items = set(log.items[log.baskets == basket].tolist())
        for one in items:
            for other in items - {one}:
                expected[one, other] += 1
    assert got == pytest.approx(expected / (np.sqrt(np.outer(counts, counts)) + 1.0), abs=1e-5)


def test_without_baskets_it_is_what_comes_next():
    log = log_of([("a", "x", 0, None), ("a", "y", 0, None), ("a", "z", 0, None), ("b", "x", 0, None)], True)
    got = BoughtTogether(shrink=0.0, window=2).fit(log).weights.toarray()
    assert got == pytest.approx(np.array([[0, 2**-0.5, 0.5 * 2**-0.5], [0, 0, 1], [0, 0, 0]]), abs=1e-6)


def test_what_trends_is_known_before_the_moment(log):
    trend = Trending(half_life_days=7.0).fit(log)
    day = 20
    now = np.array([(START + timedelta(days=day)).timestamp()], np.int64)
    got = trend.score(log.histories(np.array([0]), now))[0]
    days = (log.seconds - int(START.timestamp())) // 86_400
    first = days.min()
    plain = np.zeros(ITEMS)
    for at, item in zip(days, log.items, strict=True):
        if at < day:
            plain[item] += 0.5 ** ((day - 1 - at) / 7)
    assert first < day and got == pytest.approx(plain, rel=1e-4)
    later = trend.score(log.histories(np.array([0]), now + 10_000 * 86_400))
    assert later == pytest.approx(0, abs=1e-6)
    assert not trend.score(log.histories(np.array([0]), now - 10_000 * 86_400)).any()


def test_a_row_of_als_is_the_least_of_its_loss():
    """The gradient of sum c (p - x.y)^2 + l2 |x|^2 is zero."""
    random = np.random.default_rng(2)
    items = random.normal(size=(ITEMS, 3)).astype(np.float32)
    history = log_of(
        [("a", "i02", 0, None), ("a", "i05", 0, None), *[("b", f"i{i:02}", 0, None) for i in range(ITEMS)]]
    )
    row = _solve(everyone(history).matrix(), items, 4.0, 0.5)[0]
    wanted = np.zeros(ITEMS)
    wanted[[2, 5]] = 1
    gradient = items.T @ ((1 + 4.0 * wanted) * (items @ row - wanted)) + 0.5 * row
    assert gradient == pytest.approx(0, abs=1e-4)


def test_als_finds_two_groups_of_people():
    rows = [(f"{g}{u}", f"{g}{i}", 0, None) for g in "ab" for u in range(12) for i in range(6) if (u + i) % 5]
    log = log_of(rows)
    lists = best(without_taken(ImplicitAls(factors=2, l2=0.1).fit(log).score(everyone(log)), everyone(log)), 1)
    for user, shown in zip(log.user_ids, lists[:, 0], strict=True):
        if (log.users == log.user_ids.index_of(user)).sum() < 6:
            assert log.item_ids[int(shown)][0] == user[0]


def test_own_items_by_how_often_then_by_popularity():
    log = log_of([("a", "x", 0, "1"), ("a", "y", 0, "1"), ("a", "x", 3, "2"), ("b", "z", 0, "1"), ("c", "y", 0, "1")])
    assert best(OwnMostFrequent().fit(log).score(everyone(log)), 3)[0].tolist() == [0, 1, 2]


def test_what_is_due_comes_before_what_was_just_bought():
    rows = [("a", "milk", day, None) for day in (0, 10, 20)] + [("a", "soap", day, None) for day in (9, 19, 29)]
    rows += [("b", "milk", 0, None), ("b", "milk", 10, None), ("a", "tent", 29, None)]
    log = log_of(rows)
    asked = log.histories(np.array([0]), np.array([(START + timedelta(days=30)).timestamp()], np.int64))
    scores = RepeatDue().fit(log).score(asked)[0]
    assert best(scores[None], 3)[0].tolist() == [log.item_ids.index_of(n) for n in ("milk", "soap", "tent")]
    assert scores[0] == pytest.approx(3, rel=1e-3)  # at one gap, as often as it was taken


def test_an_item_that_nobody_took_is_found_by_its_words():
    text = ["red mug", "Blue MUG", "garden hose", "brass hose", "green mug", "", None]
    words = pl.DataFrame({"item": [f"i{n}" for n in range(7)], "text": text})
    made = pa.table([["a"], ["i0"], [START], ["purchase"], [None]], schema=INTERACTIONS)
    log = encode(made, item_ids=words["item"])
    scores = Content(words).fit(log).score(everyone(log))[0]
    assert set(np.flatnonzero(scores > 0)) == {0, 1, 4}
    assert not Content().fit(log).score(everyone(log)).any()
