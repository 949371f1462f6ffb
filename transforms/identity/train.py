"""Learns a link model from the records themselves: random pairs show what strangers do, candidates the rest.

Which pairs are looked at depends on the records' keys alone, each pair for itself. So the sample of today is that of
yesterday and what is new, and the model is the same whether records come at once or day by day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from transforms.identity.block import Candidates
from transforms.identity.compare import Comparer, unpack
from transforms.identity.encode import Encoded
from transforms.identity.kinds import KINDS
from transforms.identity.learn import learn_model
from transforms.identity.model import LinkModel
from transforms.identity.pairs import Pairs
from transforms.identity.rules import Comparison, IdentityRules

_CANDIDATES = 16  # a record has about so many
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sample:
    """What a model is learned from.

    Attributes:
      candidates: of candidate pairs, one of `every`, each once.
      strangers: pairs of records as they come.
    """

    candidates: Pairs
    strangers: Pairs
    every: int


def sample_rate(records: int, rules: IdentityRules) -> int:
    """One of so many candidate pairs is in the sample of so many records: a power of two, so that samples nest."""
    every = 1
    while records * _CANDIDATES > every * rules.training_pairs:
        every *= 2
    return every


def in_sample(records: Encoded, every: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Says which pairs are in a sample of one in `every`, by their keys alone."""
    shift, mask = np.uint64(44), np.uint64(every - 1)

    def asked(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return ((records.hashes[left] + records.hashes[right]) * _MULTIPLIER >> shift & mask) == 0

    return asked


def sample_candidates(comparer: Comparer, candidates: Candidates, rules: IdentityRules, every: int) -> Pairs:
    """The candidates in the sample, compared."""
    wanted = in_sample(comparer.records, every) if every > 1 else None
    return Pairs.concatenated(
        [Pairs.compared(comparer, *chunk) for chunk in candidates.chunks(rules.chunk_pairs, wanted)]
    )


def draw_strangers(records: Encoded, rules: IdentityRules, within: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """About a quarter of `training_pairs` pairs: each record and those next to it in the order of hashed keys.

    A new record parts two neighbours, and leaves the other pairs as they were.
    """
    drawn = np.argsort(records.hashes)
    firsts = drawn[records.new[drawn]]
    seconds = drawn if within else drawn[~records.new[drawn]]
    if not len(firsts) or not len(seconds):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    number = np.arange(min(-(-rules.training_pairs // 4), int(count_pairs(records, within)) * 2))
    first = number % len(firsts)
    left, right = firsts[first], seconds[(first + 1 + number // len(firsts)) % len(seconds)]
    other = left != right
    return np.minimum(left, right)[other], np.maximum(left, right)[other]


def count_pairs(records: Encoded, within: bool = True) -> float:
    """How many pairs of records there are, with at least one that is new."""
    fresh, size = float(records.new.sum()), float(records.size)
    return max(1.0, fresh * (size - fresh) + (fresh * (fresh - 1) / 2 if within else 0.0))


@dataclass(frozen=True)
class Population:
    """What of all records a model depends on.

    Attributes:
      pairs: how many pairs there are (`count_pairs`).
      same: column -> the probability that two random records with a value in it have the same one.
      namesakes: the share of pairs with one full name among records that have one.
    """

    records: int
    pairs: float
    same: Mapping[str, float]
    namesakes: float

    @staticmethod
    def of(records: Encoded, within: bool = True) -> Population:
        same = {name: chance_of_same(column.counts, column.total) for name, column in records.columns.items()}
        counts, total = records.namesakes
        shared = float((counts[counts > 0] - 1.0).sum()) / max(1.0, total * (total - 1.0))
        return Population(records.size, count_pairs(records, within), same, shared)


def chance_of_same(counts: np.ndarray, total: int) -> float:
    """The probability that two of `total` random records have one value, of how many records have each."""
    many = counts.astype(float)
    return float((many * (many - 1)).sum() / max(1.0, total * (total - 1.0)))


def train_model(
    records: Encoded, comparisons: tuple[Comparison, ...], sample: Sample, within: bool = True
) -> LinkModel:
    """The model of these records."""
    patterns, counts = np.unique(sample.candidates.patterns, return_counts=True)
    everybody = Population.of(records, within)
    return fit_model(everybody, comparisons, patterns, counts * float(sample.every), sample.strangers.patterns)


def fit_model(
    everybody: Population, comparisons: tuple[Comparison, ...], patterns: np.ndarray, counts: np.ndarray,
    strangers: np.ndarray,
) -> LinkModel:  # fmt: skip
    """The model of a population of which `counts` candidate pairs have each of these patterns (`compare.pack`).

    Args:
      strangers: the patterns of random pairs.
    """
    chance = _chance(everybody, comparisons, strangers)
    rows = unpack(patterns, comparisons)
    return learn_model(comparisons, rows, counts, chance, everybody.pairs, everybody.records, everybody.namesakes)


def _chance(everybody: Population, comparisons: tuple[Comparison, ...], patterns: np.ndarray) -> dict[str, np.ndarray]:
    """How often random pairs are on each level; for equal values it is counted, not sampled."""
    found, levels = {}, unpack(patterns, comparisons)
    for k, c in enumerate(comparisons):
        counts = np.bincount(levels[:, k], minlength=len(KINDS[c.kind].names)).astype(float)[1:]
        shares = counts / max(1.0, counts.sum())
        if c.kind != "area":
            exact = everybody.same.get(c.fields[0], 0.0)
            shares[:-1] *= (1 - exact) / max(1e-12, shares[:-1].sum()) if shares[:-1].sum() else 0
            shares[-1] = exact
        found[c.name] = np.append(1.0, shares)
    return found
