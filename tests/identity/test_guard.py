"""The guard: bridges and contradictions are refused, decisions outrank evidence, nothing depends on the order."""

import random
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.plain_identity import as_dict, plain_clusters
from transforms.identity import guard
from transforms.identity.agglomerate import alike
from transforms.identity.decisions import APART, DECISIONS, TOGETHER, WITHDRAWN
from transforms.identity.guard import LINKS_SCHEMA, GuardRules, resolve_clusters

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def links_of(*pairs, probability=0.999, kind="probabilistic", weight=0.0) -> list[dict]:
    return [
        {"left": a, "right": b, "weight": weight, "probability": probability, "kind": kind, "rule": "planted"}
        for a, b in pairs
    ]


def certain(*pairs) -> list[dict]:
    return links_of(*pairs, probability=0.9999, kind="deterministic", weight=None)  # compared nothing


def clique(prefix: str, size: int, probability=0.999) -> list[dict]:
    return links_of(*combinations([f"{prefix}{i}" for i in range(size)], 2), probability=probability)


def decided(*decisions) -> pa.Table:
    rows = [
        {"low": low, "high": high, "kind": kind, "decided_at": NOON + timedelta(minutes=at)}
        for at, (kind, low, high) in enumerate(decisions)
    ]
    return pa.Table.from_pylist(rows, schema=DECISIONS)


def resolve(links, traits=None, decisions=None, rules=GuardRules(), records=()):
    names = sorted({link[side] for link in links for side in ("left", "right")} | set(records) | set(traits or ()))
    table = pa.Table.from_pylist(links, schema=LINKS_SCHEMA)
    values = [{"record": record, **(traits or {}).get(record, {})} for record in names]
    schema = pa.schema([(name, pa.string()) for name in ("record", "birth_date", "national_id")])
    done = resolve_clusters(pa.array(names, pa.string()), table, pa.Table.from_pylist(values, schema=schema), decisions,
                            rules)  # fmt: skip
    return as_dict(done.clusters), done.refused.to_pylist()


def test_a_weak_bridge_between_two_groups_is_refused_and_a_strong_one_holds():
    groups = clique("a", 10) + clique("b", 10)
    weak, refused = resolve(groups + links_of(("a3", "b4"), probability=0.9))  # odds 9 to 1, of 100 pairs
    assert set(weak.values()) == {"a0", "b0"}
    assert [(cut["left"], cut["right"], cut["reason"]) for cut in refused] == [("a3", "b4", "bridge")]
    strong, refused = resolve(groups + links_of(("a3", "b4"), probability=0.999))
    assert set(strong.values()) == {"a0"} and not refused
    pair, refused = resolve(links_of(("a3", "b4"), probability=0.9))
    assert set(pair.values()) == {"a3"} and not refused


def test_many_links_across_are_no_bridge():
    groups = clique("a", 10) + clique("b", 10)
    across = [(f"a{i}", f"b{j}") for i in range(10) for j in range(10) if (i + j) % 2]
    joined, _ = resolve(groups + links_of(*across, probability=0.9))  # 9 to 1 times a half
    assert set(joined.values()) == {"a0"}


def test_two_birth_dates_are_not_brought_together_by_a_record_without_one():
    traits = {"a": {"birth_date": "1950-03-01"}, "b": {"birth_date": "1981-11-24"}}
    links = certain(("a", "m"), ("b", "m"))
    found, refused = resolve(links, traits)
    assert found["a"] != found["b"] and found["m"] == "a"  # the first in order, whatever the order of rows
    assert [cut["reason"] for cut in refused] == ["birth_date"]
    assert resolve(links[::-1], traits) == (found, refused)


def test_a_typo_or_a_swap_of_day_and_month_contradicts_nothing():
    for other in ("1950-03-02", "1950-01-03", "1950-03-01", "1950-03-10"):
        traits = {"a": {"birth_date": "1950-03-01"}, "b": {"birth_date": other}}
        assert len(set(resolve(certain(("a", "m"), ("b", "m")), traits)[0].values())) == 1, other
    assert not alike("1950-03-01", "1981-11-24") and alike("1950-12-04", "1950-04-12")


def test_a_link_that_weighed_two_dates_itself_is_not_weighed_twice():
    traits = {"a": {"birth_date": "1950-03-01"}, "b": {"birth_date": "1981-11-24"}}
    assert set(resolve(links_of(("a", "b"), probability=0.6), traits)[0].values()) == {"a"}
    assert set(resolve(certain(("a", "b")), traits)[0].values()) == {"a", "b"}


def test_a_chain_of_ten_thousand_deterministic_links_holds():
    names = [f"{i:05}" for i in range(10_001)]
    found, refused = resolve(certain(*pairwise(names)))
    assert set(found.values()) == {"00000"} and not refused


