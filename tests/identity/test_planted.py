"""Generated customers: typing errors, nicknames, moves, new surnames, lost values, and households, with the truth."""

import pytest

from tests.identity.febrl import clustered, pairs_within, quality
from tests.identity.planted import planted_customers
from transforms.identity.rules import IdentityRules
from transforms.identity.score import score_pairs

RULES = IdentityRules()


def resolve(persons: int, families: float) -> dict[str, float]:
    records, whose = planted_customers(persons, families=families)
    edges = score_pairs(records, RULES).edges
    true = pairs_within(records["record_key"], whose)
    return quality(clustered(records["record_key"], edges, RULES.match_probability), true)


def test_persons_are_found_again_and_households_kept_apart():
    found = resolve(20_000, 0.0)
    assert found["precision"] >= 0.998 and found["recall"] >= 0.97, found


@pytest.mark.slow
@pytest.mark.parametrize("families", [0.0, 0.02])  # of those who share a home, namesakes, and as many twins
def test_a_hundred_thousand_records(families):
    found = resolve(88_000, families)
    assert found["precision"] >= 0.998 and found["recall"] >= 0.97, found
