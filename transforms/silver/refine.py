"""Bronze to silver on Beam: clean each batch, bring versions of a key together, keep the latest, check its parents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.contracts import Contract
from transforms.counts import ACCEPTED, COUNTS, REJECTED, Counts
from transforms.io.dead_letter import dead_letters
from transforms.io.source import RAW_LIMIT
from transforms.progress import METER
from transforms.shuffle import tables_of
from transforms.silver.dedupe import latest_by_key
from transforms.silver.keys import KeySet
from transforms.silver.outliers import summarise_outliers
from transforms.silver.profile import Profile, profile
from transforms.silver.schema import as_silver, silver_schema
from transforms.silver.settle import flag_late, newest, restated
from transforms.silver.to_silver import to_silver

KEYS, OUTLIERS, PROFILES = "keys", "outliers", "profiles"
ROWS, KNOWN, STORED = "rows", "known", "stored"
_INGESTED = "_ingested_at"
PLACE = ("_file", "_position", "_run_id")


@dataclass(frozen=True)
class RefineSpec:
    """What one table's refinement needs to know on a worker.

    Attributes:
      extra: columns that evolution added, or declared ones with the wider type they have by now.
      is_parent: other tables of the run have foreign keys into this one.
      now: the run's time, for rejects.
      country: alpha-2 code that phone numbers without a country are read in.
    """

    contract: Contract
    extra: pa.Schema
    now: datetime
    run_id: str
    country: str = "GB"
    is_parent: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The silver table's."""
        return silver_schema(self.contract, self.extra)


@dataclass(eq=False)
class CleanRows(beam.PTransform):
    """PCollection[bronze batches] -> standardised, checked rows and what is learned from them batch by batch.

    Batches have the business columns and FOR_SILVER.

    Outputs: `.accepted` batches (silver columns and `_ingested_at`), `.rejected` REJECTS batches, `.counts`,
    `.keys` (KeySet of the accepted keys) and `.outliers` (mergeable summaries).
    """

    spec: RefineSpec

    def expand(self, bronze: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        register_batch_coder()
        outputs = (REJECTED, COUNTS, KEYS, OUTLIERS)
        return bronze | beam.ParDo(_CleanFn(self.spec)).with_outputs(*outputs, main=ACCEPTED)


class _CleanFn(beam.DoFn):
    def __init__(self, spec: RefineSpec) -> None:
        self._spec = spec

    def process(self, batch: pa.RecordBatch) -> Iterator[Any]:
        spec = self._spec
        accepted, rejected, _ = to_silver(as_table(batch), spec.contract, spec.country)
        tag = beam.pvalue.TaggedOutput
        METER.advance(rows=batch.num_rows)
        yield tag(COUNTS, Counts(read=batch.num_rows, rejected=rejected.num_rows))
        if spec.is_parent:
            yield tag(KEYS, KeySet.of(accepted, spec.contract.key))
        yield tag(OUTLIERS, summarise_outliers(accepted, spec.contract))
        if rejected.num_rows:
            yield tag(REJECTED, as_batch(silver_rejects(rejected, spec)))
        if accepted.num_rows:  # where a row came from is in bronze; it need not travel on
            yield as_batch(accepted.drop_columns([name for name in PLACE if name in accepted.column_names]))


def silver_rejects(rejected: pa.Table, spec: RefineSpec) -> pa.Table:
    """REJECTS rows for bronze rows that silver refused; their bytes are the row as bronze typed it, in JSON."""
    business = [name for name in rejected.column_names if not name.startswith("_")]
    raw = [
        json.dumps({k: v for k, v in row.items() if v is not None}, default=str, ensure_ascii=False).encode()
        for row in rejected.select(business).to_pylist()
    ]
    table = pa.table(
        {
            "_position": rejected["_position"],
            "_raw": pa.array([r[:RAW_LIMIT] for r in raw], pa.binary()),
            "_raw_bytes": pa.array([len(r) for r in raw], pa.int64()),
            "rule": rejected["_rule"],
            "reason": rejected["_reason"],
        }
    )
    return dead_letters(
        table,
        table=spec.contract.name,
        stage="silver",
        source=spec.contract.system,
        file=rejected["_file"],
        raw_format="jsonl",
        raw_header=None,
        at=spec.now,
        run_id=spec.run_id,
        marks=rejected["_run_id"].to_pylist(),
    )


@dataclass(eq=False)
class SettleRows(beam.PTransform):
    """PCollection[(bucket, parts)] -> the rows that silver gains or restates, flagged, in the silver schema.

    Parts tagged ROWS are cleaned bronze rows that silver does not have yet. Those tagged KNOWN were taken up earlier
    and can be later than ROWS all the same; they are compared with, never given out. Those tagged STORED are rows of
    silver whose flags are judged anew; given out are the ones whose flags change.

    Outputs: `.accepted` batches, `.counts` (of ROWS accepted, duplicates, conflicts; restated), `.profiles` (mergeable,
    of ROWS).

    Attributes:
      bounds: a singleton side input, the outlier bounds of the run.
      parents: a dict side input, table -> KeySet; foreign keys into tables not in it are not checked.
    """

    spec: RefineSpec
    bounds: beam.pvalue.AsSideInput
    parents: beam.pvalue.AsSideInput

    def expand(self, buckets: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        register_batch_coder()
        settle = beam.ParDo(_SettleFn(self.spec), self.bounds, self.parents)
        return buckets | settle.with_outputs(COUNTS, PROFILES, main=ACCEPTED)


class _SettleFn(beam.DoFn):
    def __init__(self, spec: RefineSpec) -> None:
        self._spec = spec

    def start_bundle(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="profile")
        self._profiling: Future[Profile] | None = None
        self._profiles: list[Profile] = []

    def finish_bundle(self) -> Iterator[beam.pvalue.TaggedOutput]:
        if self._profiling:
            merged = Profile.merge([*self._profiles, self._profiling.result()])
            yield beam.pvalue.TaggedOutput(PROFILES, GlobalWindows.windowed_value(merged))
        self._pool.shutdown()

    def process(self, bucket: tuple[int, Iterable[Any]], bounds: Any, parents: dict[str, KeySet]) -> Iterator[Any]:
        spec, tables = self._spec, tables_of(bucket[1])
        stored, known = tables.get(STORED), tables.get(KNOWN)
        if ROWS in tables:
            fresh, stored, duplicates, conflicts = newest(tables[ROWS], spec.contract, known, stored)
            settled = as_silver(flag_late(fresh, spec.contract, bounds, parents), spec.contract, spec.extra)
            counts = Counts(accepted=settled.num_rows, duplicates=duplicates, conflicts=conflicts)
            yield beam.pvalue.TaggedOutput(COUNTS, counts)
            if settled.num_rows:
                self._profile(settled)
            yield from settled.to_batches(max_chunksize=65_536)
        elif stored is not None:
            stored = latest_by_key(stored, spec.contract).kept
        if stored is not None and stored.num_rows:
            again = restated(stored, spec.contract, bounds, parents)
            yield beam.pvalue.TaggedOutput(COUNTS, Counts(restated=again.num_rows))
            yield from as_silver(again, spec.contract, spec.extra).to_batches(max_chunksize=65_536)

    def _profile(self, settled: pa.Table) -> None:
        """Profiling is a third of the work and nothing waits for it: it goes on beside the next bucket."""
        if self._profiling:
            self._profiles.append(self._profiling.result())
        self._profiling = self._pool.submit(profile, settled, self._spec.contract)
