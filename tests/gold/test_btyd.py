"""BG/NBD and MBG/NBD against the paper's figures, SciPy's hypergeometric function, and customers made by the model."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import hyp2f1

from tests.gold import cdnow
from transforms.gold.value import btyd
from transforms.gold.value.btyd import Btyd, Histories

PAPER = Btyd(0.243, 4.414, 0.793, 2.426, flips=0)


@pytest.fixture(scope="module")
def fitted():
    histories = Histories.of(*cdnow.histories())
    return {name: btyd.fit(histories, name) for name in btyd.NAMES}


def test_cdnow_gives_the_figures_of_the_paper(fitted):
    model = fitted["bg_nbd"]
    assert model.converged
    assert [round(v, 3) for v in (model.r, model.alpha, model.a, model.b)] == [0.243, 4.414, 0.793, 2.426]
    assert round(model.log_likelihood, 1) == -9582.4


def test_the_customer_of_the_paper_makes_1_226_orders(fitted):
    expected = fitted["bg_nbd"].expected([2.0], [30.43], [38.86], 39.0)
    assert round(float(expected[0]), 3) == 1.226


def test_the_holdout_correlates_as_in_the_paper(fitted):
    """Over the 39 weeks after the first 39 (40 to 78). The paper prints three decimals: 0.626 is 0.62565 here, and no
    more with the parameters as they are printed."""
    later = cdnow.customers()["later"].to_numpy()
    for model in (fitted["bg_nbd"], PAPER):
        foreseen = model.expected(*cdnow.histories(), 39.0)
        assert round(np.corrcoef(foreseen, later)[0, 1], 3) >= 0.626


def test_the_mbg_nbd_fits_no_worse_than_published_for_cdnow(fitted):
    # Batislam et al. and the R package BTYDplus report r .525, alpha 6.183, a .891, b 1.614 for these customers.
    model = fitted["mbg_nbd"]
    assert [round(v, 3) for v in (model.r, model.alpha, model.a, model.b)] == [0.525, 6.183, 0.891, 1.614]


@st.composite
def models(draw):
    number = st.floats(0.05, 20.0)
    return Btyd(draw(number), draw(number), draw(number), draw(number), draw(st.sampled_from([0, 1])))


@st.composite
def some_histories(draw, rows=8):
    x = np.array(draw(st.lists(st.integers(0, 60), min_size=1, max_size=rows)), float)
    T = np.array(draw(st.lists(st.floats(0.0, 100.0), min_size=len(x), max_size=len(x))))
    share = np.array(draw(st.lists(st.floats(0.0, 1.0), min_size=len(x), max_size=len(x))))
    return x, np.where(x > 0, T * share, 0.0), T


@settings(max_examples=60, deadline=None)
@given(models(), some_histories())
def test_gradients_are_those_of_the_likelihood(model, history):
    histories = Histories.of(*history)
    value, slope = btyd.log_likelihood(model, histories)
    for i, name in enumerate(("r", "alpha", "a", "b")):
        step = 1e-5
        up, down = (dataclasses.replace(model, **{name: getattr(model, name) * np.exp(s)}) for s in (step, -step))
        numeric = (btyd.log_likelihood(up, histories)[0] - btyd.log_likelihood(down, histories)[0]) / (2 * step)
        assert slope[i] == pytest.approx(numeric, rel=1e-4, abs=1e-4 * (1 + abs(value)))


@settings(max_examples=60, deadline=None)
@given(models(), some_histories())
def test_counting_equal_histories_once_changes_no_likelihood(model, history):
    x, t_x, T = history
    twice = Histories.of(*(np.concatenate([v, v[::-1]]) for v in history))
    alone = sum(btyd.log_likelihood(model, Histories.of(x[i : i + 1], t_x[i : i + 1], T[i : i + 1]))[0]
                for i in range(len(x)))  # fmt: skip
    assert len(twice.x) <= len(x)
    assert btyd.log_likelihood(model, twice)[0] == pytest.approx(2 * alone, rel=1e-9)


@pytest.mark.parametrize("flips", [0, 1])
@pytest.mark.parametrize("weeks", [1.0, 13.0, 52.0])
def test_expected_orders_are_the_hypergeometric_formula(flips, weeks):
    """Equation 10 as it is printed, where the series behaves."""
    x, t_x, T = np.array([0.0, 1.0, 3.0, 10.0]), np.array([0.0, 5.0, 20.0, 38.0]), np.array([39.0, 30.0, 39.0, 39.0])
    model = dataclasses.replace(PAPER, flips=flips)
    r, alpha, a, b = model.r, model.alpha, model.a, model.b + flips
    z = weeks / (alpha + T + weeks)
    series = hyp2f1(r + x, b + x, a + b + x - 1, z)
    printed = (a + b + x - 1) / (a - 1) * (1 - ((alpha + T) / (alpha + T + weeks)) ** (r + x) * series)
    odds = a / (b + x - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x)
    printed /= 1 + np.where((x > 0) | (flips == 1), odds, 0)
    assert model.expected(x, t_x, T, weeks) == pytest.approx(printed, rel=1e-6)


@pytest.mark.parametrize("flips", [0, 1])
def test_planted_customers_give_their_parameters_back(flips):
    truth = Btyd(0.8, 6.0, 1.2, 3.0, flips)
    x, t_x, T, _, _ = _make_customers(truth, 30_000, horizon=1.0)
    model = btyd.fit(Histories.of(x, t_x, T), truth.name)
    for name in ("r", "alpha", "a", "b"):
        assert getattr(model, name) == pytest.approx(getattr(truth, name), rel=0.15)


@pytest.mark.parametrize("flips", [0, 1])
def test_planted_customers_are_alive_and_order_as_foreseen(flips):
    truth = Btyd(0.8, 6.0, 1.2, 3.0, flips)
    x, t_x, T, alive, later = _make_customers(truth, 30_000, horizon=20.0)
    foreseen, chance = truth.expected(x, t_x, T, 20.0), truth.alive(x, t_x, T)
    low, high = (truth.quantile(x, t_x, T, 20.0, level) for level in (0.05, 0.95))
    for part in np.array_split(np.argsort(foreseen), 10):
        assert foreseen[part].mean() == pytest.approx(later[part].mean(), abs=4 * later[part].std() / len(part) ** 0.5)
        assert chance[part].mean() == pytest.approx(alive[part].mean(), abs=0.03)
    assert (later <= high).mean() >= 0.95
    assert (later >= low).mean() >= 0.95
    assert (later <= high - 1)[high > 0].mean() < 0.95  # the bound is no wider than it must be


@settings(max_examples=40, deadline=None)
@given(models(), some_histories(rows=4), st.floats(0.5, 30.0))
def test_the_median_lies_between_the_bounds_and_more_time_brings_more(model, history, weeks):
    low, middle, high = (model.quantile(*history, weeks, level) for level in (0.1, 0.5, 0.9))
    assert (low <= middle).all() and (middle <= high).all()
    assert (model.expected(*history, weeks) <= model.expected(*history, 2 * weeks) + 1e-9).all()
    chance = model.alive(*history)
    assert ((chance >= 0) & (chance <= 1)).all()


def test_a_customer_with_thousands_of_orders_has_an_answer():
    expected = PAPER.expected([5000.0], [1000.0], [1000.0], 52.0)
    assert 150 < float(expected[0]) < 270


def _make_customers(truth, number, horizon, T=39.0):
    """Customers by the story of the model: (x, t_x, T, alive at T, order days in the horizon after)."""
    random = np.random.default_rng(7)
    rate = random.gamma(truth.r, 1 / truth.alpha, number)
    stop = random.beta(truth.a, truth.b, number)
    alive = random.random(number) >= (stop if truth.flips else 0.0)
    x, t_x, later, now = (np.zeros(number) for _ in range(4))
    alive_at_T = alive.copy()
    buying = np.flatnonzero(alive)
    while len(buying):
        now[buying] += random.exponential(1.0, len(buying)) / rate[buying]
        buying = buying[now[buying] <= T + horizon]
        early = now[buying] <= T
        x[buying[early]] += 1
        t_x[buying[early]] = now[buying[early]]
        later[buying[~early]] += 1
        stops = random.random(len(buying)) < stop[buying]
        alive_at_T[buying[stops & early]] = False
        buying = buying[~stops]
    return x, t_x, np.full(number, T), alive_at_T, later
