"""Small tables of gold on Beam: counts of all buckets become one, and each table is written whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from transforms.batches import as_batch, as_table
from transforms.gold.tables import PARTS, SHOP_TABLES, GoldContext, finish_tables
from transforms.io.delta import CommitResult, overwrite_rows

_ROWS_BETWEEN_MERGES = 500_000


class MergeParts(beam.CombineFn):
    """(part, counts of a bucket) -> the counts of all; merges whenever what waits is more than what was merged."""

    def create_accumulator(self) -> tuple[str, int, list[pa.Table]]:
        return "", 0, []

    def add_input(self, held: tuple[str, int, list[pa.Table]], one: tuple[str, pa.RecordBatch]):  # type: ignore[no-untyped-def]
        return self._add(one[0], held[1], [*held[2], as_table(one[1])])

    def merge_accumulators(self, several: Iterable[tuple[str, int, list[pa.Table]]]):  # type: ignore[no-untyped-def]
        name, tables = "", list[pa.Table]()
        for part, _, some in several:
            name, tables = part or name, [*tables, *some]
        return self._add(name, 0, tables)

    def extract_output(self, held: tuple[str, int, list[pa.Table]]) -> pa.RecordBatch:
        return as_batch(PARTS[held[0]][1](held[2]))

    def _add(self, name: str, merged: int, tables: list[pa.Table]) -> tuple[str, int, list[pa.Table]]:
        if name and sum(t.num_rows for t in tables) > 2 * merged + _ROWS_BETWEEN_MERGES:
            whole = PARTS[name][1](tables)
            return name, whole.num_rows, [whole]
        return name, merged, tables


class FinishFn(beam.DoFn):
    """None and the merged parts -> (name, rows) of each table of SHOP_TABLES."""

    def __init__(self, context: GoldContext) -> None:
        self._context = context

    def process(self, _: None, parts: Mapping[str, pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
        made = finish_tables({name: as_table(batch) for name, batch in parts.items()}, self._context)
        yield from ((name, as_batch(table)) for name, table in made.items())


@dataclass(eq=False)
class WriteTables(beam.PTransform):
    """PCollection[(name, rows)] -> PCollection[CommitResult]: each table replaced as a whole, once a transaction.

    Attributes:
      places: name -> address.
      transactions: as in `WriteDelta`; of a table that has them already nothing is written.
      note_of: (name, number of rows) -> the commit's note, see `WriteDelta`.
    """

    places: Mapping[str, str]
    transactions: tuple[tuple[str, int], ...]
    note_of: Callable[[str, int], Callable[[CommitResult], str]]

    def expand(self, tables: beam.PCollection) -> beam.PCollection:
        places, transactions, note_of = dict(self.places), self.transactions, self.note_of

        def write(named: tuple[str, pa.RecordBatch]) -> CommitResult:
            name, batch = named
            rows = as_table(batch).cast(SHOP_TABLES[name])
            note = note_of(name, rows.num_rows)
            return overwrite_rows(places[name], rows, transactions, whole_table=True, note=note)

        return tables | "WriteTable" >> beam.Map(write)
