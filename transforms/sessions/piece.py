"""Pieces of a stream: rows with their place in it, and the one rule that takes each place once and in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from transforms.errors import UserError
from transforms.sessions.fold import CLOCK, POSITION

_KEYS = ("first", "last", "clock_us")


@dataclass(frozen=True, eq=False)
class Piece:
    """All rows of one key between two positions of its source; there may be none, and positions without a row.

    Attributes:
      first, last: the positions, inclusive; the next piece of the key begins at last + 1.
      clock_us: how far the source is behind this piece: the latest event time its partition had, or its arrival.
      start: the position that this run of the source began at; with it, the first pieces may come in any order, too.
    """

    first: int
    last: int
    clock_us: int
    rows: pa.RecordBatch
    start: int | None = None

    def stamped(self) -> pa.RecordBatch:
        """The rows with the place in their schema's metadata, as they travel."""
        values = {name: getattr(self, name) for name in (*_KEYS, "start")}
        told = {name.encode(): str(value).encode() for name, value in values.items() if value is not None}
        return self.rows.replace_schema_metadata({**(self.rows.schema.metadata or {}), **told})

    @staticmethod
    def of(batch: pa.RecordBatch) -> Piece:
        """A piece that was stamped.

        Raises:
          UserError: it was not.
        """
        told = batch.schema.metadata or {}
        try:
            first, last, clock_us = (int(told[name.encode()]) for name in _KEYS)
        except KeyError as error:
            raise UserError(f"a batch of the stream does not say its {error}", remedy="stamp it with Piece") from None
        return Piece(first, last, clock_us, batch, int(told[b"start"]) if b"start" in told else None)

    def behind(self, cursor: int) -> Piece:
        """The rest of the piece behind a position; rows without a position stay, and count once by their event id."""
        if self.first > cursor or "position" not in self.rows.schema.names:
            return self
        left = pa.compute.greater(self.rows["position"], cursor)
        return replace(self, first=max(self.first, cursor + 1), rows=self.rows.filter(left))


@dataclass(frozen=True)
class Advanced:
    """Pieces `accepted` in order, the `cursor` behind them, those `held` as they are ahead, how many were `dropped`."""

    accepted: list[Piece]
    cursor: int
    held: list[Piece]
    dropped: int


def advance(cursor: int | None, pieces: Iterable[Piece]) -> Advanced:
    """Accepts what goes on where the cursor is, and nothing else, whatever order, overlap or repetition it comes in.

    Args:
      cursor: the last position taken, None at the beginning: then the first piece says where to begin.
    """
    accepted, held, dropped = list[Piece](), list[Piece](), 0
    for piece in sorted(pieces, key=lambda piece: (piece.first, -piece.last)):
        if cursor is not None and piece.last <= cursor:
            dropped += 1
        elif cursor is not None and piece.first > cursor + 1:
            held.append(piece)
        else:
            accepted.append(piece if cursor is None else piece.behind(cursor))
            cursor = piece.last
    return Advanced(accepted, -1 if cursor is None else cursor, held, dropped)


def with_clock(rows: pa.RecordBatch, clock_us: int | None) -> pa.RecordBatch:
    """The rows with the clock they were given at, where they bring none; before the first piece there is none."""
    names = rows.schema.names
    if clock_us is None or (CLOCK.name in names and rows[CLOCK.name].null_count == 0):
        return rows
    clock = pa.array(np.full(rows.num_rows, clock_us)).view(CLOCK.type)
    if CLOCK.name in names:
        clock = pa.compute.coalesce(rows[CLOCK.name], clock)
        rows = rows.drop_columns([CLOCK.name])
    return rows.append_column(CLOCK, clock)


def clocked(rows: pa.RecordBatch, clock_us: int, arrived_us: int) -> tuple[pa.RecordBatch, int]:
    """Rows of one partition in the order of their positions, each with its clock, and the clock behind them.

    The clock of a row is the latest event time up to it, so that what is late follows from the rows alone, wherever
    they are cut. A tracker whose own clock is wrong cannot push it beyond `arrived_us`, when the rows arrived.

    Args:
      rows: columns event_time, and `POSITION` if the order is not theirs.
      clock_us: the clock behind the rows before.
    """
    if POSITION.name in rows.schema.names:
        rows = rows.sort_by(POSITION.name)
    times = rows["event_time"].cast(pa.int64()).fill_null(clock_us).to_numpy(zero_copy_only=False)
    clocks = np.maximum.accumulate(np.append(clock_us, np.minimum(times, max(arrived_us, clock_us))))
    return rows.append_column(CLOCK, pa.array(clocks[1:]).view(CLOCK.type)), int(clocks[-1])
