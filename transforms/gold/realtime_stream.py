"""Near-real-time features on Beam: behind what bronze has, exactly once, with the identity map as it is now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import FixedWindows

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.contracts import CONTRACTS
from transforms.errors import UserError
from transforms.gold.realtime_table import BUCKETS, FeatureShard, FeatureTable, person_buckets
from transforms.gold.touches import ENQUEUED, read_touches
from transforms.io.delta import open_table, read_table
from transforms.io.delta_positions import StreamCommit, positions
from transforms.io.delta_stream import ReadCommitted
from transforms.io.delta_tail import Backlog
from transforms.positions import Piece
from transforms.silver.refine import ENVELOPE
from transforms.silver.to_silver import to_silver

TABLES = ("CUSTOMER_BEHAVIORAL_EVENTS", "CUSTOMER_TRANSACTIONS", "CUSTOMER_ENGAGEMENT_EVENTS")


@dataclass(eq=False)
class StreamFeaturesOf(beam.PTransform):
    """{table: PCollection[StreamCommit] of its bronze table} -> PCollection[StreamCommit] of the features.

    Each window's rows are standardised as silver does it and counted for their persons; the changed features are
    appended with the positions they cover, in one commit a shard and window. Only what is in bronze is looked at, and
    what the features table lacks is read from bronze on start. Windows: of arrival, `window_seconds` long.

    Attributes:
      bronze: table -> the address of its bronze table; the input may have any of TABLES.
      logs: table -> the logs that feed it.
      stream: whose positions count in bronze and in the features.
      person_of: the address of a table with customer_id and person_id; looked at again every `refresh_seconds` for
        rows that come then. Until it exists, and for those who are not in it, a customer is a person.
      shards: how many are worked on side by side, each with its own persons and positions; at most BUCKETS. Another
        number is another set of positions: all of bronze is read again then, and changes nothing.
    """

    bronze: Mapping[str, str]
    logs: Mapping[str, tuple[str, ...]]
    features: FeatureTable
    person_of: str | None = None
    refresh_seconds: float = 60.0
    window_seconds: float = 5.0
    shards: int = 1
    country: str = "GB"
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        super().__init__()
        if not 1 <= self.shards <= BUCKETS:
            raise UserError(f"{self.shards} shards of features", remedy=f"choose between 1 and {BUCKETS}")
        unknown = sorted(set(self.bronze) - set(TABLES))
        if unknown:
            raise UserError(f"no features are made of {', '.join(unknown)}", remedy=f"choose of {', '.join(TABLES)}")

    def expand(self, commits: Mapping[str, beam.PCollection[StreamCommit]]) -> beam.PCollection[StreamCommit]:
        register_batch_coder()
        touches = [of_table | f"TouchesOf {table}" >> _Touches(self, table) for table, of_table in commits.items()]
        return (
            touches
            | "AllTouches" >> beam.Flatten()
            | "EachWindow" >> beam.WindowInto(FixedWindows(self.window_seconds))
            | "ByShard" >> beam.GroupByKey()
            | "UpdateFeatures" >> beam.ParDo(_UpdateFn(self.features, self.clock))
        )

    def backlog(self, table: str) -> Backlog:
        """What of a bronze table the features do not cover yet."""
        stream, uri = self.features.write.stream, self.features.write.uri
        names = {log: [_log(table, log, shard) for shard in range(self.shards)] for log in self.logs[table]}
        known = positions(uri, stream, [name for several in names.values() for name in several])
        first = {log: min(known[name] for name in several) + 1 for log, several in names.items()}
        return Backlog(self.bronze[table], stream, first)


def _log(table: str, log: str, shard: int) -> str:
    return f"{table}/{log}/{shard}"


@dataclass(eq=False)
class _Touches(beam.PTransform):
    """PCollection[StreamCommit] of one bronze table -> PCollection[(shard, Piece of TOUCHES)]."""

    spec: StreamFeaturesOf
    table: str

    def expand(self, commits: beam.PCollection[StreamCommit]) -> beam.PCollection[tuple[int, Piece]]:
        spec = self.spec
        columns = (*CONTRACTS[self.table].names, *ENVELOPE, ENQUEUED)
        fn = _TouchesFn(self.table, spec.shards, spec.person_of, spec.refresh_seconds, spec.country)
        return (
            commits
            | "ReadCommitted" >> ReadCommitted(spec.backlog(self.table), columns)
            | "AsTouches" >> beam.ParDo(fn).with_output_types(tuple[int, Piece])
        )


class _TouchesFn(beam.DoFn):
    def __init__(self, table: str, shards: int, person_of: str | None, refresh_seconds: float, country: str) -> None:
        self._table, self._shards, self._country = table, shards, country
        self._persons = Persons(person_of, refresh_seconds)

    def process(self, piece: Piece) -> Iterator[tuple[int, Piece]]:
        silver = to_silver(as_table(piece.rows), CONTRACTS[self._table], self._country).accepted
        touches = read_touches(self._table, silver, self._persons.now())
        shard_of = person_buckets(touches) % self._shards
        for shard in range(self._shards):
            rows = touches if self._shards == 1 else touches.filter(pa.array(np.equal(shard_of, shard)))
            log = _log(self._table, piece.log, shard)
            yield shard, Piece(log, piece.low, piece.high, as_batch(rows), piece.gap)


class Persons:
    """Who each customer is, from a table that others write: looked at again once it is `refresh_seconds` old."""

    def __init__(self, uri: str | None, refresh_seconds: float) -> None:
        self._uri, self._refresh_seconds = uri, refresh_seconds
        self._version: int | None = None
        self._looked: float | None = None
        self._map: pa.Table | None = None

    def now(self) -> pa.Table | None:
        """Columns customer_id (unique; of several persons the least) and person_id; None where there is no table."""
        if self._uri is None:
            return None
        if self._looked is None or time.monotonic() - self._looked >= self._refresh_seconds:
            self._looked = time.monotonic()
            table = open_table(self._uri)
            if table is not None and table.version() != self._version:
                self._map, self._version = _person_of(self._uri, table.version()), table.version()
        return self._map


def _person_of(uri: str, version: int) -> pa.Table:
    rows = read_table(uri, columns=("customer_id", "person_id"), version=version)
    rows = rows.filter(pc.and_(rows["customer_id"].is_valid(), rows["person_id"].is_valid()))
    found = rows.group_by("customer_id").aggregate([("person_id", "min")])
    return found.rename_columns({"person_id_min": "person_id"})


class _UpdateFn(beam.DoFn):
    """One shard of the process for each shard number, whatever instances a runner makes of the DoFn."""

    _SHARDS: dict[tuple[str, str, int | None, int], tuple[FeatureShard, threading.Lock]] = {}  # noqa: RUF012
    _GUARD = threading.Lock()

    def __init__(self, table: FeatureTable, clock: Callable[[], datetime]) -> None:
        self._table, self._clock = table, clock

    def process(self, element: tuple[int, Iterable[Piece]]) -> Iterator[StreamCommit]:
        shard, lock = self._shard(element[0])
        with lock:
            done = shard.offer(element[1], self._clock())
            Metrics.distribution("features", "touches_in_memory").update(shard.touches)
        if done is not None:
            Metrics.counter("features", "rows_committed").inc(done.rows)
            yield done

    def _shard(self, number: int) -> tuple[FeatureShard, threading.Lock]:
        write = self._table.write
        with self._GUARD:
            key = (write.uri, write.stream, write.epoch, number)
            if key not in self._SHARDS:
                for old in [k for k in self._SHARDS if k[:2] == key[:2] and k[2] != key[2]]:  # of a fenced stream
                    del self._SHARDS[old]
                self._SHARDS[key] = (FeatureShard(self._table), threading.Lock())
            return self._SHARDS[key]
