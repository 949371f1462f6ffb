"""Scored pairs day by day: new records are compared with what they meet, and the result is that of all at once.

Nothing that was compared is compared again. The model is learned from yesterday's sample and what is new of today's,
which together are the sample that all records at once would give; pairs that were likely are weighed anew by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from transforms.identity.block import Candidates, find_candidates
from transforms.identity.compare import Comparer, possible
from transforms.identity.encode import NONE, Encoded, encode_records
from transforms.identity.grow import Grown, add_records, all_new
from transforms.identity.model import LinkModel
from transforms.identity.pairs import Pairs
from transforms.identity.rules import Comparison, IdentityRules
from transforms.identity.score import ScoredPairs, Weighed, Weigher
from transforms.identity.standard import standardise_records
from transforms.identity.train import Sample, draw_strangers, in_sample, sample_candidates, sample_rate, train_model

_MARGIN = 10  # pairs down to a tenth of the probability that is asked for are kept, since weights move a little


@dataclass(frozen=True)
class Met:
    """Pairs, and which blocking rules bring them together (`Candidates.met_by`)."""

    pairs: Pairs
    rules: np.ndarray

    @staticmethod
    def of(pairs: Pairs, candidates: Candidates) -> Met:
        return Met(pairs, candidates.met_by(pairs.left, pairs.right))

    def joined(self, other: Met) -> Met:
        return Met(Pairs.concatenated([self.pairs, other.pairs]), np.concatenate([self.rules, other.rules]))

    def take(self, at: np.ndarray) -> Met:
        return Met(self.pairs.take(at), self.rules[at])


_NONE_MET = Met(Pairs.concatenated([]), np.empty(0, np.uint32))


@dataclass(frozen=True)
class Compared:
    """What is known of records that were compared.

    Attributes:
      sample, strangers: what the model was learned from; of `every` candidates one is in the sample.
      likely: the pairs that may be one person.
      rules: by which they were compared, as text.
    """

    records: Encoded
    model: LinkModel
    every: int
    sample: Met
    strangers: Pairs
    likely: Met
    rules: str


@dataclass(frozen=True)
class Added:
    """`scored`: all pairs; `compared`: to be kept for tomorrow; `origin`: as in `grow.Grown`."""

    scored: ScoredPairs
    compared: Compared
    origin: np.ndarray


def score_more(records: pa.Table, rules: IdentityRules, kept: Compared | None = None) -> Added:
    """Compares records with each other and with those before them.

    The edges and the model are those of `score_pairs` of all records at once, to the last bit, where records were only
    added. Of records that changed, pairs of others which met only because of what they were are not looked for again.

    Args:
      records: `record_key` and any of FIELDS; those that were there before and are as they were cost nothing.
      kept: of the run before. Where other rules or columns are compared now, all is compared anew.

    Memory: as `score_pairs`, and the pairs that are kept: about `training_pairs`.

    Raises:
      UserError: a key is missing or repeated.
    """
    standard = standardise_records(records)
    if kept is None:
        now = encode_records(standard)
        grown = Grown(now, np.empty(0, np.int32), np.full(now.size, NONE, np.int32))
    else:
        grown = add_records(kept.records, standard)
    comparisons = possible(grown.records.columns, rules.comparisons)
    flags = set(grown.records.flags)
    fits = (
        kept is not None
        and kept.rules == repr(rules)
        and comparisons == kept.model.comparisons
        and flags == set(kept.records.flags)
        and grown.records.columns.keys() == kept.records.columns.keys()  # rules may be for records without some
    )
    if kept is None or not fits:
        grown = replace(grown, records=all_new(grown.records))
    run = _Run(grown, comparisons, rules, kept if fits else None)
    return run.added()


class _Run:
    """One run: what is known of old pairs, and what is found of new ones."""

    def __init__(
        self, grown: Grown, comparisons: tuple[Comparison, ...], rules: IdentityRules, kept: Compared | None
    ) -> None:
        self._grown, self._rules, self._kept = grown, rules, kept
        self._whole = all_new(grown.records)
        self._candidates = find_candidates(grown.records, rules)
        self._every = sample_rate(self._whole.size, rules)
        self._drawn = draw_strangers(self._whole, rules)
        self._comparer = self._of_asked(comparisons)

    def added(self) -> Added:
        rules, comparisons = self._rules, self._comparer.comparisons
        sample, strangers = self._sample(), self._strangers()
        model = train_model(self._whole, comparisons, Sample(sample.pairs, strangers, self._every))
        weigher, least = Weigher(self._whole, model, rules), rules.keep_probability / _MARGIN
        old = self._still_met(self._kept.likely) if self._kept else _NONE_MET
        weighed, compared = [weigher.keep(old.pairs, 0.0)], 0
        for chunk in self._candidates.chunks(rules.chunk_pairs):
            compared += len(chunk[0])
            weighed.append(weigher.keep(Pairs.compared(self._comparer, *chunk), least))
        found = Weighed.concatenated(weighed[1:])
        likely = old.joined(Met.of(found.pairs, self._candidates))
        every = Weighed.concatenated([weighed[0], found])
        sure = every.take(np.flatnonzero(every.probability >= rules.keep_probability))
        scored = weigher.scored(sure, self._candidates.report(), compared)
        known = Compared(self._whole, model, self._every, sample, strangers, likely, repr(rules))
        return Added(scored, known, self._grown.origin)

    def _of_asked(self, comparisons: tuple[Comparison, ...]) -> Comparer:
        """Compares what is to be compared, and works out nothing of other records' values."""
        if self._kept is None:
            return Comparer(self._whole, comparisons)
        asked = np.zeros(self._whole.size, bool)
        for left, right in self._candidates.chunks(self._rules.chunk_pairs):
            asked[left] = asked[right] = True
        left, right = (side[self._known_strangers()[0] < 0] for side in self._drawn)
        asked[left] = asked[right] = True
        return Comparer(self._whole.only(asked), comparisons)

    def _sample(self) -> Met:
        fresh = sample_candidates(self._comparer, self._candidates, self._rules, self._every)
        found = Met.of(fresh, self._candidates)
        if self._kept is None:
            return found
        old = self._still_met(self._kept.sample)
        if self._every > self._kept.every:
            old = old.take(in_sample(self._whole, self._every)(old.pairs.left, old.pairs.right))
        return old.joined(found)

    def _still_met(self, before: Met) -> Met:
        """The pairs of before that are candidates today."""
        left, right = (self._grown.place[side] for side in (before.pairs.left, before.pairs.right))
        there = np.flatnonzero((left >= 0) & (right >= 0))
        pairs = Pairs(left[there], right[there], before.pairs.patterns[there])
        met = self._candidates.still_met_by(pairs.left, pairs.right, before.rules[there])
        return Met(pairs, met).take(np.flatnonzero(met))

    def _known_strangers(self) -> tuple[np.ndarray, np.ndarray]:
        """For each drawn pair its place among those of before, NONE where it was not drawn; and their patterns."""
        nothing = np.full(len(self._drawn[0]), NONE, np.int64)
        if self._kept is None or not len(self._kept.strangers):
            return nothing, np.empty(0, np.int64)
        before = self._kept.strangers
        left, right = self._grown.place[before.left], self._grown.place[before.right]
        there = (left >= 0) & (right >= 0)
        numbers = _numbers(left[there], right[there])
        order, asked = np.argsort(numbers), _numbers(*self._drawn)
        at = np.minimum(np.searchsorted(numbers[order], asked), max(0, len(order) - 1))
        found = np.where(numbers[order][at] == asked, order[at], NONE) if len(order) else nothing
        return found, before.patterns[there]

    def _strangers(self) -> Pairs:
        at, patterns = self._known_strangers()
        left, right = self._drawn
        new = np.flatnonzero(at < 0)
        whole = np.empty(len(at), np.int64)
        whole[at >= 0] = patterns[at[at >= 0]]
        whole[new] = Pairs.compared(self._comparer, left[new], right[new]).patterns
        return Pairs(left.astype(np.int32), right.astype(np.int32), whole)


def _numbers(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """One number (int64) for each pair of record numbers."""
    return left.astype(np.int64) << 32 | right.astype(np.int64)
