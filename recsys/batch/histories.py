"""Silver to histories on Beam: lines find their transaction, then all that a person took comes together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa

from recsys.batch.silver import CUSTOMERS, EVENTS, ITEMS, TRANSACTIONS, histories, looks, purchases
from recsys.interactions import INTERACTIONS
from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.shuffle import GroupBatches, tables_of

_BATCH_PERSONS = 4_096
_PEOPLE = pa.schema(
    [
        pa.field("CUSTOMER_ID", pa.string()),
        pa.field("_record_id", pa.string()),
        pa.field("REGISTRATION_DATE", pa.date32()),
    ]
)


@dataclass(eq=False)
class GatherHistories(beam.PTransform):
    """{table: PCollection[silver batches]} -> batches of HISTORIES, each person once. Windows: global.

    Each table has its columns in `silver.INPUTS`, those with CUSTOMER_ID keyed by `KeyByPerson` (CUSTOMERS with its
    record); a table may be absent. No order.

    Attributes:
      as_of: what is later is not seen.
      most: how many of the newest interactions of a person are.
      buckets, spill_dir: as in `GroupBatches`.
    """

    as_of: datetime
    buckets: int
    most: int = 200
    spill_dir: str | None = None

    def expand(self, tables: dict[str, beam.PCollection]) -> beam.PCollection:
        register_batch_coder()
        taken = []
        if {ITEMS, TRANSACTIONS} <= tables.keys():
            both = {name: tables[name] for name in (ITEMS, TRANSACTIONS)}
            grouped = both | "ByTransaction" >> self._group(dict.fromkeys(both, ("TRANSACTION_ID",)))
            taken.append(grouped | "Purchases" >> beam.FlatMap(_purchases).with_output_types(pa.RecordBatch))
        if EVENTS in tables:
            taken.append(tables[EVENTS] | "Looks" >> beam.Map(_looks).with_output_types(pa.RecordBatch))
        inputs = {"taken": taken | beam.Flatten().with_output_types(pa.RecordBatch)} if taken else {}
        keys = {"taken": ("user",), CUSTOMERS: ("CUSTOMER_ID",)}
        inputs |= {name: rows for name, rows in tables.items() if name == CUSTOMERS}
        grouped = inputs | "ByPerson" >> self._group({name: keys[name] for name in inputs})
        return grouped | "Histories" >> beam.FlatMap(_histories, self.as_of, self.most).with_output_types(
            pa.RecordBatch
        )

    def _group(self, keys: dict[str, tuple[str, ...]]) -> GroupBatches:
        return GroupBatches(keys, self.buckets, self.spill_dir)


def _purchases(bucket: tuple[int, Iterable[Any]]) -> Iterator[pa.RecordBatch]:
    tables = tables_of(bucket[1])
    if {ITEMS, TRANSACTIONS} <= tables.keys():
        yield as_batch(purchases(tables[ITEMS], tables[TRANSACTIONS]))


def _looks(events: pa.RecordBatch) -> pa.RecordBatch:
    return as_batch(looks(as_table(events)))


def _histories(bucket: tuple[int, Iterable[Any]], as_of: datetime, most: int) -> Iterator[pa.RecordBatch]:
    tables = tables_of(bucket[1])
    taken = tables.get("taken", INTERACTIONS.empty_table())
    yield from histories(taken, tables.get(CUSTOMERS, _PEOPLE.empty_table()), as_of, most, _BATCH_PERSONS)
