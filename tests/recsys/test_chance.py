"""Chances that are what happens: planted slope and offset come back, and of a tenth that many are taken."""

import numpy as np
import pytest

from recsys.ranking.chance import Chance, fit_chance, log_shares


@pytest.fixture(scope="module")
def lists():
    random = np.random.default_rng(3)
    scores = random.normal(0, 2, (3_000, 12))
    known = np.ones(scores.shape, bool)
    known[::3, 8:] = False
    truth = Chance(1.4, 0.6).of(scores, known)
    return scores, known, random.random(scores.shape) < truth


def test_shares_are_those_of_the_softmax_over_what_is_there(lists):
    scores, known, _ = lists
    shares = np.where(known, np.exp(log_shares(scores, known)), 0)
    assert shares.sum(1) == pytest.approx(1)
    one = np.exp(scores[0, :8]) / np.exp(scores[0, :8]).sum()
    assert shares[0, :8] == pytest.approx(one) and not shares[0, 8:].any()
    assert log_shares(np.zeros((1, 3)), np.zeros((1, 3), bool)).max() == -60  # nobody is offered anything


def test_the_planted_chance_comes_back_and_is_what_happens(lists):
    scores, known, taken = lists
    found = fit_chance(scores + 5, known, taken)  # a shift of a list says nothing
    assert found.slope == pytest.approx(1.4, abs=0.05) and found.offset == pytest.approx(0.6, abs=0.06)
    chance = found.of(scores, known)
    assert not chance[~known].any()
    tenth = np.argsort(chance[known], kind="stable")
    for part in np.array_split(tenth, 10):
        assert chance[known][part].mean() == pytest.approx(taken[known][part].mean(), abs=0.02)
    assert (np.argsort(chance[0, :8]) == np.argsort(scores[0, :8])).all()


def test_nothing_taken_teaches_nothing():
    assert fit_chance(np.ones((2, 3)), np.ones((2, 3), bool), np.zeros((2, 3), bool)) == Chance()