def test_a_shared_mailbox_of_many_people_falls_into_them_in_bounded_time():
    draw = random.Random(5)
    people = [f"{1940 + i % 60}-{1 + i % 11:02}-{1 + i % 27:02}" for i in range(300)]
    traits = {f"r{i:05}": {"birth_date": draw.choice(people), "national_id": None} for i in range(20_000)}
    links = certain(*(("mailbox", record) for record in traits))
    found, refused = resolve(links, traits)
    sizes = pl.Series(list(found.values())).value_counts()["count"]
    assert sizes.max() < 500 and len(refused) == 20_001 - sizes.max()


def test_decisions_outrank_evidence_and_the_latest_holds():
    links = certain(("a", "b")) + links_of(("b", "c"), probability=0.99)
    assert set(resolve(links)[0].values()) == {"a"}
    apart, refused = resolve(links, None, decided((APART, "a", "b")))
    assert apart == {"a": "a", "b": "b", "c": "b"} and [cut["reason"] for cut in refused] == ["apart"]
    assert set(resolve(links, None, decided((APART, "a", "b"), (TOGETHER, "b", "a")))[0].values()) == {"a"}
    assert resolve(links, None, decided((TOGETHER, "a", "b"), (APART, "b", "a")))[0] == apart
    assert resolve(links, None, decided((APART, "a", "b"), (WITHDRAWN, "a", "b"))) == resolve(links)


def test_apart_holds_over_a_way_round_and_together_over_contradictions():
    links = certain(("a", "m"), ("m", "b"), ("a", "n"), ("n", "b"))
    found, _ = resolve(links, None, decided((APART, "a", "b")))
    assert found["a"] != found["b"]
    traits = {"a": {"birth_date": "1950-03-01"}, "b": {"birth_date": "1981-11-24"}}
    found, _ = resolve([], traits, decided((TOGETHER, "a", "b")))
    assert set(found.values()) == {"a"}


def test_of_decisions_that_contradict_each_other_the_newest_hold():
    found, _ = resolve([], None, decided((TOGETHER, "a", "b"), (TOGETHER, "b", "c"), (APART, "a", "c")), records="abc")
    assert found["a"] != found["c"] and found["b"] == found["c"]
    found, _ = resolve([], None, decided((APART, "a", "c"), (TOGETHER, "a", "b"), (TOGETHER, "b", "c")), records="abc")
    assert set(found.values()) == {"a"}


names = st.integers(0, 11).map(lambda n: f"r{n:02}")
link = st.tuples(names, names, st.sampled_from([0.3, 0.5, 0.8, 0.9, 0.97, 0.999, 0.99999]), st.booleans())
dates = st.sampled_from([None, "1950-03-01", "1950-03-02", "1981-11-24", "1999-01-31"])
traits_of = st.dictionaries(names, st.fixed_dictionaries({"birth_date": dates}), max_size=12)
decision = st.tuples(st.sampled_from([APART, TOGETHER, WITHDRAWN]), names, names)


def drawn(links) -> list[dict]:
    return [row for a, b, p, sure in links for row in (certain((a, b)) if sure else links_of((a, b), probability=p))]


@settings(max_examples=150, deadline=None)
@given(st.lists(link, max_size=25), traits_of, st.lists(decision, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(links, traits, decisions, draw):
    table = decided(*decisions)
    turned = [(b, a, p, sure) if draw.random() < 0.5 else (a, b, p, sure) for a, b, p, sure in links]
    shuffled = table.take(pa.array(draw.sample(range(table.num_rows), table.num_rows), pa.int64()))
    found, cuts = resolve(drawn(links), traits, table)
    others, more = resolve(drawn(draw.sample(turned, len(turned))), traits, shuffled)
    assert found == others
    assert sorted(tuple(sorted((c["left"], c["right"]))) for c in cuts) == sorted(
        tuple(sorted((c["left"], c["right"]))) for c in more
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(link, max_size=25), traits_of, st.lists(decision, max_size=4))
def test_what_is_not_looked_at_alone_would_not_have_been_split(links, traits, decisions):
    found = resolve(drawn(links), traits, decided(*decisions))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "_suspicious", lambda clusters, *_: clusters["cluster"].unique().sort())
        assert resolve(drawn(links), traits, decided(*decisions)) == found


@settings(max_examples=150, deadline=None)
@given(st.lists(link, max_size=25), traits_of, st.lists(decision, max_size=4))
def test_clusters_are_connected_and_refused_links_are_those_between_them(links, traits, decisions):
    found, refused = resolve(drawn(links), traits, decided(*decisions))
    strong = [(a, b) for a, b, p, sure in links if sure or p >= 0.5]
    held = {(min(a, b), max(a, b)): kind for kind, a, b in decisions if a != b}
    joining = strong + [pair for pair, kind in held.items() if kind == TOGETHER]
    inside = [(a, b) for a, b in joining if found.get(a) == found.get(b) is not None]
    assert plain_clusters(list(found), inside) == found
    assert len(refused) == sum(found[a] != found[b] for a, b in strong)
    assert all(cut["reason"] for cut in refused)
    kind, a, b = decisions[-1] if decisions else (WITHDRAWN, "", "")
    if kind != WITHDRAWN and a != b and {a, b} <= set(found):
        assert (found[a] == found[b]) == (kind == TOGETHER)
