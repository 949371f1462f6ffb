"""Pieces of a partitioned log, and the one rule that makes reading them exact: only the continuation is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import pyarrow as pa


class Ranged(Protocol):
    """Anything that stands for the positions `low` to `high` of one log."""

    @property
    def low(self) -> int: ...
    @property
    def high(self) -> int: ...
    @property
    def gap(self) -> tuple[int, int] | None: ...


R = TypeVar("R", bound=Ranged)


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows of one partition of a log for a contiguous range of positions.

    Attributes:
      log: "<hub>/<partition>".
      low, high: sequence numbers, inclusive. Positions the hub never gave out and rows rejected later are inside.
      rows: what was read, in position order; may be empty.
      gap: positions (inclusive) that the hub had dropped before they were read: those rows are lost, and it is said.
      aside: rows for another table, which has to have them before these are in theirs.
      marks: (name, number) pairs that a sink commits together with the positions, for whoever goes on from there.
    """

    log: str
    low: int
    high: int
    rows: pa.RecordBatch
    gap: tuple[int, int] | None = None
    marks: tuple[tuple[str, int], ...] = ()
    aside: pa.RecordBatch | None = None

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"a piece of {self.log} from {self.low} to {self.high} holds no position")


@dataclass(frozen=True)
class Advance(Generic[R]):
    """What became of the pieces of one log.

    Attributes:
      accepted: (piece, keep_from) in position order; rows below `keep_from` were taken before.
      cursor: the last position taken.
      held: pieces that begin beyond `cursor + 1`; to be offered again with what comes.
      dropped: how many pieces held nothing new.
    """

    accepted: tuple[tuple[R, int], ...]
    cursor: int
    held: tuple[R, ...]
    dropped: int


def advance(cursor: int, pieces: Sequence[R]) -> Advance[R]:
    """Takes the pieces that continue the log behind `cursor`, the last position taken (-1: none).

    A piece behind the cursor is dropped, one that overlaps it is to be trimmed, one that lies ahead is held: however
    pieces of one log are repeated, reordered or cut anew, each position is taken once, in order. Of pieces that begin
    at one position the one without a gap goes first, since it may hold what the other one came too late for.
    """
    accepted: list[tuple[R, int]] = []
    held: list[R] = []
    dropped = 0
    for piece in sorted(pieces, key=lambda piece: (piece.low, piece.gap is not None, -piece.high)):
        if piece.high <= cursor:
            dropped += 1
        elif piece.low > cursor + 1:
            held.append(piece)
        else:
            accepted.append((piece, max(piece.low, cursor + 1)))
            cursor = piece.high
    return Advance(tuple(accepted), cursor, tuple(held), dropped)
