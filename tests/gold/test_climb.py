"""The search for the least cost: the whole is asked a handful of times, and what a plain search finds is found."""

import numpy as np
import pytest

from tests.gold import cdnow
from tests.gold.orders_data import planted
from transforms.gold.value import btyd, gamma_gamma
from transforms.gold.value.climb import climb
from transforms.gold.value.features import know

WIDE = (-9.0, 12.0)


def bowl(centre, weights):
    def cost(at):
        away = at - np.log(centre)
        return float((weights * (np.cosh(away) - 1)).sum()), weights * np.sinh(away)

    return cost


def test_a_part_that_is_nearly_the_whole_leads_there_in_few_steps():
    near, whole = bowl([2.0, 3.0], np.array([1.0, 4.0])), bowl([2.05, 2.9], np.array([1.1, 3.9]))
    found = climb(whole, [(1.0, 1.0)], WIDE, near)
    assert np.exp(found.at) == pytest.approx([2.05, 2.9], rel=1e-7)
    assert found.converged and found.asked <= 8
    assert climb(whole, [(1.0, 1.0), (9.0, 9.0)], WIDE).asked > 10


@pytest.mark.parametrize("near", [bowl([400.0, 3.0], np.array([1.0, 4.0])), bowl([1.0, 1.0], np.array([0.0, 1.0]))])
def test_a_part_that_misleads_does_no_harm(near):
    whole = bowl([2.0, 3.0], np.array([1.0, 4.0]))
    assert np.exp(climb(whole, [(1.0, 1.0)], WIDE, near).at) == pytest.approx([2.0, 3.0], rel=1e-4)


@pytest.mark.parametrize("few", [300, 1000])
def test_fits_through_a_part_are_those_of_the_whole(few, monkeypatch):
    """CDNOW and planted shops, once searched whole and once with every k-th customer as the part."""
    ledger = planted(3_000, 500)
    known = know(ledger, ledger.last_day)
    shops = [btyd.Histories.of(*cdnow.histories()), btyd.Histories.of(*known.weeks)]

    def fits():
        models = [btyd.fit(shop, name) for shop in shops for name in btyd.NAMES]
        return [*models, gamma_gamma.fit(known.days, known.mean_value)]

    plain = fits()
    monkeypatch.setattr(btyd, "_MANY", few)
    monkeypatch.setattr(gamma_gamma, "_MANY", few)
    for whole, other in zip(plain, fits(), strict=True):
        assert other.converged
        assert other.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-9)
        for name in ("r", "alpha", "a", "b", "p", "q", "v"):
            assert getattr(other, name, 0.0) == pytest.approx(getattr(whole, name, 0.0), rel=1e-3)
