"""Reads partitions in a process of its own, ahead of whoever wants the events.

The client takes most of a core, all of it Python's: in the worker it would stand in the way of what becomes of the
events. No Beam.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa

from transforms.errors import UserError
from transforms.io.event_hubs_client import EVENTS, HubReader, PartitionState
from transforms.io.event_hubs_connection import HubConnection, Transient

_ROOT = Path(__file__).parents[2]
_STEP_SECONDS = 0.02  # how long one look for more lasts, and so how long a request may wait


class ReadingProcess:
    """A process that reads any number of partitions, and ends when the one that started it does."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def channel(self) -> Connection:
        """A way to talk to a new reader there."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        return Connection(ours.detach())

    def close(self) -> None:
        """Ends the process, and with it what it reads."""
        self._control.close()
        self._process.wait()


class AheadReader:
    """A `HubReader` in another process: it goes on reading while what it gave is worked on, one pull ahead at most.

    Raises what `HubReader` does, and UserError where the process has ended.
    """

    def __init__(
        self,
        process: ReadingProcess,
        connection: HubConnection,
        hub: str,
        partition: str,
        start: int,
        owner_level: int | None = None,
    ) -> None:
        self.hub, self.partition, self.next, self.open_seconds = hub, partition, start, 0.0
        self._channel = process.channel()
        self._ask(connection, hub, partition, start, owner_level)

    def pull(self, max_events: int, wait_seconds: float, max_bytes: int, more_seconds: float) -> pa.RecordBatch:
        """As `HubReader.pull`; what came since the last pull is there at once."""
        events = self._ask("pull", self.next, max_events, wait_seconds, max_bytes, more_seconds)
        if events.num_rows:
            self.next = events["sequence_number"][-1].as_py() + 1
        return events

    def properties(self) -> PartitionState:
        """What the hub says of the partition now."""
        found: PartitionState = self._ask("properties")
        return found

    def partitions(self) -> tuple[str, ...]:
        """The ids of the hub's partitions now."""
        found: tuple[str, ...] = self._ask("partitions")
        return found

    def reopen(self, why: str) -> None:
        """Takes another connection; see `HubReader.reopen`."""
        self._ask("reopen", why)

    def close(self) -> None:
        """Lets go of the connection."""
        self._channel.close()

    def _ask(self, *request: Any) -> Any:
        try:
            self._channel.send(request)
            answer, self.open_seconds = self._channel.recv()
        except (EOFError, OSError):
            log = f"{self.hub}/{self.partition}"
            raise UserError("the process that reads the hubs has ended", log, "see whether memory is short") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Ahead:
    """One partition on the reading side."""

    def __init__(self, *reads: Any) -> None:
        self._reader = HubReader(*reads)
        self._waiting: list[pa.RecordBatch] = []
        self._most, self._goes_on = (0, 0), False
        self._failed: Exception | None = None

    @property
    def open_seconds(self) -> float:
        return self._reader.open_seconds

    def answer(self, what: str, *given: Any) -> Any:
        return self._pull(*given) if what == "pull" else getattr(self._reader, what)(*given)

    def _pull(
        self, wanted: int, max_events: int, wait_seconds: float, max_bytes: int, more_seconds: float
    ) -> pa.RecordBatch:
        if not self._waiting:
            if self._failed is not None:
                raise self._failed
            self._reader.next = wanted
            self._waiting = [self._reader.pull(max_events, wait_seconds, max_bytes, more_seconds)]
        events, self._waiting = _one(self._waiting), []
        self._most, self._goes_on = (max_events, max_bytes), events.num_rows > 0
        return events

    def read_on(self) -> bool:
        """Reads what comes next; False where nothing does, or as much waits as one pull may give."""
        rows = self._most[0] - sum(batch.num_rows for batch in self._waiting)
        size = self._most[1] - sum(batch.nbytes for batch in self._waiting)
        if not self._goes_on or self._failed is not None or rows <= 0 or size <= 0:
            return False
        try:
            batch = self._reader.pull(rows, _STEP_SECONDS, size)
        except Exception as error:  # told when it is asked for
            self._failed = error
            return False
        self._goes_on = batch.num_rows > 0
        self._waiting += [batch] if self._goes_on else []
        return self._goes_on

    def close(self) -> None:
        self._reader.close()


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    columns = [pa.concat_arrays([batch[name] for batch in batches]) for name in EVENTS.names]
    return pa.RecordBatch.from_arrays(columns, schema=EVENTS)


def _serve(channel: Connection) -> None:
    """Answers one reader's requests until it goes away, and reads on between them."""
    with contextlib.suppress(EOFError, OSError), channel:
        try:
            ahead = _Ahead(*channel.recv())
        except Exception as error:
            return channel.send((_told(error), 0.0))
        with contextlib.closing(ahead):
            channel.send((None, 0.0))
            while True:
                while not channel.poll() and ahead.read_on():
                    pass
                channel.send((_answer(ahead, *channel.recv()), ahead.open_seconds))


def _answer(ahead: _Ahead, *request: Any) -> Any:
    try:
        return ahead.answer(*request)
    except Exception as error:
        return _told(error)


def _told(error: Exception) -> Exception:
    """An error that another process can read. The text of one that is not ours may hold a token."""
    if isinstance(error, (UserError, Transient)):
        return error
    place = traceback.extract_tb(error.__traceback__)[-1]
    return UserError(f"reading failed: {type(error).__name__} in {Path(place.filename).name}:{place.lineno}")


def main() -> None:
    """Reads what the channels that come through the socket (its number is the argument) ask for."""
    control = socket.socket(fileno=int(sys.argv[1]))
    while True:
        _, numbers, _, _ = socket.recv_fds(control, 1, 1)
        if not numbers:  # whoever wanted the events is gone
            os._exit(0)
        threading.Thread(target=_serve, args=(Connection(numbers[0]),), daemon=True).start()


if __name__ == "__main__":
    main()
