"""Silver beside a running stream: the batch's own command, started every so often, out of the stream's way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_NICE = 10  # what is read by machines may wait; what comes in may not


@dataclass
class Refining:
    """Runs `silver` on the lake every `every_seconds`, one at a time; 0 never does.

    What it takes up is what bronze has by then, and a run that is killed or fails is made good by the next: silver is
    the same whenever and however often it is brought up to date.
    """

    lake: str
    every_seconds: float
    said: Callable[[str], None]
    _process: subprocess.Popen[bytes] | None = None
    _begun: float = 0.0

    def __post_init__(self) -> None:
        self._begun = time.monotonic()

    def tick(self) -> None:
        """Starts a run when one is due and none is under way."""
        if self._running():
            return
        if self.every_seconds and time.monotonic() - self._begun >= self.every_seconds:
            self._start()

    def finish(self) -> None:
        """Waits for a run under way, then does the last one."""
        if not self.every_seconds:
            return
        if self._process is not None:
            self._process.wait()
            self._running()
        self._start()
        assert self._process is not None
        self._process.wait()
        self._running()

    def _start(self) -> None:
        self._begun = time.monotonic()
        path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "silver", "--lake", self.lake, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            preexec_fn=lambda: os.nice(_NICE),
        )

    def _running(self) -> bool:
        process = self._process
        if process is None or process.poll() is None:
            return process is not None
        if process.returncode:
            assert process.stderr is not None
            words = process.stderr.read().decode(errors="replace").strip().splitlines()
            self.said(f"silver was not brought up to date: {words[-1] if words else f'exit {process.returncode}'}")
        self._process = None
        return False
