"""Events to sessions on Beam, all at once: grouped by visitor in buckets, then one kernel runs over each bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from transforms.batches import as_batch, register_batch_coder
from transforms.sessions.event import EVENTS, split_events
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import SESSIONS, sessions_of
from transforms.shuffle import GroupBatches, tables_of

REJECTED = "rejected"
_EVENTS = "events"


class Sessionized(NamedTuple):
    """`sessions`: batches of SESSIONS; `rejected`: rows as they came, and why in `rule`."""

    sessions: beam.PCollection
    rejected: beam.PCollection


@dataclass(eq=False)
class SessionizeEvents(beam.PTransform):
    """PCollection[pa.RecordBatch of EVENTS] -> `Sessionized`. Windows: global. Ordered within a bucket only.

    Attributes:
      rules: what cuts.
      buckets, spill_dir: as in `GroupBatches`.
    """

    rules: SessionRules
    buckets: int
    spill_dir: str | None = None

    def expand(self, events: beam.PCollection) -> Sessionized:
        register_batch_coder()
        checked = events | "CheckEvents" >> beam.ParDo(_CheckFn()).with_outputs(REJECTED, main=_EVENTS)
        group = GroupBatches({_EVENTS: ("visitor",)}, self.buckets, self.spill_dir)
        sessions = (
            {_EVENTS: checked[_EVENTS]}
            | "ByVisitor" >> group
            | "CutSessions" >> beam.ParDo(_CutFn(self.rules)).with_output_types(pa.RecordBatch)
        )
        return Sessionized(sessions, checked[REJECTED])


class _CheckFn(beam.DoFn):
    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        accepted, refused = split_events(batch)
        if refused.null_count < len(refused):
            rejected = batch.append_column("rule", refused).filter(refused.is_valid())
            yield beam.pvalue.TaggedOutput(REJECTED, rejected)
        if accepted.num_rows:
            yield as_batch(accepted)


class _CutFn(beam.DoFn):
    def __init__(self, rules: SessionRules) -> None:
        self._rules = rules

    def process(self, bucket: tuple[int, Iterable[Any]]) -> Iterator[pa.RecordBatch]:
        yield as_batch(sessions_of(tables_of(bucket[1])[_EVENTS], self._rules))


__all__ = ["EVENTS", "SESSIONS", "SessionizeEvents", "Sessionized"]
