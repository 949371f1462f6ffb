"""Buying till one stops: BG/NBD and MBG/NBD by maximum likelihood in closed form, with exact gradients.

While alive a customer orders at the rate lambda ~ Gamma(r, alpha), and stops for good after an order with the
probability p ~ Beta(a, b). In the MBG/NBD they may also stop right after the first order; in the BG/NBD only after a
repeat order. Time is in weeks.

Sources: Fader, Hardie & Lee, "Counting your customers the easy way", Marketing Science 24(2), 2005 (equations 6 to 10);
Batislam, Denizel & Filiztekin, "Empirical validation and comparison of models for customer base analysis",
International Journal of Research in Marketing 24(3), 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln, psi

WEEK_DAYS = 7.0
_NODES = 32  # of the quadrature: relative error below 1e-6 down to alpha = t / 100
_LOG_BOUNDS = (-9.0, 12.0)  # of each parameter's logarithm; data that say nothing of one leave it at a bound
_MOST_ORDERS = 100_000
_MANY = 20_000
NAMES = {"bg_nbd": 0, "mbg_nbd": 1}


@dataclass(frozen=True)
class Histories:
    """Distinct histories of customers, each with how many customers have it: all that a fit needs to know.

    Attributes:
      x: repeat order days; t_x: weeks from the first to the last order, 0 where x is 0; T: weeks from the first order
        to the end of what is known; count: customers; inverse: the history of each customer.
    """

    x: np.ndarray
    t_x: np.ndarray
    T: np.ndarray
    count: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> Histories:
        """One history for all customers who have equal numbers."""
        order = np.lexsort((T, t_x, x))
        columns = [np.asarray(values, dtype=float)[order] for values in (x, t_x, T)]
        new = np.ones(len(order), dtype=bool)
        new[1:] = np.logical_or.reduce([values[1:] != values[:-1] for values in columns])
        inverse = np.empty(len(order), dtype=np.int64)
        inverse[order] = np.cumsum(new) - 1
        count = np.bincount(inverse, minlength=int(new.sum())).astype(float)
        x, t_x, T = (values[new] for values in columns)
        return cls(x, t_x, T, count, inverse)

    @property
    def repeaters(self) -> int:
        """Customers with a repeat order."""
        return int(self.count[self.x > 0].sum())


@dataclass(frozen=True)
class Btyd:
    """A fitted BG/NBD (`flips` 0) or MBG/NBD (`flips` 1: a coin more, after the first order)."""

    r: float
    alpha: float
    a: float
    b: float
    flips: int
    log_likelihood: float = float("nan")
    converged: bool = True

    @property
    def name(self) -> str:
        return "mbg_nbd" if self.flips else "bg_nbd"

    def alive(self, x: np.ndarray, t_x: np.ndarray, T: np.ndarray) -> np.ndarray:
        """The probability that a customer with this history still buys; see `Histories` for the arguments."""
        x, t_x, T = (np.asarray(values, dtype=float) for values in (x, t_x, T))
        return 1.0 - _gone(np.log([self.r, self.alpha, self.a, self.b]), self.flips, x, t_x, T)[0]

    def expected(self, x: np.ndarray, t_x: np.ndarray, T: np.ndarray, weeks: float) -> np.ndarray:
        """Expected order days in the coming weeks.

        The hypergeometric function of equation 10 is an integral over p of (1 - (1 + p t / alpha')^-r') / p under a
        Beta density. Gauss-Jacobi quadrature computes it for any parameters, where the series does not always converge.
        """
        x, t_x, T = (np.asarray(values, dtype=float) for values in (x, t_x, T))
        result = np.empty(len(x))
        for repeats in np.unique(x):
            here = np.flatnonzero(x == repeats)
            nodes, weights = _beta_nodes(self.a, self.b + repeats + self.flips)
            for rows in np.array_split(here, len(here) // 50_000 + 1):
                growth = np.log1p(np.multiply.outer(weeks / (self.alpha + T[rows]), nodes))
                # Summed row by row: a matrix product may round differently for other neighbours.
                result[rows] = (-np.expm1(-(self.r + repeats) * growth) * (weights / nodes)).sum(axis=1)
        return result * self.alive(x, t_x, T)

    def quantile(self, x: np.ndarray, t_x: np.ndarray, T: np.ndarray, weeks: float, level: float) -> np.ndarray:
        """The least number of order days in the coming weeks that is not exceeded with the probability `level`.

        The distribution is equation 8 with the parameters of a customer who is alive after this history: r + x,
        alpha + T, b + x.
        """
        x, t_x, T = (np.asarray(values, dtype=float) for values in (x, t_x, T))
        alive = self.alive(x, t_x, T)
        shape, b = self.r + x, self.b + x + self.flips
        passed = weeks / (self.alpha + T + weeks)  # t / (alpha' + t)
        poisson = np.exp(shape * np.log1p(-passed))  # P(n arrivals), n = 0
        below = np.zeros_like(poisson)  # P(fewer than n arrivals)
        stays, result = betaln(self.a, b), np.zeros(len(x))
        first = stays.copy()
        total = 1.0 - alive + alive * poisson
        left = np.flatnonzero(total < level)
        for n in range(1, _MOST_ORDERS):
            if not len(left):
                break
            result[left] = n
            below[left] += poisson[left]
            poisson[left] *= (shape[left] + n - 1) / n * passed[left]
            still = np.exp(betaln(self.a, b[left] + n) - first[left])
            stops = np.exp(betaln(self.a + 1, b[left] + n - 1) - first[left])
            total[left] += alive[left] * (still * poisson[left] + stops * np.maximum(0.0, 1.0 - below[left]))
            left = left[total[left] < level]
        return result


def fit(histories: Histories, name: str) -> Btyd:
    """The parameters of greatest likelihood; `name` is one of NAMES.

    The cost grows with the distinct histories, not with the customers. With no repeat order nothing can be told about
    stopping; check `histories.repeaters` first.
    """
    flips = NAMES[name]
    repeats, of = np.unique(histories.x, return_inverse=True)
    people, customers = np.bincount(of, weights=histories.count), histories.count.sum()

    def cost(logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _likelihood(logs, flips, histories, repeats, of, people)
        return -value / customers, -slope / customers

    options = {"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8}
    found = []
    for start in _starts(histories, name):
        found.append(minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[_LOG_BOUNDS] * 4, options=options))
        if found[-1].success:
            break
    best = min(found, key=lambda result: result.fun)
    r, alpha, a, b = (float(value) for value in np.exp(best.x))
    return Btyd(r, alpha, a, b, flips, -float(best.fun) * float(customers), bool(best.success))


def _starts(histories: Histories, name: str) -> list[np.ndarray]:
    """Where to look from: a rule of thumb and another should that fail; with many, what every k-th history gives."""
    every = len(histories.x) // _MANY
    if every > 1:
        h = histories
        near = fit(Histories(h.x[::every], h.t_x[::every], h.T[::every], h.count[::every], h.inverse[:0]), name)
        return [np.log([near.r, near.alpha, near.a, near.b])]
    weeks = float(np.average(histories.T, weights=histories.count)) + 1.0
    return [np.log(start) for start in ((1.0, weeks, 1.0, 2.5), (0.3, weeks / 4, 0.7, 2.0))]


def log_likelihood(model: Btyd, histories: Histories) -> tuple[float, np.ndarray]:
    """The log-likelihood and its gradient by the logarithms of r, alpha, a and b."""
    repeats, of = np.unique(histories.x, return_inverse=True)
    people = np.bincount(of, weights=histories.count)
    logs = np.log([model.r, model.alpha, model.a, model.b])
    return _likelihood(logs, model.flips, histories, repeats, of, people)


def _gone(
    logs: np.ndarray, flips: int, x: np.ndarray, t_x: np.ndarray, T: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(the probability of having stopped, ln(alpha + T), ln(alpha + t_x))."""
    r, alpha, a, b = np.exp(logs)
    silent, last = np.log(alpha + T), np.log(alpha + t_x)
    coins = b + x + flips - 1
    could = coins > 0 if flips else x > 0
    odds = np.log(a) - np.log(np.where(could, coins, 1.0)) + (r + x) * (silent - last)
    return np.where(could, expit(odds), 0.0), silent, last


def _likelihood(
    logs: np.ndarray, flips: int, histories: Histories, repeats: np.ndarray, of: np.ndarray, people: np.ndarray
) -> tuple[float, np.ndarray]:
    """Equation 6; what depends on x alone is computed once for each x (`repeats`, with how many `people`)."""
    r, alpha, a, b = np.exp(logs)
    x, count = histories.x, histories.count
    gone, silent, last = _gone(logs, flips, x, histories.t_x, histories.T)
    b_x = b + repeats + flips
    by_x = gammaln(r + repeats) - gammaln(r) + r * np.log(alpha) + gammaln(a + b) - gammaln(b)
    by_x += gammaln(b_x) - gammaln(a + b_x)
    # ln(e^A3 + e^A4) = A3 - ln(1 - gone), as e^A4 / (e^A3 + e^A4) = gone; near 1 it is A4 - ln(gone) that is exact.
    alive_part = -(r + x) * silent - np.log1p(-np.minimum(gone, 0.5))
    coins = np.maximum(b + x + flips - 1, np.finfo(float).tiny)
    gone_part = np.log(a) - np.log(coins) - (r + x) * last - np.log(np.maximum(gone, 0.5))
    value = people @ by_x + count @ np.where(gone < 0.5, alive_part, gone_part)
    weighted = count * gone
    lost = np.bincount(of, weights=weighted, minlength=len(repeats))
    d_r = people @ (psi(r + repeats) - psi(r) + np.log(alpha)) - (count - weighted) @ silent - weighted @ last
    d_alpha = people.sum() * r / alpha - ((count - weighted) * (r + x)) @ np.exp(-silent)
    d_alpha -= (weighted * (r + x)) @ np.exp(-last)
    d_a = people @ (psi(a + b) - psi(a + b_x)) + weighted.sum() / a
    d_b = people @ (psi(a + b) + psi(b_x) - psi(b) - psi(a + b_x)) - lost @ (1.0 / np.where(lost > 0, b_x - 1.0, 1.0))
    return float(value), np.array([d_r, d_alpha, d_a, d_b]) * np.exp(logs)


def _beta_nodes(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in (0, 1) and weights (their sum is 1) of Gauss-Jacobi quadrature under a Beta(a, b) density.

    Golub & Welsch, "Calculation of Gauss quadrature rules", Mathematics of Computation 23, 1969.
    """
    left, right = a - 1.0, b - 1.0  # exponents of p and of 1 - p
    n = np.arange(_NODES, dtype=float)
    both = 2 * n + left + right
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (left**2 - right**2) / (both * (both + 2))
        k = n[1:]
        s = both[1:]
        aside = 4 * k * (k + left) * (k + right) * (k + left + right) / (s**2 * (s + 1) * (s - 1))
    centre[0] = (left - right) / (left + right + 2)
    aside[0] = 4 * (1 + left) * (1 + right) / ((2 + left + right) ** 2 * (3 + left + right))
    values, vectors = eigh_tridiagonal(centre, np.sqrt(aside))
    weights = vectors[0] ** 2
    return np.maximum((1.0 + values) / 2.0, np.finfo(float).tiny), weights / weights.sum()
