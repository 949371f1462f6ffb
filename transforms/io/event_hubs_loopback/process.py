"""A server in its own process, for tests and the demo: started, killed, started again on the same folder and port."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from transforms.errors import UserError
from transforms.io.event_hubs_loopback.control import LoopbackControl
from transforms.io.event_hubs_loopback.faults import Faults
from transforms.io.event_hubs_loopback.namespace import LoopbackConfig
from transforms.io.event_hubs_loopback.server import Serving, connection_string, serve

_ROOT = Path(__file__).parents[3]
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of malloc.h


@dataclass
class LoopbackProcess:
    """Runs `config` in a process; after `start` its port is fixed, so that clients find it again after a `kill`."""

    config: LoopbackConfig
    key: str = field(default="", repr=False)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LoopbackProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return self.config.port

    @property
    def control(self) -> LoopbackControl:
        return LoopbackControl(self.port, self.key)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def connection_string(self, hub: str | None = None) -> str:
        return connection_string(self.port, self.key, hub)

    def start(self) -> LoopbackProcess:
        """Starts and waits until it listens; raises `UserError` with its last words where it does not."""
        command = [sys.executable, "-m", "transforms.io.event_hubs_loopback.process"]
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        # The settings hold a key: they go by the pipe, not by the command line that everyone can read.
        self._process.stdin.write(json.dumps(asdict(self.config), default=str).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or b'{"error": "the server ended"}')
        if "error" in answer:
            self._process.wait()
            raise UserError(answer["error"], where=str(self.config.folder))
        self.config, self.key = replace(self.config, port=answer["port"]), answer["key"]
        return self

    def kill(self) -> None:
        """SIGKILL: what the operating system does not hold yet is lost."""
        assert self._process is not None
        self._process.kill()
        self._ended()

    def stop(self) -> None:
        """Ends it in order; does nothing when it runs no more."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._ended()

    def _ended(self) -> None:
        if self._process is not None:
            self._process.wait(20)
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()


async def run_until_signal(config: LoopbackConfig, ready: Callable[[Serving], None], parent: int | None = None) -> None:
    """Serves until SIGTERM or Ctrl-C, or until the pipe `parent` ends; calls `ready` with what is served."""
    _keep_memory()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if parent is not None:  # whoever started the server may be killed and stop it no more
        loop.add_reader(parent, stop.set)
    async with serve(config) as serving:
        ready(serving)
        await stop.wait()


def _keep_memory() -> None:
    """Lets glibc keep what is freed: giving memory back and taking it anew was half the work of large events."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 64 << 20)


def _main() -> None:
    given = json.loads(sys.stdin.readline())
    given |= {"folder": Path(given["folder"]), "faults": Faults.of(given["faults"])}

    def ready(serving: Serving) -> None:
        _say({"port": serving.port, "key": serving.key})

    try:
        asyncio.run(run_until_signal(LoopbackConfig(**given), ready, parent=sys.stdin.fileno()))
    except UserError as error:
        _say({"error": error.what})


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
