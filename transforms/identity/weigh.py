"""How likely each class of pairs is, given on which levels and by which values two records agree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from transforms.identity.compare import unpack
from transforms.identity.encode import Column, Encoded, dense
from transforms.identity.kinds import KINDS
from transforms.identity.learn import PRIOR_STRANGERS
from transforms.identity.model import CLASSES, SAME, STRANGER, LinkModel, agreeing
from transforms.identity.rules import Comparison

# Levels on which records agree by a value, whose frequency counts: kind -> (level, which of the fields).
_BY_VALUE = {"area": (("same", 0), ("same postcode", 0), ("same city", 1))}


class Evidence:
    """Weighs pairs of these records by this model."""

    def __init__(self, records: Encoded, model: LinkModel) -> None:
        self.records, self.model = records, model
        self._tables = model.tables()
        self._names = _name_shares(records, model.comparisons)
        self._values = [list(self._values_of(c)) for c in model.comparisons]

    def classes(self, left: np.ndarray, patterns: np.ndarray) -> np.ndarray:
        """Log-likelihood of each class for each pair, without how frequent the classes are: pairs by classes.

        Args:
          left: one record of each pair; what the other has in common with it says `patterns` (`compare.pack`).
        """
        distinct, inverse = np.unique(patterns, return_inverse=True)
        rows = unpack(distinct, self.model.comparisons)
        nothing = np.zeros((len(rows), len(CLASSES)))
        logs = sum((table[rows[:, k]] for k, table in enumerate(self._tables)), nothing)[inverse]
        for k in range(len(self._tables)):
            for at, change in self._by_value(k, left, rows[:, k], inverse):
                logs[at] += change
        at, change = self._by_names(left, rows, inverse)
        logs[at] += change
        return logs

    def each(self, left: np.ndarray, patterns: np.ndarray) -> list[np.ndarray]:
        """The same, comparison by comparison, the full name's part with the surname."""
        parts, rows, same = [], unpack(patterns, self.model.comparisons), np.arange(len(left))
        for k, table in enumerate(self._tables):
            logs = table[rows[:, k]]
            for at, change in self._by_value(k, left, rows[:, k], same):
                logs[at] += change
            parts.append(logs)
        at, change = self._by_names(left, rows, same)
        if len(at):
            parts[[c.name for c in self.model.comparisons].index("surname")][at] += change
        return parts

    def _values_of(self, comparison: Comparison) -> Iterator[tuple[int, Column, np.ndarray, np.ndarray]]:
        """(level, column, place of each value in the table, table: what is added for each class).

        Strangers agree on a value as often as it is frequent, not as often as values are on average.
        """
        names, shared = KINDS[comparison.kind].names, self.model.shared[comparison.name]
        shares = np.array([agreeing(comparison, *key, shared) for key in CLASSES])
        for name, field in _BY_VALUE.get(comparison.kind, (("same", 0),)):
            number = names.index(name)
            agree, chance = self.model.agree[comparison.name][number], self.model.chance[comparison.name][number]
            column = self.records.column(comparison.fields[field])
            if not len(column.values):
                continue
            counts, place = np.flatnonzero(np.bincount(column.counts)), dense(column.counts)
            frequency = _frequency(counts, column.total, KINDS[comparison.kind].chance[number])
            table = np.log(shares * agree + (1 - shares) * frequency[:, None]) - np.log(
                shares * agree + (1 - shares) * chance
            )
            yield number, column, place, table

    def _by_value(
        self, k: int, left: np.ndarray, levels: np.ndarray, inverse: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, column, place, table in self._values[k]:
            at = np.flatnonzero((levels == number)[inverse])
            yield at, table[place[column.codes[left[at]]]]

    def _by_names(self, left: np.ndarray, rows: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Given names and surnames go together: a full name may be more frequent than its parts let expect."""
        if self._names is None:
            return np.empty(0, np.int64), np.empty((0, len(CLASSES)))
        given, surname, excess = self._names
        both = (rows[:, given] == KINDS["given_name"].names.index("same")) & (
            rows[:, surname] == KINDS["surname"].names.index("same")
        )
        at = np.flatnonzero(both[inverse])
        return at, excess[left[at]][:, None] * STRANGER


def _frequency(counts: np.ndarray, total: int, start: float) -> np.ndarray:
    """How frequent values that so many have are; of few records nobody knows, and what is usual counts too."""
    return (np.maximum(counts, 1) + PRIOR_STRANGERS * start) / (total + PRIOR_STRANGERS)


def _name_shares(records: Encoded, comparisons: tuple[Comparison, ...]) -> tuple[int, int, np.ndarray] | None:
    """Where the two names are compared, and for each record the log of its full name's share over that of its parts."""
    names = [c.name for c in comparisons]
    if not {"given_name", "surname"} <= set(names):
        return None
    given, surname = records.column("given_name"), records.column("surname")
    counts, total = records.namesakes
    together = counts / (total + PRIOR_STRANGERS)
    apart = (
        _frequency(given.counts, given.total, KINDS["given_name"].chance[-1])[given.codes]
        * _frequency(surname.counts, surname.total, KINDS["surname"].chance[-1])[surname.codes]
    )
    excess = np.where(counts > 0, np.log(np.maximum(1.0, together / apart)), 0.0)
    return names.index("given_name"), names.index("surname"), excess


def odds_of_same(logs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Natural log of the odds that it is one person, of log-likelihoods by class and the classes' shares."""
    logs = logs + np.log(classes)
    return _log_sum(logs[:, SAME]) - _log_sum(logs[:, ~SAME])


def _log_sum(logs: np.ndarray) -> np.ndarray:
    top = logs.max(axis=1)
    return top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
