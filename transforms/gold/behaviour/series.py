"""Daily series: what is usual, what is not, and how they go on.

Sources: season and trend by STL (Cleveland, Cleveland, McRae and Terpenning, 1990), robust, so that an outlier does not
bend what it is measured against; outliers by the modified z-score over the median absolute deviation, limit 3.5
(Iglewicz and Hoaglin, 1993); forecasts and their intervals by exponential smoothing in state space form (Hyndman,
Koehler, Ord and Snyder, 2008), additive, by statsmodels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

WEEK = 7
_SEASONAL_WEEKS = 35  # how long a weekday's habit is averaged: short of it, a spike bends its neighbours' season
_SMALLEST_STL, _SMALLEST_ETS = 2 * WEEK, 4 * WEEK
_NORMAL_MAD, _NORMAL_MEAN = 1.4826, 1.2533  # a normal's deviation over its median and its mean absolute deviation
_Z80, _Z95 = 1.2815515655446004, 1.959963984540054
SERIES: pa.Schema = pa.schema(
    [
        pa.field("dimension", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("measure", pa.string(), nullable=False),
        pa.field("currency", pa.string()),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("actual", pa.float64()),  # null for days to come
        pa.field("expected", pa.float64()),  # trend and season, or the forecast
        pa.field("trend", pa.float64()),
        pa.field("score", pa.float64()),  # how many robust standard deviations off what is expected
        pa.field("is_anomaly", pa.bool_()),
        *(pa.field(f"{side}_{level}", pa.float64()) for level in (80, 95) for side in ("low", "high")),
        pa.field("model", pa.string()),  # of the forecast: ets, seasonal_naive
    ]
)


@dataclass(frozen=True)
class SeriesRules:
    """`horizon_days` to forecast; `limit` of the score beyond which a day is an anomaly; `most_series` of each of
    `dimensions` and each measure, those with the greatest sums: each costs a tenth of a second or two."""

    horizon_days: int = 28
    limit: float = 3.5
    most_series: int = 4
    dimensions: tuple[str, ...] = ("all", "channel", "category")

    def __post_init__(self) -> None:
        if not (1 <= self.horizon_days <= 366 and self.limit > 0 and self.most_series >= 1):
            raise ValueError(f"horizon 1 to 366 days, limit above 0, one series or more: {self}")


def unusual_days(values: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(expected, trend, score, is anomaly) of each day; NaN and no anomaly for fewer than two weeks."""
    if len(values) < _SMALLEST_STL:
        nothing = np.full(len(values), np.nan)
        return nothing, nothing, nothing, np.zeros(len(values), bool)
    from statsmodels.tsa.seasonal import STL

    found = STL(values, period=WEEK, seasonal=_SEASONAL_WEEKS, robust=True).fit()
    rest = values - found.trend - found.seasonal
    off = rest - np.median(rest)
    spread = np.median(np.abs(off)) * _NORMAL_MAD or np.abs(off).mean() * _NORMAL_MEAN
    # A series without noise is measured at a hundredth of its usual level, and rounding is no deviation.
    least = max(0.01 * float(np.median(np.abs(values))), 1e-9 * float(np.abs(values).max()), 1e-12)
    score = off / max(spread, least)
    return found.trend + found.seasonal, found.trend, score, np.abs(score) > limit


@dataclass(frozen=True)
class Forecast:
    """`mean` and standard deviation of each day to come; `model`: "ets" or "seasonal_naive"; `found`: parameters."""

    mean: np.ndarray
    deviation: np.ndarray
    model: str
    found: np.ndarray | None = None


def forecast(values: np.ndarray, horizon: int) -> Forecast | None:
    """The days to come, by the model that was nearer on the last days; None for fewer than four weeks.

    ETS(A, Ad, A) with a weekly season competes with "as on this day of last week" on the last two weeks (longer
    series: four), fitted without them, by mean absolute error; the winner goes on with the parameters it won with.
    """
    if len(values) < _SMALLEST_ETS:
        return None
    held = 4 * WEEK if len(values) >= 3 * _SMALLEST_ETS else 2 * WEEK
    known, rest = values[:-held], values[-held:]
    models = (_ets, _naive) if len(known) >= _SMALLEST_ETS else (_naive,)
    told = [model(known, held) for model in models]
    best = int(np.argmin([np.abs(one.mean - rest).mean() for one in told]))
    return models[best](values, horizon, told[best].found)


