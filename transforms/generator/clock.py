"""When things happen: by the season, the day of the week and the hour of the day."""

from __future__ import annotations

import numpy as np

from transforms.generator.frames import DAY, HOUR, YEAR
from transforms.generator.randomness import choose

# Shop activity by month, January first; each list averages 1.
_MONTHS = np.array([0.85, 0.8, 0.9, 0.9, 0.95, 0.95, 0.9, 0.9, 1.0, 1.1, 1.4, 1.35])
_WEEKDAYS = np.array([1.0, 0.95, 1.0, 1.05, 1.1, 1.0, 0.9])
_HOURS = np.array([1, 0.5, 0.3, 0.2, 0.2, 0.4, 1, 2, 3, 4, 5, 5.5, 6, 5.5, 5, 4.5, 4.5, 5, 6, 7, 7.5, 6.5, 4, 2])
_PEAK = float((_MONTHS / _MONTHS.mean()).max() * (_WEEKDAYS / _WEEKDAYS.mean()).max())


def draw_moments(
    rng: np.random.Generator, since: np.ndarray, until: np.ndarray, per_year: np.ndarray, hours: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moments of a seasonal Poisson process for each member, between whole days.

    Args:
      since, until: microseconds at midnight; nothing happens from `until` on.
      per_year: mean number of moments in a whole year.
      hours: time zone offset of each member.

    Returns:
      The member's index and the moment in microseconds, in order of both. Thinning after Lewis and Shedler 1979.
    """
    length = np.maximum(until - since, 0)
    counts = rng.poisson(per_year * length / YEAR * _PEAK)
    who = np.repeat(np.arange(len(since)), counts)
    day = (since[who] + rng.random(len(who)) * length[who]) // DAY * DAY
    kept = rng.random(len(who)) < activity(day) / _PEAK
    who, day = who[kept], day[kept].astype(np.int64)
    local = choose(rng, len(who), _HOURS) * HOUR + rng.integers(0, HOUR, len(who))
    at = day + (local - hours[who] * HOUR) % DAY
    order = np.lexsort((at, who))
    return who[order], at[order]


def activity(day: np.ndarray) -> np.ndarray:
    """How busy a day is against the mean of the year, for days in microseconds."""
    days = (day // DAY).astype("datetime64[D]")
    month = days.astype("datetime64[M]").astype(int) % 12
    weekday = (days.astype(int) + 3) % 7
    return _MONTHS[month] / _MONTHS.mean() * _WEEKDAYS[weekday] / _WEEKDAYS.mean()
