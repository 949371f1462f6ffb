"""Scored pairs on Beam: blocks of records are compared wherever they are, and no worker holds all records or pairs.

A record travels once for each blocking rule that it has a key for, to the bucket of its block. What pairs weigh depends
on how frequent values are and on the model: both are learned before, from counts and from samples, and are small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.identity.block import Candidates, find_candidates
from transforms.identity.compare import Comparer, possible
from transforms.identity.encode import Encoded, encode_records
from transforms.identity.fields import RECORD_KEY
from transforms.identity.frequency import FREQUENCIES, Frequencies, count_values, merge_values
from transforms.identity.keys import block_hash
from transforms.identity.model import LinkModel
from transforms.identity.pairs import Pairs
from transforms.identity.rules import Comparison, IdentityRules
from transforms.identity.score import EDGES, Weighed, Weigher
from transforms.identity.train import draw_strangers, fit_model, in_sample, sample_rate
from transforms.shuffle import GroupBatches, tables_of

NEW = "_new"
_RULE, _BLOCK, _PLACED, _ROWS = "_rule", "_block", "placed", "rows"
_SAMPLE = pa.schema([("left", pa.string()), ("right", pa.string()), ("pattern", pa.int64())])
_OLDEST = pl.CompatLevel.oldest()


class Scored(NamedTuple):
    """`edges`: batches of EDGES, each pair once, left below right; `model`: one LinkModel, as JSON."""

    edges: beam.PCollection
    model: beam.PCollection


@dataclass(eq=False)
class ScorePairs(beam.PTransform):
    """Standard records -> `Scored`: the edges that `score.score_pairs` gives for all of them together.

    records: batches of `standardise_records`, all with the same columns; with NEW (bool) only pairs of which one is
    new are looked at. Windows: global. Memory: a bucket, and the values that several records have. A pair that several
    blocking rules bring together is compared several times.

    Attributes:
      model: of an earlier run; without it one is learned, from samples that do not depend on the buckets.
      buckets, spill_dir: as in `GroupBatches`; records are there about ten times.
    """

    buckets: int
    rules: IdentityRules = field(default_factory=IdentityRules)
    model: LinkModel | None = None
    spill_dir: str | None = None

    def expand(self, records: beam.PCollection) -> Scored:
        register_batch_coder()
        count = _grouped(_CountValues(self.rules), _merge_counts, ("column", "value"), self)
        counted = records | "CountValues" >> count
        known = beam.pvalue.AsList(counted)
        placed = records | "Place" >> beam.FlatMap(_placed, self.rules).with_output_types(pa.RecordBatch)
        blocks = {_PLACED: placed} | "ByBlock" >> GroupBatches({_PLACED: (_RULE, _BLOCK)}, self.buckets, self.spill_dir)
        model = self._learned(records, blocks, known) if self.model is None else self._given(records)
        edges = (
            blocks
            | "Weigh" >> beam.ParDo(_WeighFn(self.rules), known, beam.pvalue.AsSingleton(model)).with_output_types(
                pa.RecordBatch)
            | "OncePair" >> _grouped(None, _once, ("left", "right"), self)
        )  # fmt: skip
        return Scored(edges, model)

    def _given(self, records: beam.PCollection) -> beam.PCollection:
        assert self.model is not None
        return records.pipeline | "GivenModel" >> beam.Create([self.model.to_json()])

    def _learned(self, records: beam.PCollection, blocks: beam.PCollection, known: Any) -> beam.PCollection:
        """The model of samples: pairs that blocks bring together, and strangers."""
        sample = (
            blocks
            | "Sample" >> beam.ParDo(_SampleFn(self.rules), known).with_output_types(pa.RecordBatch)
            | "OnceSample" >> _grouped(None, _once, ("left", "right"), self)
            | "CountPatterns" >> beam.Map(_patterns).with_output_types(pa.RecordBatch)
        )
        strangers = records | "Strangers" >> beam.FlatMap(_lowest, known, self.rules).with_output_types(pa.RecordBatch)
        sides = (known, beam.pvalue.AsList(sample), beam.pvalue.AsList(strangers))
        return records.pipeline | "Once" >> beam.Create([None]) | "Learn" >> beam.Map(_learn, *sides, self.rules)


def _grouped(before: Any, after: Any, keys: tuple[str, ...], asked: ScorePairs) -> beam.PTransform:
    """`after` of the rows of each bucket, of what `before` makes of batches."""
    return _Grouped(before, after, keys, asked.buckets, asked.spill_dir)


@dataclass(eq=False)
class _Grouped(beam.PTransform):
    before: Any
    after: Any
    keys: tuple[str, ...]
    buckets: int
    spill_dir: str | None

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        if self.before is not None:
            batches = batches | "Before" >> beam.Map(self.before).with_output_types(pa.RecordBatch)
        return (
            {_ROWS: batches}
            | "Bring" >> GroupBatches({_ROWS: self.keys}, self.buckets, self.spill_dir)
            | "After" >> beam.Map(_of_rows, self.after).with_output_types(pa.RecordBatch)
        )


def _of_rows(bucket: tuple[int, Iterable[Any]], work: Any) -> pa.RecordBatch:
    return as_batch(work(tables_of(bucket[1])[_ROWS]))


@dataclass(frozen=True)
class _CountValues:
    rules: IdentityRules

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        keys = {name for rule in self.rules.blocking for name in rule.without}
        return as_batch(count_values(_encoded(as_table(batch)), sorted(keys)))


def _merge_counts(parts: pa.Table) -> pa.Table:
    return merge_values(parts)


def _once(rows: pa.Table) -> pa.Table:
    """Each pair once; what is said of it is the same wherever it was found."""
    frame = pl.DataFrame(pl.from_arrow(rows)).unique(["left", "right"], keep="any")
    return frame.to_arrow(compat_level=_OLDEST).cast(rows.schema)


def _patterns(sample: pa.RecordBatch) -> pa.RecordBatch:
    patterns, counts = np.unique(sample["pattern"].to_numpy(), return_counts=True)
    return pa.RecordBatch.from_pydict({"pattern": patterns, "pairs": counts.astype(np.int64)})


def _encoded(rows: pa.Table) -> Encoded:
    if NEW not in rows.column_names:
        return encode_records(rows)
    bare = rows.drop_columns([NEW])
    return encode_records(bare.filter(rows[NEW]), bare.filter(pa.compute.invert(rows[NEW])))


def _placed(batch: pa.RecordBatch, rules: IdentityRules) -> Iterator[pa.RecordBatch]:
    """The records with the number of a rule and the hash of their block, once for each rule they have a key for."""
    rows = as_table(batch).sort_by(RECORD_KEY)  # as `encode_records` orders them
    records = _encoded(rows)
    hashes = {name: block_hash(records, name) for rule in rules.blocking for name in rule.keys}
    for number, rule in enumerate(rules.blocking):
        block, there = _combined([hashes[name] for name in rule.keys])
        if there.any():
            found = rows.filter(pa.array(there))
            found = found.append_column(_RULE, pa.array(np.full(found.num_rows, number, np.int64)))
            yield as_batch(found.append_column(_BLOCK, pa.array(block[there].view(np.int64))))


def _combined(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One hash for all parts of a key, and which records have all."""
    whole, there = np.zeros(len(parts[0]), np.uint64), np.ones(len(parts[0]), bool)
    for part in parts:
        whole = whole * np.uint64(0x9E3779B97F4A7C15) + part
        there &= part > 0
    return whole, there


