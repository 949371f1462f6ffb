"""The `stream` command: starts the stream, says how it is doing, and serves that to Prometheus."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console

from pipelines.config import Lake
from pipelines.console import Output, counted
from pipelines.refining import Refining
from pipelines.runs import record_commits
from pipelines.stream_config import StreamConfig
from pipelines.stream_gauges import Gauges, served
from pipelines.stream_status import Progress, StreamWatch
from pipelines.supervisor import Engine, Supervisor
from transforms.contracts import contract
from transforms.counts import REJECTED
from transforms.errors import Unreachable, UsageError, UserError
from transforms.io.delta_positions import positions
from transforms.io.event_hubs import HubReader, partitions
from transforms.sessions.bucket import NO_CLOCK

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOK_SECONDS = 1.0
_LINE_SECONDS = 10.0  # between lines where there is no terminal
_BACKLOG_SECONDS = 5.0
_STUCK_SECONDS = 180.0  # a hang of the worker or of the engine; a start, with its reading back, takes less


@dataclass
class Live:
    """What is shown: rows, rejects, rows a second, how far behind, late rows. `gauges` are Prometheus's, if served."""

    config: StreamConfig
    quiet: bool = False
    gauges: Gauges | None = None
    supervisor: Supervisor | None = None

    def __post_init__(self) -> None:
        lake = Lake(self.config.lake)
        tables = {table.name: lake.bronze(table) for table in self.config.tables} | {REJECTED: lake.rejects}
        tables |= {"sessions": lake.live_sessions, "late": lake.late}
        self._watch = StreamWatch(tables, self.config.name)
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._next_look = self._next_line = self._next_backlog = 0.0
        self._readers: dict[str, HubReader] = {}
        self._stood: dict[str, dict[str, int]] = {}  # table -> log -> position, when the hub was looked at first
        self._before = (time.monotonic(), 0)
        self._moved: tuple[float, object] = (time.monotonic(), None)
        self.progress: dict[str, Progress] = {}
        self.gaps: dict[tuple[str, int, int], None] = {}
        self.backlog = 0
        self.rows_per_second = 0.0

    def tick(self) -> str:
        """Looks at the tables' logs about once a second, and shows a line; why the worker must go, if it must."""
        now = time.monotonic()
        if now < self._next_look:
            return ""
        self._next_look = now + _LOOK_SECONDS
        self.look(now)
        if self._console.is_terminal and not self.quiet:
            self._console.print("\r" + self.line() + " " * 10, end="")
        elif not self.quiet and now >= self._next_line:
            self._next_line = now + _LINE_SECONDS
            self._console.print(self.line())
        return self._stuck(now)

    def _stuck(self, now: float) -> str:
        """Whether events wait and nothing is committed, for too long for a worker that is alive."""
        at = (self._restarts, *(tuple(p.positions.items()) for p in self.progress.values()))
        if not self.backlog or at != self._moved[1]:
            self._moved = now, at
        if now - self._moved[0] < _STUCK_SECONDS:
            return ""
        self._moved = now, at
        return f"nothing was committed for {_STUCK_SECONDS:g} s, and events wait"

    def look(self, now: float) -> None:
        """Brings `progress`, `rows_per_second` and the gauges up to date."""
        with suppress(Unreachable):  # a lake, or a hub, that does not answer is the worker's to judge
            self.progress = self._watch.look()
        self._tell_gaps()
        if now >= self._next_backlog:
            self._next_backlog = now + _BACKLOG_SECONDS
            with suppress(UserError):
                self.backlog = self._behind()
        rows, (then, rows_then) = self.rows, self._before
        if now - then >= 5:
            self.rows_per_second, self._before = (rows - rows_then) / (now - then), (now, rows)
        self._export()

    def _tell_gaps(self) -> None:
        for gap in (gap for p in self.progress.values() for gap in p.gaps if gap not in self.gaps):
            self.gaps[gap] = None  # each of the hub's tables says so
            log, low, high = gap
            if not self.quiet:
                self._console.print(f"{log}: events {low} to {high} ({high - low + 1:,}) were no longer in the hub")

    @property
    def rows(self) -> int:
        return sum(self.progress[table.name].rows for table in self.config.tables if table.name in self.progress)

    @property
    def rejected(self) -> int:
        return self.of(REJECTED)

    def of(self, table: str) -> int:
        """Rows of one table since the start."""
        return self.progress[table].rows if table in self.progress else 0

    @property
    def lag_seconds(self) -> float | None:
        lags = [p.lag_seconds for p in self.progress.values() if p.lag_seconds is not None]
        return max(lags, default=None)

    @property
    def watermark(self) -> datetime | None:
        """How far sessions are: the clock of the partition that is furthest behind, in event time."""
        clocks = self.progress["sessions"].clocks.values() if "sessions" in self.progress else ()
        known = [clock for clock in clocks if clock != NO_CLOCK]  # a partition of one visitor has none yet
        return min((_EPOCH + timedelta(microseconds=clock) for clock in known), default=None)

    def line(self) -> str:
        lag = f", {self.lag_seconds:.1f} s from hub to table" if self.lag_seconds is not None else ""
        restarts = f", started again {counted(self.supervisor.restarts, 'time')}" if self._restarts else ""
        clock = f", watermark {self.watermark:%Y-%m-%d %H:%M:%S}Z" if self.watermark else ""
        return (
            f"{self.rows:,} rows, {self.rows_per_second:,.0f} rows/s, {self.backlog:,} events waiting{lag}{clock},"
            f" {self.of('late'):,} late, {self.rejected:,} rejected{restarts}"
        )

    @property
    def _restarts(self) -> int:
        return self.supervisor.restarts if self.supervisor else 0

    def _behind(self) -> int:
        """Events the hubs hold beyond what bronze has, over all partitions."""
        waiting = 0
        for hub, tables in self.config.hubs.items():
            for log, reader in self._of(hub).items():
                at = min(self.progress[t].positions.get(log, self._stood[t][log]) for t in tables)
                state = reader.properties()
                waiting += max(0, state.last_sequence_number - max(at, state.begin_sequence_number - 1))
        return waiting

    def _of(self, hub: str) -> dict[str, HubReader]:
        if not any(log.startswith(f"{hub}/") for log in self._readers):
            ids = partitions(self.config.connection, hub)
            for table in self.config.hubs[hub]:
                uri, logs = Lake(self.config.lake).bronze(contract(table)), [f"{hub}/{id_}" for id_ in ids]
                self._stood.setdefault(table, {}).update(positions(uri, self.config.name, logs))
            self._readers |= {f"{hub}/{id_}": HubReader(self.config.connection, hub, id_, 0) for id_ in ids}
        return {log: reader for log, reader in self._readers.items() if log.startswith(f"{hub}/")}

    def _export(self) -> None:
        if self.gauges is None:
            return
        self.gauges.set_tables(self.progress)
        self.gauges.set_worker(self.supervisor.levels if self.supervisor else {})
        watermark = self.watermark
        told = {"backlog": self.backlog, "restarts": self._restarts, "late": self.of("late")}
        for name, value in {**told, "watermark": watermark.timestamp() if watermark else None}.items():
            self.gauges.set(name, value)

    def finish(self) -> None:
        """Looks a last time, at the hubs too, shows the last line if it ran at all, and lets go of the hubs."""
        has_run, self._next_backlog = self._next_look > 0, 0.0
        self.look(time.monotonic())
        if has_run and not self.quiet:
            self._console.print(f"\r{self.line():<120}" if self._console.is_terminal else self.line())
        self.close()

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()


