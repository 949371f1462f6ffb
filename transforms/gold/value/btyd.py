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
from scipy.special import betaln, expit, gammaln, psi

from transforms.gold.value.climb import Cost, climb

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

    def every(self, k: int) -> Histories:
        """Every k-th history; customers are not told which is theirs."""
        return Histories(self.x[::k], self.t_x[::k], self.T[::k], self.count[::k], self.inverse[:0])

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
        return self._if_alive(x, T, weeks) * self.alive(x, t_x, T)

    def _if_alive(self, x: np.ndarray, T: np.ndarray, weeks: float) -> np.ndarray:
        """`expected` of customers who are alive: of distinct x and T, since t_x tells only whether they are."""
        order = np.lexsort((T, x))
        new = np.ones(len(x), dtype=bool)
        new[1:] = (np.diff(x[order]) != 0) | (np.diff(T[order]) != 0)
        distinct = order[new]
        found = np.empty(len(distinct))
        starts = np.flatnonzero(np.diff(x[distinct], prepend=-1.0))
        for start, end in zip(starts, [*starts[1:], len(distinct)], strict=True):
            repeats = x[distinct[start]]
            nodes, weights = _beta_nodes(self.a, self.b + repeats + self.flips)
            growth = np.log1p(np.multiply.outer(weeks / (self.alpha + T[distinct[start:end]]), nodes))
            # Summed row by row: a matrix product may round differently for other neighbours.
            found[start:end] = (-np.expm1(-(self.r + repeats) * growth) * (weights / nodes)).sum(axis=1)
        result = np.empty(len(x))
        result[order] = found[np.cumsum(new) - 1]
        return result

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
    weeks = float(np.average(histories.T, weights=histories.count)) + 1.0
    starts = ((1.0, weeks, 1.0, 2.5), (0.3, weeks / 4, 0.7, 2.0))
    whole = _Terms.of(histories)
    every = len(histories.x) // _MANY
    part = _Terms.of(histories.every(every)).cost(flips) if every > 1 else None
    found = climb(whole.cost(flips), starts, _LOG_BOUNDS, part)
    r, alpha, a, b = (float(value) for value in np.exp(found.at))
    return Btyd(r, alpha, a, b, flips, -found.cost * float(whole.customers), found.converged)


def log_likelihood(model: Btyd, histories: Histories) -> tuple[float, np.ndarray]:
    """The log-likelihood and its gradient by the logarithms of r, alpha, a and b."""
    return _likelihood(np.log([model.r, model.alpha, model.a, model.b]), model.flips, _Terms.of(histories))


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


@dataclass(frozen=True)
class _Axis:
    """The distinct values of one number of a history; `of`: which of them each history has; `count`, `orders`:
    customers with it, and their repeat order days."""

    value: np.ndarray
    of: np.ndarray
    count: np.ndarray
    orders: np.ndarray

    @classmethod
    def along(cls, values: np.ndarray, histories: Histories) -> _Axis:
        value, of = np.unique(values, return_inverse=True)
        count = np.bincount(of, histories.count)
        return cls(value, of.astype(np.int32), count, np.bincount(of, histories.count * histories.x))

    def sums(self, weights: np.ndarray) -> np.ndarray:
        return np.bincount(self.of, weights, len(self.value))


@dataclass(frozen=True)
class _Terms:
    """Histories by their distinct numbers: logarithms and gamma functions are computed once for each of these."""

    x: _Axis
    t_x: _Axis
    T: _Axis
    count: np.ndarray
    repeats: np.ndarray
    customers: float

    @classmethod
    def of(cls, h: Histories) -> _Terms:
        x, t_x, T = (_Axis.along(values, h) for values in (h.x, h.t_x, h.T))
        return cls(x, t_x, T, h.count, h.x, float(h.count.sum()))

    def cost(self, flips: int) -> Cost:
        def mean(logs: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = _likelihood(logs, flips, self)
            return -value / self.customers, -slope / self.customers

        return mean


def _likelihood(logs: np.ndarray, flips: int, h: _Terms) -> tuple[float, np.ndarray]:
    """Equation 6, as ln(e^A3 + e^A4) = A3 + ln(1 + e^(A4 - A3)); only this last term is each history's own."""
    r, alpha, a, b = np.exp(logs)
    x, people, customers = h.x.value, h.x.count, h.customers
    silent, last = np.log(alpha + h.T.value), np.log(alpha + h.t_x.value)
    coins = b + x + flips - 1
    could = coins > 0 if flips else x > 0
    with np.errstate(divide="ignore"):
        first = np.where(could, np.log(a) - np.log(np.where(could, coins, 1.0)), -np.inf)
    odds = first[h.x.of] + (r + x)[h.x.of] * (silent[h.T.of] - last[h.t_x.of])
    small = np.exp(-np.abs(odds))
    weighted = np.where(odds > 0, 1.0, small) / (1.0 + small) * h.count  # customers who have stopped
    b_x = b + x + flips
    by_x = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + gammaln(a + b) - gammaln(b)
    by_x += gammaln(b_x) - gammaln(a + b_x)
    value = (people * by_x).sum() - ((r * h.T.count + h.T.orders) * silent).sum()
    value += ((np.maximum(odds, 0.0) + np.log1p(small)) * h.count).sum()
    lost, lost_orders = h.x.sums(weighted), weighted * h.repeats
    at_T, at_t = h.T.sums(weighted), h.t_x.sums(weighted)
    orders_T, orders_t = h.T.sums(lost_orders), h.t_x.sums(lost_orders)
    d_r = (people * (psi(r + x) - psi(r) + np.log(alpha))).sum()
    d_r -= ((h.T.count - at_T) * silent).sum() + (at_t * last).sum()
    d_alpha = customers * r / alpha - ((r * at_t + orders_t) / (alpha + h.t_x.value)).sum()
    d_alpha -= ((r * (h.T.count - at_T) + h.T.orders - orders_T) / (alpha + h.T.value)).sum()
    d_a = (people * (psi(a + b) - psi(a + b_x))).sum() + lost.sum() / a
    d_b = (people * (psi(a + b) + psi(b_x) - psi(b) - psi(a + b_x))).sum()
    d_b -= (lost / np.where(lost > 0, b_x - 1.0, 1.0)).sum()
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
