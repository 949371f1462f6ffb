"""`demo --stream`: an hour of a made-up day through hubs on this machine, and what became of it."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from pipelines.config import Lake
from pipelines.console import Output, counted
from pipelines.live import Live
from pipelines.prism import Prism, find_prism
from pipelines.report import arrivals
from pipelines.runs import record_commits
from pipelines.stream_config import StreamConfig, default_hubs
from pipelines.supervisor import Supervisor
from transforms.errors import UsageError, UserError
from transforms.generator.frames import HOUR
from transforms.generator.replay import arrivals as hour_of
from transforms.generator.spec import GeneratorSpec
from transforms.io.delta import open_table, read_table
from transforms.io.event_hubs import HubSender
from transforms.io.event_hubs_encode import Body, partition_numbers
from transforms.io.event_hubs_loopback.namespace import LoopbackConfig
from transforms.io.event_hubs_loopback.process import LoopbackProcess

# A retailer busier than the demo's real one, whose busiest hour has 1,300 rows; its year need not be made for it.
SPEC = GeneratorSpec(customers=80_000, days=1, late_share=0.02)
BEGIN_HOUR = 15
# Each partition costs the stream a piece a window: only the hub whose rows make sessions shows how they are spread.
HUBS = dict.fromkeys(default_hubs(), 1) | {"behavioral": 2}
_TABLES = {tables[0]: hub for hub, tables in default_hubs().items()}
_MARK = "stream-demo.json"
_TICK_SECONDS, _READY_SECONDS, _IDLE_SECONDS = 0.2, 120.0, 10.0
_TRIES = 5


@dataclass(frozen=True)
class Places:
    """The folders below `--out`. The lake is the stream's own: the demo's batch lake stays as it is, and its second
    run changes nothing still. Both folders are made anew by each run."""

    folder: Path

    @property
    def lake(self) -> Path:
        return self.folder / "stream-lake"

    @property
    def events(self) -> Path:
        return self.folder / "stream-events"

    @property
    def report(self) -> Path:
        return self.folder / "stream-report.html"

    def renew(self) -> None:
        """Clears what an earlier run left, and nothing else."""
        mark = self.folder / _MARK
        for made in (self.lake, self.events):
            if made.exists() and not mark.exists():
                raise UserError("this was not made by `demo --stream`", str(made), "give another folder with --out")
            shutil.rmtree(made, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps({"made": [self.lake.name, self.events.name]}))


@dataclass
class Replay:
    """Sends rows at their time of arrival, `speed` times as fast as they happened, in a thread of its own.

    Attributes:
      rows: `transforms.generator.replay.arrivals`, `placed`.
      sent: rows that the hubs have acknowledged.
    """

    server: LoopbackProcess
    config: StreamConfig
    rows: pl.DataFrame
    begin_us: int
    speed: float
    sent: int = 0
    failed: BaseException | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(30)

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        try:
            # Connections are opened while the stream starts: a hub that is silent for long looks as if it had no more.
            senders = {table: HubSender(self.config.connection, hub, table, "row") for table, hub in _TABLES.items()}
            try:
                self._wait_for_readers()
                self._send(senders)
            finally:
                for sender in senders.values():
                    sender.close()
        except BaseException as error:  # told by the thread that waits
            self.failed = error

    def _wait_for_readers(self) -> None:
        """Until the stream reads every partition: its start is no delay of a row."""
        wanted, deadline = sum(HUBS.values()), time.monotonic() + _READY_SECONDS
        while self.server.control.state()["readers"] < wanted and time.monotonic() < deadline:
            if self._over.wait(_TICK_SECONDS):
                return

    def _send(self, senders: Mapping[str, HubSender]) -> None:
        due = self.rows["arrives_us"].to_numpy()
        begun, done = time.monotonic(), 0
        while done < len(due) and not self._over.wait(_TICK_SECONDS):
            now = self.begin_us + (time.monotonic() - begun) * self.speed * 1e6
            upto = int(due.searchsorted(now, side="right"))
            for (table,), part in self.rows[done:upto].group_by("table", maintain_order=True):
                self.sent += senders[str(table)].send_bodies(bodies(part)).rows
            done = upto


def placed(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds `partition`: the number within the hub of the row's table; rows of one person have one."""
    parts = []
    for (table,), part in rows.with_row_index("_at").group_by("table"):
        keys = pa.array(part["who"].to_list(), pa.string())
        numbers = partition_numbers(keys, part.height, HUBS[_TABLES[str(table)]], 0)
        parts.append(part.with_columns(partition=pl.Series(numbers, dtype=pl.Int64)))
    return pl.concat(parts).sort("_at").drop("_at")


def bodies(rows: pl.DataFrame) -> list[Body]:
    """One event a row, in order."""
    return [Body(number, line, 1) for number, line in rows.select("partition", "line").iter_rows()]


