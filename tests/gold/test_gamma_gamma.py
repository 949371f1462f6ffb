"""The Gamma-Gamma model against published figures, numeric slopes and planted customers."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gold import cdnow
from transforms.gold.value import gamma_gamma
from transforms.gold.value.gamma_gamma import GammaGamma


def test_cdnow_gives_the_published_parameters():
    rows = cdnow.customers().filter(x=0).height
    repeat = cdnow.customers().drop_nulls("mean")
    assert repeat.height + rows == 2357
    model = gamma_gamma.fit(repeat["x"].to_numpy(), repeat["mean"].to_numpy())
    assert (model.p, model.q, model.v) == pytest.approx((6.25, 3.74, 15.45), rel=0.01)


@settings(max_examples=60, deadline=None)
@given(
    *(st.floats(0.2, 20.0) for _ in range(3)),
    st.lists(st.tuples(st.integers(1, 50), st.floats(0.01, 500.0)), min_size=1, max_size=8),
)
def test_gradients_are_those_of_the_likelihood(p, q, v, rows):
    orders, mean = np.array(rows).T
    model = GammaGamma(p, q, v)
    value, slope = gamma_gamma.log_likelihood(model, orders, mean)
    for i, name in enumerate("pqv"):
        step = 1e-5
        up, down = (dataclasses.replace(model, **{name: getattr(model, name) * np.exp(s)}) for s in (step, -step))
        numeric = gamma_gamma.log_likelihood(up, orders, mean)[0] - gamma_gamma.log_likelihood(down, orders, mean)[0]
        assert slope[i] == pytest.approx(numeric / (2 * step), rel=1e-4, abs=1e-4 * (1 + abs(value)))


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_planted_customers_give_their_parameters_back_in_any_unit(unit):
    random = np.random.default_rng(3)
    p, q, v = 5.0, 4.0, 20.0
    orders = random.integers(1, 9, 40_000).astype(float)
    nu = random.gamma(q, 1 / v, len(orders))
    mean = random.gamma(p * orders, 1 / (nu * orders)) * unit
    model = gamma_gamma.fit(orders, mean)
    assert (model.p, model.q, model.v / unit) == pytest.approx((p, q, v), rel=0.06)
    truth = p / nu * unit  # what an order of theirs is worth
    worth = model.expected(orders, mean)
    for part in np.array_split(np.argsort(worth), 10):
        assert worth[part].mean() == pytest.approx(truth[part].mean(), rel=0.05)


def test_no_orders_means_the_population_and_less_than_nothing_counts_as_nothing():
    model = GammaGamma(6.0, 4.0, 15.0)
    assert float(model.expected([0.0], [0.0])[0]) == pytest.approx(6.0 * 15.0 / 3.0)
    assert model.expected([3.0], [-10.0]) == pytest.approx(model.expected([3.0], [0.0]))
    assert float(GammaGamma(6.0, 0.9, 15.0).expected([3.0], [10.0])[0]) == 10.0


def test_one_customer_is_not_enough():
    with pytest.raises(ValueError, match="two customers"):
        gamma_gamma.fit([1.0], [5.0])
