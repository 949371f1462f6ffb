"""A stream that is killed again and again while events come in, and the hub itself as the oracle of what bronze holds.

Whatever a sender had to send twice is in the hub twice, under two sequence numbers; so bronze must hold the hub's
events place by place, and every row that was sent. The sessions, with their ids, and the late rows behind them follow
from the hub's events in their order; the features are those of the batch kernel over all of bronze.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from azure.eventhub import EventData

from pipelines.config import Lake
from pipelines.maintain import maintain_tables
from pipelines.prism import Prism
from pipelines.stream_config import StreamConfig
from pipelines.supervisor import Supervisor
from tests.event_hubs import LoopbackProcess, receive
from tests.sessions.views_stream import cut_views
from tests.streaming import CONTENT_TYPES, PLACE, count_rows, until
from transforms.bronze.envelope import columns_for_silver
from transforms.contracts import contract
from transforms.errors import UserError
from transforms.gold.realtime import features, fold
from transforms.gold.realtime_table import read_features
from transforms.gold.touches import TOUCHES, read_touches
from transforms.io.delta import open_table, read_table
from transforms.io.delta_positions import positions
from transforms.io.event_hubs import HubConnection, HubSender
from transforms.sessions.live import bronze_columns, events_of
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import SESSIONS
from transforms.silver.to_silver import to_silver

HUB, TABLE = "behavioral", "CUSTOMER_BEHAVIORAL_EVENTS"
COLUMNS = ("EVENT_ID", "CUSTOMER_ID", "EVENT_DATE", "PAGE_URL", "TIME_ON_PAGE")
KILLS = ("worker", "engine", "loopback", "worker", "loopback", "zombie")
FAULTS = ("drop", "lost_ack", "maintain", "none")
START_US = 1_262_700_000_000_000  # 2010-01-05
_EVENTS_AT_ONCE = 100_000
_SAY_SECONDS = 30.0
_SLOWEST_ROWS_A_SECOND = 1_000


@dataclass(frozen=True)
class Plan:
    """What is done to a stream.

    Attributes:
      kills: of worker, engine and loopback, and stops of a worker that wakes when its successor runs.
      rows_a_send: rows sent between two looks; with `form` "row" one event each.
      total_rows: the sender goes on until the last kill, and then to so many.
    """

    kills: int = 20
    rows_a_send: int = 100
    total_rows: int = 0
    form: str = "row"
    partitions: int = 2
    seed: int = 1


@dataclass
class Outcome:
    """What happened, and what was wrong at the end (nothing, that is)."""

    done: Counter[str] = field(default_factory=Counter)
    rows_sent: int = 0
    rows: int = 0
    seconds: float = 0.0
    compared_seconds: float = 0.0
    restarts: int = 0
    commits: int = 0
    sessions: int = 0
    late: int = 0
    persons: int = 0
    events: int = 0
    wrong: list[str] = field(default_factory=list)


def rows_from(first: int, count: int) -> pa.RecordBatch:
    """Page views numbered from `first`, a second apart; each column follows from the number."""
    numbers = pl.Series(range(first, first + count))
    frame = pl.DataFrame({"n": numbers}).select(
        EVENT_ID=pl.format("E{}", "n"),
        CUSTOMER_ID=pl.format("C{}", pl.col("n") % 997),
        EVENT_TYPE=pl.lit("PAGE_VIEW"),
        EVENT_DATE=(pl.col("n") * 1_000_000 + START_US).cast(pl.Datetime("us", "UTC")),
        PAGE_URL=pl.format("/p/{}", pl.col("n") * 7 % 1009),
        TIME_ON_PAGE=pl.col("n") % 86_400,
    )
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()[0]


def visits_from(first: int, count: int) -> pa.RecordBatch:
    """`rows_from`, of visitors that come for a few minutes, up to 50 seconds out of order, and one in 97 hours late."""
    frame, n = (
        pl.DataFrame(pl.from_arrow(pa.table(rows_from(first, count)))),
        pl.Series("n", range(first, first + count)),
    )
    behind = pl.when(pl.col("n") % 97 == 96).then(20_000).otherwise(pl.col("n") * 13 % 50)
    made = frame.with_columns(n).with_columns(
        CUSTOMER_ID=pl.format("C{}", pl.col("n") // 400 * 50 + pl.col("n") * 7 % 41),
        EVENT_DATE=pl.col("EVENT_DATE") - pl.duration(seconds=behind, time_unit="us"),
    )
    return made.drop("n").to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()[0]


def hub_rows(server: LoopbackProcess) -> pl.DataFrame:
    """What the hub holds, read by the unmodified client: PLACE and COLUMNS, in order of place."""
    frames = []
    for number, log in enumerate(server.control.state()["hubs"][HUB]):
        at = 0
        while at < log["end"]:  # some at a time: an event of the client is 3 KB
            wanted = min(_EVENTS_AT_ONCE, log["end"] - at)
            events = receive(server, wanted, at, str(number), HUB, seconds=300, inclusive=True)
            assert events, f"{HUB}/{number} gave nothing from {at} on"
            frames += [_rows_of(events, kind, number) for kind in {made.content_type for made in events}]
            at = events[-1].sequence_number + 1
    return pl.concat(frames).sort(PLACE)


def _rows_of(events: list[EventData], kind: str, number: int) -> pl.DataFrame:
    """PLACE and COLUMNS of the events of one content type."""
    of_kind = [made for made in events if made.content_type == kind]
    rows, counts = decoded([b"".join(made.body) for made in of_kind], kind)
    places = {
        "_file": pl.repeat(f"{HUB}/{number}", rows.height, eager=True),
        "_position": pl.Series(np.repeat([made.sequence_number for made in of_kind], counts)),
        "_row": pl.Series(np.concatenate([np.arange(count, dtype=np.int32) for count in counts])),
    }
    return rows.select(COLUMNS).with_columns(**places)


def decoded(bodies: list[bytes], kind: str) -> tuple[pl.DataFrame, list[int]]:
    """The rows of events of one content type, and how many each has."""
    if kind == CONTENT_TYPES["arrow"]:
        tables = [pa.ipc.open_stream(body).read_all() for body in bodies]
        return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables))), [table.num_rows for table in tables]
    rows = pl.read_ndjson(b"\n".join(bodies), schema_overrides={"EVENT_DATE": pl.String}, infer_schema_length=None)
    when = pl.col("EVENT_DATE").str.to_datetime(time_unit="us", time_zone="UTC")
    return rows.with_columns(when), [len(body.splitlines()) for body in bodies]


class _Life:
    """One supervisor in a thread."""

    def __init__(self, config: StreamConfig, prism: str) -> None:
        self.said: list[str] = []
        self.error: BaseException | None = None
        self.supervisor = Supervisor(config, Prism(prism), said=self.said.append, back_off=(0.1,))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except BaseException as error:
            self.error = error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self.supervisor.stop()
        self._thread.join(60)
        assert not self.alive, "the supervisor did not stop"


class Chaos:
    """Runs a plan over a started server; `run` gives the outcome."""

    def __init__(self, server: LoopbackProcess, lake: Path, prism: str, plan: Plan, say: Callable[[str], None]) -> None:
        self._server, self._lake, self._prism, self._plan, self._say = server, lake, prism, plan, say
        self._config = StreamConfig(
            str(lake), server.connection_string(), {HUB: (TABLE,)}, window_seconds=0.5, lateness_seconds=60
        )
        self._random = random.Random(plan.seed)
        self._over = threading.Event()
        self._failed: BaseException | None = None
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Whatever ends it early is raised with what was done until then."""
        self._begun, ended = time.monotonic(), threading.Event()
        self._life = _Life(self._config, self._prism)
        threading.Thread(target=self._tell, args=(ended,), daemon=True).start()
        try:
            self._run()
            self.outcome.seconds = time.monotonic() - self._begun
            self._check()
        except Exception as error:
            raise AssertionError(f"broken off after {self._progress()}: {error!r}") from error
        finally:
            ended.set()
            self._life.supervisor.stop()
        self.outcome.compared_seconds = time.monotonic() - self._begun - self.outcome.seconds
        return self.outcome

    def _tell(self, ended: threading.Event) -> None:
        while not ended.wait(_SAY_SECONDS):
            self._say(self._progress())

    def _progress(self) -> str:
        done, rows = self.outcome.done, count_rows(self._lake, TABLE)
        killed, life = sum(done[what] for what in set(KILLS)), self._life.supervisor
        started = self.outcome.restarts + (0 if life.is_stopped else life.restarts)
        passed = f"{time.monotonic() - self._begun:6.1f} s  {killed} of {self._plan.kills} kills"
        return f"{passed}, {self.outcome.rows_sent:,} rows sent, {rows:,} in bronze, started again {started} times"

    def _run(self) -> None:
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        try:
            for number in range(self._plan.kills):
                self._await_commit()
                self._fault(self._random.choice(FAULTS))
                time.sleep(self._random.uniform(0, 0.6))
                what = KILLS[number % len(KILLS)]
                self._say(f"{time.monotonic() - self._begun:6.1f} s  {number + 1:3d} {what}")
                getattr(self, f"_kill_{what}")()
                self.outcome.done[what] += 1
        finally:
            self._over.set()
        sender.join(self._plan.total_rows / _SLOWEST_ROWS_A_SECOND + 60)
        assert not sender.is_alive(), "the sender does not come to its end"
        assert self._failed is None, self._failed
        self._drain()

    def _send(self) -> None:
        """Sends until it is over; each batch again and again until the hub acknowledges it."""
        try:
            plan, form = self._plan, self._plan.form
            connection = HubConnection(self._server.connection_string())
            with HubSender(connection, HUB, TABLE, form) as sender:  # type: ignore[arg-type]
                while not self._over.is_set() or self.outcome.rows_sent < plan.total_rows:
                    sender.send(visits_from(self.outcome.rows_sent, plan.rows_a_send))
                    self.outcome.rows_sent += plan.rows_a_send
                    self._over.wait(0.2)
        except BaseException as error:
            self._failed = error

    def _version(self) -> int:
        table = open_table(Lake(str(self._lake)).bronze(contract(TABLE)))
        return -1 if table is None else table.version()

    def _await_commit(self) -> None:
        """Rows were committed since; at once where the stream has ended, which is told at the end."""
        before = count_rows(self._lake, TABLE)

        def done() -> bool:
            if not self._life.alive:
                raise AssertionError(f"the stream ended by itself: {self._life.error} {self._life.said[-3:]}")
            assert self._failed is None, self._failed
            return count_rows(self._lake, TABLE) > before

        until(done, 90)

    def _fault(self, what: str) -> None:
        self.outcome.done[what] += 1
        if what == "drop":
            self._server.control.drop()
        elif what == "lost_ack":
            self._server.control.next("lost_ack")
        elif what == "maintain":
            list(maintain_tables(Lake(str(self._lake)), 168, False))

    def _kill_worker(self) -> None:
        self._kill("worker", signal.SIGKILL)

    def _kill_engine(self) -> None:
        self._kill("engine", signal.SIGKILL)

    def _kill_loopback(self) -> None:
        self._server.kill()
        self._server.start()

    def _kill_zombie(self) -> None:
        """Stops the worker, lets a second stream take over, and wakes the worker: one of the two gives way."""
        old, pid = self._life, self._kill("worker", signal.SIGSTOP)
        self._life = new = _Life(self._config, self._prism)
        try:
            self._await_commit()
        finally:
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        until(lambda: not (old.alive and new.alive), 90)
        loser, self._life = (new, old) if old.alive else (old, new)
        self.outcome.restarts += loser.supervisor.restarts
        if not isinstance(loser.error, UserError) or "another stream" not in str(loser.error):
            self.outcome.wrong.append(f"the older stream ended with {loser.error!r}")

    def _kill(self, which: str, how: int) -> int | None:
        until(lambda: which in self._life.supervisor.pids, 30, 0.02)
        pid = self._life.supervisor.pids[which]
        with suppress(ProcessLookupError):
            os.kill(pid, how)
        return pid

    def _drain(self) -> None:
        hubs = self._server.control.state()["hubs"][HUB]
        uri = Lake(str(self._lake)).bronze(contract(TABLE))
        ends = {f"{HUB}/{number}": log["end"] - 1 for number, log in enumerate(hubs) if log["end"]}
        at, life = positions(uri, self._config.name, list(ends)), self._life
        while at != ends:  # as long as it takes, while it goes on
            before = at
            try:
                until(lambda before=before: positions(uri, self._config.name, list(ends)) != before, 120, 0.5)
            except AssertionError as error:
                told = (life.supervisor.pids, life.error, life.said[-3:])
                raise AssertionError(f"bronze is at {at}, the hub at {ends}: {told}") from error
            at = positions(uri, self._config.name, list(ends))
        self._life.stop()
        self.outcome.restarts += self._life.supervisor.restarts
        Supervisor(replace(self._config, until_idle_seconds=2.0), Prism(self._prism), said=self._say).run()

    def _check(self) -> None:
        outcome, uri = self.outcome, Lake(str(self._lake)).bronze(contract(TABLE))
        found = pl.DataFrame(pl.from_arrow(read_table(uri, columns=[*COLUMNS, *PLACE]))).sort(PLACE)
        expected = hub_rows(self._server).select(found.columns).cast(dict(found.schema))
        outcome.rows, outcome.commits = found.height, self._version()
        outcome.events = found.select("_file", "_position").unique().height
        if found.select(PLACE).is_duplicated().any():
            outcome.wrong.append(f"{found.select(PLACE).is_duplicated().sum()} rows share a place")
        for name, left, right in (("missing", expected, found), ("too many", found, expected)):
            lost = left.join(right, on=PLACE, how="anti")
            if lost.height:
                outcome.wrong.append(f"{lost.height} rows {name}, first {lost.select(PLACE).row(0)}")
        if not outcome.wrong and not found.equals(expected):
            outcome.wrong.append("contents differ")
        sent = pl.Series([f"E{n}" for n in range(outcome.rows_sent)])
        if not sent.is_in(found["EVENT_ID"].implode()).all() or found["EVENT_ID"].n_unique() != len(sent):
            outcome.wrong.append("the rows are not those that were sent")
        self._check_sessions()
        self._check_features()

    def _check_sessions(self) -> None:
        """Those that left, and the rows that were late, by the oracle over what bronze has of each partition."""
        lake, sessions, late = Lake(str(self._lake)), list[pl.DataFrame](), list[tuple]()
        rows = read_table(lake.bronze(contract(TABLE)), columns=bronze_columns()).sort_by("_position")
        for log in pc.unique(rows["_file"]).to_pylist():
            events = events_of(rows.filter(pc.equal(rows["_file"], log)))
            left = cut_views(events, SessionRules(), self._config.lateness_seconds)
            sessions.append(left.sessions)
            late += [(log, position) for position in left.late]
        found = pl.DataFrame(pl.from_arrow(read_table(lake.live_sessions, columns=SESSIONS.names)))
        expected = pl.concat(sessions).select(found.columns).cast(dict(found.schema))
        kept = read_table(lake.late, columns=("_log", "position")).to_pylist()
        of_log = [(row["_log"].rpartition("/")[0], row["position"]) for row in kept]
        self.outcome.sessions, self.outcome.late = found.height, len(kept)
        if sorted(of_log) != sorted(late):
            self.outcome.wrong.append(f"{len(kept)} late rows, not {len(late)}")
        if not found.sort("session_id").equals(expected.sort("session_id")):
            lost = expected.join(found, on=expected.columns, how="anti", nulls_equal=True).height
            self.outcome.wrong.append(
                f"{found.height} sessions, not these {expected.height}: {lost} of them are not there"
            )

    def _check_features(self) -> None:
        """Those of the kernel over all of bronze at once."""
        lake, table = Lake(str(self._lake)), contract(TABLE)
        silver = to_silver(read_table(lake.bronze(table), columns=columns_for_silver(table)), table).accepted
        none = pl.DataFrame(pl.from_arrow(TOUCHES.empty_table()))
        known = fold(none, pl.DataFrame(pl.from_arrow(read_touches(TABLE, silver))))
        expected = features(known, datetime(1970, 1, 1, tzinfo=UTC)).drop_columns(["updated_at"])
        found = read_features(lake.realtime_features).drop_columns(["updated_at"])
        self.outcome.persons = found.num_rows
        if not found.equals(expected):
            self.outcome.wrong.append(f"features of {found.num_rows} persons, not these of {expected.num_rows}")
