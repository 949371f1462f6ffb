"""What callers rely on: order does not matter, new against old gives what all at once gives, bits add up."""

import datetime as dt

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tests.identity.planted import planted_customers
from transforms.errors import UserError
from transforms.identity.model import LinkModel
from transforms.identity.rules import IdentityRules
from transforms.identity.score import EDGES, score_pairs
from transforms.identity.standard import standardise_records

RULES = IdentityRules()


@pytest.fixture(scope="module")
def records():
    return planted_customers(1_500)[0]


@pytest.fixture(scope="module")
def scored(records):
    return score_pairs(records, RULES)


def test_the_order_of_records_does_not_matter(records, scored):
    again = score_pairs(records.take(np.random.default_rng(1).permutation(records.num_rows)), RULES)
    assert again.edges.equals(scored.edges) and again.model.to_json() == scored.model.to_json()


def test_chunks_do_not_matter(records, scored):
    assert score_pairs(records, IdentityRules(chunk_pairs=777)).edges.equals(scored.edges)


def test_standard_records_may_be_kept_and_used_again(records, scored):
    kept = standardise_records(records)
    assert standardise_records(kept) is kept
    assert score_pairs(kept, RULES).edges.equals(scored.edges)


def test_new_against_old_is_what_all_at_once_gives(records, scored):
    old, new = records.slice(0, 1_200), records.slice(1_200)
    found = score_pairs(new, RULES, model=LinkModel.from_json(scored.model.to_json()), against=old)
    fresh = set(new["record_key"].to_pylist())

    def pairs(edges):
        rows = (tuple(sorted(p)) for p in zip(edges["left"].to_pylist(), edges["right"].to_pylist(), strict=True))
        return dict(zip(rows, edges["weight"].to_pylist(), strict=True))

    whole = {pair: weight for pair, weight in pairs(scored.edges).items() if fresh & set(pair)}
    assert pairs(found.edges) == pytest.approx(whole)
    assert whole


def test_contributions_add_up_to_the_odds(scored):
    for edge in scored.edges.filter(pa.compute.equal(scored.edges["kind"], "probabilistic")).slice(0, 5).to_pylist():
        bits = scored.explain(edge["left"], edge["right"])
        odds = edge["probability"] / (1 - edge["probability"])
        assert sum(bits["bits"].to_pylist()) == pytest.approx(np.log2(odds), abs=1e-6)
        assert sum(bits["bits"].to_pylist()[1:]) == pytest.approx(edge["weight"], abs=1e-6)
    some = scored.edges.slice(0, 50)
    wide = scored.contributions(some)
    names = [n for n in wide.column_names if n.startswith("bits_") and n != "bits_start"]
    total = pl.DataFrame(pl.from_arrow(wide)).select(pl.sum_horizontal(names)).to_series()
    assert total.to_list() == pytest.approx(some["weight"].to_pylist())


def test_a_rare_surname_weighs_more_than_a_frequent_one():
    draw = np.random.default_rng(3)
    many = 2_000
    surname = [
        "smith" if draw.random() < 0.3 else f"name{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}" for i in range(many)
    ]
    records = pa.table({"record_key": [f"r{i}" for i in range(many)], "surname": surname,
                        "birth_date": [f"19{draw.integers(30, 99)}{draw.integers(10, 13)}{draw.integers(10, 28)}"
                                       for _ in range(many)]})  # fmt: skip
    scored = score_pairs(records, RULES)
    smith = [f"r{i}" for i, s in enumerate(surname) if s == "smith"][:2]
    rare = [f"r{i}" for i, s in enumerate(surname) if s == "nameaa"][:2]

    def bits(pair):
        told = scored.explain(*pair)
        return dict(zip(told["comparison"].to_pylist(), told["bits"].to_pylist(), strict=True))["surname"]

    assert bits(rare) > bits(smith) + 4


def test_the_same_verified_mail_is_proof_unless_name_and_birth_date_say_otherwise():
    records = pa.table({
        "record_key": ["a", "b", "c", "d"], "email": ["x@y.org"] * 3 + ["X@Y.ORG "],
        "email_verified": [True, True, True, False],
        "given_name": ["Ann", "Anna-Lena", "Otto", "Ann"],
        "birth_date": [dt.date(1980, 1, 2), dt.date(1980, 1, 2), dt.date(1951, 7, 30), dt.date(1980, 1, 2)],
    })  # fmt: skip
    edges = score_pairs(records, RULES).edges.to_pylist()
    proven = {(e["left"], e["right"]): e["rule"] for e in edges if e["kind"] == "deterministic"}
    assert proven == {("a", "b"): "same email"}


def test_names_in_other_scripts_and_exchanged_names_are_found():
    draw = np.random.default_rng(5)
    names = ["Γιώργος", "Ольга", "Ελένη", "Иван", "Søren", "Łukasz", "José", "Ayşe", "محمد", "美咲"]
    others = ["Παπαδόπουλος", "Иванова", "Αντωνίου", "Петров", "Åkesson", "Dąbrowski", "Núñez", "Öztürk", "خان", "佐藤"]
    rows = [
        {"record_key": f"r{i}", "given_name": names[draw.integers(10)], "surname": others[draw.integers(10)],
         "birth_date": f"19{draw.integers(30, 99)}-{draw.integers(1, 13):02d}-{draw.integers(1, 28):02d}"}
        for i in range(400)
    ]  # fmt: skip
    twice = {**rows[7], "record_key": "again", "given_name": rows[7]["surname"], "surname": rows[7]["given_name"]}
    edges = score_pairs(pa.Table.from_pylist([*rows, twice]), RULES).edges.to_pylist()
    assert [e["probability"] for e in edges if (e["left"], e["right"]) == ("again", "r7")] > [0.5]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_few_records_or_records_without_a_value(rows):
    keys = pa.array([f"r{i}" for i in range(rows)], pa.string())
    nothing = pa.table({"record_key": keys, "given_name": pa.nulls(rows, pa.string()), "email": [""] * rows})
    assert score_pairs(nothing, RULES).edges.equals(EDGES.empty_table())
    assert score_pairs(nothing.select(["record_key"]), RULES).edges.num_rows == 0


def test_a_key_that_is_missing_or_repeated_is_said():
    for keys in (["a", None], ["a", "a"]):
        with pytest.raises(UserError, match="record_key is missing or repeated"):
            score_pairs(pa.table({"record_key": pa.array(keys, pa.string())}), RULES)
    one = pa.table({"record_key": ["a"], "email": ["a@b.de"]})
    with pytest.raises(UserError, match="in both"):
        score_pairs(one, RULES, against=one)
