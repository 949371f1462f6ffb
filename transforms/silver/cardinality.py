"""How many different values there are, counted in bounded memory and in parts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from transforms.silver.distinct import sorted_unique

EXACT_UP_TO = 2048
_INDEX_BITS = 12
_REGISTERS = 1 << _INDEX_BITS
_RANK_BITS = 64 - _INDEX_BITS


@dataclass(frozen=True, eq=False)
class Cardinality:
    """The different hashes themselves up to 2,048 of them, HyperLogLog registers beyond.

    Which of the two depends on the set of values alone, so parts merge in any order to the same counter. The standard
    error beyond is 1.04 / sqrt(4096) = 1.6 % (Flajolet, Fusy, Gandouet and Meunier 2007).
    """

    hashes: np.ndarray | None
    registers: np.ndarray | None = None

    @staticmethod
    def of(hashes: np.ndarray) -> Cardinality:
        """The counter of uint64 hashes."""
        return Cardinality._fitting(sorted_unique(hashes))

    @staticmethod
    def merge(parts: Iterable[Cardinality]) -> Cardinality:
        """The counter of all values of all parts."""
        parts = list(parts)
        kept = [part.hashes for part in parts if part.hashes is not None]
        hashes = sorted_unique(np.concatenate(kept)) if kept else np.empty(0, np.uint64)
        full = [part.registers for part in parts if part.registers is not None]
        if not full:
            return Cardinality._fitting(hashes)
        return Cardinality(None, np.maximum.reduce([_registers(hashes), *full]))

    @staticmethod
    def _fitting(unique: np.ndarray) -> Cardinality:
        return Cardinality(unique) if unique.size <= EXACT_UP_TO else Cardinality(None, _registers(unique))

    @property
    def is_exact(self) -> bool:
        return self.registers is None

    @property
    def count(self) -> int:
        """The number of different values, estimated when there are more than 2,048."""
        if self.registers is None:
            return 0 if self.hashes is None else int(self.hashes.size)
        return round(_estimate(self.registers))


def _registers(hashes: np.ndarray) -> np.ndarray:
    """For each index (the first 12 bits) the greatest rank: 1 + the number of leading zeros of the other 52."""
    registers = np.zeros(_REGISTERS, np.uint8)
    rest = hashes & np.uint64((1 << _RANK_BITS) - 1)
    _, bit_length = np.frexp(rest.astype(np.float64))  # exact below 2^53
    np.maximum.at(
        registers, (hashes >> np.uint64(_RANK_BITS)).astype(np.int64), (_RANK_BITS + 1 - bit_length).astype(np.uint8)
    )
    return registers


def _estimate(registers: np.ndarray) -> float:
    """Ertl 2017, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284), algorithm 6."""
    counts = np.bincount(registers, minlength=_RANK_BITS + 2).tolist()
    z = _REGISTERS * _tau(1 - counts[_RANK_BITS + 1] / _REGISTERS)
    for count in counts[_RANK_BITS:0:-1]:
        z = 0.5 * (z + count)
    z += _REGISTERS * _sigma(counts[0] / _REGISTERS)
    return _REGISTERS**2 / (2 * math.log(2) * z)


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, math.nan
    while z != before:
        x, before = x * x, z
        z, y = z + x * y, 2 * y
    return z


def _tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, math.nan
    while z != before:
        x, before, y = math.sqrt(x), z, 0.5 * y
        z -= (1 - x) ** 2 * y
    return z / 3
