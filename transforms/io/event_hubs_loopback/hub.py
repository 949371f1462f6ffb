"""A hub: its partitions, and which of them an event goes to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from transforms.io.event_hubs_loopback.log import PartitionLog

_MASK = 0xFFFFFFFF


@dataclass
class Hub:
    """A named row of partitions in one folder."""

    name: str
    folder: Path
    partitions: list[PartitionLog] = field(default_factory=list)
    created_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    _turn: int = -1

    @classmethod
    def open(cls, name: str, folder: Path, partition_count: int) -> Hub:
        hub = cls(name, folder)
        hub.resize(partition_count)
        return hub

    def resize(self, partition_count: int) -> None:
        """Adds or takes away partitions at the end; what one held is there again when it comes back."""
        while len(self.partitions) > partition_count:
            self.partitions.pop().close()
        for number in range(len(self.partitions), partition_count):
            self.partitions.append(PartitionLog.open(self.folder / str(number)))

    def partition_for(self, partition_key: str | None) -> int:
        """By the key's hash, or in turn where there is no key."""
        if partition_key:
            return key_hash(partition_key) % len(self.partitions)
        self._turn = (self._turn + 1) % len(self.partitions)
        return self._turn

    def close(self) -> None:
        for partition in self.partitions:
            partition.close()


@lru_cache(maxsize=65536)
def key_hash(partition_key: str) -> int:
    """The service's hash of a partition key, an int16: Bob Jenkins' lookup3 (2006), both words folded together."""
    data = partition_key.encode()
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    words += [0] * (-len(words) % 3)
    for i in range(0, len(words) - 3, 3):
        a, b, c = (a + words[i]) & _MASK, (b + words[i + 1]) & _MASK, (c + words[i + 2]) & _MASK
        a, b, c = _mix(a, b, c)
    if words:
        a, b, c = (a + words[-3]) & _MASK, (b + words[-2]) & _MASK, (c + words[-1]) & _MASK
        a, b, c = _final(a, b, c)
    folded = (c ^ b) & 0xFFFF
    return folded - 0x10000 if folded >= 0x8000 else folded


def _rotate(x: int, k: int) -> int:
    return ((x << k) | (x >> (32 - k))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for k in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rotate(c, k)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int, int]:
    for k in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotate(b, k)) & _MASK
        a, b, c = b, c, a
    return c, a, b  # seven steps turn the words once too often
