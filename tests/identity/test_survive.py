"""The golden record: a plain sort of a person's records is the oracle."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.identity.survive import PERSON_RULES, Attribute, SurvivorshipRules, survive_attributes, survivors_schema

SCHEMA = pa.schema([(n, pa.string()) for n in ("record", "source", "email", "street", "city", "surname")]
                   + [("updated_at", pa.timestamp("us", tz="UTC")), ("email_verified", pa.bool_())])  # fmt: skip
RULES = SurvivorshipRules(
    (
        Attribute("email", ("email",), ("verified", "recent"), "email_verified"),
        Attribute("address", ("street", "city"), ("recent", "trusted")),
        Attribute("surname", ("surname",), ("frequent", "longest", "trusted")),
    ),
    ("crm", "shop"),
)


def moment(number):
    return None if number is None else datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def survive(rows, map, rules=RULES):
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    persons = pa.table({"record": pa.array(map, pa.string()), "person_id": pa.array(map.values(), pa.string())})
    return {row["person_id"]: row for row in survive_attributes(table, persons, rules).to_pylist()}


def row(record, source="shop", day=None, **values):
    return {"record": record, "source": source, "updated_at": moment(day), **values}


def test_each_rule_decides_and_says_so():
    rows = [
        row("a", "shop", 5, email="new@x.org", street="New Road 1", city=None, surname="Li"),
        row("b", "crm", 1, email="old@x.org", email_verified=True, street="Old Road 2", city="York", surname="Lie"),
        row("c", "web", 5, email="new@x.org", street="Other 3", city="Bath", surname="Li"),
    ]
    found = survive(rows, dict.fromkeys("abc", "p"))["p"]
    assert (found["records"], found["sources"]) == (3, ["crm", "shop", "web"])
    assert (found["email"], found["email_source"], found["email_rule"]) == ("old@x.org", "crm", "verified")
    assert found["email_at"] == moment(1)
    # An address comes from one record as a whole: the city of b does not fill the gap of a.
    assert (found["street"], found["city"], found["address_rule"]) == ("New Road 1", None, "trusted")
    assert (found["surname"], found["surname_rule"]) == ("Li", "frequent")


def test_one_value_stands_alone_and_none_is_null():
    found = survive([row("a", email="x@x.org"), row("b", day=3, email="x@x.org")], {"a": "p", "b": "p"})["p"]
    assert (found["email"], found["email_rule"], found["email_at"]) == ("x@x.org", "only", moment(3))
    assert found["surname"] is None and found["surname_rule"] is None


def plain(rows, attribute, ranks):
    """(value, rule) by sorting rows in Python."""
    there = [r for r in rows if any(r.get(c) is not None for c in attribute.columns)]
    if not there:
        return None, None

    def value(r):
        return tuple(r.get(c) or "" for c in attribute.columns)

    def rate(r):
        worth = {
            "verified": bool(attribute.verified and r.get(attribute.verified)),
            "trusted": -ranks.index(r["source"]) if r["source"] in ranks else -len(ranks),
            "recent": r["updated_at"].timestamp() if r["updated_at"] else float("-inf"),
            "frequent": sum(value(other) == value(r) for other in there),
            "longest": len("\x1f".join(value(r))),
        }
        return [worth[criterion] for criterion in attribute.by]

    best = sorted(there, key=lambda r: ([-w for w in map(float, rate(r))], "\x1f".join(value(r)).encode()))
    others = [r for r in best if value(r) != value(best[0])]
    if not others:
        return value(best[0]), "only"
    differs = [c for c, mine, its in zip(attribute.by, rate(best[0]), rate(others[0]), strict=True) if mine != its]
    return value(best[0]), differs[0] if differs else "smallest"


cells = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["crm", "shop", "web"]),
        "updated_at": st.sampled_from([None, moment(1), moment(2), moment(3)]),
        "email": st.sampled_from([None, "a@x", "b@x", "cc@x"]),
        "email_verified": st.sampled_from([None, True, False]),
        "street": st.sampled_from([None, "Road 1", "Lane 22"]),
        "city": st.sampled_from([None, "York"]),
        "surname": st.sampled_from([None, "Li", "Lee", "李"]),
    }
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(cells, st.sampled_from("pq")), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_survivors_are_those_of_a_plain_sort_in_any_order(drawn, draw):
    rows = [{"record": f"r{at}", **cell} for at, (cell, _) in enumerate(drawn)]
    map = {f"r{at}": person for at, (_, person) in enumerate(drawn)}
    found = survive(rows, map)
    assert survive(draw.sample(rows, len(rows)), map) == found
    for person, golden in found.items():
        own = [r for r in rows if map[r["record"]] == person]
        for attribute in RULES.attributes:
            value, rule = plain(own, attribute, RULES.sources)
            got = tuple(golden[c] or "" for c in attribute.columns)
            assert golden[f"{attribute.name}_rule"] == rule and (value is None or got == value), attribute.name


def test_the_declared_schema_is_what_comes_and_rules_are_checked():
    table = survive_attributes(pa.Table.from_pylist([row("a", email="x@x")], schema=SCHEMA),
                               pa.table({"record": ["a"], "person_id": ["p"]}), PERSON_RULES)  # fmt: skip
    assert table.column_names == survivors_schema(PERSON_RULES, {}).names
    table.cast(survivors_schema(PERSON_RULES, {}))
    with pytest.raises(ValueError, match="newest"):
        Attribute("email", ("email",), ("newest",))
