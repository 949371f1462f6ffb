"""Scored pairs: which records are one person, by which evidence, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import UserError
from transforms.identity.block import Candidates, find_candidates
from transforms.identity.compare import Comparer, possible, unpack
from transforms.identity.encode import Encoded, encode_records
from transforms.identity.fields import RECORD_KEY
from transforms.identity.kinds import KINDS
from transforms.identity.model import SAME, LinkModel
from transforms.identity.pairs import Pairs
from transforms.identity.proof import Proof
from transforms.identity.rules import Comparison, IdentityRules
from transforms.identity.standard import standardise_records
from transforms.identity.train import Sample, draw_strangers, sample_candidates, sample_rate, train_model
from transforms.identity.weigh import Evidence, odds_of_same

EDGES = pa.schema([
    pa.field("left", pa.string(), nullable=False),  # record keys
    pa.field("right", pa.string(), nullable=False),
    pa.field("weight", pa.float64(), nullable=False),  # bits: log2 of the Bayes factor for one person
    pa.field("probability", pa.float64(), nullable=False),
    pa.field("kind", pa.string(), nullable=False),  # "deterministic" or "probabilistic"
    pa.field("rule", pa.string(), nullable=False),  # which proof, or "model"
])  # fmt: skip
CONTRIBUTIONS = pa.schema([
    pa.field("comparison", pa.string(), nullable=False),
    pa.field("level", pa.string(), nullable=False),
    pa.field("bits", pa.float64(), nullable=False),  # what it adds to the log2 of the odds after those before it
    pa.field("left", pa.string()),  # the values, in the spelling they are compared in
    pa.field("right", pa.string()),
])  # fmt: skip
PROOF_PROBABILITY = 0.9999
_BIT = np.log(2)


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of records that are, or may be, one person.

    Attributes:
      edges: EDGES, of pairs from `keep_probability`, ordered by left and right; left is the lesser key, or where two
        tables are linked the one of the first. Independent of the order of the records.
      model: what was learned, or given.
      blocks: BLOCKS: how candidates were found and which were left out.
      compared: how many pairs were compared.
      records: all records.
      weighed: the edges as record numbers, in the same order.
    """

    edges: pa.Table
    model: LinkModel
    blocks: pa.Table
    compared: int
    records: Encoded
    weighed: Weighed

    def explain(self, left: str, right: str) -> pa.Table:
        """CONTRIBUTIONS of every comparison to the odds of these two records, the first row what all pairs start from.

        The bits add up to the log2 of the odds that they are one person.

        Raises:
          UserError: a record is unknown.
        """
        places = _places(self.records, pa.array([left, right], pa.string()))
        pairs, bits = self._waterfall(places[:1], places[1:])
        return _explained(self.records, self.model, places, unpack(pairs.patterns, self.model.comparisons)[0], bits[0])

    def contributions(self, edges: pa.Table) -> pa.Table:
        """The bits of each comparison for these edges: left, right, a column `bits_<comparison>` each."""
        lefts, rights = (_places(self.records, edges[side]) for side in ("left", "right"))
        bits = self._waterfall(lefts, rights)[1]
        names = ["start", *(c.name for c in self.model.comparisons)]
        columns = {f"bits_{name}": pa.array(bits[:, k]) for k, name in enumerate(names)}
        return pa.table({"left": edges["left"], "right": edges["right"], **columns})

    def _waterfall(self, left: np.ndarray, right: np.ndarray) -> tuple[Pairs, np.ndarray]:
        """The pairs, and the bits that the start and then each comparison adds to the log of the odds."""
        pairs = Pairs.compared(comparer_of(self.records, self.model.comparisons, left, right), left, right)
        evidence, classes = Evidence(self.records, self.model), self.model.classes
        running = np.zeros((len(left), len(classes)))
        odds = [odds_of_same(running, classes)]
        for part in evidence.each(pairs.left, pairs.patterns):
            running = running + part
            odds.append(odds_of_same(running, classes))
        return pairs, np.diff(np.stack(odds, axis=1), axis=1, prepend=0) / _BIT


def score_pairs(
    records: pa.Table,
    rules: IdentityRules,
    *,
    model: LinkModel | None = None,
    against: pa.Table | None = None,
    within: bool = True,
) -> ScoredPairs:
    """Finds, compares and weighs the pairs of records that may be one person.

    Args:
      records: `record_key` and any of FIELDS, raw or from `standardise_records`.
      model: of an earlier run; without it one is learned from these records.
      against: records met before; pairs among them are not looked at again.
      within: whether two of `records` may be a pair; False links two files that hold no duplicates.

    Memory: the records, `chunk_pairs` pairs at a time, and the pairs that are kept.

    Raises:
      UserError: a key is missing or repeated, among `records` and `against` together too.
    """
    first = standardise_records(records)
    second = None if against is None else standardise_records(against)
    if second is not None and pc.any(pc.is_in(first[RECORD_KEY], second[RECORD_KEY])).as_py():
        raise UserError(f"a {RECORD_KEY} is in both tables", "identity", "put the name of the source before the id")
    encoded = encode_records(first, second)
    candidates = find_candidates(encoded, rules, within)
    comparisons = possible(encoded.columns, rules.comparisons if model is None else model.comparisons)
    comparer = Comparer(encoded if model is None else encoded.only(candidates.rows()), comparisons)
    if model is None:
        model = train_model(encoded, comparisons, take_sample(comparer, candidates, rules, within), within)
    weigher = Weigher(encoded, model.only(comparisons), rules)
    kept, compared = [], 0
    for chunk in candidates.chunks(rules.chunk_pairs):
        compared += len(chunk[0])
        kept.append(weigher.keep(Pairs.compared(comparer, *chunk), rules.keep_probability))
    return weigher.scored(Weighed.concatenated(kept), candidates.report(), compared)


