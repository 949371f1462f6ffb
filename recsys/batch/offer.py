"""Lists for everyone on Beam: the model is loaded once a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.shared import Shared

from recsys.batch.lists import WrittenModel, offer


class _OfferFn(beam.DoFn):
    def __init__(self, model: WrittenModel, k: int, made_at: datetime) -> None:
        self._model, self._k, self._made_at, self._shared = model, k, made_at, Shared()
        self._persons = beam.metrics.Metrics.counter("recommend", "persons")

    def setup(self) -> None:
        self._loaded: Any = self._shared.acquire(self._model.load, tag=self._model.path)

    def process(self, people: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        self._persons.inc(people.num_rows)
        yield offer(people, self._loaded, self._model, self._k, self._made_at)


@dataclass(eq=False)
class OfferLists(beam.PTransform):
    """PCollection[pa.RecordBatch] of HISTORIES -> PCollection[pa.RecordBatch] of RECOMMENDATIONS, a batch a batch.

    No order across batches; windows are kept. Memory: the model once a worker, and a batch.
    """

    model: WrittenModel
    made_at: datetime
    k: int = 10

    def expand(self, people: beam.PCollection) -> beam.PCollection:
        made = beam.ParDo(_OfferFn(self.model, self.k, self.made_at)).with_output_types(pa.RecordBatch)
        return people | "OfferLists" >> made
