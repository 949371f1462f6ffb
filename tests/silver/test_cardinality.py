import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.silver.cardinality import EXACT_UP_TO, Cardinality
from transforms.silver.keys import column_hashes


def hashes(start, stop):
    return column_hashes(pa.array(np.arange(start, stop)))


def state(counter):
    return [None if part is None else part.tolist() for part in (counter.hashes, counter.registers)]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 2500)), min_size=1, max_size=5), st.randoms())
def test_parts_merge_in_any_order_to_the_same_counter(ranges, random):
    parts = [hashes(start, start + length) for start, length in ranges]
    whole = Cardinality.of(np.concatenate(parts))
    counters = [Cardinality.of(part) for part in parts]
    random.shuffle(counters)
    assert state(Cardinality.merge(counters)) == state(whole)
    assert state(Cardinality.merge([Cardinality.merge(counters[:2]), *counters[2:], counters[0]])) == state(whole)
    exact = len(np.unique(np.concatenate(parts)))
    assert whole.is_exact == (exact <= EXACT_UP_TO)
    assert not whole.is_exact or whole.count == exact


@pytest.mark.parametrize("size", [2049, 5_000, 20_000, 100_000, 1_000_000])
def test_the_estimate_is_within_three_standard_errors(size):
    for start in (0, 10**9, 10**12):
        assert Cardinality.of(hashes(start, start + size)).count == pytest.approx(size, rel=3 * 1.04 / 64)


def test_the_estimate_is_not_biased():
    """The mean error of 60 disjoint sets of 4,000 lies within four of its own standard errors."""
    errors = [Cardinality.of(hashes(i * 4000, (i + 1) * 4000)).count / 4000 - 1 for i in range(60)]
    assert abs(np.mean(errors)) < 4 * 1.04 / 64 / np.sqrt(60)


def test_nothing():
    assert Cardinality.merge([]).count == Cardinality.of(np.empty(0, np.uint64)).count == 0
