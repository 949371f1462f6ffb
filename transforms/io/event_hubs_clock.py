"""Times of pieces and watermarks over the partitions that one process reads, such that no piece is ever late."""

from __future__ import annotations

import threading
import time


class ArrivalClock:
    """Keeps each piece at or behind every watermark told before it is delivered, whichever partition told it.

    Prism 2.77 takes the watermark of the partition it heard of last for that of all (`estimatedOutput` in its
    elementmanager.go): one that is silent, and follows the clock, would make late, and so lose, what another one that
    lags gives out. So a piece is given the newest time told, and no watermark passes a piece that is on its way.
    Times are microseconds since 1970.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = 0
        self._on_the_way: dict[str, int] = {}

    def delivered(self, log: str) -> None:
        """What the partition gave out before has reached the engine: it is asked for more."""
        with self._lock:
            self._on_the_way.pop(log, None)

    def arrival(self, log: str, at: int) -> int:
        """The time of a piece that arrived `at`."""
        with self._lock:
            self._on_the_way[log] = max(at, self._told)
            return self._on_the_way[log]

    def watermark(self, wanted: int) -> int:
        """How far the watermark may go, at most as far as wanted."""
        with self._lock:
            allowed = min([wanted, *self._on_the_way.values()])
            self._told = max(self._told, allowed)
            return allowed


class Silence:
    """How long none of the partitions that one process reads has had anything. Once that was long enough it stays so:
    what was in the hubs by then is still read, and what comes afterwards to one is not waited for by the others."""

    def __init__(self) -> None:
        self._last, self._over = time.monotonic(), False

    def seen(self, silent_seconds: float) -> None:
        """One of them has given nothing on an open connection for so long."""
        self._last = max(self._last, time.monotonic() - silent_seconds)

    def lasted(self, seconds: float) -> bool:
        """Whether it has lasted so long, now or at any time before."""
        self._over = self._over or time.monotonic() - self._last >= seconds
        return self._over
