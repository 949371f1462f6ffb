"""The stream: events from the hubs into bronze, exactly once, for as long as it is left running."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from pipelines.config import Lake, Run
from pipelines.notes import RunNote
from pipelines.registry import registered
from transforms.bronze.envelope import Origin, bronze_schema
from transforms.bronze.evolution import business_schema
from transforms.bronze.ingest import IngestSpec
from transforms.bronze.stream import IngestEvents
from transforms.contracts import CONTRACTS, Contract, contract
from transforms.contracts.schema import Arrival
from transforms.counts import REJECTED
from transforms.errors import UsageError, UserError
from transforms.io.dead_letter import REJECTS
from transforms.io.delta import arrow_schema, evolve_schema, open_table
from transforms.io.delta_positions import StreamWrite, positions, take_over
from transforms.io.delta_stream import WriteStream
from transforms.io.event_hubs import HubConnection, Limits, ReadFromEventHubs, partitions
from transforms.sessions.fold import Tolerance
from transforms.sessions.live import LATE_EVENTS, LIVE_SESSIONS, STEP, TABLE, LiveTables
from transforms.sessions.rules import SessionRules, parse_gaps
from transforms.sessions.sink import StreamSessionsOf

_SESSIONS, _LATE = "sessions", "late"
# What each runner needs of the source. Flink cuts the pauses of a source to whole seconds: with less than one the
# watermark would stand still, and nothing would ever be committed. Prism mixes up the partitions' watermarks.
_LIMITS: Mapping[str, Mapping[str, Any]] = {
    "prism": {"one_clock": True},
    "flink": {"more_seconds": 1.0, "poll_seconds": 1.0},
}
_UNTIL_IDLE_SECONDS = 5.0


def default_hubs() -> dict[str, tuple[str, ...]]:
    """hub -> tables: a hub for each table that streams, named as the last folder of its bronze path."""
    streamed = [c for c in CONTRACTS.values() if c.arrival is Arrival.STREAM]
    return {c.path.rpartition("/")[2]: (c.name,) for c in streamed}


@dataclass(frozen=True)
class StreamConfig:
    """One stream.

    Attributes:
      lake: where the tables are.
      events: what `--events` named; see `HubConnection`.
      hubs: hub -> the tables whose rows it carries; events that name no table are of the first.
      name: tells this stream's positions in the tables from those of another one.
      window_seconds: how long rows are gathered for one commit.
      gap, lateness_seconds: of sessions: the silence that ends one, and how late a row may come.
      session_buckets: parts that the visitors of one partition are cut into; fixed for the life of a lake.
      until_idle_seconds: ends when no hub has had anything new for so long; None goes on for ever.
    """

    lake: str
    events: str = field(repr=False)
    hubs: Mapping[str, tuple[str, ...]] = field(default_factory=default_hubs)
    consumer_group: str = "$Default"
    name: str = "events"
    window_seconds: float = 1.0
    until_idle_seconds: float | None = None
    gap: str = "30m"
    lateness_seconds: float = 600
    session_buckets: int = 4
    runner: str = "prism"
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.window_seconds < 0.1:
            raise UserError(f"a window of {self.window_seconds} s is too short", "--window", "give at least 0.1")
        self.rules  # noqa: B018 - says what is wrong with the gap
        Tolerance(self.lateness_seconds)
        if not self.hubs:
            raise UserError("no hub is named", "--hub", "give --hub NAME=TABLE")
        for tables in self.hubs.values():
            for table in tables:
                contract(table)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> StreamConfig:
        given = json.loads(text)
        given["hubs"] = {hub: tuple(tables) for hub, tables in given["hubs"].items()}
        return StreamConfig(**given | {"beam_args": tuple(given["beam_args"])})

    @property
    def tables(self) -> tuple[Contract, ...]:
        return tuple(contract(name) for name in dict.fromkeys(t for tables in self.hubs.values() for t in tables))

    @property
    def rules(self) -> SessionRules:
        others, channels = parse_gaps(self.gap)
        return SessionRules(others, channels)

    @property
    def limits(self) -> Limits:
        return Limits(until_idle_seconds=self.until_idle_seconds, **_LIMITS[self.runner])

    @property
    def connection(self) -> HubConnection:
        return HubConnection(self.events, self.consumer_group)


def stream_config(
    lake: str,
    events: str,
    hubs: Mapping[str, tuple[str, ...]],
    group: str,
    name: str,
    window_seconds: float,
    until_idle: bool,
    runner: str,
    beam_args: Sequence[str],
) -> StreamConfig:
    """The command's options, checked.

    Raises:
      UserError: among others a runner that cannot run an endless source, or a connection string that is none.
    """
    engine = runner.lower().removesuffix("runner")
    if engine not in _LIMITS:
        raise UsageError(
            f"the runner {runner!r} cannot run an endless source here", remedy=f"give --runner {' or '.join(_LIMITS)}"
        )
    HubConnection.from_url(events, group)
    idle = _UNTIL_IDLE_SECONDS if until_idle else None
    return StreamConfig(
        lake, events, dict(hubs), group, name, window_seconds, idle, runner=engine, beam_args=tuple(beam_args)
    )


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
    """Takes the stream's tables over, so that an older writer is fenced: table name, or REJECTED -> how to write."""
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
        position="position",
        arrived="",
        idle_seconds=3 * idle,
        note=tuple(RunNote(run, "rejects", inputs=tuple(config.hubs)).fields().items()),
        counted_as="rejected",
    )
    if TABLE in writes:
        sessions = StreamWrite(lake.live_sessions, LIVE_SESSIONS, config.name, (), STEP.name, arrived="")
        late = StreamWrite(lake.late, LATE_EVENTS, config.name, (), "position", arrived="", contiguous=False)
        writes |= {_SESSIONS: sessions, _LATE: late}
    return {
        name: dataclasses.replace(w, epoch=take_over(w.uri, w.schema, w.partition_by, w.stream))
        for name, w in writes.items()
    }


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
    ingested = events | "IngestEvents" >> IngestEvents(config.hubs, ingest_specs(config, run))
    committed = {
        name: ingested[name] | f"Write {name}" >> WriteStream(writes[name], config.window_seconds)
        for name in (*(table.name for table in config.tables), REJECTED)
    }
    if TABLE in committed:
        committed[TABLE] | "SessionsOf" >> _sessions(config, writes)


def _sessions(config: StreamConfig, writes: Mapping[str, StreamWrite]) -> StreamSessionsOf:
    bronze, sessions, late = writes[TABLE], writes[_SESSIONS], writes[_LATE]
    tables = LiveTables(bronze.uri, sessions.uri, late.uri, config.name, config.session_buckets)
    hubs = [hub for hub, names in config.hubs.items() if TABLE in {contract(name).name for name in names}]
    logs = tuple(f"{hub}/{partition}" for hub in hubs for partition in partitions(config.connection, hub))
    tolerance = Tolerance(config.lateness_seconds)
    return StreamSessionsOf(tables, logs, sessions, late, config.rules, tolerance, 2 * config.window_seconds)
