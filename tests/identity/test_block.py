"""Candidate pairs against a plain version; what is bounded, and what is said about it."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.identity.block import find_candidates
from transforms.identity.encode import encode_records
from transforms.identity.rules import BlockingRule, IdentityRules
from transforms.identity.score import score_pairs
from transforms.identity.standard import standardise_records

BLOCKING = (BlockingRule(("email",)), BlockingRule(("phone", "city")), BlockingRule(("surname",), ("city",)))


def found_pairs(candidates, size=3):
    pairs = [p for left, right in candidates.chunks(size) for p in zip(left.tolist(), right.tolist(), strict=True)]
    return pairs


def table(rows):
    return pa.table({
        "record_key": [f"r{i:03d}" for i in range(len(rows))],
        "email": [None if r[0] == 0 else f"somebody{r[0]}@x.org" for r in rows],
        "phone": [None if r[1] == 0 else f"0301234{r[1]}" for r in rows],
        "city": [None if r[2] == 0 else "abc"[r[2] - 1] * 5 for r in rows],
        "surname": ["smith"] * len(rows),
    })  # fmt: skip


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 3), st.integers(1, 40), st.booleans())
def test_every_pair_that_agrees_comes_once(rows, olds, size, within):
    rules = IdentityRules(blocking=BLOCKING[:2], block_rows=100)
    records = standardise_records(table(rows))
    split = max(1, len(rows) - olds)
    encoded = encode_records(records.slice(0, split), records.slice(split))
    made = found_pairs(find_candidates(encoded, rules, within), size)
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(len(rows)), 2)
        if (rows[i][0] == rows[j][0] != 0 or (rows[i][1] == rows[j][1] != 0 and rows[i][2] == rows[j][2] != 0))
        and i < split and (within or j >= split)
    }  # fmt: skip
    assert len(made) == len(set(made)) and set(made) == expected


def test_a_large_block_is_refined_and_what_is_left_out_is_counted():
    rows = [(0, 0, 1 + i % 3) for i in range(30)]
    encoded = encode_records(standardise_records(table(rows)))
    candidates = find_candidates(encoded, IdentityRules(blocking=BLOCKING[2:], block_rows=12))
    made = found_pairs(candidates)
    assert set(made) == {(i, j) for i, j in itertools.combinations(range(30), 2) if i % 3 == j % 3}
    report = candidates.report().to_pylist()[0]
    assert (report["records"], report["refined"], report["windowed"], report["pairs"]) == (30, 30, 0, 135)
    assert report["left_out"] == 30 * 29 / 2 - 135


def test_a_block_that_cannot_be_refined_is_compared_with_neighbours():
    encoded = encode_records(standardise_records(table([(0, 0, 1)] * 100)))
    candidates = find_candidates(encoded, IdentityRules(blocking=BLOCKING[2:], block_rows=12, window=4))
    assert candidates.total == 4 * 100 - 10
    twice = find_candidates(encoded, IdentityRules(blocking=BLOCKING[2:] * 2, block_rows=12, window=4))
    assert sorted(found_pairs(twice)) == sorted(found_pairs(candidates)) and len(found_pairs(twice)) == candidates.total
    assert candidates.report()["windowed"].to_pylist() == [100]


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_one_phone_in_many_records_stays_small(share):
    draw = np.random.default_rng(2)
    size = 20_000
    records = pa.table({
        "record_key": [f"r{i}" for i in range(size)],
        "phone": ["030 1234567" if i < size * share else f"0171{draw.integers(10**7)}" for i in range(size)],
        "surname": [f"{chr(97 + draw.integers(26))}o{chr(97 + draw.integers(26))}a" for _ in range(size)],
        "birth_date": ["1900-01-01" if i % 2 else f"19{draw.integers(30, 99)}-03-{draw.integers(10, 28)}"
                       for i in range(size)],
    })  # fmt: skip
    scored = score_pairs(records, IdentityRules())
    assert scored.compared < 100 * size
    assert scored.edges.num_rows < size
    phone = {row["rule"]: row for row in scored.blocks.to_pylist()}["phone"]
    assert phone["left_out"] > (size * share) ** 2 / 2 * 0.9


@pytest.mark.parametrize(
    ("more", "rule"),
    [({}, "given_sound+surname_sound"), ({"birth_year": 1950}, "surname_sound+birth_year"),
     ({"street": "12 High Street, York"}, "street")],
)  # fmt: skip
def test_records_that_say_little_meet_by_what_there_is(more, rule):
    """No birth date, no postcode, no city: a misspelt name is met all the same; with them the rule is not asked."""
    names = [("anna", "meyer"), ("ana", "meier"), ("boris", "stone"), ("carla", "novak")]
    rows = [{"record_key": f"r{n}", "given_name": g, "surname": s} | more for n, (g, s) in enumerate(names)]
    encoded = encode_records(standardise_records(pa.Table.from_pylist(rows)))
    found = find_candidates(encoded, IdentityRules())
    assert (0, 1) in found_pairs(found)
    counts = {row["rule"]: row["pairs"] for row in found.report().to_pylist()}
    assert counts[rule] > 0
    whole = {"birth_date": "1950-03-04", "postcode": "10115", "city": "Berlin"}
    rich = encode_records(standardise_records(pa.Table.from_pylist([row | whole for row in rows])))
    assert {row["rule"]: row["pairs"] for row in find_candidates(rich, IdentityRules()).report().to_pylist()}[rule] == 0
