"""Silver to gold on Beam: every table is grouped by customer once, then the kernels run over each bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.gold import rfm
from transforms.gold.complete import complete_customers
from transforms.gold.customer_360 import SCHEMA, attach_customers, summarise_customers
from transforms.gold.persons import RECORD, PersonMap, join_records
from transforms.gold.publish import FinishFn, MergeParts
from transforms.gold.tables import CUSTOMER_TABLES, INPUTS, RULES, GoldContext, count_bucket
from transforms.shuffle import GroupBatches, tables_of

_ID = ("CUSTOMER_ID",)
_CUSTOMERS, _PARTS = "customers", "parts"
_RECORDS = "CUSTOMERS"
_ITEMS, _TRANSACTIONS = "CUSTOMER_TRANSACTION_ITEMS", "CUSTOMER_TRANSACTIONS"


@dataclass(frozen=True)
class Gold:
    """What gold is made of: `customers` (`customer_360.SCHEMA`, scored), `rows` of each of CUSTOMER_TABLES, and
    `tables`, (name, rows) of each of SHOP_TABLES; no order."""

    customers: beam.PCollection
    rows: dict[str, beam.PCollection]
    tables: beam.PCollection


@dataclass(eq=False)
class KeyByPerson(beam.PTransform):
    """Silver batches -> the same, with the person of each row's customer in CUSTOMER_ID; see `persons.key_by_person`.

    Attributes:
      uri, version: of the identity map; version None where there is none, and a record is a person.
      keep_record: adds `persons.RECORD`, the CUSTOMER_ID that the source gave.
    """

    uri: str
    version: int | None
    keep_record: bool = False

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "Key" >> beam.ParDo(_KeyFn(self.uri, self.version, self.keep_record)).with_output_types(
            pa.RecordBatch
        )


class _KeyFn(beam.DoFn):
    def __init__(self, uri: str, version: int | None, keep_record: bool) -> None:
        self._place, self._keep_record = (uri, version), keep_record

    def setup(self) -> None:
        self._persons = PersonMap(*self._place)

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        rows = as_table(batch)
        keyed = self._persons.key(rows)
        yield as_batch(keyed.append_column(RECORD, rows[_ID[0]]) if self._keep_record else keyed)


@dataclass(eq=False)
class AssembleGold(beam.PTransform):
    """{table: PCollection[silver batches]} -> `Gold`. Windows: global.

    Each table has at least its columns in `INPUTS`, keyed by `KeyByPerson` where identities are resolved; a table may
    be absent.

    Attributes:
      context: what all buckets share; events after its day of reference are not seen.
      buckets, spill_dir: as in `GroupBatches`.
    """

    context: GoldContext
    buckets: int
    spill_dir: str | None = None

    def expand(self, tables: dict[str, beam.PCollection]) -> Gold:
        register_batch_coder()
        inputs = dict(tables)
        if _ITEMS in inputs:
            inputs[_ITEMS] = self._attached(inputs)
        made = (
            inputs
            | "ByCustomer" >> self._group(dict.fromkeys(inputs, _ID))
            | "Summarise"
            >> beam.ParDo(_SummariseFn(self.context)).with_outputs(_PARTS, *CUSTOMER_TABLES, main=_CUSTOMERS)
        )
        parts = made[_PARTS] | "ByPart" >> beam.CombinePerKey(MergeParts())
        one = parts.pipeline | "Once" >> beam.Create([None])
        finished = one | "Finish" >> beam.ParDo(FinishFn(self.context), beam.pvalue.AsDict(parts))
        rows = {name: made[name] | name >> _as_batches() for name in CUSTOMER_TABLES}
        return Gold(self._scored(made[_CUSTOMERS] | "Customers" >> _as_batches()), rows, finished)

    def _scored(self, customers: beam.PCollection) -> beam.PCollection:
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
    def __init__(self, context: GoldContext) -> None:
        self._context = context

    def process(self, bucket: tuple[int, Iterable[Any]]) -> Iterator[Any]:
        tables = tables_of(bucket[1])
        if _RECORDS in tables:
            tables[_RECORDS] = join_records(tables[_RECORDS])
        rows, parts = count_bucket(tables, self._context)
        as_of = self._context.as_of
        yield as_batch(complete_customers(summarise_customers(tables, as_of), rows, as_of, RULES.lookback_days))
        for name, table in rows.items():
            yield beam.pvalue.TaggedOutput(name, as_batch(table))
        for name, table in parts.items():
            # The name goes twice: as the key, and with the counts, since a combiner does not see its key.
            yield beam.pvalue.TaggedOutput(_PARTS, (name, (name, as_batch(table))))


def _as_batches() -> beam.ParDo:
    return beam.Map(lambda batch: batch).with_output_types(pa.RecordBatch)  # outputs by tag have no type of their own


def _score(bucket: tuple[int, Iterable[Any]], limits: pa.Table) -> Iterator[pa.RecordBatch]:
    for rows in tables_of(bucket[1]).values():
        yield as_batch(rfm.score(rows, limits).cast(SCHEMA))


__all__ = ["INPUTS", "SCHEMA", "AssembleGold", "Gold", "GoldContext"]
