"""How likely each class of pairs is, given on which levels and by which values two records agree."""

from __future__ import annotations

import numpy as np

from transforms.identity.compare import Comparer, pack, unpack
from transforms.identity.encode import Column, Encoded, joined
from transforms.identity.kinds import KINDS
from transforms.identity.learn import PRIOR_STRANGERS
from transforms.identity.model import CLASSES, SAME, STRANGER, LinkModel, agreeing
from transforms.identity.rules import Comparison

# Levels on which records agree by a value, whose frequency counts: kind -> (level, which of the fields).
_BY_VALUE = {"area": (("same", 0), ("same postcode", 0), ("same city", 1))}


class Evidence:
    """Weighs pairs of these records by this model; how frequent names are is counted among `everyone`."""

    def __init__(self, comparer: Comparer, model: LinkModel, everyone: Encoded) -> None:
        self.comparer, self.model = comparer, model
        self._tables = model.tables()
        self._names = _name_shares(everyone, comparer.comparisons)

    def classes(self, left: np.ndarray, right: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Log-likelihood of each class for each pair, without how frequent the classes are: pairs by classes."""
        patterns, inverse = np.unique(pack(levels, self.comparer.comparisons), return_inverse=True)
        rows = unpack(patterns, self.comparer.comparisons)
        logs = sum(table[rows[:, k]] for k, table in enumerate(self._tables))[inverse]
        for k in range(len(self._tables)):
            for at, change in self._by_value(k, left, levels):
                logs[at] += change
        at, change = self._by_names(left, levels)
        logs[at] += change
        return logs

    def each(self, left: np.ndarray, right: np.ndarray, levels: np.ndarray) -> list[np.ndarray]:
        """The same, comparison by comparison, the full name's part with the surname."""
        parts = []
        for k, table in enumerate(self._tables):
            logs = table[levels[:, k]]
            for at, change in self._by_value(k, left, levels):
                logs[at] += change
            parts.append(logs)
        at, change = self._by_names(left, levels)
        if len(at):
            parts[[c.name for c in self.model.comparisons].index("surname")][at] += change
        return parts

    def _by_value(self, k: int, left: np.ndarray, levels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Strangers agree on a value as often as it is frequent, not as often as values are on average."""
        comparison, changes = self.model.comparisons[k], []
        names = KINDS[comparison.kind].names
        shared = self.model.shared[comparison.name]
        shares = np.array([agreeing(comparison, *key, shared) for key in CLASSES])
        for name, field in _BY_VALUE.get(comparison.kind, (("same", 0),)):
            number = names.index(name)
            at = np.flatnonzero(levels[:, k] == number)
            agree, chance = self.model.agree[comparison.name][number], self.model.chance[comparison.name][number]
            column = self.comparer.records.column(comparison.fields[field])
            if not len(at) or not len(column.values):
                continue
            frequency = _frequency(column, KINDS[comparison.kind].chance[number])
            distinct = np.log(shares * agree + (1 - shares) * frequency[:, None]) - np.log(
                shares * agree + (1 - shares) * chance
            )
            changes.append((at, distinct[column.codes[left[at]]]))
        return changes

    def _by_names(self, left: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Given names and surnames go together: a full name may be more frequent than its parts let expect."""
        if self._names is None:
            return np.empty(0, np.int64), np.empty((0, len(CLASSES)))
        given, surname, excess = self._names
        at = np.flatnonzero((levels[:, given] == KINDS["given_name"].names.index("same")) &
                            (levels[:, surname] == KINDS["surname"].names.index("same")))  # fmt: skip
        return at, excess[left[at]][:, None] * STRANGER


def _frequency(column: Column, start: float) -> np.ndarray:
    """How frequent each value is; of few records nobody knows, and what is usual counts too."""
    total = column.total + PRIOR_STRANGERS
    return (np.maximum(column.counts, 1) + PRIOR_STRANGERS * start) / total


def _name_shares(records: Encoded, comparisons: tuple[Comparison, ...]) -> tuple[int, int, np.ndarray] | None:
    """Where the two names are compared, and for each record the log of its full name's share over that of its parts."""
    names = [c.name for c in comparisons]
    if not {"given_name", "surname"} <= set(names):
        return None
    given, surname = records.column("given_name"), records.column("surname")
    pair = joined([given.codes, surname.codes])
    counts = np.bincount(pair[pair >= 0], minlength=1)
    together = counts[pair] / (counts.sum() + PRIOR_STRANGERS)
    apart = (
        _frequency(given, KINDS["given_name"].chance[-1])[given.codes]
        * _frequency(surname, KINDS["surname"].chance[-1])[surname.codes]
    )
    excess = np.where(pair >= 0, np.log(np.maximum(1.0, together / apart)), 0.0)
    return names.index("given_name"), names.index("surname"), excess


def odds_of_same(logs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Natural log of the odds that it is one person, of log-likelihoods by class and the classes' shares."""
    logs = logs + np.log(classes)
    return _log_sum(logs[:, SAME]) - _log_sum(logs[:, ~SAME])


def _log_sum(logs: np.ndarray) -> np.ndarray:
    top = logs.max(axis=1)
    return top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
