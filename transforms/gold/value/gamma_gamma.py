"""What an order is worth: the Gamma-Gamma model by maximum likelihood in closed form, with exact gradients.

A customer's orders vary around their mean as Gamma(p, nu), and nu varies between customers as Gamma(q, v).

Source: Fader & Hardie, "The Gamma-Gamma model of monetary value", 2013 (equations 1a, 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, psi

_LOG_BOUNDS = (-9.0, 20.0)


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
    number, of = np.unique(orders[used], return_inverse=True)
    unit = float(np.exp(np.log(mean[used]).mean()))  # amounts in any unit look alike to the optimiser
    rows = _Rows(orders[used], mean[used] / unit, number, np.bincount(of).astype(float), of)

    def cost(logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _likelihood(logs, rows)
        return -value / len(rows.orders), -slope / len(rows.orders)

    options = {"maxiter": 500, "ftol": 1e-14, "gtol": 1e-8}
    starts = ((2.0, 2.0, 2.0), (6.0, 4.0, 0.5))
    found = [
        minimize(cost, np.log(s), jac=True, method="L-BFGS-B", bounds=[_LOG_BOUNDS] * 3, options=options)
        for s in starts
    ]
    best = min(found, key=lambda result: result.fun)
    p, q, v = (float(value) for value in np.exp(best.x))
    total = -float(best.fun) * len(rows.orders) - len(rows.orders) * np.log(unit)
    return GammaGamma(p, q, v * unit, float(total), bool(best.success))


def log_likelihood(model: GammaGamma, orders: np.ndarray, mean: np.ndarray) -> tuple[float, np.ndarray]:
    """The log-likelihood of means above 0 and its gradient by the logarithms of p, q and v."""
    number, of = np.unique(np.asarray(orders, dtype=float), return_inverse=True)
    rows = _Rows(
        np.asarray(orders, dtype=float), np.asarray(mean, dtype=float), number, np.bincount(of).astype(float), of
    )
    return _likelihood(np.log([model.p, model.q, model.v]), rows)


@dataclass(frozen=True)
class _Rows:
    orders: np.ndarray
    mean: np.ndarray
    number: np.ndarray  # distinct numbers of orders
    people: np.ndarray  # customers with each
    of: np.ndarray


def _likelihood(logs: np.ndarray, rows: _Rows) -> tuple[float, np.ndarray]:
    p, q, v = np.exp(logs)
    x, px = rows.number, p * rows.number
    spent = rows.orders * rows.mean
    total, log_mean = np.log(spent + v), np.log(rows.mean)
    by_number = gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(v) + px * np.log(x)
    share = 1.0 / (spent + v)
    value = rows.people @ by_number + (p * rows.orders - 1.0) @ log_mean - (p * rows.orders + q) @ total
    d_p = rows.people @ (x * (psi(px + q) - psi(px) + np.log(x))) + rows.orders @ (log_mean - total)
    d_q = rows.people @ (psi(px + q) - psi(q) + np.log(v)) - total.sum()
    d_v = len(rows.orders) * q / v - (p * rows.orders + q) @ share
    return float(value), np.array([d_p, d_q, d_v]) * np.exp(logs)
