"""Records day by day: the edges, the model and what is kept are those of all records at once."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.planted import planted_customers
from transforms.identity.more import score_more
from transforms.identity.rules import BlockingRule, IdentityRules
from transforms.identity.score import score_pairs

RULES = IdentityRules(block_rows=6, window=3, training_pairs=3_000)  # blocks are refined, samples are not whole


@pytest.fixture(scope="module")
def records():
    return planted_customers(700)[0]


@pytest.fixture(scope="module")
def at_once(records):
    return score_more(records, RULES)


def day_by_day(records, days, rules=RULES):
    kept = None
    for day in days:
        added = score_more(records.take(pa.array(day)), rules, kept)
        kept = added.compared
    return added


def test_at_once_it_is_what_score_pairs_gives(records, at_once):
    plain = score_pairs(records, RULES)
    assert at_once.scored.edges.equals(plain.edges) and at_once.scored.model.to_json() == plain.model.to_json()
    assert at_once.scored.compared == plain.compared and at_once.compared.every > 1
    assert at_once.scored.edges.num_rows > 80


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.floats(0.3, 0.999), min_size=1, max_size=4))
def test_any_split_into_days_gives_the_edges_of_all_at_once(records, at_once, seed, cuts):
    order = np.random.default_rng(seed).permutation(records.num_rows)
    added = day_by_day(records, np.split(order, sorted(int(cut * len(order)) for cut in cuts)))
    assert added.scored.model.to_json() == at_once.scored.model.to_json()
    assert added.scored.edges.equals(at_once.scored.edges)
    one, other = added.compared.sample, at_once.compared.sample
    assert content(one.pairs, one.rules) == content(other.pairs, other.rules)
    assert content(added.compared.strangers) == content(at_once.compared.strangers)


def content(pairs, *more):
    return sorted(zip(*(side.tolist() for side in (pairs.left, pairs.right, pairs.patterns, *more)), strict=True))


def test_a_day_again_changes_nothing_and_compares_nothing(records, at_once):
    again = score_more(records.slice(100, 300), RULES, at_once.compared)
    assert again.scored.compared == 0 and again.scored.edges.equals(at_once.scored.edges)
    assert again.origin.tolist() == list(range(records.num_rows))


def test_little_is_compared_for_little_that_is_new(records, at_once):
    added = day_by_day(records, [np.arange(records.num_rows - 8), np.arange(records.num_rows - 8, records.num_rows)])
    assert added.scored.edges.equals(at_once.scored.edges)
    assert 0 < added.scored.compared < 0.05 * at_once.scored.compared


def test_a_record_that_changes_is_compared_as_it_is_now(records):
    one, other = records.slice(0, 1), records.slice(1, 1)
    becomes = other.set_column(0, "record_key", pa.array(one["record_key"]))
    before = score_more(records, RULES)
    added = score_more(becomes, RULES, before.compared)
    pair = sorted([one["record_key"][0].as_py(), other["record_key"][0].as_py()])
    same = [e["probability"] for e in added.scored.edges.to_pylist() if [e["left"], e["right"]] == pair]
    assert same and same[0] > 0.99 and pair not in [[e["left"], e["right"]] for e in before.scored.edges.to_pylist()]
    undone = score_more(one, RULES, added.compared)
    strong = [e for e in before.scored.edges.to_pylist() if e["probability"] > 0.95]
    found = {(e["left"], e["right"]) for e in undone.scored.edges.to_pylist()}
    assert found >= {(e["left"], e["right"]) for e in strong}


def test_a_column_that_only_today_has_is_compared_from_today_on(records):
    rules = IdentityRules(blocking=(BlockingRule(("surname", "birth_date")), BlockingRule(("phone",))))
    without = records.drop_columns(["phone"])
    added = score_more(records.slice(400), rules, score_more(without.slice(0, 400), rules).compared)
    both = pa.concat_tables([without.slice(0, 400), records.slice(400)], promote_options="default")
    assert added.scored.edges.equals(score_pairs(both, rules).edges)
    assert added.scored.edges.num_rows > 20