def _naive(values: np.ndarray, horizon: int, _: np.ndarray | None = None) -> Forecast:
    """Variance grows with each week (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 5.5)."""
    steps = np.arange(horizon)
    deviation = np.sqrt(np.mean((values[WEEK:] - values[:-WEEK]) ** 2)) * np.sqrt(steps // WEEK + 1)
    return Forecast(values[-WEEK:][steps % WEEK], deviation, "seasonal_naive")


def _ets(values: np.ndarray, horizon: int, found: np.ndarray | None = None) -> Forecast:
    if np.ptp(values) == 0:
        return Forecast(np.full(horizon, values[0]), np.zeros(horizon), "ets")
    import pandas as pd
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    scale = float(np.abs(values).max())
    series = pd.Series(values / scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: the holdout decides whether the fit is any good
        model = ETSModel(series, error="add", trend="add", damped_trend=True, seasonal="add", seasonal_periods=WEEK,
                         initialization_method="heuristic")  # fmt: skip
        fitted = model.fit(disp=False, maxiter=200) if found is None else model.smooth(found)
        told = fitted.get_prediction(start=len(values), end=len(values) + horizon - 1)
    deviation = np.sqrt(np.asarray(told.forecast_variance))
    return Forecast(np.asarray(told.predicted_mean) * scale, deviation * scale, "ets", np.asarray(fitted.params))


def analyse_series(
    daily: pa.Table, until: date, measures: Sequence[str], rules: SeriesRules = SeriesRules()
) -> pa.Table:
    """History and forecast of the largest series in `aggregates.DAILY`; schema SERIES, ordered by series and day.

    A series begins on its first day and ends on `until`, which is taken for whole; days without a row are 0. Intervals
    do not go below 0 where no day did. Money is in whole units of its currency.
    """
    rows = pl.DataFrame(pl.from_arrow(daily)).filter(
        pl.col("dimension").is_in(rules.dimensions) & (pl.col("day") <= until)
    )
    parts = [_of_measure(rows, measure, until, rules) for measure in measures]
    keys = ["dimension", "key", "measure", "currency", "day"]
    table = pl.concat(parts) if parts else pl.DataFrame(pl.from_arrow(SERIES.empty_table()))
    return table.sort(keys).select(SERIES.names).to_arrow().cast(SERIES)


def _of_measure(rows: pl.DataFrame, measure: str, until: date, rules: SeriesRules) -> pl.DataFrame:
    money = measure == "net_revenue_cents"
    series = ["dimension", "key", *(["currency"] if money else [])]
    days = rows.group_by(*series, "day").agg(pl.col(measure).sum().alias("_sum")).filter(pl.col("_sum") != 0)
    sums = (
        days.group_by(series).agg(pl.col("_sum").sum()).sort("_sum", *series, descending=[True, *[False] * len(series)])
    )
    largest = sums.group_by("dimension", maintain_order=True).head(rules.most_series).sort(series)
    found = [pl.DataFrame(pl.from_arrow(SERIES.empty_table()))]
    for one in largest.select(series).to_dicts():
        mine = days.filter(pl.all_horizontal(pl.col(name).eq_missing(pl.lit(value)) for name, value in one.items()))
        first = mine["day"].min()
        assert isinstance(first, date)
        values = np.zeros((until - first).days + 1)
        values[(mine["day"] - first).dt.total_days().to_numpy()] = mine["_sum"].to_numpy()
        told = _table(values / 100 if money else values, first, rules)
        head = {"currency": None} | one | {"measure": "net_revenue" if money else measure}
        found.append(
            told.with_columns(pl.lit(value, pl.String).alias(name) for name, value in head.items()).select(SERIES.names)
        )
    return pl.concat(found)


def _table(values: np.ndarray, first: date, rules: SeriesRules) -> pl.DataFrame:
    expected, trend, score, anomaly = unusual_days(values, rules.limit)
    history = {"actual": values, "expected": expected, "trend": trend, "score": score, "is_anomaly": anomaly}
    to_come = forecast(values, rules.horizon_days)
    days = [first + timedelta(days=n) for n in range(len(values))]
    floats = [f.name for f in SERIES if pa.types.is_floating(f.type)]
    parts = [pl.DataFrame({"day": days} | history)]
    if to_come is not None:
        low = 0.0 if values.min() >= 0 else -np.inf
        bands = {
            f"{side}_{level}": np.maximum(to_come.mean + sign * z * to_come.deviation, low)
            for level, z in ((80, _Z80), (95, _Z95))
            for side, sign in (("low", -1), ("high", 1))
        }
        later = [days[-1] + timedelta(days=n + 1) for n in range(rules.horizon_days)]
        mean = np.maximum(to_come.mean, low)
        parts.append(pl.DataFrame({"day": later, "expected": mean, "model": to_come.model} | bands))
    whole = pl.concat(parts, how="diagonal")
    missing = [pl.lit(None, pl.Float64).alias(name) for name in floats if name not in whole.columns]
    model = [] if "model" in whole.columns else [pl.lit(None, pl.String).alias("model")]
    return whole.with_columns(*missing, *model).with_columns(pl.col(floats).fill_nan(None))