class _Blocks:
    """The blocks of one bucket, rule by rule, with what is known of all records."""

    def __init__(
        self, bucket: tuple[int, Iterable[Any]], known: Sequence[pa.RecordBatch], rules: IdentityRules
    ) -> None:
        self._rows, self._rules = tables_of(bucket[1])[_PLACED], rules
        self.known = known_of(known)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        return possible(self.known.columns, self._rules.comparisons)

    def __iter__(self) -> Iterator[tuple[Encoded, Candidates]]:
        """Of each rule its records, and the pairs that meet."""
        for number, rule in enumerate(self._rules.blocking):
            if self.known.keys & set(rule.without):
                continue
            rows = self._rows.filter(pa.compute.equal(self._rows[_RULE], number)).drop_columns([_RULE, _BLOCK])
            if rows.num_rows > 1:
                records = self.known.told(_encoded(rows))
                yield records, find_candidates(records, replace(self._rules, blocking=(replace(rule, without=()),)))


def known_of(parts: Sequence[pa.RecordBatch]) -> Frequencies:
    return Frequencies(pa.Table.from_batches(parts, FREQUENCIES))


class _SampleFn(beam.DoFn):
    """Candidate pairs that are in the sample, with their patterns."""

    def __init__(self, rules: IdentityRules) -> None:
        self._rules = rules

    def process(self, bucket: tuple[int, Iterable[Any]], known: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        blocks = _Blocks(bucket, known, self._rules)
        every = sample_rate(blocks.known.records, self._rules)
        for records, candidates in blocks:
            wanted = in_sample(records, every) if every > 1 else None
            comparer = Comparer(records.only(candidates.rows()), blocks.comparisons)
            for chunk in candidates.chunks(self._rules.chunk_pairs, wanted):
                pairs = Pairs.compared(comparer, *chunk)
                ends = (records.keys.gather(side).to_arrow(compat_level=_OLDEST) for side in (pairs.left, pairs.right))
                columns = [*(end.cast(pa.string()) for end in ends), pa.array(pairs.patterns)]
                yield pa.RecordBatch.from_arrays(columns, schema=_SAMPLE)


class _WeighFn(beam.DoFn):
    """The pairs of a bucket that are probable enough, by this model."""

    def __init__(self, rules: IdentityRules) -> None:
        self._rules = rules

    def process(
        self, bucket: tuple[int, Iterable[Any]], known: list[pa.RecordBatch], model: str
    ) -> Iterator[pa.RecordBatch]:
        learned = LinkModel.from_json(model)
        blocks = _Blocks(bucket, known, self._rules)
        comparisons = possible(blocks.known.columns, learned.comparisons)
        for records, candidates in blocks:
            comparer = Comparer(records.only(candidates.rows()), comparisons)
            weigher, kept = Weigher(records, learned.only(comparisons), self._rules), []
            for chunk in candidates.chunks(self._rules.chunk_pairs):
                kept.append(weigher.keep(Pairs.compared(comparer, *chunk), self._rules.keep_probability))
            edges = weigher.scored(Weighed.concatenated(kept), candidates.report(), 0).edges
            if edges.num_rows:
                yield as_batch(_low_first(edges))


def _low_first(edges: pa.Table) -> pa.Table:
    frame = pl.DataFrame(pl.from_arrow(edges))
    ends = frame.with_columns(left=pl.min_horizontal("left", "right"), right=pl.max_horizontal("left", "right"))
    return ends.to_arrow(compat_level=_OLDEST).cast(EDGES)


def _lowest(batch: pa.RecordBatch, known: list[pa.RecordBatch], rules: IdentityRules) -> Iterator[pa.RecordBatch]:
    """The records whose keys have low hashes: those that `draw_strangers` begins with, and some to spare."""
    records = max(1, known_of(known).records)
    share = (1.2 * -(-rules.training_pairs // 4) + 1_000) / records
    if share >= 1:
        yield batch
        return
    hashes = _encoded(as_table(batch).select([RECORD_KEY])).hashes
    rows = as_table(batch).sort_by(RECORD_KEY).filter(pa.array(hashes < np.uint64(share * 2.0**64)))
    if rows.num_rows:
        yield as_batch(rows)


def _learn(
    _: None,
    known: list[pa.RecordBatch],
    sample: list[pa.RecordBatch],
    strangers: list[pa.RecordBatch],
    rules: IdentityRules,
) -> str:
    """The model, as JSON, of patterns of candidates and of the records among which strangers are drawn."""
    frequencies = known_of(known)
    comparisons = possible(frequencies.columns, rules.comparisons)
    drawn = np.empty(0, np.int64)
    if strangers:
        records = frequencies.told(_encoded(pa.Table.from_batches(strangers)))
        drawn = Pairs.compared(Comparer(records, comparisons), *draw_strangers(records, rules)).patterns
    counted = pl.concat([pl.DataFrame({"pattern": [], "pairs": []}, {"pattern": pl.Int64, "pairs": pl.Int64}),
                         *(pl.DataFrame(pl.from_arrow(part)) for part in sample)])  # fmt: skip
    counted = counted.group_by("pattern").agg(pl.col("pairs").sum()).sort("pattern")
    every = float(sample_rate(frequencies.records, rules))
    patterns, counts = counted["pattern"].to_numpy(), counted["pairs"].to_numpy()
    return fit_model(frequencies.population(), comparisons, patterns, counts * every, drawn).to_json()


__all__ = ["NEW", "ScorePairs", "Scored"]