def longest_silence(rows: pl.DataFrame, begin_us: int, speed: float) -> float:
    """Seconds that a partition waits for its first or next row at most, when they are sent at this speed."""
    before = pl.col("arrives_us").shift(1, fill_value=begin_us).over("table", "partition")
    return float(rows.select((pl.col("arrives_us") - before).max()).item()) / 1e6 / speed


def run_demo_stream(folder: Path, speed: float, prism: str, as_json: bool, spec: GeneratorSpec = SPEC) -> None:
    """Replays the hour through hubs and stream, then says and draws what came of it.

    Raises:
      UserError: Prism is neither here nor to be had.
    """
    if not 1 <= speed <= 3600:
        raise UsageError(
            f"--speed {speed:g} is not possible", remedy="give 1 (as it happens) to 3600 (an hour in a second)"
        )
    out, begun, places = Output(as_json), time.monotonic(), Places(folder)
    engine = Prism(str(find_prism(prism)))
    places.renew()
    begin_us = spec.start_us + BEGIN_HOUR * HOUR
    with out.working("making up an hour"):
        rows = placed(hour_of(spec, begin_us))
    hour = datetime.fromtimestamp(begin_us / 1e6, UTC)
    out.say(
        f"hour:   {counted(rows.height, 'row')} of {hour:%Y-%m-%d, %H:%M} UTC, made up", made=rows.height, speed=speed
    )
    with LoopbackProcess(LoopbackConfig(places.events, HUBS)) as server:
        idle = _IDLE_SECONDS + 2 * longest_silence(rows, begin_us, speed)
        config = StreamConfig(str(places.lake), server.connection_string(), until_idle_seconds=idle)
        out.say(f"hubs:   {', '.join(HUBS)}, on a stand-in for Azure Event Hubs on this machine")
        out.say(f"replay: {3600 / speed:,.0f} s at {speed:g} times its speed, once the stream listens")
        replay = Replay(server, config, rows, begin_us, speed)
        live = _stream(config, engine, replay, as_json)
    _say(Lake(config.lake), replay, live, out)
    _report(Lake(config.lake), places.report, out)
    out.say(f"done in {time.monotonic() - begun:.0f} s", seconds=round(time.monotonic() - begun, 1))
    out.close()


def _stream(config: StreamConfig, engine: Prism, replay: Replay, quiet: bool) -> Live:
    """Runs the stream while the hour is sent, and until it has all of it."""
    live = Live(config, quiet=quiet)

    def tick() -> str:
        if replay.failed is not None:
            supervisor.stop()
        return live.tick()

    supervisor = Supervisor(config, engine, tick, said=lambda line: None if quiet else print(line, file=sys.stderr))
    live.supervisor = supervisor
    replay.start()
    try:
        for _ in range(_TRIES):  # a machine too busy to send in time looks idle to the stream
            supervisor.run()
            live.look(time.monotonic())
            if replay.failed is not None:
                raise replay.failed
            done = not replay.is_running and live.rows + live.rejected >= replay.sent
            if done or supervisor.is_stopped:
                break
    finally:
        replay.stop()
        live.close()
        record_commits(Lake(config.lake))
    return live


def _say(lake: Lake, replay: Replay, live: Live, out: Output) -> None:
    found = arrivals.gather(lake)
    totals = found.get("stream", {})
    bronze = [{"table": t.name.lower(), "rows": live.of(t.name)} for t in live.config.tables]
    persons = 0
    if open_table(lake.realtime_features) is not None:
        persons = len(read_table(lake.realtime_features, columns=("person_id",))["person_id"].unique())
    out.say(
        f"bronze: {counted(live.rows, 'row')} and {live.rejected:,} rejected of {replay.sent:,} sent",
        rows=live.rows,
        rejected=live.rejected,
        sent=replay.sent,
        restarts=live.supervisor.restarts if live.supervisor else 0,
    )
    out.table("bronze", bronze)
    out.say(
        f"silver: {counted(live.of('sessions'), 'session')} closed as live_sessions; later ones are open still",
        sessions=live.of("sessions"),
    )
    out.say(f"late:   {counted(live.of('late'), 'event')}, for the next batch", late=live.of("late"))
    out.say(f"gold:   realtime_features of {counted(persons, 'person')}", persons=persons)
    if totals:
        delay = {name: round(totals[name], 3) for name in (*arrivals.SHARES, "max_seconds")}
        out.say(
            f"delay:  from the hub to bronze {delay['p50_seconds']:.1f} s for half of the rows,"
            f" {delay['p99_seconds']:.1f} s for 99 %, {delay['max_seconds']:.1f} s at most",
            delay=delay, histogram=found["stream_delays"].to_pylist(),
        )  # fmt: skip


def _report(lake: Lake, path: Path, out: Output) -> None:
    from pipelines.commands import write_report

    with out.working("drawing the report"):
        write_report(lake, path)
    out.say(f"report: {path.resolve()}", report=str(path))
    out.say(f"next:   python -m pipelines show live_sessions --lake {lake.uri}", lake=lake.uri)
