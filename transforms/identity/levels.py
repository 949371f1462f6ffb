"""On which level two records agree, for each kind of comparison: vectorised, once for each pair of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import polars as pl
from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA, JaroWinkler

from transforms.identity.alias import alias_pairs
from transforms.identity.encode import Column, Encoded
from transforms.identity.kinds import KINDS, MISSING

Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]  # left and right record numbers -> levels (int8)


def level(kind: str, name: str) -> int:
    """The number of a level of a kind."""
    return KINDS[kind].names.index(name)


def comparer(kind: str, records: Encoded, fields: tuple[str, ...]) -> Compare:
    """The comparison of a kind over these records; what it needs of each distinct value is worked out here, once."""
    return _KINDS[kind](records, fields)


def _between(column: Column, same: int, unequal: Compare, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Levels by codes: MISSING, `same` for equal codes, else what `unequal` gives for each distinct pair of codes."""
    a, b = column.codes[left], column.codes[right]
    levels = np.full(len(a), same, np.int8)
    levels[(a < 0) | (b < 0)] = MISSING
    todo = np.flatnonzero((a != b) & (levels != MISSING))
    levels[todo] = _per_distinct(a[todo], b[todo], len(column.values), unequal)
    return levels


def _per_distinct(a: np.ndarray, b: np.ndarray, size: int, work: Compare) -> np.ndarray:
    if not len(a):
        return np.empty(0, np.int8)
    low, high = np.minimum(a, b).astype(np.int64), np.maximum(a, b).astype(np.int64)
    if size > 4 * len(a) ** 0.5 * 50:  # hardly any pair of values comes twice
        return work(low, high)
    key = low * size + high
    order = np.argsort(key, kind="stable")
    first = np.diff(key[order], prepend=-1) != 0
    distinct = key[order][first]
    found = np.empty(len(a), np.int8)
    found[order] = work(distinct // size, distinct % size)[np.cumsum(first) - 1]
    return found


def _winkler(words: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return process.cpdist(
        words[a].tolist(), words[b].tolist(), scorer=JaroWinkler.similarity, score_cutoff=0.75, dtype=np.float32
    )


def _edits(words: np.ndarray, a: np.ndarray, b: np.ndarray, most: int = 2) -> np.ndarray:
    """Letters inserted, left out, replaced or exchanged with their neighbour; most + 1 stands for more."""
    return process.cpdist(words[a].tolist(), words[b].tolist(), scorer=OSA.distance, score_cutoff=most, dtype=np.uint8)


def _close(edits: np.ndarray, lengths: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One edit, or two in long words."""
    longer = np.maximum(lengths[a], lengths[b])
    return ((edits <= 1) & (longer >= 3)) | ((edits <= 2) & (longer >= 8))


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


def _given_name(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["given_name"].names.index
    words = _Words(column.values, column.compact, aliases=True)

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        close = _close(_edits(words.compact, a, b), words.lengths, a, b)
        initial = (words.initials[a] == words.initials[b]) & ((words.lengths[a] == 1) | (words.lengths[b] == 1))
        return np.select(
            [close, words.stand_for(a, b) | words.parts_agree(a, b), initial, _winkler(words.compact, a, b) >= 0.84],
            [number("typo"), number("variant"), number("initial"), number("similar")],
            number("different"),
        ).astype(np.int8)

    def compare(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        levels = _between(column, number("same"), unequal, left, right)
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
        near[both] &= _winkler(words.compact, x[both], y[both]) >= 0.84
    at = at[near]
    # What is alike as it stands is not exchanged.
    straight = np.zeros(len(at), bool)
    for x, y in ((a[at], d[at]), (c[at], b[at])):
        both = np.flatnonzero((x >= 0) & (y >= 0))
        straight[both] |= _winkler(words.compact, x[both], y[both]) >= 0.84
    return at[~straight]


def _surname(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["surname"].names.index
    words = _Words(column.values, column.compact, aliases=False)

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        close = _close(_edits(words.compact, a, b), words.lengths, a, b)
        return np.select(
            [close, words.parts_agree(a, b), _winkler(words.compact, a, b) >= 0.84],
            [number("typo"), number("part"), number("similar")],
            number("different"),
        ).astype(np.int8)

    def compare(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        levels = _between(column, number("same"), unequal, left, right)
        if len(fields) > 1:  # said by the level of the given name
            levels[_swapped(records, (fields[1], fields[0]), words, left, right)] = MISSING
        return levels

    return compare


def _whole_name(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["whole_name"].names.index
    words, compact = column.words, column.compact

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x, y = words[a].tolist(), words[b].tolist()
        ordered = process.cpdist(x, y, scorer=fuzz.token_sort_ratio, dtype=np.float32)
        subset = process.cpdist(x, y, scorer=fuzz.token_set_ratio, dtype=np.float32)
        alike = _winkler(compact, a, b)
        return np.select(
            [(ordered >= 92) | (alike >= 0.97), subset >= 95, (ordered >= 75) | (alike >= 0.88) | (subset >= 80)],
            [number("typo"), number("part"), number("similar")],
            number("different"),
        ).astype(np.int8)

    return partial(_between, column, number("same"), unequal)


def _date(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["date"].names.index
    text = np.array([value.ljust(8) for value in column.words.tolist()] or [" " * 8], "S8")
    digits = text.view(np.uint8).reshape(-1, 8)
    full = digits[:, 7] != 32
    swapped = digits[:, [0, 1, 2, 3, 6, 7, 4, 5]]

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        different = (digits[a] != digits[b]).sum(axis=1)
        neighbours = (digits[a][:, :-1] == digits[b][:, 1:]) & (digits[a][:, 1:] == digits[b][:, :-1])
        exchanged = (different == 2) & (neighbours & (digits[a][:, :-1] != digits[b][:, :-1])).any(axis=1)
        year = (digits[a][:, :4] == digits[b][:, :4]).all(axis=1)
        both = full[a] & full[b]
        return np.select(
            [both & (swapped[a] == digits[b]).all(axis=1), both & ((different == 1) | exchanged),
             both & (different == 2), year],
            [number("swapped"), number("one digit"), number("two digits"), number("same year")],
            number("different"),
        ).astype(np.int8)  # fmt: skip

    return partial(_between, column, number("same"), unequal)


def _email(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["email"].names.index
    local = column.values.str.extract(r"^([^@+]*)", 1).str.replace_all(r"[^a-z0-9]", "")
    words = np.array(local.to_list(), object)
    figures = local.str.replace_all(r"\D", "")
    digits = np.where(figures.str.len_bytes().to_numpy() >= 3, figures.rank("dense").to_numpy(), 0)
    boxes, lengths = local.rank("dense").to_numpy(), local.str.len_bytes().to_numpy().astype(np.int32)

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found = np.where((digits[a] == digits[b]) & (digits[a] > 0), number("same digits"), number("different"))
        found[(boxes[a] == boxes[b]) & (lengths[a] >= 4)] = number("same mailbox")
        todo = np.flatnonzero((found < number("same mailbox")) & (lengths[a] >= 6) & (lengths[b] >= 6) &
                              (figures_rank[a] == figures_rank[b]))  # fmt: skip
        found[todo[_edits(words, a[todo], b[todo], 1) <= 1]] = number("typo")
        return found.astype(np.int8)

    figures_rank = figures.rank("dense").to_numpy()
    return partial(_between, column, number("same"), unequal)


def _edited(kind: str, least: int) -> Callable[[Encoded, tuple[str, ...]], Compare]:
    """Levels different, typo (one edit in values of `least` characters or more), same."""

    def prepare(records: Encoded, fields: tuple[str, ...]) -> Compare:
        column, number = records.column(fields[0]), KINDS[kind].names.index
        words = column.words
        lengths = np.array([len(word) for word in words], np.int32)

        def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            typo = (_edits(words, a, b, 1) <= 1) & (np.minimum(lengths[a], lengths[b]) >= least)
            return np.where(typo, number("typo"), number("different")).astype(np.int8)

        return partial(_between, column, number("same"), unequal)

    return prepare


def _street(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["street"].names.index
    names = column.values.str.replace_all(r"\b\d+[a-z]?\b", " ").str.replace_all(" ", "", literal=True)
    houses = column.values.str.extract_all(r"\b\d+[a-z]?\b").list.sort().list.join(" ")
    words, house = np.array(names.to_list(), object), np.array(houses.to_list(), object)
    house_rank = houses.rank("dense").to_numpy()
    numbered = (houses.str.len_bytes() > 0).to_numpy()

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x, y = words[a].tolist(), words[b].tolist()
        alike = process.cpdist(x, y, scorer=OSA.normalized_similarity, score_cutoff=0.6, dtype=np.float32)
        near = (alike >= 0.8) & (names_length[a] > 0)
        same_house = (house_rank[a] == house_rank[b]) & numbered[a]
        doubtful = np.flatnonzero(near & ~same_house & numbered[a] & numbered[b])
        similar_house = np.zeros(len(a), bool)
        similar_house[doubtful] = (_edits(house, a[doubtful], b[doubtful], 1) <= 1) & (np.minimum(
            houses_length[a[doubtful]], houses_length[b[doubtful]]) >= 2)  # fmt: skip
        missing_house = ~(numbered[a] & numbered[b])
        return np.select(
            [
                near & same_house,
                near & (similar_house | missing_house | (alike >= 0.95)),
                (alike >= 0.6) & same_house | near,
            ],
            [number("typo"), number("same street"), number("similar")],
            number("different"),
        ).astype(np.int8)

    names_length, houses_length = names.str.len_bytes().to_numpy(), houses.str.len_bytes().to_numpy()
    return partial(_between, column, number("same"), unequal)


def _area(records: Encoded, fields: tuple[str, ...]) -> Compare:
    """Postcode, city and state as one: they say the same thing three times."""
    number = KINDS["area"].names.index
    postcodes = _edited("identifier", 4)(records, fields[:1])
    cities, states = _text(records, fields[1:2]), _code(records, fields[2:3])
    same, typo = level("identifier", "same"), level("identifier", "typo")

    def compare(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        postcode, city, state = postcodes(left, right), cities(left, right), states(left, right)
        good_city = city >= level("text", "similar")
        found = np.select(
            [(postcode == same) & (good_city | (city == MISSING)), postcode == same, (postcode == typo) & good_city,
             good_city, postcode == typo, state == level("code", "same")],
            [number(n) for n in ("same", "same postcode", "similar postcode", "same city", "similar", "same state")],
            number("different"),
        )  # fmt: skip
        found[(postcode == MISSING) & (city == MISSING)] = MISSING
        return found.astype(np.int8)

    return compare


def _text(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["text"].names.index
    words = column.compact

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        alike = process.cpdist(
            words[a].tolist(), words[b].tolist(), scorer=OSA.normalized_similarity, score_cutoff=0.7, dtype=np.float32
        )
        similar = (alike >= 0.78) | (_winkler(words, a, b) >= 0.92)
        return np.where(similar, number("similar"), number("different")).astype(np.int8)

    return partial(_between, column, number("same"), unequal)


def _code(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column = records.column(fields[0])
    return partial(_between, column, level("code", "same"), lambda a, b: np.ones(len(a), np.int8))


_KINDS: Mapping[str, Callable[[Encoded, tuple[str, ...]], Compare]] = {
    "given_name": _given_name,
    "surname": _surname,
    "whole_name": _whole_name,
    "date": _date,
    "email": _email,
    "phone": _edited("phone", 7),
    "identifier": _edited("identifier", 5),
    "street": _street,
    "area": _area,
    "text": _text,
    "code": _code,
}
