"""The towers, the ranker and the whole chain, on planted tastes (one file: TensorFlow takes seconds to import)."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from recsys.candidates.popularity import Popularity
from recsys.candidates.source import best
from recsys.chain import ChainSource, _word_codes
from recsys.evaluate.compare import judge, measure
from recsys.evaluate.metrics import Targets, ndcg
from recsys.evaluate.splits import leave_last_out
from recsys.interactions import INTERACTIONS, encode
from recsys.ranking.features import Pool
from recsys.ranking.network import CrossNetwork
from recsys.ranking.train import train_ranker
from recsys.retrieval.train import TwoTower, _batches, tower_inputs
from recsys.spec import RankingSpec, RetrievalSpec
from recsys.tensorflow import tf
from tests.recsys.test_candidates import everyone, log, log_of  # noqa: F401

ITEMS, SPEC = 20, RetrievalSpec(dimension=16, history_items=4, batch=256, epochs=25, learning_rate=0.01, dropout=0.0)


@pytest.fixture(scope="module")
def rounds():
    """Everyone goes round a circle of items from a place of one's own: what comes next is known from the last item."""
    random = np.random.default_rng(3)
    rows = []
    for user in range(200):
        first = random.integers(ITEMS)
        rows += [(f"u{user:03}", f"i{(first + day) % ITEMS:02}", day, None) for day in range(random.integers(4, 10))]
    return log_of(rows)


def test_towers_learn_what_comes_next(rounds):
    split = leave_last_out(rounds)
    fitted = TwoTower(SPEC).fit(split.train)
    assert judge("towers", fitted, split, 2).values["recall"].mean() > 0.9
    assert judge("popularity", Popularity().fit(split.train), split, 2).values["recall"].mean() < 0.4
    assert np.linalg.norm(fitted.items, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_the_best_epoch_of_the_validation_is_kept(rounds):
    split = leave_last_out(rounds)
    spec = RetrievalSpec(dimension=8, history_items=4, batch=256, epochs=5, patience=2, learning_rate=0.01)
    fitted = TwoTower(spec, validation=split).fit(split.train)
    assert fitted.epochs == 1 + int(np.argmax(fitted.curve))
    assert judge("towers", fitted, split).values["ndcg"].mean() == pytest.approx(max(fitted.curve))


def test_training_and_asking_see_the_same(log):  # noqa: F811
    """The gathered examples are the histories of the log, to the last bit."""
    spec = RetrievalSpec(history_items=3, batch=len(log))
    rows = np.flatnonzero(log.cutoffs > log.starts[log.users])
    batch = next(iter(_batches(log, spec)))
    asked = tower_inputs(log.histories_before(rows), spec)

    def keyed(inputs):
        flat = np.concatenate(
            [inputs[name].numpy().astype(np.float64) for name in ("items", "ages_hours", "weights")], 1
        )
        return flat[np.lexsort(flat.T)]

    assert keyed(batch).shape == (len(rows), 9)
    assert np.array_equal(keyed(batch), keyed(asked))


def test_an_item_that_nobody_took_is_near_the_items_with_its_words():
    random = np.random.default_rng(4)
    rows = [
        (f"u{u}", f"{'ab'[u % 2]}{i}", d, None) for u in range(120) for d, i in enumerate(random.permutation(6)[:5])
    ]
    made = pa.table(
        [[r[0] for r in rows], [r[1] for r in rows], log_times(rows), ["purchase"] * len(rows), [None] * len(rows)],
        schema=INTERACTIONS,
    )
    words = pl.DataFrame({"item": [f"{g}{i}" for g in "ab" for i in range(7)], "text": ["red"] * 7 + ["blue"] * 7})
    full = encode(made, item_ids=words["item"])
    codes = _word_codes(full, words)
    assert sorted(set(codes[:, 0].tolist())) == [1, 2]
    scores = TwoTower(SPEC, codes).fit(full).score(everyone(full))
    new = [full.item_ids.index_of("a6"), full.item_ids.index_of("b6")]
    right = scores[np.arange(120), np.array(new)[[n[1:] and int(n[1:]) % 2 for n in full.user_ids]]]
    wrong = scores[np.arange(120), np.array(new)[[1 - int(n[1:]) % 2 for n in full.user_ids]]]
    assert (right > wrong).mean() > 0.95


def log_times(rows):
    from datetime import timedelta

    from tests.recsys.test_interactions import START

    return [START + timedelta(days=row[2]) for row in rows]


def test_the_loss_is_the_cross_entropy_of_a_list():
    random = np.random.default_rng(5)
    features = random.normal(size=(6, 5, 3)).astype(np.float32)
    labels = np.eye(5, dtype=np.float32)[random.integers(0, 4, 6)]
    labels[0, :2] = 1
    known = np.ones((6, 5), np.float32)
    known[:, 4] = 0
    network = CrossNetwork(features, RankingSpec(dropout=0.0))
    scores = network(tf.constant(features)).numpy()[:, :4]
    log_shares = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    expected = -((labels / labels.sum(1, keepdims=True))[:, :4] * log_shares).sum()
    inputs = {"features": features, "labels": labels, "known": known}
    got = network.compute_loss({name: tf.constant(value) for name, value in inputs.items()})
    assert float(got) == pytest.approx(expected, rel=1e-4)


def test_the_ranker_finds_the_product_of_two_features():
    """What is taken is where two features have the same sign: no one of them says it, a cross does."""
    random = np.random.default_rng(6)
    features = random.normal(size=(500, 10, 4)).astype(np.float32)
    both = features[:, :, 1] * features[:, :, 2]
    items = np.tile(np.arange(10), (500, 1))
    targets = Targets.of(np.arange(500), both.argmax(1), 500)
    held = np.arange(500) % 5 == 0
    ranker = train_ranker(Pool(items, features, items, items), targets, RankingSpec(batch=32, learning_rate=0.01), held)
    lists, _ = ranker.order(Pool(items, features, items, items).part(held))
    mine = Targets.of(np.arange(100), both[held].argmax(1), 100)
    assert ndcg(mine.hits(lists), mine.counts).mean() > 0.9
    alone = Targets.hits(mine, best(features[held][:, :, 1], 10))
    assert ndcg(alone, mine.counts).mean() < 0.7


@pytest.mark.slow
def test_the_chain_is_as_good_as_its_best_source(rounds):
    split = leave_last_out(rounds)
    said: list[str] = []
    chain = ChainSource(False, None, SPEC, RankingSpec(candidates=15), said.append).fit(split.train)
    lists, sources = chain.recommend(split.histories, 2)
    assert measure("chain", lists, split).values["recall"].mean() > 0.9
    assert set(sources.ravel()) <= set(chain.scorers) and len(said) == 2


def test_with_few_people_ranks_are_fused_and_nothing_is_learnt():
    tiny = log_of([("a", "x", 0, None), ("a", "y", 1, None), ("b", "x", 0, None), ("c", "z", 2, None)])
    chain = ChainSource(False).fit(tiny)
    lists, _ = chain.recommend(everyone(tiny), 3)
    assert chain.ranker is None
    assert [sorted(row[row >= 0].tolist()) for row in lists] == [[2], [1, 2], [0, 1]]
