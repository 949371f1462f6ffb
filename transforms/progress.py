"""How far a long piece of work is: counted by whoever does it, once a batch, and shown by whoever waits for it.

Counts are of this process: an engine elsewhere shows its own.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Meter:
    """Counts of things done ("rows", "files", "bytes", ...) beside what is expected of them, where that is known."""

    done: Counter[str] = field(default_factory=Counter)
    expected: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def restart(self) -> None:
        with self._lock:
            self.done.clear()
            self.expected.clear()

    def expect(self, **amounts: float) -> None:
        with self._lock:
            self.expected |= amounts

    def advance(self, **amounts: float) -> None:
        with self._lock:
            self.done.update(amounts)  # type: ignore[arg-type]

    def share(self) -> float | None:
        """From 0 to 1, by the bytes if their number is known, else by whatever else is; None if nothing is."""
        known = sorted(self.expected, key=lambda thing: thing != "bytes")
        return next((min(self.done[k] / self.expected[k], 1.0) for k in known if self.expected[k]), None)

    def words(self) -> str:
        """ "1,200,000 of 2,000,000 rows, 3 of 12 files, 45 MB of 100 MB": what has begun."""
        with self._lock:
            done, expected = dict(self.done), dict(self.expected)
        return ", ".join(_words(thing, done[thing], expected) for thing in done if done[thing])


def _words(thing: str, done: float, expected: Mapping[str, float]) -> str:
    total = expected.get(thing)
    if thing == "bytes":
        return f"{done / 1e6:,.0f} MB" + (f" of {total / 1e6:,.0f} MB" if total else "")
    return f"{int(done + 1e-6):,}" + (f" of {total:,.0f}" if total else "") + f" {thing}"


METER = Meter()
