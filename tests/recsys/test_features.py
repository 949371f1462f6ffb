"""The merged candidates and what is said of them, against plain readings."""

from datetime import timedelta

import numpy as np
import pytest

from recsys.candidates.ease import Ease
from recsys.candidates.own import OwnMostFrequent, RepeatDue
from recsys.candidates.popularity import Popularity, Trending
from recsys.candidates.source import best, without_taken
from recsys.interactions import Histories
from recsys.ranking.features import PAIR_FEATURES, ItemTimes, feature_names, gather
from tests.recsys.test_candidates import ITEMS, USERS, log  # noqa: F401
from tests.recsys.test_interactions import START

DAY = 86_400


@pytest.fixture(scope="module")
def asked(log):  # noqa: F811
    now = np.full(USERS, int((START + timedelta(days=40)).timestamp()))
    some = log.keep(log.seconds < now[0])
    return some, some.histories(np.arange(USERS), now)


@pytest.mark.parametrize("repeats", [True, False])
def test_every_source_has_its_best_among_the_candidates(asked, repeats):
    log, histories = asked  # noqa: F811
    scorers = {source.name: source.fit(log) for source in (Popularity(), Trending(), OwnMostFrequent())}
    pool = gather(histories, scorers, ItemTimes.of(log), ITEMS, repeats, batch=7)
    for place, scorer in enumerate(scorers.values()):
        scores = scorer.score(histories)
        top = best(scores if repeats else without_taken(scores, histories), 1)[:, 0]
        value = scores[np.arange(USERS), np.maximum(top, 0)]
        found = (pool.items == top[:, None]).any(1)
        assert found[value > 0.5].all()
        ranked = pool.features[:, :, 2 * place]
        assert ((ranked.max(1) == 1) == found)[value > 0.5].all()
    for row in range(USERS):
        shown = pool.items[row][pool.items[row] >= 0].tolist()
        own = set(histories.items[histories.offsets[row] : histories.offsets[row + 1]].tolist())
        assert len(set(shown)) == len(shown) and (repeats or not own & set(shown))


def again(log, item):  # noqa: F811
    """The share of an item's people who took it in several baskets, with 5 more who did as all do with all items."""
    baskets = {}
    for user, one, basket in zip(log.users, log.items, log.baskets, strict=True):
        baskets.setdefault((user, one), set()).add(basket)
    several = {pair: len(found) > 1 for pair, found in baskets.items()}
    mine = [flag for (_, one), flag in several.items() if one == item]
    return (sum(mine) + 5 * np.mean(list(several.values()))) / (len(mine) + 5)


def test_what_is_said_of_a_pair_is_what_a_plain_reading_says(asked):
    log, histories = asked  # noqa: F811
    scorers = {"popularity": Popularity().fit(log)}
    names = feature_names([*scorers])
    pool = gather(histories, scorers, ItemTimes.of(log), ITEMS, True)
    assert pool.features.shape == (USERS, ITEMS, len(names))
    now = histories.now[0]
    for row in range(USERS):
        own = log.users == row
        for place, item in enumerate(pool.items[row]):
            if item < 0:
                continue
            said = dict(zip(names, pool.features[row, place], strict=True))
            mine, sold = own & (log.items == item), log.seconds[log.items == item]
            last = (now - log.seconds[mine].max()) / DAY if mine.any() else 3_650
            expected = {
                "own_times": np.log1p(mine.sum()),
                "own_age": np.log1p(last),
                "own_share": mine.sum() / max(own.sum(), 1),
                "own_rate": mine.sum() / max(len(set(log.seconds[own])), 1),
                "own_last": float(mine.any() and log.seconds[mine].max() == log.seconds[own].max()),
                "item_users": np.log1p(len(set(log.users[log.items == item]))),
                "item_again": again(log, item),
                "item_age": np.log1p((now - sold.min()) / DAY),
                "item_unsold": np.log1p((now - sold.max()) / DAY),
                "asker_items": np.log1p(own.sum()),
                "asker_gap": np.log1p((now - log.seconds[own].max()) / DAY if own.any() else 3_650),
            }
            assert [said[name] for name in PAIR_FEATURES] == pytest.approx([expected[n] for n in PAIR_FEATURES], 1e-4)


def test_what_items_do_later_is_not_known(asked, log):  # noqa: F811
    early, histories = asked
    items = np.broadcast_to(np.arange(ITEMS), (USERS, ITEMS))
    now = np.broadcast_to(histories.now[:, None], items.shape)
    sold = np.isin(np.arange(ITEMS), early.items)
    for ours, theirs in zip(ItemTimes.of(early).days(items, now), ItemTimes.of(log).days(items, now), strict=True):
        assert ours[:, sold] == pytest.approx(theirs[:, sold])
    before = ItemTimes.of(log).days(np.array([0]), np.array([int(START.timestamp()) - 1]))
    assert [value.tolist() for value in before] == [[0], [0]]


def test_who_is_unknown_is_offered_what_everyone_takes_now(log):  # noqa: F811
    now = int(log.seconds.max()) + DAY
    nobody = Histories(np.zeros(2, np.int64), *(np.zeros(0, kind) for kind in (np.int32, np.int64, np.float32)),
                       np.array([now]), ITEMS)  # fmt: skip
    scorers = {source.name: source.fit(log) for source in (Ease(), OwnMostFrequent(), RepeatDue(), Trending())}
    pool = gather(nobody, scorers, ItemTimes.of(log), 3, True)
    trend = scorers["trending"].score(nobody)
    assert set(pool.items[0]) <= set(best(trend, 5)[0])
    assert np.isfinite(pool.features).all()
    both = gather(log.histories(np.array([0])), scorers, ItemTimes.of(log), 3, True)
    assert both.features.shape == pool.features.shape
