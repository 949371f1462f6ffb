"""Open readers of one process, so that a partition's connection outlives the bundle that made it."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator

import pyarrow as pa

from transforms.errors import UserError
from transforms.io.event_hubs_client import EVENTS, HubReader, PartitionState
from transforms.io.event_hubs_clock import ArrivalClock, Silence
from transforms.io.event_hubs_connection import HubConnection
from transforms.io.event_hubs_process import AheadReader, ReadingProcess
from transforms.positions import Piece

IDLE_CLOSE_SECONDS = 120.0

_LOCK = threading.Lock()
_OPEN: dict[tuple[str, str], HeldReader] = {}
_ENDS: dict[tuple[str, str], int] = {}
_CLOCKS: dict[tuple[str, str], ArrivalClock] = {}
_PROCESSES: list[ReadingProcess] = []
_SILENCES: dict[str, Silence] = {}
_ALLOWANCES: dict[str, Allowance] = {}


class HeldReader:
    """A reader with what is known of its partition."""

    def __init__(self, reader: HubReader | AheadReader) -> None:
        self._reader = reader
        self._asked = dict.fromkeys(("partitions", "state"), time.monotonic())
        self._last_event = time.monotonic()
        self.state: PartitionState | None = None
        self.used = time.monotonic()

    @property
    def log(self) -> str:
        return f"{self._reader.hub}/{self._reader.partition}"

    @property
    def next(self) -> int:
        """The sequence number that is read next."""
        return self._reader.next

    @property
    def idle_seconds(self) -> float:
        """How long no event came."""
        return time.monotonic() - self._last_event

    @property
    def silent_seconds(self) -> float:
        """How long an open connection has given nothing."""
        return min(self.idle_seconds, self._reader.open_seconds)

    def due(self, what: str, every_seconds: float) -> bool:
        """Whether `what` was not done for so long; it counts as done now, and when the reader was made."""
        now = time.monotonic()
        if now - self._asked[what] < every_seconds:
            return False
        self._asked[what] = now
        return True

    def ask(self) -> PartitionState:
        """What the hub says of the partition now."""
        self.state = self._reader.properties()
        return self.state

    def check_end(self) -> None:
        """Raises:
        UserError: what is wanted next lies beyond the end that the hub last said.
        """
        if self.state is not None and self.next > self.state.last_sequence_number + 1:
            raise UserError(
                f"{self.log} ends at {self.state.last_sequence_number}, but {self.next - 1} was read from it before",
                self.log,
                "the hub was made anew: write to another lake, or name the new hub otherwise",
            )

    def _open(self) -> None:
        state = self.ask()
        for _ in range(3):  # what is asked may lag behind what was just read
            if self.next <= state.last_sequence_number + 1:
                break
            time.sleep(0.3)
            state = self.ask()
        self.check_end()

    def check_partitions(self, expected: int) -> None:
        """Raises:
        UserError: the hub has another number of partitions than when the read began.
        """
        found = len(self._reader.partitions())
        if found != expected:
            raise UserError(
                f"the hub had {expected} partitions when the stream began and has {found} now",
                self._reader.hub,
                "restart the stream; it goes on where bronze ends",
            )

    def pull(self, max_events: int, wait_seconds: float, max_bytes: int, more_seconds: float) -> Piece | None:
        """The next piece, or None where nothing came; see `HubReader.pull`.

        Raises:
          UserError: the position wanted lies beyond the hub's end.
        """
        wanted = self.next
        if self.state is None:
            self._open()
            if (gap := self.overtaken()) is not None:
                return gap
        events = self._reader.pull(max_events, wait_seconds, max_bytes, more_seconds)
        if not events.num_rows:
            return None
        self._last_event = time.monotonic()
        first = events["sequence_number"][0].as_py()
        return Piece(self.log, wanted, self.next - 1, events, (wanted, first - 1) if first > wanted else None)

    def overtaken(self) -> Piece | None:
        """What retention took of what is wanted, as the hub last said; only where nothing read waits to be pulled."""
        assert self.state is not None
        low, high = self.next, self.state.begin_sequence_number - 1
        if high < low:
            return None
        self._reader.next = high + 1
        return Piece(self.log, low, high, pa.RecordBatch.from_pylist([], schema=EVENTS), (low, high))

    def reopen(self) -> None:
        """Takes another connection."""
        self._reader.reopen("silent connection")

    def close(self) -> None:
        """Lets go of the connection."""
        self._reader.close()


class Allowance:
    """What all partitions of a process may read together: seconds that pieces cost, spent one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent_until = 0.0

    def spend(self, seconds: float, begun: float) -> float:
        """The moment (monotonic) from which there is some left again, with what was begun at `begun` paid."""
        with self._lock:
            self._spent_until = max(self._spent_until, begun) + seconds
            return self._spent_until


class ReaderPool:
    """Lends readers; one that is lent is nobody else's. Pickles as what it needs to open others.

    `processes` is how many others do the reading, for all pools of this one; 0: it is done here.
    """

    def __init__(self, connection: HubConnection, owner_level: int | None, processes: int = 0) -> None:
        self._connection, self._owner_level, self._processes = connection, owner_level, processes
        self._name = uuid.uuid4().hex

    @contextlib.contextmanager
    def reader(self, hub: str, partition: str, wanted: int) -> Iterator[HeldReader]:
        """The partition's reader, standing at `wanted`; closed if its user fails."""
        key = (self._name, f"{hub}/{partition}")
        with _LOCK:
            held = _OPEN.pop(key, None)
        if held is not None and held.next != wanted:
            held.close()
            held = None
        if held is None:
            held = HeldReader(self._opened(hub, partition, wanted))
        try:
            yield held
        except BaseException:
            held.close()
            raise
        self._give(key, held)

    def _opened(self, hub: str, partition: str, wanted: int) -> HubReader | AheadReader:
        reads = (self._connection, hub, partition, wanted, self._owner_level)
        if not self._processes:
            return HubReader(*reads)
        with _LOCK:
            _PROCESSES[:] = [process for process in _PROCESSES if process.is_alive]
            if len(_PROCESSES) < self._processes:
                _PROCESSES.append(ReadingProcess())
            else:
                _PROCESSES.append(_PROCESSES.pop(0))  # each in its turn
            process = _PROCESSES[-1]
        return AheadReader(process, *reads)

    def clock(self, log: str = "") -> ArrivalClock:
        """The clock of one partition, or the one of all that this process reads."""
        with _LOCK:
            return _CLOCKS.setdefault((self._name, log), ArrivalClock())

    @property
    def silence(self) -> Silence:
        """That of all partitions that this process reads."""
        with _LOCK:
            return _SILENCES.setdefault(self._name, Silence())

    @property
    def allowance(self) -> Allowance:
        """That of all partitions that this process reads."""
        with _LOCK:
            return _ALLOWANCES.setdefault(self._name, Allowance())

    def backlog(self, log: str, position: int) -> int:
        """How many events are known to wait from `position` on; at least 1, since more may come."""
        return max(1, _ENDS.get((self._name, log), -1) + 1 - position)

    def _give(self, key: tuple[str, str], held: HeldReader) -> None:
        now = time.monotonic()
        held.used = now
        with _LOCK:
            old = [k for k, other in _OPEN.items() if now - other.used > IDLE_CLOSE_SECONDS]
            closing = [_OPEN.pop(k) for k in old] + ([_OPEN.pop(key)] if key in _OPEN else [])
            _OPEN[key] = held
            if held.state is not None:
                _ENDS[key] = max(held.state.last_sequence_number, held.next - 1)
        for other in closing:
            other.close()