def check_hubs(config: StreamConfig) -> None:
    """Talks to each hub once, so that a wrong key or name is said before anything starts."""
    for hub in config.hubs:
        partitions(config.connection, hub)


def run_stream(
    config: StreamConfig, engine: Engine, metrics_port: int | None, refine_every: float, as_json: bool
) -> None:
    """Runs the stream until it is told to stop, or has nothing more to do; says what it did."""
    out = Output(as_json)
    check_hubs(config)
    out.say(f"stream: {config.connection} -> {config.lake}; hubs {', '.join(config.hubs)}")
    with served(metrics_port) as gauges:
        live = Live(config, quiet=as_json, gauges=gauges)
        say = lambda line: as_json or print(line, file=sys.stderr)  # noqa: E731
        refining = Refining(config.lake, refine_every, say)

        def tick() -> str:
            refining.tick()
            return live.tick()

        live.supervisor = Supervisor(config, engine, tick, said=say)
        try:
            live.supervisor.run()
            refining.finish()
        finally:
            live.finish()
            record_commits(Lake(config.lake))
    rows = [
        {"table": name.lower(), "rows": p.rows, "commits": p.commits, "lost_events": p.lost, "lag_s": p.lag_seconds}
        for name, p in live.progress.items()
        if p.commits or p.rows
    ]
    out.say(
        f"stream: {counted(live.rows, 'row')} into bronze, {counted(live.rejected, 'row')} rejected,"
        f" {counted(live.of('sessions'), 'session')}, {counted(live.of('late'), 'late row')}",
        sessions=live.of("sessions"),
        late=live.of("late"),
        rows=live.rows,
        rejected=live.rejected,
        restarts=live.supervisor.restarts,
        gaps=list(live.gaps),
    )
    out.table("tables", rows)
    out.close()


def hubs_of(given: list[str]) -> dict[str, tuple[str, ...]]:
    """ "--hub NAME=TABLE,TABLE" options -> hub -> tables."""
    hubs: dict[str, tuple[str, ...]] = {}
    for option in given:
        name, equals, tables = option.partition("=")
        if not name or not equals or not tables or name in hubs:
            raise UsageError(f"--hub {option!r} is not understood", remedy="write it as --hub NAME=TABLE[,TABLE]")
        hubs[name] = tuple(table.strip() for table in tables.split(","))
    return hubs
