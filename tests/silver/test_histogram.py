import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.silver.histogram import Histogram

numbers = st.lists(st.floats(-1e12, 1e12), max_size=40)


def same(a, b):
    return a.bins.tolist() == b.bins.tolist() and a.counts.tolist() == b.counts.tolist()


@given(numbers, st.integers(0, 40), st.randoms())
def test_any_split_in_any_order_is_the_same_histogram(values, cut, random):
    whole = Histogram.of(np.array(values))
    random.shuffle(values)
    parts = [Histogram.of(np.array(part)) for part in (values[:cut], values[cut:])]
    assert same(Histogram.merge(parts), whole)
    assert same(Histogram.merge(parts[::-1]), whole)
    assert whole.total == len(values)


@given(numbers, numbers, numbers)
def test_merging_is_associative(a, b, c):
    a, b, c = (Histogram.of(np.array(part)) for part in (a, b, c))
    assert same(Histogram.merge([Histogram.merge([a, b]), c]), Histogram.merge([a, Histogram.merge([b, c])]))


@given(numbers.filter(len), st.sampled_from([0.01, 0.25, 0.5, 0.9, 1.0]))
@example([118936172361.0], 0.01)
def test_a_quantile_is_within_the_stated_error(values, share):
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    [found] = Histogram.of(np.array(values)).quantiles([share])
    # |sinh(y + d) - sinh(y)| <= cosh(y) (e^|d| - 1), and cosh(asinh(x)) = sqrt(x^2 + 1)
    assert abs(found - exact) <= math.expm1(0.005) * math.sqrt(exact**2 + 1) * (1 + 1e-9)


@given(numbers.filter(len))
def test_the_mean_is_within_the_error_of_its_numbers(values):
    found = Histogram.of(np.array(values)).mean
    assert abs(found - np.mean(values)) <= 0.00502 * np.mean(np.hypot(values, 1)) * 1.01


def test_nothing_and_not_a_number():
    empty = Histogram.of(np.array([np.nan, np.inf, -np.inf]))
    assert empty.total == 0 and empty.quantiles([0.5]) == []
    assert same(Histogram.merge([empty, Histogram()]), Histogram())


@pytest.mark.parametrize("value", [0.0, 1e300, -1e300, 5e-324])
def test_extremes_have_a_place(value):
    [found] = Histogram.of(np.array([value])).quantiles([0.5])
    assert math.isclose(found, value, rel_tol=0.00502, abs_tol=0.005)
