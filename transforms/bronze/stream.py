"""Events to bronze rows on Beam: the same kernels as for files, one piece of a log at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from transforms.batches import as_batch, register_batch_coder
from transforms.bronze.envelope import Origin, bronze_schema
from transforms.bronze.ingest import IngestSpec, ingest_batch
from transforms.counts import REJECTED
from transforms.io.dead_letter import REJECTS, dead_letters
from transforms.io.event_hubs_bodies import by_table, decode
from transforms.io.source import Parsed
from transforms.positions import Piece

STREAM = "stream:"  # before the stream's name, where a reject of a file has the file's fingerprint


@dataclass(eq=False)
class IngestEvents(beam.PTransform):
    """PCollection[Piece of EVENTS] -> one output of pieces a table, tagged with its name, and `.rejected`.

    A table's pieces have `bronze_schema` and columns nobody declared, as text; rejected ones have REJECTS. Each row of
    an event is in exactly one of them; a piece without rows of a table is given out all the same, since its positions
    are done with. `_position` is the event's sequence number, `_row` the row in it.

    Attributes:
      hubs: hub -> the tables its events may be of; an event that names none is of the first.
      stream: its name, which rejects keep: they are replayed once bronze has passed their position.
      specs: table -> how it is ingested. The origin's file and time are filled in for each piece.
    """

    hubs: Mapping[str, tuple[str, ...]]
    specs: Mapping[str, IngestSpec]
    stream: str = "events"

    def expand(self, pieces: beam.PCollection[Piece]) -> beam.pvalue.DoOutputsTuple:
        register_batch_coder()
        outputs = sorted({table for tables in self.hubs.values() for table in tables})
        fn = _IngestEventsFn(dict(self.hubs), dict(self.specs), self.stream)
        return pieces | beam.ParDo(fn).with_outputs(*outputs, REJECTED)


class _IngestEventsFn(beam.DoFn):
    def __init__(self, hubs: dict[str, tuple[str, ...]], specs: dict[str, IngestSpec], stream: str) -> None:
        self._hubs, self._specs, self._mark = hubs, specs, STREAM + stream

    def process(self, piece: Piece) -> Iterator[beam.pvalue.TaggedOutput]:
        tables = self._hubs[piece.log.rpartition("/")[0]]
        now = datetime.now(UTC)
        events, unknown = by_table(piece.rows, tables[0], tables)
        letters = []
        for table in tables:
            spec = self._specs[table]
            origin = replace(spec.origin, file=piece.log, ingested_at=now)
            accepted, rejected = ingest_events(events.get(table), spec, origin, self._mark)
            letters.append(rejected)
            if table == tables[0] and unknown.num_rows:  # events of no table count as the hub's first one's
                letters.append(_letters(pa.Table.from_batches([unknown]), spec, origin, self._mark))
            Metrics.counter("stream", f"rows_accepted/{table}").inc(accepted.num_rows)
            Metrics.counter("stream", f"rows_rejected/{table}").inc(rejected.num_rows)
            yield beam.pvalue.TaggedOutput(table, replace(piece, rows=as_batch(accepted)))
        yield beam.pvalue.TaggedOutput(REJECTED, replace(piece, rows=as_batch(pa.concat_tables(letters))))


def ingest_events(
    events: pa.RecordBatch | None, spec: IngestSpec, origin: Origin, mark: str
) -> tuple[pa.Table, pa.Table]:
    """Events of one table and log through the bronze kernels: (bronze rows, REJECTS rows)."""
    if events is None:
        return bronze_schema(spec.contract, spec.business).empty_table(), REJECTS.empty_table()
    decoded = decode(events, spec.contract.name)
    accepted, rejected, _ = ingest_batch(Parsed(decoded.rows, decoded.rejects), spec, origin)
    return accepted, _letters(rejected, spec, origin, mark)


def _letters(rejected: pa.Table, spec: IngestSpec, origin: Origin, mark: str) -> pa.Table:
    if not rejected.num_rows:
        return REJECTS.empty_table()
    return dead_letters(
        rejected,
        table=spec.contract.name,
        stage="bronze",
        source=origin.source,
        file=origin.file,
        raw_format="jsonl",
        raw_header=None,
        at=origin.ingested_at,
        run_id=origin.run_id,
        fingerprint=mark,
        marks=[f"row {row or 0}" for row in rejected["_row"].to_pylist()],
    )
