"""What is learned from rolling windows: the season of a year ago, and shorter horizons where history is short."""

import numpy as np

from tests.gold.orders_data import planted, planted_seasonal
from transforms.gold.value.features import happened, know
from transforms.gold.value.learned import learn


def test_once_a_year_is_known_totals_follow_the_season():
    ledger = planted_seasonal(3_000, 800)
    steady, seasonal = [], []
    for before in (90, 180, 270):
        day = ledger.last_day - before
        past = ledger.until(day)
        learned = learn(past, 90)
        known = know(past, day)
        came = happened(ledger, known.who, day, day + 90)[0].sum()
        said = learned.foresee(known)[0].sum()
        steady.append(abs(np.log(said / came)))
        seasonal.append(abs(np.log(said * learned.season(90)[0] / came)))
    assert np.mean(seasonal) < np.mean(steady) / 1.5


def test_less_than_a_year_has_no_season_and_a_whole_one_none_either():
    ledger = planted(600, 300)
    assert learn(ledger, 60).season(60) == (1.0, 1.0)
    known = planted_seasonal(1_000, 800)
    assert learn(known, 90).season(365) == (1.0, 1.0)


def test_a_horizon_longer_than_the_history_allows_is_learned_from_a_shorter_one():
    ledger = planted(600, 300)
    known_days = ledger.last_day - ledger.first_day
    assert learn(ledger, 60).horizon_days == 60
    assert learn(ledger, 365).horizon_days == known_days // 4
