"""Silver to customer_360 on Beam: every table is grouped by customer once, then one kernel runs over each bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.gold import rfm
from transforms.gold.customer_360 import INPUTS, SCHEMA, attach_customers, summarise_customers
from transforms.shuffle import GroupBatches, tables_of

_ID = ("CUSTOMER_ID",)
_ITEMS, _TRANSACTIONS = "CUSTOMER_TRANSACTION_ITEMS", "CUSTOMER_TRANSACTIONS"


@dataclass(eq=False)
class AssembleCustomers(beam.PTransform):
    """{table: PCollection[silver batches]} -> PCollection[pa.RecordBatch] of `customer_360.SCHEMA`, scored.

    Each table has at least its columns in `INPUTS`; a table may be absent. Windows: global. No order.

    Attributes:
      as_of: the day of reference; later events are not seen.
      buckets, spill_dir: as in `GroupBatches`.
    """

    as_of: datetime
    buckets: int
    spill_dir: str | None = None

    def expand(self, tables: dict[str, beam.PCollection]) -> beam.PCollection:
        register_batch_coder()
        inputs = dict(tables)
        if _ITEMS in inputs:
            inputs[_ITEMS] = self._attached(inputs)
        customers = (
            inputs
            | "ByCustomer" >> self._group(dict.fromkeys(inputs, _ID))
            | "Summarise" >> beam.ParDo(_SummariseFn(self.as_of)).with_output_types(pa.RecordBatch)
        )
        limits = (
            customers
            | "CountValues" >> beam.Map(lambda batch: rfm.summarise(as_table(batch)))
            | "MergeCounts" >> beam.CombineGlobally(rfm.merge)
            | "Quintiles" >> beam.Map(rfm.thresholds)
        )
        scored = {"rows": customers} | "AwaitQuintiles" >> self._group({"rows": ("customer_id",)})
        return scored | "Score" >> beam.FlatMap(_score, beam.pvalue.AsSingleton(limits)).with_output_types(
            pa.RecordBatch
        )

    def _group(self, keys: dict[str, tuple[str, ...]]) -> GroupBatches:
        return GroupBatches(keys, self.buckets, self.spill_dir)

    def _attached(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Items with the customer of their transaction, which they do not carry themselves."""
        both = {name: inputs[name] for name in (_ITEMS, _TRANSACTIONS) if name in inputs}
        return (
            both
            | "ByTransaction" >> self._group(dict.fromkeys(both, ("TRANSACTION_ID",)))
            | "AttachCustomers" >> beam.ParDo(_AttachFn()).with_output_types(pa.RecordBatch)
        )


class _AttachFn(beam.DoFn):
    def process(self, bucket: tuple[int, Iterable[Any]]) -> Iterator[pa.RecordBatch]:
        tables = tables_of(bucket[1])
        if _ITEMS in tables and _TRANSACTIONS in tables:
            yield as_batch(attach_customers(tables[_ITEMS], tables[_TRANSACTIONS]))


class _SummariseFn(beam.DoFn):
    def __init__(self, as_of: datetime) -> None:
        self._as_of = as_of

    def process(self, bucket: tuple[int, Iterable[Any]]) -> Iterator[pa.RecordBatch]:
        yield as_batch(summarise_customers(tables_of(bucket[1]), self._as_of))


def _score(bucket: tuple[int, Iterable[Any]], limits: pa.Table) -> Iterator[pa.RecordBatch]:
    for rows in tables_of(bucket[1]).values():
        yield as_batch(rfm.score(rows, limits).cast(SCHEMA))


__all__ = ["INPUTS", "SCHEMA", "AssembleCustomers"]
