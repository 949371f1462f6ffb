"""All models side by side: fitted on what was known at the end of a day, asked for any horizon."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from transforms.gold.value import btyd, gamma_gamma
from transforms.gold.value.btyd import Btyd, Histories
from transforms.gold.value.features import Known, happened, know
from transforms.gold.value.gamma_gamma import GammaGamma
from transforms.gold.value.learned import Learned, learn
from transforms.gold.value.ledger import Ledger

NAIVE = {
    "last_period": "as in the last period",
    "scaled_last_period": "as in the last period, scaled by how all moved since the one before",
    "mean": "what all customers do on average",
}
CLASSIC = {
    "bg_nbd": "BG/NBD and Gamma-Gamma",
    "mbg_nbd": "MBG/NBD and Gamma-Gamma",
}
_MIXED = {
    "blend": "geometric mean of learned and the likelier classic pair",
    "consensus": "mean of learned, the likelier classic pair and the last period",
    "habit": "three fifths the last period, a fifth learned, a fifth the likelier classic pair",
}
MODELS = {**CLASSIC, "learned": "gradient boosting on rolling windows", **_MIXED, **NAIVE}
_TINY = 1e-9
LEAST_REPEATERS = 20  # fewer say nothing of how customers stop
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Fitted:
    """Models of what was known at the end of `day`.

    Attributes:
      classic: name -> fitted model, empty where fewer than LEAST_REPEATERS came back; worth: Gamma-Gamma, on cents a
        day with orders, over all such days of a customer (a shop's many one-time buyers count too, so the first day is
        not left out); orders_per_day: orders of a day with orders.
      scale, mean: of the naive models, for `base_days`.
    """

    day: int
    base_days: int
    classic: dict[str, Btyd]
    worth: GammaGamma | None
    orders_per_day: float
    learned: Learned | None
    scale: tuple[float, float]
    mean: tuple[float, float]
    histories: int = 0
    customers: int = 0

    @property
    def likelier(self) -> str | None:
        """The classic model of the greater likelihood."""
        return max(self.classic, key=lambda name: self.classic[name].log_likelihood, default=None)

    @property
    def able(self) -> tuple[str, ...]:
        """The models that there was enough to fit."""
        missing = set() if self.learned is not None else {"learned"}
        missing |= {name for name in CLASSIC if name not in self.classic}
        missing |= set(_MIXED) if missing & {"learned", *CLASSIC} else set()
        return tuple(name for name in MODELS if name not in missing)


@dataclass(frozen=True)
class Outlook:
    """What the models foresee of customers after `known.day`; nothing is computed twice.

    Attributes:
      ledger: up to `known.day`, at least; known: see `know`.
    """

    fitted: Fitted
    ledger: Ledger
    known: Known
    _found: dict[tuple[str, int], Pair] = field(default_factory=dict)

    @cached_property
    def alive(self) -> np.ndarray:
        """The probability that a customer still buys, by the likelier classic model; NaN where there is none."""
        if self.fitted.likelier is None:
            return np.full(len(self.known.who), np.nan)
        return self.fitted.classic[self.fitted.likelier].alive(*self.known.weeks)

    def of(self, model: str, days: int) -> Pair:
        """Expected (orders, value in cents of the models' unit) in the coming days; `model` is one of `fitted.able`."""
        if (model, days) not in self._found:
            how = {"learned": self._learned, **dict.fromkeys(_MIXED, self._mixed)}.get(model, self._naive)
            found = self._classic(model, days) if model in CLASSIC else how(model, days)
            self._found[model, days] = found
        return self._found[model, days]

    def _classic(self, model: str, days: int) -> Pair:
        fitted = self.fitted
        order_days = fitted.classic[model].expected(*self.known.weeks, days / btyd.WEEK_DAYS)
        mean = self.known.mean_value
        worth = mean if fitted.worth is None else fitted.worth.expected(self.known.days, mean)
        return order_days * fitted.orders_per_day, order_days * np.maximum(0.0, worth)

    def _learned(self, model: str, days: int) -> Pair:
        """Of another horizon than the one that was learned: stretched as the likelier classic model grows."""
        learned = self.fitted.learned
        assert learned is not None
        growth = np.ones(len(self.known.who))
        if days != learned.horizon_days:
            growth *= days / learned.horizon_days
            if self.fitted.likelier is not None:
                now, base = (self.of(self.fitted.likelier, d)[0] for d in (days, learned.horizon_days))
                growth = np.where(base > _TINY, now / np.maximum(base, _TINY), growth)
        orders, value = (told * season for told, season in zip(self._steady, learned.season(days), strict=True))
        return orders * growth, value * growth

    @cached_property
    def _steady(self) -> Pair:
        """What was learned, whatever the season."""
        assert self.fitted.learned is not None
        return self.fitted.learned.foresee(self.known)

    def _mixed(self, model: str, days: int) -> Pair:
        learned, classic = self.of("learned", days), self.of(str(self.fitted.likelier), days)
        if model == "blend":
            return np.sqrt(learned[0] * classic[0]), np.sqrt(learned[1] * classic[1])
        last = self.of("last_period", days)
        share = 1.0 / 3.0 if model == "consensus" else 0.2
        orders, value = (
            share * (a + b) + (1.0 - 2.0 * share) * c for a, b, c in zip(learned, classic, last, strict=True)
        )
        return orders, value

    def _naive(self, model: str, days: int) -> Pair:
        if model == "mean":
            share = np.full(len(self.known.who), days / self.fitted.base_days)
            return share * self.fitted.mean[0], share * self.fitted.mean[1]
        day = self.known.day
        last = happened(self.ledger, self.known.who, day - days, day)
        return last if model == "last_period" else (last[0] * self.fitted.scale[0], last[1] * self.fitted.scale[1])


def fit(ledger: Ledger, day: int, base_days: int, learned_days: int | None = None) -> Fitted:
    """Fits every model to what the ledger tells up to the end of `day`; later entries are not read.

    `learned_days`: the horizon of what is learned, where it is not to be `base_days`.
    """
    ledger = ledger.until(day)
    known = know(ledger, day)
    histories = Histories.of(*known.weeks)
    enough = histories.repeaters >= LEAST_REPEATERS
    classic = {name: btyd.fit(histories, name) for name in btyd.NAMES} if enough else {}
    paying = int(((known.days > 0) & (known.mean_value > 0)).sum())
    return Fitted(
        day=day,
        base_days=base_days,
        classic=classic,
        worth=gamma_gamma.fit(known.days, known.mean_value) if paying >= LEAST_REPEATERS else None,
        orders_per_day=float(known.orders.sum() / max(known.days.sum(), 1.0)),
        learned=learn(ledger, learned_days or base_days),
        histories=len(histories.x),
        customers=len(known.who),
        **_naive(ledger, day, base_days),
    )


def _naive(ledger: Ledger, day: int, base_days: int) -> dict[str, tuple[float, float]]:
    """What the last period was beside the one before, for customers known at its start; and its mean.

    Where less than two periods are known nothing is scaled, and the mean is that of the later half, for as many days.
    """
    known_days = day - ledger.first_day
    short = 2 * base_days > known_days
    period = max(1, known_days // 2) if short else base_days
    before = know(ledger, day - period)
    recent = happened(ledger, before.who, day - period, day)
    earlier = happened(ledger, before.who, day - 2 * period, day - period)
    scale = [
        float(now.sum() / then.sum()) if then.sum() > 0 and not short else 1.0
        for now, then in zip(recent, earlier, strict=True)
    ]
    mean = [float(now.mean()) * base_days / period if len(now) else 0.0 for now in recent]
    return {"scale": (scale[0], scale[1]), "mean": (mean[0], mean[1])}
