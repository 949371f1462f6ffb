"""Levels of agreement, by examples of each and against a plain version pair by pair."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from transforms.identity.encode import encode_records
from transforms.identity.kinds import KINDS
from transforms.identity.levels import comparer
from transforms.identity.rules import COMPARISONS
from transforms.identity.standard import standardise_records

BY_NAME = {c.name: c for c in COMPARISONS}


def level_of(name, left, right):
    """The level of two records' values: of one column, or a dict of columns."""
    rows = [v if isinstance(v, dict) else {name: v} for v in (left, right)]
    table = pa.Table.from_pylist([{"record_key": f"r{i}"} | row for i, row in enumerate(rows)])
    for column in {c for row in rows for c in row}:
        assert column in table.column_names
    records = encode_records(standardise_records(table))
    comparison = BY_NAME[name]
    compare = comparer(comparison.kind, records, comparison.fields)
    one, other = (compare(np.array(a), np.array(b))[0] for a, b in (([0], [1]), ([1], [0])))
    assert one == other  # which is left does not matter
    return KINDS[comparison.kind].names[one]


@pytest.mark.parametrize(("name", "left", "right", "level"), [
    ("given_name", "Élodie", "ELODIE ", "same"),
    ("given_name", "Margaret", "Margret", "typo"),
    ("given_name", "Elizabeth", "Liz", "variant"),
    ("given_name", "Hans", "Johannes", "variant"),
    ("given_name", "Jürgen-Marie", "Jürgen", "variant"),
    ("given_name", "P.", "Peter", "initial"),
    ("given_name", "Γιώργος", "Giorgos", "same"),
    ("given_name", "Peter", "Olivia", "different"),
    ("given_name", "Peter", "n/a", "missing"),
    ("given_name", {"given_name": "Chen", "surname": "Wei"}, {"given_name": "Wei", "surname": "Chen"}, "swapped"),
    ("given_name", {"given_name": "Lavety", "surname": "Jamds"}, {"given_name": "James", "surname": "Laverty"},
     "swapped"),
    ("surname", {"given_name": "Chen", "surname": "Wei"}, {"given_name": "Wei", "surname": "Chen"}, "missing"),
    ("surname", {"given_name": "Ann", "surname": "Lee"}, {"given_name": "Bob", "surname": "Lee"}, "same"),
    ("surname", "Smith-Jones", "Jones", "part"),
    ("surname", "van der Berg", "Berg", "part"),
    ("surname", "Schröder", "Schroder", "same"),
    ("surname", "O'Brien", "OBRIEN", "same"),
    ("surname", "Smith", "Wójcik", "different"),
    ("name", "Smith, John", "John Smith", "same"),
    ("name", "Smith John", "John Smith", "typo"),
    ("name", "art's delicatessen", "Arts Delicatessen", "same"),
    ("birth_date", "1985-03-04", "04.03.1985", "same"),
    ("birth_date", "1985-03-04", "1985-04-03", "swapped"),
    ("birth_date", "1985-03-04", "1985-03-05", "one digit"),
    ("birth_date", "1985-03-04", "1958-03-04", "one digit"),
    ("birth_date", "1985-03-04", "1985", "same year"),
    ("birth_date", "1985-03-04", "1985-11-29", "same year"),
    ("birth_date", "1985-03-04", "1971-11-29", "different"),
    ("birth_date", "1985-03-04", "0000-00-00", "missing"),
    ("email", "Ann@X.org", "mailto:ann@x.org", "same"),
    ("email", "Ann@X.org", "Ann <ann@x.org>", "same"),
    ("email", "ann.smith@x.org", "annsmith@y.com", "same mailbox"),
    ("email", "ann.smith84@x.org", "an.smith84@x.org", "typo"),
    ("email", "ann.smith841@x.org", "lizzy841@y.org", "same digits"),
    ("email", "ann.smith1@x.org", "ann.smith2@x.org", "different"),
    ("phone", "+44 7700 900123", "07700-900123", "same"),
    ("phone", "+44 7700 900123", "07700-900124", "typo"),
    ("phone", "+44 7700 900123", "0000", "missing"),
    ("street", "12, High Street", "12 HIGH ST.", "same"),
    ("street", "12 High Street", "12 Hihg Street", "typo"),
    ("street", "Hauptstraße 5", "Hauptstr. 5", "same"),
    ("street", "3654 Sunset Ave", "3654 sunset avenue near Spring St", "typo"),
    ("street", "12 High Street", "High Street 85", "same street"),
    ("street", "12 High Street", "7 Mill Lane", "different"),
    ("area", {"postcode": "SW1 2AB", "city": "London"}, {"postcode": "sw12ab", "city": None}, "same"),
    ("area", {"postcode": "4223", "city": "winston hills"}, {"postcode": "4232", "city": "winston hill"},
     "similar postcode"),
    ("area", {"postcode": "4223", "city": "London"}, {"postcode": "9999", "city": "LONDON"}, "same city"),
    ("area", {"postcode": "4223", "city": "London"}, {"postcode": None, "city": None}, "missing"),
    ("national_id", "530-42-18", "5304218", "same"),
    ("national_id", "5304218", "5304281", "typo"),
])  # fmt: skip
def test_each_level(name, left, right, level):
    assert level_of(name, left, right) == level


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abc1", min_size=4, max_size=7), min_size=2, max_size=20), st.randoms())
def test_many_pairs_at_once_are_what_each_is_alone(values, random):
    records = encode_records(standardise_records(pa.table({
        "record_key": [f"r{i:02}" for i in range(len(values))], "national_id": values})))  # fmt: skip
    pairs = [(random.randrange(len(values)), random.randrange(len(values))) for _ in range(200)]
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    found = comparer("identifier", records, ("national_id",))(left, right)
    names = KINDS["identifier"].names
    for (i, j), level in zip(pairs, found.tolist(), strict=True):
        a, b = values[i], values[j]
        near = OSA.distance(a, b) <= 1 and min(len(a), len(b)) >= 5
        assert names[level] == ("same" if a == b else "typo" if near else "different")
