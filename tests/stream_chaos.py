"""A stream that is killed again and again while events come in; what it must come to is `tests.stream_oracle`'s."""

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
from pathlib import Path

from pipelines.config import Lake
from pipelines.maintain import maintain_tables
from pipelines.prism import Prism
from pipelines.stream_config import StreamConfig
from pipelines.supervisor import Supervisor
from tests.event_hubs import LoopbackProcess
from tests.stream_oracle import Compared, compare
from tests.stream_views import HUB, TABLE, visits_from
from tests.streaming import count_rows, until
from transforms.contracts import contract
from transforms.errors import UserError
from transforms.io.delta import open_table
from transforms.io.delta_positions import positions
from transforms.io.event_hubs import HubConnection, HubSender

KILLS = ("worker", "engine", "loopback", "worker", "loopback", "zombie")
FAULTS = ("drop", "lost_ack", "maintain", "none")
_SAY_SECONDS = 30.0
_PATIENCE_SECONDS = 300  # on a machine that is busy elsewhere a start alone may take a minute
_A_FEW = 50  # rows a send, so that there is always something to commit
_SLOWEST_ROWS_A_SECOND = 1_000


@dataclass(frozen=True)
class Plan:
    """What is done to a stream.

    Attributes:
      kills: of worker, engine and loopback, and stops of a worker that wakes when its successor runs.
      rows_a_send: rows sent between two looks; with `form` "row" one event each.
      total_rows: how many are sent, spread over the kills; the sender never stops before the last of them.
    """

    kills: int = 20
    rows_a_send: int = 100
    total_rows: int = 0
    form: str = "row"
    partitions: int = 2
    seed: int = 1


@dataclass
class Outcome:
    """What happened, and what was found at the end; `wrong` is empty, that is."""

    done: Counter[str] = field(default_factory=Counter)
    rows_sent: int = 0
    seconds: float = 0.0
    compared_seconds: float = 0.0
    restarts: int = 0
    commits: int = 0
    wrong: list[str] = field(default_factory=list)
    compared: Compared = field(default_factory=Compared)


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
            self.outcome.commits = self._version()
            self.outcome.compared = compare(
                self._server, self._lake, self.outcome.rows_sent, self._config.lateness_seconds
            )
            self.outcome.wrong += self.outcome.compared.wrong
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
            for number, what in enumerate(self._kinds()):
                self._await_commit()
                self._fault(self._random.choice(FAULTS))
                time.sleep(self._random.uniform(0, 0.6))
                self._say(f"{time.monotonic() - self._begun:6.1f} s  {number + 1:3d} {what}")
                getattr(self, f"_kill_{what}")()
                self.outcome.done[what] += 1
        finally:
            self._over.set()
        sender.join(self._plan.total_rows / _SLOWEST_ROWS_A_SECOND + 60)
        assert not sender.is_alive(), "the sender does not come to its end"
        assert self._failed is None, self._failed
        self._drain()

    def _kinds(self) -> list[str]:
        """What is killed each time: at random, but of six kills each of KILLS is one."""
        rounds = -(-self._plan.kills // len(KILLS))
        drawn = [what for _ in range(rounds) for what in self._random.sample(KILLS, len(KILLS))]
        return drawn[: self._plan.kills]

    def _send(self) -> None:
        """Sends until it is over; each batch again and again until the hub acknowledges it."""
        try:
            plan, form = self._plan, self._plan.form
            connection = HubConnection(self._server.connection_string())
            with HubSender(connection, HUB, TABLE, form) as sender:  # type: ignore[arg-type]
                while not self._over.is_set() or self.outcome.rows_sent < plan.total_rows:
                    rows = plan.rows_a_send if self.outcome.rows_sent <= self._share() else _A_FEW
                    sender.send(visits_from(self.outcome.rows_sent, rows))
                    self.outcome.rows_sent += rows
                    self._over.wait(0.2)
        except BaseException as error:
            self._failed = error

    def _share(self) -> float:
        """How many rows to have sent by now: more would only wait behind each other."""
        plan, killed = self._plan, sum(self.outcome.done[what] for what in set(KILLS))
        share = (killed + 1) / max(1, plan.kills)
        return plan.total_rows * share if plan.total_rows else float("inf")

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

        until(done, _PATIENCE_SECONDS)

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
        until(lambda: not (old.alive and new.alive), _PATIENCE_SECONDS)
        loser, self._life = (new, old) if old.alive else (old, new)
        self.outcome.restarts += loser.supervisor.restarts
        if not isinstance(loser.error, UserError) or "another stream" not in str(loser.error):
            self.outcome.wrong.append(f"the older stream ended with {loser.error!r}")

    def _kill(self, which: str, how: int) -> int | None:
        until(lambda: which in self._life.supervisor.pids, _PATIENCE_SECONDS, 0.02)
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
                until(
                    lambda before=before: positions(uri, self._config.name, list(ends)) != before,
                    _PATIENCE_SECONDS,
                    0.5,
                )
            except AssertionError as error:
                told = (life.supervisor.pids, life.error, life.said[-3:])
                raise AssertionError(f"bronze is at {at}, the hub at {ends}: {told}") from error
            at = positions(uri, self._config.name, list(ends))
        self._life.stop()
        self.outcome.restarts += self._life.supervisor.restarts
        Supervisor(replace(self._config, until_idle_seconds=2.0), Prism(self._prism), said=self._say).run()
