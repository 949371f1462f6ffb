"""What an order is worth: the Gamma-Gamma model by maximum likelihood in closed form, with exact gradients.

A customer's orders vary around their mean as Gamma(p, nu), and nu varies between customers as Gamma(q, v).

Source: Fader & Hardie, "The Gamma-Gamma model of monetary value", 2013 (equations 1a, 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, psi

from transforms.gold.value.climb import climb

_LOG_BOUNDS = (-9.0, 20.0)
_MANY = 20_000


@dataclass(frozen=True)
class GammaGamma:
    """A fitted model; `v` is in the unit of the amounts it was fitted on."""

    p: float
    q: float
    v: float
    log_likelihood: float = float("nan")
    converged: bool = True

    def expected(self, orders: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """The expected worth of a customer's next order, given how many they made and their mean amount.

        A mean below 0 (more sent back than bought) counts as 0. Where q is at most 1 the population has no mean and
        a customer's own is all there is.
        """
        orders, mean = np.asarray(orders, dtype=float), np.maximum(0.0, np.asarray(mean, dtype=float))
        if self.q <= 1.0:
            return mean
        return self.p * (self.v + orders * mean) / (self.p * orders + self.q - 1.0)


def fit(orders: np.ndarray, mean: np.ndarray) -> GammaGamma:
    """The parameters of greatest likelihood, over customers with at least one order and a mean above 0.

    Raises:
      ValueError: there are fewer than two such customers.
    """
    orders, mean = np.asarray(orders, dtype=float), np.asarray(mean, dtype=float)
    used = (orders > 0) & (mean > 0)
    if used.sum() < 2:
        raise ValueError(f"the Gamma-Gamma model needs two customers with orders of a positive mean, got {used.sum()}")
    unit = float(np.exp(np.log(mean[used]).mean()))  # amounts in any unit look alike to the optimiser
    rows = _Rows.of(orders[used], mean[used] / unit)
    every = len(rows.orders) // _MANY
    part = _Rows.of(rows.orders[::every], rows.mean[::every]).cost if every > 1 else None
    found = climb(rows.cost, ((2.0, 2.0, 2.0), (6.0, 4.0, 0.5)), _LOG_BOUNDS, part)
    p, q, v = (float(value) for value in np.exp(found.at))
    total = -found.cost * len(rows.orders) - len(rows.orders) * np.log(unit)
    return GammaGamma(p, q, v * unit, float(total), found.converged)


def log_likelihood(model: GammaGamma, orders: np.ndarray, mean: np.ndarray) -> tuple[float, np.ndarray]:
    """The log-likelihood of means above 0 and its gradient by the logarithms of p, q and v."""
    rows = _Rows.of(np.asarray(orders, dtype=float), np.asarray(mean, dtype=float))
    return _likelihood(np.log([model.p, model.q, model.v]), rows)


@dataclass(frozen=True)
class _Rows:
    """Customers, and what of the likelihood needs no parameter: `number`, distinct numbers of orders; `people` and
    `log_mean`, how many have each, and the sum of the logarithms of their means."""

    orders: np.ndarray
    mean: np.ndarray
    spent: np.ndarray
    which: np.ndarray
    number: np.ndarray
    people: np.ndarray
    log_mean: np.ndarray

    @classmethod
    def of(cls, orders: np.ndarray, mean: np.ndarray) -> _Rows:
        number, of = np.unique(orders, return_inverse=True)
        people = np.bincount(of).astype(float)
        return cls(orders, mean, orders * mean, of.astype(np.int32), number, people, np.bincount(of, np.log(mean)))

    def cost(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _likelihood(logs, self)
        return -value / len(self.orders), -slope / len(self.orders)


def _likelihood(logs: np.ndarray, rows: _Rows) -> tuple[float, np.ndarray]:
    p, q, v = np.exp(logs)
    x, px, people = rows.number, p * rows.number, rows.people
    pot = rows.spent + v
    total = np.bincount(rows.which, np.log(pot), len(x))  # of each number of orders, as all below
    share = np.bincount(rows.which, 1.0 / pot, len(x))
    by_number = gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(v) + px * np.log(x)
    value = (people * by_number + (px - 1.0) * rows.log_mean - (px + q) * total).sum()
    d_p = (people * x * (psi(px + q) - psi(px) + np.log(x)) + x * (rows.log_mean - total)).sum()
    d_q = (people * (psi(px + q) - psi(q) + np.log(v)) - total).sum()
    d_v = people.sum() * q / v - ((px + q) * share).sum()
    return float(value), np.array([d_p, d_q, d_v]) * np.exp(logs)
