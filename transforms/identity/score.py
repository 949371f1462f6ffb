"""Scored pairs: which records are one person, by which evidence, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import UserError
from transforms.identity.block import Candidates, find_candidates
from transforms.identity.compare import Comparer
from transforms.identity.encode import Encoded, encode_records
from transforms.identity.fields import RECORD_KEY
from transforms.identity.kinds import KINDS
from transforms.identity.model import SAME, LinkModel
from transforms.identity.proof import Proof
from transforms.identity.rules import IdentityRules
from transforms.identity.standard import standardise_records
from transforms.identity.train import train_model
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
      evidence, records: what the pairs were weighed by, and all records.
    """

    edges: pa.Table
    model: LinkModel
    blocks: pa.Table
    compared: int
    evidence: Evidence
    records: Encoded

    def explain(self, left: str, right: str) -> pa.Table:
        """CONTRIBUTIONS of every comparison to the odds of these two records, the first row what all pairs start from.

        The bits add up to the log2 of the odds that they are one person.

        Raises:
          UserError: a record is unknown.
        """
        comparer = Comparer(self.records, self.model.comparisons)
        return _explain(Evidence(comparer, self.model.only(comparer.comparisons), self.records), left, right)

    def contributions(self, edges: pa.Table) -> pa.Table:
        """The bits of each comparison for these edges: left, right, a column `bits_<comparison>` each."""
        lefts, rights = (_places(self.evidence.comparer.records, edges[side]) for side in ("left", "right"))
        bits = _waterfall(self.evidence, lefts, rights)[1]
        names = ["start", *(c.name for c in self.model.comparisons)]
        columns = {f"bits_{name}": pa.array(bits[:, k]) for k, name in enumerate(names)}
        return pa.table({"left": edges["left"], "right": edges["right"], **columns})


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
    asked = rules.comparisons if model is None else model.comparisons
    met = encoded if model is None else encoded.only(candidates.rows())
    comparer = Comparer(met, asked)
    if model is None:
        model = train_model(comparer, candidates, rules)
    elif comparer.comparisons != model.comparisons:
        model = model.only(comparer.comparisons)
    evidence = Evidence(comparer, model, encoded)
    edges, compared = _edges(evidence, candidates, Proof(encoded, rules), rules)
    return ScoredPairs(edges, model, candidates.report(), compared, evidence, encoded)


def _edges(evidence: Evidence, candidates: Candidates, proof: Proof, rules: IdentityRules) -> tuple[pa.Table, int]:
    kept, compared = [], 0
    prior = np.log(evidence.model.classes)
    start = float(np.logaddexp.reduce(prior[SAME]) - np.logaddexp.reduce(prior[~SAME]))
    for left, right in candidates.chunks(rules.chunk_pairs):
        compared += len(left)
        levels = evidence.comparer.levels(left, right)
        odds = odds_of_same(evidence.classes(left, right, levels), evidence.model.classes)
        proven = proof.rule_of(left, right, levels, evidence.comparer.comparisons)
        probability = np.where(proven >= 0, np.maximum(PROOF_PROBABILITY, _probability(odds)), _probability(odds))
        at = np.flatnonzero(probability >= rules.keep_probability)
        kept.append((left[at], right[at], (odds[at] - start) / _BIT, probability[at], proven[at]))
    parts = [np.concatenate(part) for part in zip(*kept, strict=True)] if kept else [np.empty(0)] * 5
    return _table(evidence.comparer.records, parts, proof), compared


def _table(records: Encoded, parts: list[np.ndarray], proof: Proof) -> pa.Table:
    left, right, weight, probability, proven = parts
    left, right, proven = left.astype(np.int64), right.astype(np.int64), proven.astype(np.int64)
    if not records.new.all():  # linked to another table: what is new is left
        turn = ~records.new[left] & records.new[right]
        left, right = np.where(turn, right, left), np.where(turn, left, right)
    frame = pl.DataFrame({
        "l": left, "r": right, "weight": weight, "probability": probability,
        "kind": np.where(proven >= 0, "deterministic", "probabilistic"),
        "rule": np.array([*proof.names, "model"], object)[proven].tolist(),
    }, schema_overrides={"kind": pl.String, "rule": pl.String})  # fmt: skip
    frame = frame.sort("l", "r")
    keys = records.keys
    frame = frame.with_columns(left=keys.gather(frame["l"]), right=keys.gather(frame["r"]))
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


def _waterfall(evidence: Evidence, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels, and the bits that the start and each comparison add to the log of the odds, one after the other."""
    levels = evidence.comparer.levels(left, right)
    running = np.zeros((len(left), len(evidence.model.classes)))
    odds = [odds_of_same(running, evidence.model.classes)]
    for part in evidence.each(left, right, levels):
        running = running + part
        odds.append(odds_of_same(running, evidence.model.classes))
    return levels, np.diff(np.stack(odds, axis=1), axis=1, prepend=0) / _BIT


def _explain(evidence: Evidence, left: str, right: str) -> pa.Table:
    records = evidence.comparer.records
    places = _places(records, pa.array([left, right], pa.string()))
    levels, bits = _waterfall(evidence, places[:1], places[1:])
    rows: list[dict[str, object]] = [{"comparison": "start", "level": "any pair", "bits": float(bits[0, 0])}]
    for k, c in enumerate(evidence.model.comparisons):
        values = [_value(records, c.fields if c.kind == "area" else c.fields[:1], int(place)) for place in places]
        name = KINDS[c.kind].names[levels[0, k]]
        rows.append(
            {"comparison": c.name, "level": name, "bits": float(bits[0, k + 1]), "left": values[0], "right": values[1]}
        )
    return pa.Table.from_pylist(rows, CONTRIBUTIONS)


def _value(records: Encoded, fields: tuple[str, ...], place: int) -> str | None:
    found = [records.column(f).values[int(code)] for f in fields if (code := records.column(f).codes[place]) >= 0]
    return " ".join(found) or None
