"""On which level two names agree."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
from rapidfuzz import fuzz, process

from transforms.identity.alias import alias_pairs
from transforms.identity.distance import Compare, between, close, edits, winkler
from transforms.identity.encode import Encoded
from transforms.identity.kinds import KINDS, MISSING


class _Words:
    """What is derived of the distinct values of a column of names, once."""

    def __init__(self, values: pl.Series, compact: np.ndarray, aliases: bool) -> None:
        self.compact = compact
        self.lengths = np.array([len(word) for word in compact], np.int32)
        self.initials = np.array([ord(word[0]) if word else 0 for word in compact], np.int32)
        parts = values.str.split(" ")
        single = pl.concat([parts.list.get(0, null_on_oob=True), parts.list.get(-1, null_on_oob=True)])
        ranks = single.rank("dense").to_numpy()
        self.first, self.last = ranks[: len(values)], ranks[len(values) :]
        self.several = (parts.list.len() > 1).to_numpy()
        self.aliases = alias_pairs(values) if aliases else np.empty(0, np.int64)

    def parts_agree(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """One consists of several words, and the first or last word of it is a word of the other."""
        some = self.several[a] | self.several[b]
        return some & ((self.first[a] == self.first[b]) | (self.last[a] == self.last[b]) |
                       (self.first[a] == self.last[b]) | (self.last[a] == self.first[b]))  # fmt: skip

    def stand_for(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if not len(self.aliases):
            return np.zeros(len(a), bool)
        key = a * len(self.lengths) + b
        at = np.minimum(np.searchsorted(self.aliases, key), len(self.aliases) - 1)
        return self.aliases[at] == key


def given_name(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["given_name"].names.index
    words = _Words(column.values, column.compact, aliases=True)

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        typo = close(edits(words.compact, a, b), words.lengths, a, b)
        initial = (words.initials[a] == words.initials[b]) & ((words.lengths[a] == 1) | (words.lengths[b] == 1))
        return np.select(
            [typo, words.stand_for(a, b) | words.parts_agree(a, b), initial, winkler(words.compact, a, b) >= 0.84],
            [number("typo"), number("variant"), number("initial"), number("similar")],
            number("different"),
        ).astype(np.int8)

    def compare(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        levels = between(column, number("same"), unequal, left, right)
        if len(fields) > 1:
            levels[_swapped(records, fields, words, left, right)] = number("swapped")
        return levels

    return compare


def _swapped(
    records: Encoded, fields: tuple[str, ...], words: _Words, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Places of pairs of which either's first name is nearly the other's last name, one way or, where known, both."""
    one, other = records.column(fields[0]).codes, records.column(fields[1]).codes
    a, b, c, d = one[left], other[right], other[left], one[right]
    initials = np.append(words.initials, -1)
    known = ((a >= 0) & (b >= 0)) | ((c >= 0) & (d >= 0))
    crossed = ((initials[a] == initials[b]) | (a < 0) | (b < 0)) & ((initials[c] == initials[d]) | (c < 0) | (d < 0))
    at = np.flatnonzero(known & crossed & (a != d) & (c != b))
    near = np.ones(len(at), bool)
    for x, y in ((a[at], b[at]), (c[at], d[at])):
        both = np.flatnonzero((x != y) & (x >= 0) & (y >= 0))
        near[both] &= winkler(words.compact, x[both], y[both]) >= 0.84
    at = at[near]
    # What is alike as it stands is not exchanged.
    straight = np.zeros(len(at), bool)
    for x, y in ((a[at], d[at]), (c[at], b[at])):
        both = np.flatnonzero((x >= 0) & (y >= 0))
        straight[both] |= winkler(words.compact, x[both], y[both]) >= 0.84
    return at[~straight]


def surname(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["surname"].names.index
    words = _Words(column.values, column.compact, aliases=False)

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        typo = close(edits(words.compact, a, b), words.lengths, a, b)
        return np.select(
            [typo, words.parts_agree(a, b), winkler(words.compact, a, b) >= 0.84],
            [number("typo"), number("part"), number("similar")],
            number("different"),
        ).astype(np.int8)

    def compare(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        levels = between(column, number("same"), unequal, left, right)
        if len(fields) > 1:  # said by the level of the given name
            levels[_swapped(records, (fields[1], fields[0]), words, left, right)] = MISSING
        return levels

    return compare


def whole_name(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["whole_name"].names.index
    words, compact = column.words, column.compact

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x, y = words[a].tolist(), words[b].tolist()
        ordered = process.cpdist(x, y, scorer=fuzz.token_sort_ratio, dtype=np.float32)
        subset = process.cpdist(x, y, scorer=fuzz.token_set_ratio, dtype=np.float32)
        alike = winkler(compact, a, b)
        return np.select(
            [(ordered >= 92) | (alike >= 0.97), subset >= 95, (ordered >= 75) | (alike >= 0.88) | (subset >= 80)],
            [number("typo"), number("part"), number("similar")],
            number("different"),
        ).astype(np.int8)

    return partial(between, column, number("same"), unequal)
