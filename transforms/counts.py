"""Row counts that travel with the data, so that they are right whatever a runner retries."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import reduce
from typing import NamedTuple

import apache_beam as beam

ACCEPTED, REJECTED, COUNTS = "accepted", "rejected", "counts"


@dataclass(frozen=True)
class Counts:
    """What became of the rows of one table in one step.

    `conflicts` are duplicates with another content; `restated` are rows written that were not read but stored: their
    flags changed.
    """

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    conflicts: int = 0
    restated: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def balanced(self) -> bool:
        """read = accepted + rejected + duplicates: no row lost, none made up."""
        return self.read == self.accepted + self.rejected + self.duplicates


class TableCounts(NamedTuple):
    """The counts of one table."""

    table: str
    counts: Counts


def sum_counts(parts: object) -> Counts:
    """The sum of any number of counts; a Beam combiner."""
    return reduce(lambda left, right: left + right, parts, Counts())  # type: ignore[call-overload, no-any-return]


@dataclass(eq=False)
class SumCounts(beam.PTransform):
    """PCollection[Counts] -> one `TableCounts` for the table."""

    table: str

    def expand(self, parts: beam.PCollection) -> beam.PCollection:
        table = self.table
        return parts | beam.CombineGlobally(sum_counts) | beam.Map(lambda counts: TableCounts(table, counts))
