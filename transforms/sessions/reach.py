"""How far a log of events has got, such that one visitor with a wrong clock does not move it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

NEVER = -(2**62)  # before all times
_STRETCH = 16  # 2^16 positions


class Reach(NamedTuple):
    """The latest event time of all (`first_us`), the witness whose it is, and the latest of any other witness.

    A witness is a visitor in a stretch of 65,536 positions. The log's clock is `second_us`: the latest time that two
    witnesses have reached. So a tracker whose clock is wrong is believed by nobody else, and a visitor who is alone in
    a log moves its clock a stretch later. Fields may be arrays, one value a row; times are microseconds since 1970.

    Merging is associative, commutative and idempotent, so a reach does not depend on how the rows were cut into
    pieces, nor on pieces that overlap.
    """

    first_us: Any
    witness: Any
    second_us: Any


UNKNOWN = Reach(NEVER, 0, NEVER)


def witnesses(visitors: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """int64 a row, from the visitors' hashes (uint64)."""
    stretches = (positions >> _STRETCH).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.bitwise_xor(visitors, stretches).view(np.int64)


def reaches(times_us: np.ndarray, witness: np.ndarray) -> Reach:
    """The reach behind each row; a row whose time does not count has NEVER."""
    first = np.maximum.accumulate(times_us)
    before = np.append(NEVER, first[:-1])
    leading = np.maximum.accumulate(np.where(times_us > before, np.arange(len(times_us)), 0))
    leader = witness[leading]
    others = witness != np.append(witness[:1], leader[:-1])
    second = np.maximum.accumulate(np.where(others, np.minimum(times_us, before), NEVER))
    return Reach(first, leader, second)


def merged(one: Reach, other: Reach) -> Reach:
    """The reach of what either has seen."""
    lesser = np.where(one.witness == other.witness, NEVER, np.minimum(one.first_us, other.first_us))
    return Reach(
        np.maximum(one.first_us, other.first_us),
        np.where(one.first_us >= other.first_us, one.witness, other.witness),
        np.maximum(np.maximum(one.second_us, other.second_us), lesser),
    )
