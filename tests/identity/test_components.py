"""Connected components: a union-find is the oracle, in memory and round by round."""

import random
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.plain_identity import as_dict, link_table, plain_clusters
from transforms.identity.components import CLUSTERS, connect_records
from transforms.identity.stars import (
    contract_links,
    count_unsettled,
    find_lowest,
    hook_high,
    hook_low,
    merge_lowest,
    order_links,
)

names = st.integers(0, 30).map(lambda n: f"r{n}é" if n % 3 else f"R{n}")
graphs = st.tuples(st.lists(names, max_size=30), st.lists(st.tuples(names, names), max_size=40))


def connect(records, links) -> dict[str, str]:
    return as_dict(connect_records(pa.array(records, pa.string()), link_table(links)))


@settings(max_examples=200, deadline=None)
@given(graphs, st.randoms(use_true_random=False))
def test_clusters_are_those_of_a_union_find_in_any_order(graph, draw):
    records, links = graph
    assert connect(records, links) == plain_clusters(records, links)
    turned = [(b, a) if draw.random() < 0.5 else (a, b) for a, b in links]
    assert connect(draw.sample(records, len(records)), draw.sample(turned, len(turned))) == connect(records, links)


def test_a_chain_of_ten_thousand_and_a_star_and_a_giant_are_exact():
    chain = [(f"c{i:05}", f"c{i + 1:05}") for i in range(10_000)]
    star = [("hub", f"s{i}") for i in range(10_000)]
    draw = random.Random(3)
    giant = [(f"g{draw.randrange(20_000)}", f"g{draw.randrange(20_000)}") for _ in range(40_000)]
    links = chain + star + giant
    records = sorted({end for link in links for end in link} | {"alone"})
    draw.shuffle(links)
    assert connect(records, links) == plain_clusters(records, sorted(links))


def test_a_million_records_without_links_stay_alone():
    records = pa.array([f"{i:07}" for i in range(1_000_000)])
    found = connect_records(records, link_table([]))
    assert found.schema == CLUSTERS and found["record"] == found["cluster"] and found.num_rows == 1_000_000


def test_links_to_unknown_records_make_none():
    assert connect(["a", "b"], [("a", "ghost"), ("ghost", "b")]) == {"a": "a", "b": "b"}


def settle(links: pa.Table, parts: int) -> tuple[pa.Table, int]:
    """The rounds of `connect.ConnectRecords` by hand; LOWEST comes from parts of the links, as on workers."""
    links = order_links(links)
    for number in range(60):
        shares = [pa.array(range(i, links.num_rows, parts), pa.int64()) for i in range(parts)]
        lowest = merge_lowest(pa.concat_tables([find_lowest(links.take(share)) for share in shares]))
        if count_unsettled(lowest) == 0:
            return links, number
        links = hook_high(links, lowest)
        links = hook_low(links, find_lowest(links))
    raise AssertionError("did not settle")


@settings(max_examples=150, deadline=None)
@given(graphs, st.integers(1, 3))
def test_stars_without_any_contraction_end_in_the_same_components(graph, parts):
    _, links = graph
    stars, _ = settle(link_table(links), parts)
    ends = {end for link in links for end in link}
    found = {end: end for end in ends} | dict(zip(stars["high"].to_pylist(), stars["low"].to_pylist(), strict=True))
    assert found == plain_clusters(ends, links)


@pytest.mark.parametrize("length", [10, 1_000, 10_000])
def test_a_chain_settles_in_logarithmically_many_rounds(length):
    draw = random.Random(length)
    order = draw.sample(range(length), length)
    stars, rounds = settle(link_table([(f"{a:05}", f"{b:05}") for a, b in pairwise(order)]), 2)
    assert stars.num_rows == length - 1 and set(stars["low"].to_pylist()) == {"00000"}
    assert rounds <= 2 + length.bit_length()


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_contracted_links_connect_the_same_records_with_at_most_one_link_each(graph):
    links = order_links(link_table(graph[1]))
    short = contract_links(links)
    ends = {end for pair in graph[1] for end in pair}
    pairs = list(zip(short["low"].to_pylist(), short["high"].to_pylist(), strict=True))
    assert plain_clusters(ends, pairs) == plain_clusters(ends, graph[1])
    assert len({high for _, high in pairs}) == len(pairs) and count_unsettled(find_lowest(short)) == 0
