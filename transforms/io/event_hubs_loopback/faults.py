"""What goes wrong on purpose, decided by a seed and a count of events, so that a run can be repeated."""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from dataclasses import dataclass, fields

from transforms.errors import UserError

ONE_SHOTS = ("busy", "drop", "lost_ack")


@dataclass(frozen=True)
class Faults:
    """The faults of a server; 0 means never. With a `seed` the distances vary around their mean.

    drop_every: events (in or out) between dropped connections.
    lose_ack_every: events sent to the hub between two whose batch is stored but never acknowledged (and the
        connection dropped).
    busy_every: events sent to the hub between two whose batch is refused with com.microsoft:server-busy.
    bytes_per_second: what each reader gets at most.
    delay_seconds: how much later an acknowledgement comes.
    """

    drop_every: int = 0
    lose_ack_every: int = 0
    busy_every: int = 0
    bytes_per_second: int = 0
    delay_seconds: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "seed" and (not isinstance(value, int | float) or value < 0):
                raise UserError(f"the fault {field.name} is {value!r}", remedy="give a number that is not negative")

    @classmethod
    def of(cls, given: dict[str, object]) -> Faults:
        """From names and numbers; raises `UserError` for a name it does not know."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise UserError(f"there is no fault {name!r}", remedy=f"the faults are {', '.join(known)}")
        return cls(**given)  # type: ignore[arg-type]


class _Countdown:
    """Fires once every `every` events on average."""

    def __init__(self, every: int, random: random.Random | None) -> None:
        self._every, self._random = every, random
        self._left = self._distance()

    @property
    def left(self) -> int:
        return max(1, self._left) if self._every else sys.maxsize

    def _distance(self) -> int:
        if not self._every or self._random is None:
            return self._every
        return max(1, round(self._random.expovariate(1 / self._every)))

    def after(self, events: int) -> bool:
        if not self._every:
            return False
        self._left -= events
        if self._left > 0:
            return False
        self._left = self._distance()
        return True


class FaultPlan:
    """Counts events and says what happens to them."""

    def __init__(self, faults: Faults) -> None:
        self._once: deque[str] = deque()
        self.replace(faults)

    def replace(self, faults: Faults) -> None:
        self.faults = faults
        source = None if faults.seed is None else random.Random(faults.seed)
        self._drop = _Countdown(faults.drop_every, source)
        self._lose = _Countdown(faults.lose_ack_every, source)
        self._busy = _Countdown(faults.busy_every, source)

    def next(self, kinds: list[str]) -> None:
        """What happens to the next batches sent, in turn: "busy", "drop" (before it is stored), "lost_ack"."""
        for kind in kinds:
            if kind not in ONE_SHOTS:
                raise UserError(f"there is no fault {kind!r}", remedy=f"the faults are {', '.join(ONE_SHOTS)}")
        self._once.extend(kinds)

    def of_batch(self, events: int) -> str | None:
        """What happens to a batch sent to the hub, or None."""
        if self._once:
            return self._once.popleft()
        if self._busy.after(events):
            return "busy"
        if self._lose.after(events):
            return "lost_ack"
        return "drop" if self._drop.after(events) else None

    def events_before_drop(self) -> int:
        """How many events a reader may be sent before `drops_after` is asked."""
        return self._drop.left

    def drops_after(self, events: int) -> bool:
        """Whether a reader's connection drops after it was sent `events` more."""
        return self._drop.after(events)


class Throttle:
    """How many bytes may go now, at a rate."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def wait_seconds(self) -> float:
        return max(0.0, self._free_at - time.monotonic())

    def spend(self, sent_bytes: int, bytes_per_second: int) -> None:
        self._free_at = max(self._free_at, time.monotonic()) + sent_bytes / bytes_per_second
