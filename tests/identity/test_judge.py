"""Measures of clusterings by hand, and against loops over records."""

from itertools import combinations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.identity.judge import judge_clusters


def test_one_person_cut_in_two_and_two_put_into_one():
    found = judge_clusters(pl.Series([1, 1, 2, 3, 3]), pl.Series(["a", "a", "a", "b", "c"]))
    assert (found["precision"], found["recall"]) == (1 / 2, 1 / 3)
    assert found["b3_precision"] == pytest.approx((1 + 1 + 1 + 0.5 + 0.5) / 5)
    assert found["b3_recall"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5)
    assert found["cluster_f1"] == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25))
def test_they_are_what_loops_over_records_give(rows):
    found = judge_clusters(pl.Series([a for a, _ in rows]), pl.Series([b for _, b in rows]))
    made, there = ({p for p in combinations(range(len(rows)), 2) if rows[p[0]][k] == rows[p[1]][k]} for k in (0, 1))
    assert found["f1"] == pytest.approx(2 * len(made & there) / max(1, len(made) + len(there)))
    clusters, persons = (
        {frozenset(i for i, r in enumerate(rows) if r[k] == v) for v in {r[k] for r in rows}} for k in (0, 1)
    )
    assert found["cluster_f1"] == pytest.approx(2 * len(clusters & persons) / (len(clusters) + len(persons)))
    of = [(next(c for c in clusters if i in c), next(p for p in persons if i in p)) for i in range(len(rows))]
    assert found["b3_precision"] == pytest.approx(sum(len(c & p) / len(c) for c, p in of) / len(rows))
    assert found["b3_recall"] == pytest.approx(sum(len(c & p) / len(p) for c, p in of) / len(rows))
