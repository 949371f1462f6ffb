"""Near-real-time features on Beam: behind what bronze has, exactly once, with the identity map as it is now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.bronze.envelope import columns_for_silver
from transforms.contracts import CONTRACTS
from transforms.contracts.commerce import ITEMS, TRANSACTIONS
from transforms.errors import UserError
from transforms.gold.realtime_buyers import Buyers
from transforms.gold.realtime_persons import REFRESH_SECONDS, Persons
from transforms.gold.realtime_table import BUCKETS, FeatureShard, FeatureTable, person_buckets
from transforms.gold.touches import TABLES, read_touches
from transforms.io.delta_committer import StreamCommit
from transforms.io.delta_positions import positions
from transforms.io.delta_ranges import StreamWrite
from transforms.io.delta_stream import ReadCommitted, arrival_windows
from transforms.io.delta_tail import Backlog
from transforms.levels import set_level
from transforms.positions import Piece
from transforms.silver.to_silver import to_silver

_ORDERS, _LINES = TRANSACTIONS.name, ITEMS.name


@dataclass(eq=False)
class StreamFeaturesOf(beam.PTransform):
    """{table: PCollection[StreamCommit] of its bronze table} -> PCollection[StreamCommit] of the features.

    Each window's rows are standardised as silver does it and counted for their persons; the changed features are
    appended with the positions they cover, in one commit a shard and window. Only what is in bronze is looked at, and
    what the features table lacks is read from bronze on start. Windows: of arrival, `window_seconds` long.

    Attributes:
      bronze: table -> the address of its bronze table, for some of TABLES; the input has the same.
      logs: table -> the logs that feed it.
      stream: whose positions count in bronze and in the features.
      person_of: the address of the identity map (IDENTITY_MAP); looked at again every `refresh_seconds`, when rows
        come. Until it exists, and for those who are not in it, a customer is a person. Where it changed, the features
        that are there are regrouped; with several shards, those of persons who changed meanwhile at the next change.
      lines_wait: how far apart, by `_ingested_at`, an order and its lines may come; after a start as much of both is
        read again. A bought product leaves the cart by its line.
      shards: how many are worked on side by side, each with its own persons and positions; at most BUCKETS. Another
        number is another set of positions: all of bronze is read again then, and changes nothing.
    """

    bronze: Mapping[str, str]
    logs: Mapping[str, tuple[str, ...]]
    features: FeatureTable
    person_of: str | None = None
    refresh_seconds: float = REFRESH_SECONDS
    window_seconds: float = 5.0
    lines_wait: timedelta = timedelta(minutes=15)
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
        if _LINES in self.bronze and _ORDERS not in self.bronze:
            raise UserError(f"{_LINES} without {_ORDERS} have no buyer", remedy=f"give {_ORDERS} too")

    def expand(self, commits: Mapping[str, beam.PCollection[StreamCommit]]) -> beam.PCollection[StreamCommit]:
        register_batch_coder()
        silver = {table: commits[table] | f"SilverOf {table}" >> _Silver(self, table) for table in self.bronze}
        bought = [silver.pop(table) for table in (_ORDERS, _LINES) if table in silver]
        touches = [rows | f"Touches {table}" >> self._touches(table) for table, rows in silver.items()]
        if bought:
            touches.append(bought | "OrdersAndLines" >> beam.Flatten() | "Buyers" >> _Buyers(self))
        return (
            touches
            | "AllTouches" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "UpdateFeatures" >> beam.ParDo(_UpdateFn(self))
        )

    def _touches(self, table: str) -> beam.PTransform:
        fn = _TouchesFn(table, self.shards, Persons(self.person_of, self.refresh_seconds))
        return beam.ParDo(fn).with_output_types(tuple[int, Piece])

    def backlog(self, table: str) -> Backlog:
        """What of a bronze table the features do not cover yet."""
        stream, uri = self.features.write.stream, self.features.write.uri
        names = {log: [f"{table}/{log}/{shard}" for shard in range(self.shards)] for log in self.logs[table]}
        known = positions(uri, stream, [name for several in names.values() for name in several])
        first = {log: min(known[name] for name in several) + 1 for log, several in names.items()}
        return Backlog(self.bronze[table], stream, first)


@dataclass(eq=False)
class _Silver(beam.PTransform):
    """PCollection[StreamCommit] of one bronze table -> PCollection[Piece of silver rows], log "<table>/<log>"."""

    spec: StreamFeaturesOf
    table: str

    def expand(self, commits: beam.PCollection[StreamCommit]) -> beam.PCollection[Piece]:
        return (
            commits
            | "ReadCommitted" >> ReadCommitted(self.spec.backlog(self.table), columns_for_silver(CONTRACTS[self.table]))
            | "Standardise" >> beam.Map(_standardised, self.table, self.spec.country).with_output_types(Piece)
            | "EachWindow" >> arrival_windows(self.spec.window_seconds)
        )


def _standardised(piece: Piece, table: str, country: str) -> Piece:
    silver = to_silver(as_table(piece.rows), CONTRACTS[table], country).accepted
    return Piece(f"{table}/{piece.log}", piece.low, piece.high, as_batch(silver), piece.gap)


def _split(piece: Piece, touches: pa.Table, shards: int) -> Iterator[tuple[int, Piece]]:
    """The positions of a piece for each shard, with the touches of its persons."""
    shard_of = person_buckets(touches) % shards
    for shard in range(shards):
        rows = touches if shards == 1 else touches.filter(pa.array(np.equal(shard_of, shard)))
        yield shard, Piece(f"{piece.log}/{shard}", piece.low, piece.high, as_batch(rows), piece.gap)


class _TouchesFn(beam.DoFn):
    def __init__(self, table: str, shards: int, persons: Persons) -> None:
        self._table, self._shards, self._persons = table, shards, persons

    def process(self, piece: Piece) -> Iterator[tuple[int, Piece]]:
        touches = read_touches(self._table, as_table(piece.rows), self._persons.now())
        yield from _split(piece, touches, self._shards)


@dataclass(eq=False)
class _Buyers(beam.PTransform):
    """PCollection[Piece] of orders and lines -> PCollection[(shard, Piece of TOUCHES)], lines with their buyer."""

    spec: StreamFeaturesOf

    def expand(self, pieces: beam.PCollection[Piece]) -> beam.PCollection[tuple[int, Piece]]:
        return (
            pieces
            | "OneJoin" >> beam.Map(lambda piece: (0, piece)).with_output_types(tuple[int, Piece])
            | "OrdersOfWindow" >> beam.GroupByKey()
            | "AttachBuyers" >> beam.ParDo(_OrdersFn(self.spec)).with_output_types(tuple[int, Piece])
        )


class _OrdersFn(beam.DoFn):
    """What a line adds rides on any piece at hand.

    Should the line's own piece be committed and that one not, a start tells it again; told twice it counts once.
    """

    def __init__(self, spec: StreamFeaturesOf) -> None:
        bronze = {table: spec.bronze[table] for table in (_ORDERS, _LINES) if table in spec.bronze}
        self._make = partial(Buyers, bronze, spec.lines_wait, spec.country)
        self._write, self._shards = spec.features.write, spec.shards
        self._persons = Persons(spec.person_of, spec.refresh_seconds)

    def process(self, element: tuple[int, Iterable[Piece]]) -> Iterator[tuple[int, Piece]]:
        pieces, person_of = list(element[1]), self._persons.now()
        buyers, lock = _shared(self._write, "buyers", self._make)
        with lock:
            lines = read_touches(_LINES, buyers.attach(pieces), person_of)
        for piece in pieces:
            own = lines.slice(0, 0)
            if piece.log.startswith(f"{_ORDERS}/"):
                own = read_touches(_ORDERS, as_table(piece.rows), person_of)
            yield from _split(piece, pa.concat_tables([own, lines]), self._shards)
            lines = lines.slice(0, 0)


class _UpdateFn(beam.DoFn):
    def __init__(self, spec: StreamFeaturesOf) -> None:
        self._write, self._clock = spec.features.write, spec.clock
        self._table, self._shards = spec.features, spec.shards
        self._person_of = spec.person_of, spec.refresh_seconds

    def process(self, element: tuple[int, Iterable[Piece]]) -> Iterator[StreamCommit]:
        number, pieces = element
        make = lambda: FeatureShard(self._table, Persons(*self._person_of), number, self._shards)  # noqa: E731
        shard, lock = _shared(self._write, number, make)
        with lock:
            done = shard.offer(pieces, self._clock())
            Metrics.distribution("features", "touches_in_memory").update(shard.touches)
            set_level("features/touches_in_memory", str(number), shard.touches)
            set_level("features/touches_on_disk", str(number), shard.touches_on_disk)
        if done is not None:
            Metrics.counter("features", "rows_committed").inc(done.rows)
            yield done


_SHARED: dict[tuple[str, str], tuple[int | None, dict[int | str, tuple[Any, threading.Lock]]]] = {}
_GUARD = threading.Lock()


def _shared(write: StreamWrite, name: int | str, make: Callable[[], Any]) -> tuple[Any, threading.Lock]:
    """The process's one object of that name for a stream, whatever instances a runner makes of the DoFn."""
    with _GUARD:
        epoch, made = _SHARED.get((write.uri, write.stream), (None, {}))
        if epoch != write.epoch:  # those of a stream that was fenced
            made = {}
        _SHARED[write.uri, write.stream] = (write.epoch, made)
        if name not in made:
            made[name] = (make(), threading.Lock())
        return made[name]
