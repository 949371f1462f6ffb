"""Who will stop buying: gradient boosting on what was known, with calibrated probabilities and reasons.

A customer who ordered in the last `active_days` has churned when no order comes in the next `horizon_days`. Who ordered
longer ago has lapsed already and gets no probability.

Source: Lundberg, Erion & Lee, "Consistent individualized feature attribution for tree ensembles", 2018, for the
reasons, which are exact: with the base they add up to the log odds. `level` calibrates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pyarrow as pa
from scipy.special import expit
from scipy.stats import rankdata

from transforms.errors import UsageError
from transforms.gold.value.contest import MOST_CUSTOMERS
from transforms.gold.value.features import Known, happened, know, matrix
from transforms.gold.value.learned import LEAST_ROWS, MOST_ROWS, STEP_DAYS, boost, predict
from transforms.gold.value.ledger import Ledger
from transforms.gold.value.level import Window, calibrate, platt

REASONS = 3
_FOLDS = 2
_SMALL: dict[str, Any] = {
    "rounds": 60,
    "num_leaves": 8,
    "learning_rate": 0.08,
}  # reasons cost by the leaves and the square of the depth
_WINDOWS = 14  # a year and a half-open step more, so that the same time a year ago is among them


@dataclass(frozen=True)
class ChurnRules:
    """`horizon_days` without an order is churn, of customers who ordered in the last `active_days`."""

    horizon_days: int = 90
    active_days: int = 365

    def __post_init__(self) -> None:
        for name in ("horizon_days", "active_days"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", remedy="give at least 1 day")


@dataclass(frozen=True)
class ChurnScore:
    """How probabilities did: `lift`, churners among the tenth most likely to churn, by churners among all; `ece`, the
    expected calibration error over ten bins of equally many customers."""

    customers: int
    churned_share: float
    auc: float
    brier: float
    lift: float
    ece: float


@dataclass(frozen=True)
class ChurnModel:
    """Boosters of two halves of the customers, whose log odds are averaged, then `slope` * odds + `offset`.

    `unseen`: how customers of the latest known window were told apart by trees and calibration of the other half.
    """

    boosters: tuple[lightgbm.Booster, ...]
    slope: float
    offset: float
    names: tuple[str, ...]
    rules: ChurnRules
    unseen: ChurnScore

    def probability(self, known: Known) -> np.ndarray:
        rows, _ = matrix(known)
        odds = np.mean([predict(booster, rows, raw_score=True) for booster in self.boosters], axis=0)
        return expit(self.slope * odds + self.offset)

    def reasons(self, known: Known) -> np.ndarray:
        """What each column adds to the log odds, one column a feature."""
        rows, _ = matrix(known)
        parts = [predict(booster, rows, pred_contrib=True)[:, :-1] for booster in self.boosters]
        return self.slope * np.mean(parts, axis=0)


def active(known: Known, rules: ChurnRules) -> Known:
    """Only customers who ordered in the last `active_days`."""
    return known.take(known.day - known.last < rules.active_days)


def churned(ledger: Ledger, known: Known, rules: ChurnRules) -> np.ndarray:
    """Whether no order came in the horizon after `known.day`."""
    return happened(ledger, known.who, known.day, known.day + rules.horizon_days)[0] == 0


def learn_churn(ledger: Ledger, rules: ChurnRules = ChurnRules()) -> ChurnModel | None:
    """A model of all that the ledger holds, or None where there is too little.

    Each half of the customers (every other id) is scored by the trees of the other half, in every window whose outcome
    is known; the calibration is fitted to these, so that probabilities are those of customers whom the trees have not
    seen, at the level of churn that is foreseen for the time to come (see `level`). The trees are not told the season.
    """
    days = _cutoffs(ledger, rules)
    if not days:
        return None
    every = -(-len(ledger) * len(days) // MOST_ROWS)
    seen = ledger if every <= 1 else ledger.take(np.arange(len(ledger)) % every == 0)
    windows = [active(know(seen, day), rules) for day in days]
    rows = np.concatenate([matrix(known)[0] for known in windows])
    gone = np.concatenate([churned(seen, known, rules) for known in windows]).astype(float)
    fold = np.concatenate([known.who for known in windows]) % _FOLDS
    if len(rows) < LEAST_ROWS or not 0 < gone.mean() < 1:
        return None
    names = tuple(matrix(windows[0])[1])
    boosters = tuple(
        boost(rows[fold != f], gone[fold != f], names, objective="binary", **_SMALL) for f in range(_FOLDS)
    )
    odds = np.empty(len(rows))
    for f, booster in enumerate(boosters):
        own = fold == f
        odds[own] = predict(booster, rows[own], raw_score=True) if own.any() else 0.0
    latest, ends = len(windows[0].who), np.cumsum([len(known.who) for known in windows])[:-1]
    parts = zip(days, np.split(odds, ends), np.split(gone, ends), strict=True)
    slope, offset = _calibrate(ledger, [Window(*part) for part in parts], rules)
    unseen = score(_crossed(odds[:latest], gone[:latest], fold[:latest]), gone[:latest])
    return ChurnModel(boosters, slope, offset, names, rules, unseen)


def _calibrate(ledger: Ledger, windows: list[Window], rules: ChurnRules) -> tuple[float, float]:
    """For the horizon after the ledger's last day; windows are settled once half of the active time is known."""
    told = [window for window in windows if len(window.odds)]
    return calibrate(told, ledger.last_day, rules.horizon_days, ledger.first_day + rules.active_days // 2)


def _crossed(odds: np.ndarray, gone: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Probabilities of each half, calibrated by the other."""
    result = np.empty(len(odds))
    for f in range(_FOLDS):
        own = fold == f
        slope, offset = platt(odds[~own], gone[~own])
        result[own] = expit(slope * odds[own] + offset)
    return result


def _cutoffs(ledger: Ledger, rules: ChurnRules) -> list[int]:
    latest = ledger.last_day - rules.horizon_days
    return [day for day in range(latest, latest - _WINDOWS * STEP_DAYS, -STEP_DAYS)
            if day - ledger.first_day >= rules.horizon_days * 2 // 3]  # fmt: skip


def judge_churn(ledger: Ledger, rules: ChurnRules = ChurnRules()) -> dict[str, ChurnScore] | None:
    """ "model" and "recency", both learned up to one horizon before the end and judged by what came after.

    The baseline knows one column, the days since the last order, calibrated in the same way.
    """
    day = ledger.last_day - rules.horizon_days
    every = -(-len(ledger) // MOST_CUSTOMERS)
    ledger = ledger if every <= 1 else ledger.take(np.arange(len(ledger)) % every == 0)
    past = ledger.until(day)
    model = learn_churn(past, rules) if len(past.day) else None
    if model is None:
        return None
    known = active(know(past, day), rules)
    came = churned(ledger, known, rules).astype(float)
    earlier = [active(know(past, before), rules) for before in _cutoffs(past, rules)]
    silent = [Window(k.day, _silence(k), churned(past, k, rules).astype(float)) for k in earlier]
    slope, offset = _calibrate(past, silent, rules)
    recency = expit(slope * _silence(known) + offset)
    return {"model": score(model.probability(known), came), "recency": score(recency, came)}


def _silence(known: Known) -> np.ndarray:
    return np.log1p(known.day - known.last)


def score(probability: np.ndarray, outcome: np.ndarray) -> ChurnScore:
    """See `ChurnScore`; the AUC counts ties as half."""
    share, lost = float(outcome.mean()), float(outcome.sum())
    kept = len(outcome) - lost
    ranks = rankdata(probability)[outcome == 1].sum()
    auc = (ranks - lost * (lost + 1) / 2) / (lost * kept) if lost and kept else float("nan")
    order = np.argsort(-probability, kind="stable")
    bins = [part for part in np.array_split(order, 10) if len(part)]
    ece = sum(len(part) * abs(probability[part].mean() - outcome[part].mean()) for part in bins) / len(outcome)
    lift = float(outcome[bins[0]].mean() / share) if share else float("nan")
    return ChurnScore(len(outcome), share, float(auc), float(np.mean((probability - outcome) ** 2)), lift, float(ece))


def _field(name: str, type: pa.DataType, comment: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, type, nullable, {"comment": comment})


_REASON = "the column that raises it most ({}), its value, and what it adds to the log odds"
CHURN: pa.Schema = pa.schema(
    [
        _field("customer_id", pa.string(), "the customer, or the person where identities are resolved", False),
        _field("as_of", pa.date32(), "the last day that is known", False),
        _field("horizon_days", pa.int64(), "how long without an order is churn", False),
        _field("churn_status", pa.string(), "active, lapsed (long without an order) or no_orders", False),
        _field("churn_probability", pa.float64(), "of no order in horizon_days; null unless active"),
        *(_field(f"churn_reason_{i}", pa.string(), _REASON.format(i)) for i in range(1, REASONS + 1)),
    ]
)


def churn_rows(ledger: Ledger, model: ChurnModel | None, rules: ChurnRules, day: int) -> pa.Table:
    """One row a customer of the ledger, by customer_id; schema CHURN. Without a model probabilities are null."""
    everyone = know(ledger, day)
    known = active(everyone, rules)
    status = np.full(len(ledger), "no_orders", dtype=object)
    status[everyone.who], status[known.who] = "lapsed", "active"
    columns: dict[str, np.ndarray | pl.Series] = {}
    if model is not None and len(known.who):
        columns["churn_probability"] = model.probability(known)
        rows, _ = matrix(known)
        columns |= _reasons(rows, model.reasons(known), model.names)
    scored = pl.DataFrame({"row": known.who, **columns})
    table = pl.DataFrame({"customer_id": ledger.customers, "churn_status": pl.Series(status, dtype=pl.String)})
    table = table.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)).join(scored, on="row", how="left")
    table = table.with_columns(
        as_of=pl.lit(day, pl.Int32).cast(pl.Date), horizon_days=pl.lit(rules.horizon_days, pl.Int64)
    )
    missing = [name for name in CHURN.names if name not in table.columns]
    table = table.with_columns(pl.lit(None).alias(name) for name in missing).sort("row")
    return table.select(CHURN.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(CHURN)


def _reasons(rows: np.ndarray, added: np.ndarray, names: tuple[str, ...]) -> dict[str, pl.Series]:
    """The columns that raise the log odds most, as "days_since_last_order 120 (+0.84)"; null where none is left."""
    top = np.argsort(-added, axis=1, kind="stable")[:, :REASONS]
    each = np.arange(len(rows))
    result = {}
    for i in range(REASONS):
        feature = top[:, i]
        frame = pl.DataFrame({"n": np.array(names)[feature], "v": rows[each, feature], "a": added[each, feature]})
        value = pl.when(pl.col("v").is_nan()).then(pl.lit("unknown")).otherwise(pl.col("v").round(2).cast(pl.String))
        text = pl.format("{} {} (+{})", "n", value, pl.col("a").round(2))
        result[f"churn_reason_{i + 1}"] = frame.select(pl.when(pl.col("a") > 0).then(text)).to_series()
    return result
