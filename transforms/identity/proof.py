"""Deterministic evidence: a value that only one person has."""

from __future__ import annotations

import numpy as np

from transforms.identity.compare import unpack
from transforms.identity.encode import NONE, Encoded
from transforms.identity.kinds import KINDS
from transforms.identity.pairs import Pairs
from transforms.identity.rules import Comparison, IdentityRules


class Proof:
    """Which pairs are one person by a deterministic rule."""

    def __init__(self, records: Encoded, rules: IdentityRules) -> None:
        self.names: list[str] = []
        self._codes: list[np.ndarray] = []
        for rule in rules.deterministic:
            column = records.columns.get(rule.field)
            if column is None or (rule.verified and rule.verified not in records.flags):
                continue
            codes = np.where(column.counts[column.codes] > rules.holders, NONE, column.codes)
            if rule.verified:
                codes = np.where(records.flags[rule.verified], codes, NONE)
            self.names.append(rule.name)
            self._codes.append(codes)

    def rule_of(self, pairs: Pairs, comparisons: tuple[Comparison, ...]) -> np.ndarray:
        """The first rule (place in `names`) that proves each pair; -1 for none, or where the records contradict it."""
        found = np.full(len(pairs), -1, np.int64)
        for number in reversed(range(len(self.names))):
            codes = self._codes[number]
            found[(codes[pairs.left] == codes[pairs.right]) & (codes[pairs.left] >= 0)] = number
        at = np.flatnonzero(found >= 0)
        found[at[_contradicted(unpack(pairs.patterns[at], comparisons), comparisons)]] = -1
        return found


def _contradicted(levels: np.ndarray, comparisons: tuple[Comparison, ...]) -> np.ndarray:
    """Another birth date and another given name (or whole name): a card or an address used by two."""

    def differs(name: str) -> np.ndarray | None:
        at = [k for k, c in enumerate(comparisons) if c.name == name]
        return levels[:, at[0]] == KINDS[comparisons[at[0]].kind].names.index("different") if at else None

    birth, given, whole = differs("birth_date"), differs("given_name"), differs("name")
    none = np.zeros(len(levels), bool)
    if birth is None:
        return none
    return birth & ((given if given is not None else none) | (whole if whole is not None else none))
