"""The stream: events from the hubs into bronze, and what follows bronze, for as long as it is left running."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import apache_beam as beam

from pipelines.config import Lake, Run
from pipelines.hub_owner import check_hub_owners, keep_hub_owners
from pipelines.notes import RunNote
from pipelines.registry import registered
from pipelines.session_gap import check_gap, keep_gap
from pipelines.stream_config import StreamConfig
from transforms.bronze.envelope import Origin, bronze_schema
from transforms.bronze.evolution import business_schema
from transforms.bronze.ingest import IngestSpec
from transforms.bronze.stream import IngestEvents
from transforms.contracts import Contract, contract
from transforms.contracts.commerce import ITEMS, TRANSACTIONS
from transforms.counts import REJECTED
from transforms.errors import UserError
from transforms.gold import touches
from transforms.gold.realtime_stream import StreamFeaturesOf
from transforms.gold.realtime_table import REALTIME_FEATURES, FeatureTable
from transforms.io.dead_letter import REJECTS
from transforms.io.delta import arrow_schema, evolve_schema, open_table
from transforms.io.delta_positions import fixed, positions, take_over
from transforms.io.delta_ranges import StreamWrite
from transforms.io.delta_stream import Ends, WriteStream
from transforms.io.event_hubs import ReadFromEventHubs, partitions
from transforms.sessions.fold import Tolerance
from transforms.sessions.live import LATE_EVENTS, LIVE_SESSIONS, LOG, STEP, TABLE, LiveTables
from transforms.sessions.sink import StreamSessionsOf

_SESSIONS, _LATE, _FEATURES = "sessions", "late", "features"
_WRITERS = {"prism": 1, "flink": 8}  # a runner of one machine has nothing of more
_BUCKETS, _BUCKETS_ONCE = "session_buckets", 4  # of lakes from before the number was kept with them


@dataclass(frozen=True)
class Begin:
    """Where to read on: behind what every table that a hub feeds holds already. Called on the worker."""

    stream: str
    targets: Mapping[str, tuple[str, ...]]  # hub -> table addresses

    def __call__(self, log: str) -> int:
        held = (positions(uri, self.stream, [log])[log] for uri in self.targets[log.rpartition("/")[0]])
        return min(held) + 1


def targets(config: StreamConfig) -> dict[str, tuple[str, ...]]:
    """hub -> the addresses of the tables its events go to, the rejects among them."""
    lake = Lake(config.lake)
    return {hub: (*(lake.bronze(contract(t)) for t in ts), lake.rejects) for hub, ts in config.hubs.items()}


def own(config: StreamConfig, run: Run) -> dict[str, StreamWrite]:
    """Takes the stream's tables over, so that an older writer is fenced: table name, or REJECTED -> how to write.

    Raises:
      UserError: the lake's sessions are kept in another number of buckets, or cut by another gap, or a stream of
        another name brings one of the hubs; nothing is taken over then.
    """
    check_hub_owners(config)
    _check_buckets(config)
    check_gap(Lake(config.lake), config.gap)
    lake, idle = Lake(config.lake), 1.0 if config.until_idle_seconds is not None else 20.0
    writes = {}
    for table in config.tables:
        uri, schema = lake.bronze(table), bronze_schema(table, _business(lake, table))
        if open_table(uri) is not None:
            evolve_schema(uri, schema)
        note = tuple(RunNote(run, table.name, inputs=tuple(config.hubs)).fields().items())
        writes[table.name] = StreamWrite(uri, schema, config.name, table.partition_by, idle_seconds=idle, note=note)
    writes[REJECTED] = StreamWrite(
        lake.rejects,
        REJECTS,
        config.name,
        log="file",
        position="position",
        arrived="",
        idle_seconds=3 * idle,
        note=tuple(RunNote(run, "rejects", inputs=tuple(config.hubs)).fields().items()),
        counted_as="rejected",
    )
    if TABLE in writes:
        sessions = StreamWrite(lake.live_sessions, LIVE_SESSIONS, config.name, (), LOG.name, STEP.name, arrived="")
        late = StreamWrite(lake.late, LATE_EVENTS, config.name, (), LOG.name, "position", arrived="", contiguous=False)
        writes |= {_SESSIONS: sessions, _LATE: late}
        keep_gap(lake, config.gap)
    if config.features:
        writes[_FEATURES] = StreamWrite(lake.realtime_features, REALTIME_FEATURES, config.name, arrived="")
    fix = {_SESSIONS: {_BUCKETS: config.session_buckets}}
    owned = {
        name: dataclasses.replace(w, epoch=take_over(w.uri, w.schema, w.partition_by, w.stream, fix=fix.get(name)))
        for name, w in writes.items()
    }
    keep_hub_owners(config)
    return owned


def _check_buckets(config: StreamConfig) -> None:
    """What is open, and how far each bucket got, is kept a bucket: cut otherwise, rows would be lost or come twice."""
    uri = Lake(config.lake).live_sessions
    kept = fixed(uri, config.name, _BUCKETS, _BUCKETS_ONCE)
    if kept is not None and kept != config.session_buckets:
        what = f"the sessions of this stream are kept in {kept} buckets a partition, not {config.session_buckets}"
        raise UserError(what, uri, f"give session_buckets={kept}, or another lake")


def _business(lake: Lake, table: Contract):  # type: ignore[no-untyped-def]
    stored = open_table(lake.bronze(table))
    return business_schema(table, arrow_schema(stored) if stored else None)


def ingest_specs(config: StreamConfig, run: Run) -> dict[str, IngestSpec]:
    """How the rows of each table are typed, scored and wrapped."""
    lake = Lake(config.lake)
    return {
        table.name: IngestSpec(
            table,
            _business(lake, table),
            Origin(table.system, "", run.run_id, run.started_at, max(registered(lake, table)[0], 1)),
        )
        for table in config.tables
    }


def build(root: beam.Pipeline, config: StreamConfig, run: Run, writes: Mapping[str, StreamWrite]) -> None:
    """Wires hubs -> bronze rows -> one branch a table, and the rejects of all; sessions follow what bronze has."""
    begin = Begin(config.name, targets(config))
    events = root | "ReadEvents" >> ReadFromEventHubs(config.connection, tuple(config.hubs), begin, config.limits)
    ingested = events | "IngestEvents" >> IngestEvents(config.hubs, ingest_specs(config, run), config.name)
    writers = _WRITERS[config.runner]
    committed = {
        name: ingested[name] | f"Write {name}" >> WriteStream(writes[name], config.window_seconds, writers)
        for name in (*(table.name for table in config.tables), REJECTED)
    }
    logs = {hub: tuple(f"{hub}/{p}" for p in partitions(config.connection, hub)) for hub in config.hubs}
    fed = {t.name: tuple(log for hub in _hubs_of(config, t.name) for log in logs[hub]) for t in config.tables}
    last = dict(committed)
    if TABLE in committed:
        last[_SESSIONS] = last.pop(TABLE) | "SessionsOf" >> _sessions(config, writes, fed[TABLE])
    counted = _counted(config)
    if counted:
        features = StreamFeaturesOf(
            {name: writes[name].uri for name in counted},
            {name: fed[name] for name in counted},
            FeatureTable(writes[_FEATURES]),
            person_of=Lake(config.lake).identity_map,
            window_seconds=2 * config.window_seconds,
        )
        last[_FEATURES] = {name: last.pop(name, committed[name]) for name in counted} | "FeaturesOf" >> features
    for name, commits in last.items():
        commits | f"Ends {name}" >> Ends()


def _hubs_of(config: StreamConfig, table: str) -> list[str]:
    return [hub for hub, names in config.hubs.items() if table in {contract(name).name for name in names}]


def _counted(config: StreamConfig) -> list[str]:
    """The tables that features are made of; lines of orders only beside their orders."""
    if not config.features:
        return []
    names = [table.name for table in config.tables if table.name in touches.TABLES]
    return [name for name in names if name != ITEMS.name or TRANSACTIONS.name in names]


def _sessions(config: StreamConfig, writes: Mapping[str, StreamWrite], logs: tuple[str, ...]) -> StreamSessionsOf:
    bronze, sessions, late = writes[TABLE], writes[_SESSIONS], writes[_LATE]
    tables = LiveTables(bronze.uri, sessions.uri, late.uri, config.name, config.session_buckets)
    tolerance = Tolerance(config.lateness_seconds)
    return StreamSessionsOf(tables, logs, sessions, late, config.rules, tolerance, 2 * config.window_seconds)
