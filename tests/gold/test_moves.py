"""Moves between segments, against plain Python."""

from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.gold.moves import MEMBERS, NONE, SEGMENT_MOVES, count_moves

SEGMENTS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["champions", "at risk", None]))


def table(members):
    rows = [{"person_id": c, "rfm_segment": s} for c, s in members.items()]
    return pa.Table.from_pylist(rows, schema=MEMBERS)


@settings(deadline=None)
@given(SEGMENTS, SEGMENTS)
def test_moves_are_those_of_plain_python_and_add_up(before, now):
    moves = count_moves(table(before), table(now))
    assert moves.schema.equals(SEGMENT_MOVES)
    found = {(r["from_segment"], r["to_segment"]): r["customers_count"] for r in moves.to_pylist()}
    name = {c: s or NONE for c, s in before.items()}, {c: s or NONE for c, s in now.items()}
    assert found == Counter((name[0].get(c, "(new)"), name[1].get(c, "(gone)")) for c in {*before, *now})
    for side, members in ((0, name[0]), (1, name[1])):
        for segment, size in Counter(members.values()).items():
            assert sum(n for pair, n in found.items() if pair[side] == segment) == size


def test_the_first_run_has_only_new_customers():
    moves = count_moves(None, table({"a": "champions", "b": None})).to_pylist()
    assert [(m["from_segment"], m["to_segment"], m["customers_count"]) for m in moves] == [
        ("(new)", NONE, 1), ("(new)", "champions", 1)]  # fmt: skip
