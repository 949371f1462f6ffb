"""On which level two records agree, for each kind of comparison: vectorised, once for each pair of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA

from transforms.identity.distance import Compare, begins, between, edits, winkler
from transforms.identity.encode import Encoded
from transforms.identity.kinds import KINDS, MISSING
from transforms.identity.name_levels import given_name, surname, whole_name


def level(kind: str, name: str) -> int:
    """The number of a level of a kind."""
    return KINDS[kind].names.index(name)


def comparer(kind: str, records: Encoded, fields: tuple[str, ...]) -> Compare:
    """The comparison of a kind over these records; what it needs of each distinct value is worked out here, once."""
    return _KINDS[kind](records, fields)


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

    return partial(between, column, number("same"), unequal)


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
        found[todo[edits(words, a[todo], b[todo], 1) <= 1]] = number("typo")
        return found.astype(np.int8)

    figures_rank = figures.rank("dense").to_numpy()
    return partial(between, column, number("same"), unequal)


def _edited(kind: str, least: int) -> Callable[[Encoded, tuple[str, ...]], Compare]:
    """Levels different, typo (one edit in values of `least` characters or more), same."""

    def prepare(records: Encoded, fields: tuple[str, ...]) -> Compare:
        column, number = records.column(fields[0]), KINDS[kind].names.index
        words = column.words
        lengths = np.array([len(word) for word in words], np.int32)

        def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            typo = (edits(words, a, b, 1) <= 1) & (np.minimum(lengths[a], lengths[b]) >= least)
            return np.where(typo, number("typo"), number("different")).astype(np.int8)

        return partial(between, column, number("same"), unequal)

    return prepare


def _street(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column, number = records.column(fields[0]), KINDS["street"].names.index
    names = column.values.str.replace_all(r"\b\d+[a-z]?\b", " ").str.replace_all(" ", "", literal=True)
    houses = column.values.str.extract_all(r"\b\d+[a-z]?\b").list.sort().list.join(" ")
    words, house = np.array(names.to_list(), object), np.array(houses.to_list(), object)
    first_house = column.values.str.extract(r"\b(\d+[a-z]?)\b", 1).rank("dense").fill_null(0).to_numpy()
    numbered = (houses.str.len_bytes() > 0).to_numpy()

    def unequal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x, y = words[a].tolist(), words[b].tolist()
        alike = process.cpdist(x, y, scorer=OSA.normalized_similarity, score_cutoff=0.6, dtype=np.float32)
        near = (alike >= 0.8) & (names_length[a] > 0)
        same_house = (first_house[a] == first_house[b]) & numbered[a]
        longer = np.flatnonzero(same_house & ~near)  # one goes on where the other ends
        near[longer] = begins(words, names_length, a[longer], b[longer])
        doubtful = np.flatnonzero(near & ~same_house & numbered[a] & numbered[b])
        similar_house = np.zeros(len(a), bool)
        similar_house[doubtful] = (edits(house, a[doubtful], b[doubtful], 1) <= 1) & (np.minimum(
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
    return partial(between, column, number("same"), unequal)


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
        similar = (alike >= 0.78) | (winkler(words, a, b) >= 0.92)
        return np.where(similar, number("similar"), number("different")).astype(np.int8)

    return partial(between, column, number("same"), unequal)


def _code(records: Encoded, fields: tuple[str, ...]) -> Compare:
    column = records.column(fields[0])
    return partial(between, column, level("code", "same"), lambda a, b: np.ones(len(a), np.int8))


_KINDS: Mapping[str, Callable[[Encoded, tuple[str, ...]], Compare]] = {
    "given_name": given_name,
    "surname": surname,
    "whole_name": whole_name,
    "date": _date,
    "email": _email,
    "phone": _edited("phone", 7),
    "identifier": _edited("identifier", 5),
    "street": _street,
    "area": _area,
    "text": _text,
    "code": _code,
}
