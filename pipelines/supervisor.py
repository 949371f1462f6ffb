"""Keeps a stream running: starts engine and worker together, and starts both again when either dies."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pipelines.flink import Flink, check_reach, parallelism
from pipelines.memory import GIVE_BACK
from pipelines.prism import Prism, free_port
from pipelines.stream_config import StreamConfig
from pipelines.stream_worker import DONE, FAILED, RESTART, UNREACHABLE
from transforms.errors import UserError

_EVENTS = "C360_EVENTS"  # how the worker gets the connection string: not by a command line that everyone can read
_BACK_OFF = (0.5, 1, 2, 5, 10, 30)
_HEALTHY_SECONDS = 20
_TRIES = 3  # the same words so often in a row: a person must look, unless nobody answers: that passes


class Engine(Protocol):
    """What runs the pipeline: a process that can be started again at any time."""

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """Listens for jobs at `port` of this machine."""

    def beam_args(self, port: int) -> tuple[str, ...]:
        """The pipeline's options."""

    def end(self) -> None:
        """Ends what the process that was started left running elsewhere."""


def engine_of(config: StreamConfig, prism: str = "", flink_master: str = "[local]", flink_jars: str = "") -> Engine:
    """The engine that the stream's runner names.

    Raises:
      UsageError: Flink could not reach the workers, or not by these options.
    """
    if config.runner != "flink":
        return Prism(prism)
    lake = hashlib.sha256(config.lake.encode()).hexdigest()[:8]  # what an address says is nobody's business
    flink = Flink(flink_master, flink_jars, parallelism(config.beam_args), job=f"c360-{config.name}-{lake}")
    check_reach(flink.master, config.beam_args, config.events)
    return flink


@dataclass
class Supervisor:
    """Runs one stream until it ends, a signal comes, or something only a person can mend.

    Exactly-once does not depend on it: whatever it kills or misses, bronze knows where to go on.

    Attributes:
      tick: called several times a second while the stream runs; what it says, if anything, is why to start again.
      levels: what the worker said last about itself, name -> part -> value; see `transforms.levels`.
      restarts: how often engine and worker were started again.
      back_off: seconds before the first, second, ... start again in a row; the last one stays.
    """

    config: StreamConfig
    engine: Engine = field(default_factory=Prism)
    tick: Callable[[], str] = lambda: ""
    restarts: int = 0
    levels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    said: Callable[[str], None] = print
    back_off: Sequence[float] = _BACK_OFF
    _stop: threading.Event = field(default_factory=threading.Event)
    _words: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    _engine: subprocess.Popen[bytes] | None = None
    _worker: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Returns when the stream has ended in order.

        Raises:
          UserError: the worker says that a person must do something (wrong key, unknown hub, another stream took over).
        """
        reasons = list[str]()
        with self._signals():
            while True:
                began = time.monotonic()
                code = self._once()
                if self._stop.is_set() or code == DONE:
                    return
                if code == FAILED:
                    raise UserError(self._last_words(), remedy="then start the stream again; nothing is lost")
                healthy = time.monotonic() - began > _HEALTHY_SECONDS
                reasons = [self._reason(code)] if healthy else [*reasons, self._reason(code)]
                if len(reasons) >= _TRIES and code == RESTART and len(set(reasons[-_TRIES:])) == 1:
                    raise UserError(reasons[-1], remedy="mend that, then start the stream again; nothing is lost")
                self.restarts += 1
                pause = self.back_off[min(len(reasons), len(self.back_off)) - 1]
                self.said(f"{reasons[-1]}; starting again in {pause:g} s")
                if self._stop.wait(pause):
                    return

    def stop(self) -> None:
        """Asks for an orderly end."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        """Whether it was asked to end, by `stop` or by a signal."""
        return self._stop.is_set()

    @property
    def pids(self) -> dict[str, int]:
        """The processes at work now."""
        running = {"engine": self._engine, "worker": self._worker}
        return {name: p.pid for name, p in running.items() if p is not None and p.poll() is None}

    def _once(self) -> int | None:
        """One life of engine and worker; the worker's exit code, None when it was the engine that died."""
        port = free_port()
        self._words.clear()
        self.levels = {}
        self._engine = self.engine.start(port)
        self._worker = self._start_worker(port)
        try:
            while not self._stop.wait(0.2):
                if stuck := self.tick():
                    self._words.append(f"stopped: {stuck}")
                    return RESTART
                code, dead = self._worker.poll(), self._engine.poll() is not None
                if code is not None and not (code in (RESTART, UNREACHABLE) and dead):
                    return code
                if dead:  # the worker may have noticed first; what it says of it is no reason of its own
                    return None
            return self._end_worker()
        finally:
            _kill(self._worker)
            _kill(self._engine)
            self.engine.end()

    def _start_worker(self, port: int) -> subprocess.Popen[bytes]:
        named = self.config.events.startswith(("env:", "file:", "sb://"))
        given = {} if named else {_EVENTS: self.config.events}
        events = self.config.events if named else f"env:{_EVENTS}"
        beam_args = (*self.engine.beam_args(port), *self.config.beam_args)
        config = replace(self.config, events=events, beam_args=beam_args)
        path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
        worker = subprocess.Popen(
            [sys.executable, "-m", "pipelines.stream_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**GIVE_BACK, **os.environ, "PYTHONPATH": path, **given},
        )
        assert worker.stdin is not None
        worker.stdin.write(config.to_json().encode() + b"\n")
        worker.stdin.flush()  # it stays open: the worker ends when this process does
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        threading.Thread(target=self._hear, args=(worker,), daemon=True).start()
        return worker

    def _listen(self, worker: subprocess.Popen[bytes]) -> None:
        assert worker.stderr is not None
        for line in worker.stderr:
            self._words.append(line.decode(errors="replace").rstrip())

    def _hear(self, worker: subprocess.Popen[bytes]) -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            with suppress(ValueError):  # something else that a library printed
                told = json.loads(line)
                if isinstance(told, dict) and worker is self._worker:
                    self.levels = told

    def _reason(self, code: int | None) -> str:
        if code is None:
            return "the engine ended"
        if code < 0:
            return f"the worker was killed (signal {-code})"
        return f"the worker ended: {self._last_words()}"

    def _last_words(self) -> str:
        time.sleep(0.1)  # the listener's last lines
        stopped = [line for line in self._words if line.startswith("stopped: ")]
        return (stopped or [line for line in self._words if line] or ["no word"])[-1].removeprefix("stopped: ")

    def _end_worker(self) -> int:
        assert self._worker is not None
        self._worker.send_signal(signal.SIGTERM)
        try:
            return self._worker.wait(30)
        except subprocess.TimeoutExpired:
            return DONE  # killed then: bronze is as good as ever

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {n: signal.signal(n, lambda *_: self._stop.set()) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        if process.poll() is None:
            process.kill()
        process.wait()
