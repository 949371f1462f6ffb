"""Files to bronze rows on Beam: read, conform, score, wrap; refused rows leave by their own output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import apache_beam as beam
import pyarrow as pa

from transforms.batches import as_batch, register_batch_coder
from transforms.bronze.cells import AS_USUAL, Spelling
from transforms.bronze.conform import conform
from transforms.bronze.envelope import Origin, bronze_schema, wrap
from transforms.bronze.quality import score_quality
from transforms.contracts import Contract
from transforms.counts import ACCEPTED, COUNTS, REJECTED, Counts
from transforms.io.dead_letter import dead_letters
from transforms.io.files import Parsed, SourceFile, Split, header_line, read_split
from transforms.progress import METER


@dataclass(frozen=True)
class IngestSpec:
    """What one table's ingestion needs to know on a worker.

    Attributes:
      business: bronze's business columns with their types; see `transforms.bronze.evolution`.
      origin: run id, time and schema version; the file's name is filled in per file.
      spelling: how the files write numbers and dates.
    """

    contract: Contract
    business: pa.Schema
    origin: Origin
    spelling: Spelling = AS_USUAL


@dataclass(eq=False)
class IngestFiles(beam.PTransform):
    """PCollection[Split] -> `.accepted` and `.rejected` record batches and `.counts` of `Counts`.

    Accepted batches have `bronze_schema`, plus columns the files have and no contract knows, as text. Rejected ones
    have REJECTS. Each record of a file is in exactly one of the two.
    """

    spec: IngestSpec

    def expand(self, splits: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        register_batch_coder()
        # Splits are a path and two numbers: spreading them over workers costs nothing.
        return (
            splits
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_IngestFn(self.spec)).with_outputs(REJECTED, COUNTS, main=ACCEPTED)
        )


class _IngestFn(beam.DoFn):
    def __init__(self, spec: IngestSpec) -> None:
        self._spec = spec

    def process(self, split: Split) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        spec, counts = _spec_for(split.file, self._spec), Counts()
        origin = replace(spec.origin, file=split.file.path)
        columns = tuple(spec.business.names)
        for parsed in read_split(split, columns):
            accepted, rejected, part = ingest_batch(parsed, spec, origin)
            counts += part
            METER.advance(rows=part.read)
            if accepted.num_rows:
                yield as_batch(accepted)
            if rejected.num_rows:
                letters = dead_letters(
                    rejected,
                    table=spec.contract.name,
                    stage="bronze",
                    source=origin.source,
                    file=origin.file,
                    raw_format="csv" if split.file.format == "csv" else "jsonl",
                    raw_header=header_line(split.file) if split.file.format == "csv" else None,
                    raw_reading=RawReading.of(split.file, spec.spelling).to_json(),
                    at=origin.ingested_at,
                    run_id=origin.run_id,
                    fingerprint=split.file.fingerprint,
                )
                yield beam.pvalue.TaggedOutput(REJECTED, as_batch(letters))
        METER.advance(files=1 / split.parts, bytes=split.file.size / split.parts)
        yield beam.pvalue.TaggedOutput(COUNTS, counts)


def _spec_for(file: SourceFile, spec: IngestSpec) -> IngestSpec:
    """JSON and Parquet have numbers of their own; only in CSV are they written as somebody's locale wants it."""
    return spec if file.format == "csv" else replace(spec, spelling=replace(spec.spelling, decimal=""))


@dataclass(frozen=True)
class RawReading:
    """How a reject's raw bytes were read, beside its header; kept with the reject, so that replay reads them alike."""

    renames: tuple[tuple[str, str], ...] = ()
    spelling: Spelling = AS_USUAL

    @classmethod
    def of(cls, file: SourceFile, spelling: Spelling) -> RawReading:
        """Rows of Parquet are kept as JSON by their names in the lake, so that they need no renaming."""
        return cls(() if file.format == "parquet" else file.renames, spelling)

    def to_json(self) -> str | None:
        """None for a file that is read by its names and in the usual spelling."""
        return None if self == RawReading() else json.dumps({"columns": dict(self.renames), **vars(self.spelling)})

    @classmethod
    def from_json(cls, text: str | None) -> RawReading:
        if text is None:
            return cls()
        told = json.loads(text)
        return cls(tuple(told.pop("columns").items()), Spelling(**told))


def ingest_batch(parsed: Parsed, spec: IngestSpec, origin: Origin) -> tuple[pa.Table, pa.Table, Counts]:
    """One batch of a reader through the bronze kernels: (bronze rows, rejected rows, counts)."""
    conformed = conform(parsed.rows, spec.contract, spec.business, spec.spelling)
    rejected = pa.concat_tables(
        [pa.Table.from_batches([parsed.rejects]).cast(conformed.rejected.schema), conformed.rejected]
    )
    scored = score_quality(conformed.accepted, spec.contract, conformed.rounded)
    accepted = wrap(scored, spec.contract, origin, spec.business.names)
    counts = Counts(
        read=parsed.rows.num_rows + parsed.rejects.num_rows, accepted=accepted.num_rows, rejected=rejected.num_rows
    )
    return _typed(accepted, spec), rejected, counts


def _typed(accepted: pa.Table, spec: IngestSpec) -> pa.Table:
    """The columns in table order with the table's nullability; new columns last."""
    schema = bronze_schema(spec.contract, spec.business)
    extra = [pa.field(n, pa.string()) for n in accepted.column_names if n not in schema.names]
    whole = pa.schema(list(schema) + extra)
    return accepted.select(whole.names).cast(whole)
