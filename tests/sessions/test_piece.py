"""Pieces: each position is taken once and in order, whatever comes how often and in which order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import UserError
from transforms.sessions.piece import Piece, advance, clocked, with_clock


def piece(first: int, last: int) -> Piece:
    return Piece(first, last, 0, pa.RecordBatch.from_pydict({"position": pa.array(range(first, last + 1), pa.int64())}))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=20), st.integers(1, 5))
def test_every_position_up_to_the_cursor_is_taken_once_and_in_order(spans, calls):
    pieces = [piece(first, first + length) for first, length in spans]
    cursor, held, taken, dropped = -1, [], [], 0
    for at in range(0, len(pieces), calls):
        done = advance(cursor, [*held, *pieces[at : at + calls]])
        taken += [position for one in done.accepted for position in one.rows["position"].to_pylist()]
        cursor, held, dropped = done.cursor, done.held, dropped + done.dropped
    assert taken == list(range(cursor + 1))
    assert all(one.first > cursor + 1 for one in held)
    reached, expected = -1, sorted((first, first + length) for first, length in spans)
    for first, last in expected:
        reached = max(reached, last) if first <= reached + 1 else reached
    assert cursor == reached


def test_the_first_piece_says_where_to_begin():
    assert advance(None, [piece(7, 9)]).cursor == 9


def test_the_place_travels_with_the_rows_and_is_asked_for():
    stamped = Piece(3, 8, -5, pa.RecordBatch.from_pydict({"visitor": ["a"]})).stamped()
    found = Piece.of(stamped)
    assert (found.first, found.last, found.clock_us, found.rows.num_rows) == (3, 8, -5, 1)
    with pytest.raises(UserError, match="stamp"):
        Piece.of(stamped.replace_schema_metadata(None))


def times(*micros: int) -> pa.Array:
    return pa.array(micros, pa.int64()).view(pa.timestamp("us", tz="UTC"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(10**6), 10**6), min_size=1), st.integers(1, 7), st.integers(-(10**6), 10**6))
def test_the_clock_of_a_row_is_the_latest_time_so_far_wherever_the_rows_are_cut(moments, size, arrived):
    expected = np.maximum.accumulate([0, *(min(moment, max(arrived, 0)) for moment in moments)])[1:]
    clock, found = 0, []
    for at in range(0, len(moments), size):
        rows, clock = clocked(
            pa.RecordBatch.from_pydict({"event_time": times(*moments[at : at + size])}), clock, arrived
        )
        found += rows["clock"].cast(pa.int64()).to_pylist()
    assert found == expected.tolist()


def test_rows_without_a_clock_get_that_of_the_piece_before():
    rows = pa.RecordBatch.from_pydict({"visitor": ["a", "b"]})
    assert with_clock(rows, 5)["clock"].cast(pa.int64()).to_pylist() == [5, 5]
    mixed = rows.append_column("clock", pa.array([9, None], pa.int64()).view(pa.timestamp("us", tz="UTC")))
    assert with_clock(mixed, 5)["clock"].cast(pa.int64()).to_pylist() == [9, 5]
