"""What follows from persons, on Beam: rows get the person of their customer, visits the customer who logged in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.identity.customers import customers_of
from transforms.identity.stitch import (
    VISITORS,
    StitchRules,
    attribute_visits,
    follow_persons,
    place_visits,
    stitch_visits,
    summarise_visits,
)
from transforms.shuffle import GroupBatches, tables_of

_ROWS, _MAP, _VISITS = "rows", "map", "visits"
_ID = "CUSTOMER_ID"


@dataclass(eq=False)
class FollowPersons(beam.PTransform):
    """(rows, map) -> the rows with `person_id` of their customer; null for a customer without one, or none.

    Tickets, preferences, profiles, transactions: whatever has a customer follows the customer's person.

    Attributes:
      customer: the rows' column with the CUSTOMER_ID; the map has IDENTITY_MAP's columns.
      buckets, spill_dir: as in `GroupBatches`.
    """

    buckets: int
    spill_dir: str | None = None
    customer: str = _ID

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        register_batch_coder()
        rows, map = inputs
        keyed = map | "Customers" >> beam.Map(lambda batch: as_batch(customers_of(as_table(batch)))).with_output_types(
            pa.RecordBatch
        )
        group = GroupBatches({_ROWS: (self.customer,), _MAP: (_ID,)}, self.buckets, self.spill_dir)
        return (
            {_ROWS: rows, _MAP: keyed}
            | "ByCustomer" >> group
            | "Follow" >> beam.ParDo(_FollowFn(self.customer)).with_output_types(pa.RecordBatch)
        )


class _FollowFn(beam.DoFn):
    def __init__(self, customer: str) -> None:
        self._customer = customer

    def process(self, bucket: tuple[int, Iterable[Any]]) -> Iterator[pa.RecordBatch]:
        tables = tables_of(bucket[1])
        if _ROWS in tables:
            none = pa.table({"record": pa.array([], pa.string()), "person_id": pa.array([], pa.string())})
            map = tables[_MAP].rename_columns({_ID: "record"}) if _MAP in tables else none
            yield as_batch(follow_persons(tables[_ROWS], map, self._customer))


@dataclass(eq=False)
class StitchVisits(beam.PTransform):
    """Batches of visits (`device`, `SESSION_ID`, `customer`, `at`) -> batches of VISITORS; see `stitch.stitch_visits`.

    Attributes:
      by_session: visits may lack the device that another visit of their session names; without one the session is it.
    """

    rules: StitchRules
    buckets: int
    spill_dir: str | None = None
    by_session: bool = True

    def expand(self, visits: beam.PCollection) -> beam.PCollection:
        register_batch_coder()
        if self.by_session:
            group = GroupBatches({_VISITS: ("SESSION_ID",)}, self.buckets, self.spill_dir)
            grouped = {_VISITS: visits} | "BySession" >> group
            visits = grouped | "Place" >> beam.Map(_placed).with_output_types(pa.RecordBatch)
        return (
            {_VISITS: visits}
            | "ByDevice" >> GroupBatches({_VISITS: ("device",)}, self.buckets, self.spill_dir)
            | "Stitch" >> beam.ParDo(_StitchFn(self.rules)).with_output_types(pa.RecordBatch)
        )


def _placed(bucket: tuple[int, Iterable[Any]]) -> pa.RecordBatch:
    return as_batch(place_visits(tables_of(bucket[1])[_VISITS]))


class _StitchFn(beam.DoFn):
    def __init__(self, rules: StitchRules) -> None:
        self._rules = rules

    def process(self, bucket: tuple[int, Iterable[Any]]) -> Iterator[pa.RecordBatch]:
        yield as_batch(summarise_visits(stitch_visits(tables_of(bucket[1])[_VISITS], self._rules)))


@dataclass(eq=False)
class AttributeVisits(beam.PTransform):
    """(rows, visitors) -> the rows, those without a customer with that of their visitor; see `attribute_visits`.

    Attributes:
      time: the rows' column with their time. buckets, spill_dir: as in `GroupBatches`.
    """

    time: str
    buckets: int
    spill_dir: str | None = None

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
        register_batch_coder()
        rows, visitors = inputs
        group = GroupBatches({_ROWS: ("SESSION_ID",), _VISITS: ("SESSION_ID",)}, self.buckets, self.spill_dir)
        return (
            {_ROWS: rows, _VISITS: visitors}
            | "BySession" >> group
            | "Attribute" >> beam.FlatMap(_attributed, self.time).with_output_types(pa.RecordBatch)
        )


def _attributed(bucket: tuple[int, Iterable[Any]], time: str) -> Iterator[pa.RecordBatch]:
    tables = tables_of(bucket[1])
    if _ROWS in tables:
        rows = tables[_ROWS]
        yield as_batch(attribute_visits(rows, tables[_VISITS], time) if _VISITS in tables else rows)


__all__ = ["VISITORS", "AttributeVisits", "FollowPersons", "StitchVisits"]
