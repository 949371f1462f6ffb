"""Which model serves: all are fitted on the past of several days and judged by what came after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from transforms.gold.value.features import happened, know
from transforms.gold.value.forecast import NAIVE, Outlook, Pair, fit
from transforms.gold.value.ledger import Ledger

ORIGINS = 3  # how many days to judge from, at most: one, two and three holdouts before the end
LEAST_CUSTOMERS = 50
# Standings this close are chance. An average of unlike models then goes first, as it holds up best when times change.
LEVEL = 0.01
PREFERRED = ("blend", "consensus", "habit", "learned", "mbg_nbd", "bg_nbd", *NAIVE)
MOST_CUSTOMERS = 20_000  # judged, every k-th id
_SHORTEST = 42  # days of history: a fortnight foreseen from four weeks


@dataclass(frozen=True)
class Score:
    """How one model did in the holdout after one day.

    `value_mae` in cents of the models' unit; `*_rank`: Spearman's correlation, 0 where a model says the same of all;
    `*_total`: foreseen in all by what came in all.
    """

    model: str
    origin_day: int
    customers: int
    orders_mae: float
    value_mae: float
    orders_rank: float
    value_rank: float
    orders_total: float
    value_total: float


@dataclass(frozen=True)
class Judged:
    """One origin: what the models foresaw from there, how they did, and the ledger with what came."""

    outlook: Outlook
    scores: list[Score]
    ledger: Ledger

    def came(self, days: int) -> Pair:
        """(orders, value) of the customers in the days after the origin."""
        known = self.outlook.known
        return happened(self.ledger, known.who, known.day, known.day + days)


@dataclass(frozen=True)
class Contest:
    """All origins, the latest first; `winner` is None when the history is too short for any."""

    judged: list[Judged]
    holdout_days: int

    @property
    def scores(self) -> list[Score]:
        return [score for origin in self.judged for score in origin.scores]

    @property
    def winner(self) -> str | None:
        """The first of PREFERRED among those whose standing is at most LEVEL above the best."""
        standing = self.standing
        best = min(standing.values(), default=0.0)
        return next((name for name in PREFERRED if standing.get(name, np.inf) <= best + LEVEL), None)

    @property
    def standing(self) -> dict[str, float]:
        """model -> the error it leaves of the best naive one's, 1.0 being none better; least is best.

        The mean over origins of the four ratios: mean absolute error of orders and of value, and what the rank
        correlations of orders and of value leave to 1. Only models that could be fitted at each origin stand.
        """
        ratios: dict[str, list[float]] = {}
        for origin in self.judged:
            errors = {score.model: _errors(score) for score in origin.scores}
            best = np.min([errors[name] for name in NAIVE], axis=0)
            for name, error in errors.items():
                ratios.setdefault(name, []).append(float(np.mean(error / np.maximum(best, 1e-12))))
        return {name: float(np.mean(each)) for name, each in ratios.items() if len(each) == len(self.judged)}


def hold(ledger: Ledger, holdout_days: int) -> Contest:
    """Fits all models at each origin and judges them by the `holdout_days` after it.

    An origin needs LEAST_CUSTOMERS, and twice the holdout before it, since what is learned needs a past and a future of
    its own; where no day has that, once (see `learn`). Customers are those with an order by then; who first came later
    is nobody's to foresee.
    """
    every = -(-len(ledger) // MOST_CUSTOMERS)
    seen = ledger if every <= 1 else ledger.take(np.arange(len(ledger)) % every == 0)
    days = _origins(ledger, holdout_days)
    judged = (_judge(seen, day, holdout_days) for day in days)
    return Contest([origin for origin in judged if origin is not None], holdout_days)


def _origins(ledger: Ledger, holdout_days: int) -> list[int]:
    """Days with twice as much before them; if there is none, the latest, if as much is known before it."""
    days = [ledger.last_day - holdout_days * (i + 1) for i in range(ORIGINS)]
    known = [day for day in days if day - ledger.first_day >= 2 * holdout_days]
    return known or [day for day in days[:1] if day - ledger.first_day >= holdout_days]


def provable(ledger: Ledger, holdout_days: int) -> int:
    """The holdout; where the history is too short for it, a third of the history; of one of weeks it is hopeless."""
    known = ledger.last_day - ledger.first_day
    return holdout_days if _origins(ledger, holdout_days) or known < _SHORTEST else known // 3


def _judge(ledger: Ledger, day: int, holdout_days: int) -> Judged | None:
    known = know(ledger, day)
    if len(known.who) < LEAST_CUSTOMERS:
        return None
    outlook = Outlook(fit(ledger, day, holdout_days), ledger.until(day), known)
    origin = Judged(outlook, [], ledger)
    came = origin.came(holdout_days)
    origin.scores.extend(_score(name, day, outlook.of(name, holdout_days), came) for name in outlook.fitted.able)
    return origin


def _score(model: str, day: int, foreseen: Pair, came: Pair) -> Score:
    mae = [float(np.abs(said - was).mean()) for said, was in zip(foreseen, came, strict=True)]
    rank = [rank_correlation(said, was) for said, was in zip(foreseen, came, strict=True)]
    total = [float(said.sum() / max(was.sum(), 1e-12)) for said, was in zip(foreseen, came, strict=True)]
    return Score(model, day, len(came[0]), mae[0], mae[1], rank[0], rank[1], total[0], total[1])


def rank_correlation(said: np.ndarray, was: np.ndarray) -> float:
    """Spearman's, ties at their mean rank; 0 where either is constant."""
    a, b = rankdata(said), rankdata(was)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _errors(score: Score) -> np.ndarray:
    return np.array([score.orders_mae, score.value_mae, 1.0 - score.orders_rank, 1.0 - score.value_rank])
