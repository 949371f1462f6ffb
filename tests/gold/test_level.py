"""The level of what is to come: of last year's season where it is known, else between the latest and the mean."""

import numpy as np
import pytest
from scipy.special import expit

from transforms.gold.value.level import Window, calibrate

LATEST, STEP = 20_000, 30


def windows(level_of, count: int, customers: int = 4_000, slope: float = 0.8) -> list[Window]:
    """Windows of customers whose true probability is expit(slope * odds + level of the day), the latest first."""
    random = np.random.default_rng(3)
    made = []
    for day in range(LATEST - 90, LATEST - 90 - count * STEP, -STEP):
        odds = random.normal(size=customers)
        chance = expit(slope * odds + level_of(day))
        made.append(Window(day, odds, (random.random(customers) < chance).astype(float)))
    return made


def season(day: int) -> float:
    return float(0.6 * np.cos(2 * np.pi * (day - LATEST) / 365.25))


def test_a_steady_level_is_found_with_its_slope():
    slope, offset = calibrate(windows(lambda _: -0.7, 5), LATEST, 90, 0)
    assert (slope, offset) == (pytest.approx(0.8, abs=0.05), pytest.approx(-0.7, abs=0.06))


def test_a_season_is_that_of_a_year_ago_and_what_moved_since():
    assert calibrate(windows(season, 14), LATEST, 90, 0)[1] == pytest.approx(0.6, abs=0.12)
    moved = calibrate(windows(lambda day: season(day) + 0.001 * (day - LATEST), 14), LATEST, 90, 0)[1]
    assert moved == pytest.approx(0.6, abs=0.15)  # 0.24 without the year's move
    unsettled = calibrate(windows(lambda day: season(day) + 0.001 * (day - LATEST), 14), LATEST, 90, LATEST)[1]
    assert unsettled == pytest.approx(0.6 - 0.365, abs=0.12)


@pytest.mark.parametrize(("horizon", "kept"), [(1, 1.0), (30, 0.87), (60, 0.51), (92, 0.0), (365, 0.0)])
def test_less_than_a_year_keeps_of_the_latest_what_a_season_keeps(horizon, kept):
    found = calibrate(windows(lambda day: 0.5 if day == LATEST - 90 else -0.5, 2), LATEST, horizon, 0)[1]
    assert found == pytest.approx(0.5 * kept, abs=0.08)


def test_windows_in_any_order_and_windows_where_all_or_none_churned():
    several = windows(season, 14)
    assert calibrate(several[::-1], LATEST, 90, 0) == calibrate(several, LATEST, 90, 0)
    odds = np.linspace(-1, 1, 50)
    for outcome in (np.zeros(50), np.ones(50)):
        slope, offset = calibrate([Window(LATEST - 90, odds, outcome), several[0]], LATEST, 30, 0)
        assert np.isfinite([slope, offset]).all()