def take_sample(comparer: Comparer, candidates: Candidates, rules: IdentityRules, within: bool) -> Sample:
    """What the model of these records is learned from."""
    every = sample_rate(comparer.records.size, rules)
    strangers = draw_strangers(comparer.records, rules, within)
    return Sample(sample_candidates(comparer, candidates, rules, every), Pairs.compared(comparer, *strangers), every)


def comparer_of(records: Encoded, comparisons: tuple[Comparison, ...], left: np.ndarray, right: np.ndarray) -> Comparer:
    """Compares these pairs, and needs nothing of other records."""
    asked = np.zeros(records.size, bool)
    asked[left] = asked[right] = True
    return Comparer(records.only(asked), comparisons)


@dataclass(frozen=True)
class Weighed:
    """Pairs, the bits for one person, the probability, and which rule proves it (NONE: none does)."""

    pairs: Pairs
    weight: np.ndarray
    probability: np.ndarray
    proven: np.ndarray

    @staticmethod
    def concatenated(parts: Sequence[Weighed]) -> Weighed:
        if not parts:
            return Weighed(Pairs.concatenated([]), np.empty(0), np.empty(0), np.empty(0, np.int64))
        numbers = (np.concatenate([getattr(p, name) for p in parts]) for name in ("weight", "probability", "proven"))
        return Weighed(Pairs.concatenated([p.pairs for p in parts]), *numbers)

    def take(self, at: np.ndarray) -> Weighed:
        return Weighed(self.pairs.take(at), self.weight[at], self.probability[at], self.proven[at])


class Weigher:
    """Says how probable it is that compared pairs are one person."""

    def __init__(self, records: Encoded, model: LinkModel, rules: IdentityRules) -> None:
        self._records, self.model = records, model
        self._evidence, self._proof = Evidence(records, model), Proof(records, rules)
        prior = np.log(model.classes)
        self._start = float(np.logaddexp.reduce(prior[SAME]) - np.logaddexp.reduce(prior[~SAME]))

    def keep(self, pairs: Pairs, least: float) -> Weighed:
        """The pairs of at least this probability."""
        odds = odds_of_same(self._evidence.classes(pairs.left, pairs.patterns), self.model.classes)
        proven = self._proof.rule_of(pairs, self.model.comparisons)
        probability = np.where(proven >= 0, np.maximum(PROOF_PROBABILITY, _probability(odds)), _probability(odds))
        whole = Weighed(pairs, (odds - self._start) / _BIT, probability, proven)
        return whole.take(np.flatnonzero(probability >= least))

    def scored(self, weighed: Weighed, blocks: pa.Table, compared: int) -> ScoredPairs:
        """All edges, in order."""
        left, right, records = weighed.pairs.left, weighed.pairs.right, self._records
        if not records.new.all():  # linked to another table: what is new is left
            turn = ~records.new[left] & records.new[right]
            left, right = np.where(turn, right, left), np.where(turn, left, right)
        order = np.lexsort((right, left))
        ordered = replace(weighed, pairs=replace(weighed.pairs, left=left, right=right)).take(order)
        return ScoredPairs(self._edges(ordered), self.model, blocks, compared, records, ordered)

    def _edges(self, weighed: Weighed) -> pa.Table:
        names = pl.Series("rule", [*self._proof.names, "model"], dtype=pl.String)
        proven, keys = pl.Series(weighed.proven), self._records.keys
        frame = pl.DataFrame({
            "left": keys.gather(weighed.pairs.left), "right": keys.gather(weighed.pairs.right),
            "weight": weighed.weight, "probability": weighed.probability, "proven": proven,
            "rule": names.gather(pl.select(pl.when(proven < 0).then(len(names) - 1).otherwise(proven)).to_series()),
        }).with_columns(
            kind=pl.when(pl.col("proven") >= 0).then(pl.lit("deterministic")).otherwise(pl.lit("probabilistic"))
        )  # fmt: skip
        return frame.select(EDGES.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(EDGES)


def _probability(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(odds, -500, 500)))


def _places(records: Encoded, keys: pa.Array | pa.ChunkedArray) -> np.ndarray:
    asked = pl.Series("k", pl.from_arrow(keys))
    at = records.keys.search_sorted(asked).to_numpy()
    found = records.keys.gather(np.minimum(at, records.size - 1)) == asked if records.size else asked.is_null()
    if not found.all():
        raise UserError("a record is not among those compared", "identity", "ask for keys of these records")
    return at


def _explained(
    records: Encoded, model: LinkModel, places: np.ndarray, levels: np.ndarray, bits: np.ndarray
) -> pa.Table:
    rows: list[dict[str, object]] = [{"comparison": "start", "level": "any pair", "bits": float(bits[0])}]
    for k, c in enumerate(model.comparisons):
        values = [_value(records, c.fields if c.kind == "area" else c.fields[:1], int(place)) for place in places]
        name = KINDS[c.kind].names[levels[k]]
        rows.append(
            {"comparison": c.name, "level": name, "bits": float(bits[k + 1]), "left": values[0], "right": values[1]}
        )
    return pa.Table.from_pylist(rows, CONTRIBUTIONS)


def _value(records: Encoded, fields: tuple[str, ...], place: int) -> str | None:
    found = [records.column(f).values[int(code)] for f in fields if (code := records.column(f).codes[place]) >= 0]
    return " ".join(found) or None
