"""Computed and tracked sessions to verdicts on Beam: matched by id, then by visitor, in buckets of either."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.sessions.reconcile import (
    COMPUTED,
    MATCHED,
    RECONCILED,
    TOLERANCE_SECONDS,
    TRACKED,
    VISITOR,
    match_by_id,
    match_by_overlap,
)
from transforms.shuffle import GroupBatches, Spilled, Tagged, tables_of

_COMPUTED, _TRACKED, _NAMELESS = "computed", "tracked", "nameless"


@dataclass(eq=False)
class ReconcileSessions(beam.PTransform):
    """{"computed": PCollection[pa.RecordBatch of COMPUTED], "tracked": ... of TRACKED} -> batches of RECONCILED.

    What `reconcile_sessions` says of all at once, in memory of one bucket; windows: global; no order. The verdicts are
    counted as metrics `sessions/tracker_<verdict>`.

    Attributes:
      buckets, spill_dir: as in `GroupBatches`.
    """

    buckets: int
    spill_dir: str | None = None
    tolerance_seconds: float = TOLERANCE_SECONDS

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        register_batch_coder()
        named = inputs[_COMPUTED] | "Names" >> beam.ParDo(_NamesFn()).with_outputs(_NAMELESS, main=_COMPUTED)
        by_id = GroupBatches({_COMPUTED: ("tracker_session",), _TRACKED: ("SESSION_ID",)}, self.buckets, self.spill_dir)
        matched = (
            {_COMPUTED: named[_COMPUTED], _TRACKED: inputs[_TRACKED]}
            | "ById" >> by_id
            | "MatchById" >> beam.ParDo(_ByIdFn(self.tolerance_seconds)).with_outputs(_COMPUTED, _TRACKED, main="pairs")
        )
        computed = (matched[_COMPUTED], named[_NAMELESS]) | "AllComputed" >> beam.Flatten()
        by_visitor = GroupBatches({_COMPUTED: ("visitor",), _TRACKED: ("visitor",)}, self.buckets, self.spill_dir)
        rest = (
            {_COMPUTED: computed, _TRACKED: matched[_TRACKED]}
            | "ByVisitor" >> by_visitor
            | "MatchByOverlap" >> beam.ParDo(_ByOverlapFn(self.tolerance_seconds)).with_output_types(pa.RecordBatch)
        )
        return (
            (matched.pairs, rest)
            | "Verdicts" >> beam.Flatten()
            | "CountVerdicts" >> beam.ParDo(_CountFn()).with_output_types(pa.RecordBatch)
        )


class _NamesFn(beam.DoFn):
    """Sessions whose events carry no id of the tracker's have no partner by id, and would all be one bucket."""

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        named = batch["tracker_session"].is_valid()
        yield batch.filter(named)
        rest = as_table(batch.filter(pa.compute.invert(named)))
        if rest.num_rows:
            told = rest.append_column(MATCHED, pa.repeat(False, rest.num_rows))
            yield beam.pvalue.TaggedOutput(_NAMELESS, as_batch(told))


class _ByIdFn(beam.DoFn):
    def __init__(self, tolerance_seconds: float) -> None:
        self._tolerance = tolerance_seconds

    def process(
        self, element: tuple[int, Iterable[Tagged | Spilled]]
    ) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        tables = tables_of(element[1])
        computed = tables.get(_COMPUTED, COMPUTED.empty_table())
        found = match_by_id(computed, tables.get(_TRACKED, TRACKED.empty_table()), self._tolerance)
        yield as_batch(found.pairs)
        yield beam.pvalue.TaggedOutput(_COMPUTED, as_batch(found.computed))
        yield beam.pvalue.TaggedOutput(_TRACKED, as_batch(found.tracked))


class _ByOverlapFn(beam.DoFn):
    def __init__(self, tolerance_seconds: float) -> None:
        self._tolerance = tolerance_seconds

    def process(self, element: tuple[int, Iterable[Tagged | Spilled]]) -> Iterator[pa.RecordBatch]:
        tables = tables_of(element[1])
        computed = tables.get(_COMPUTED, pa.schema([*COMPUTED, MATCHED]).empty_table())
        tracked = tables.get(_TRACKED, pa.schema([*TRACKED, VISITOR, MATCHED]).empty_table())
        yield as_batch(match_by_overlap(computed, tracked, self._tolerance))


class _CountFn(beam.DoFn):
    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for found in pa.compute.value_counts(batch["verdict"]).to_pylist():
            Metrics.counter("sessions", f"tracker_{found['values']}").inc(found["counts"])
        if batch.num_rows:
            yield batch.cast(RECONCILED)
