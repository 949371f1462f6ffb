"""What is said of two records follows the rules they were judged by."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from pipelines.explain import verdict_of
from transforms.identity.persons import IDENTITY_MAP
from transforms.identity.rules import IdentityRules
from transforms.identity.score import EDGES

AT = datetime(2026, 1, 1, tzinfo=UTC)


def verdict(probability: float, **rules) -> str:
    people = [{"record": name, "person_id": "P", "since": AT} for name in ("a", "b", "c")]
    edge = dict.fromkeys(EDGES.names) | {"left": "a", "right": "b", "probability": probability, "kind": "probabilistic"}
    given = pa.Table.from_pylist(people, IDENTITY_MAP), pa.Table.from_pylist([edge]).cast(_nullable())
    return verdict_of("a", "b", *given, rules=IdentityRules(**rules))


def _nullable() -> pa.Schema:
    return pa.schema([pa.field(field.name, field.type) for field in EDGES])


def test_a_link_below_the_limit_is_not_what_makes_them_one_person():
    limit = IdentityRules().match_probability
    assert verdict(limit) == "one person"
    assert verdict(limit - 0.01) == "one person, by other records or a decision"
    assert verdict(0.6, match_probability=0.5) == "one person"
