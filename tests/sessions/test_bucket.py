"""Buckets of a log: every row once, and a clock that does not depend on where the pieces are cut."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.positions import Piece
from transforms.sessions.bucket import NO_CLOCK, bucket_pieces, reach_of, taken
from transforms.sessions.fold import POSITION
from transforms.sessions.reach import UNKNOWN, Reach, merged

TIME = pa.timestamp("us", tz="UTC")
micros = st.integers(-1000, 1000)
rows_of = st.lists(st.tuples(micros, st.integers(0, 4), st.none() | micros), min_size=1)


def piece(low: int, rows: list[tuple]) -> Piece:
    columns = {
        "visitor": [f"v{visitor}" for _, visitor, _ in rows],
        "event_time": pa.array([moment for moment, _, _ in rows], pa.int64()).view(TIME),
        "arrived": pa.array([arrived for _, _, arrived in rows], pa.int64()).view(TIME),
        "position": pa.array(range(low, low + len(rows)), pa.int64()),
    }
    return Piece("hub/0", low, low + max(len(rows), 1) - 1, pa.RecordBatch.from_pydict(columns))


def plain_clocks(rows: list[tuple], skew: int) -> list[int]:
    """The second latest of the visitors' latest times that count, behind each row."""
    latest, clocks = dict[int, int](), list[int]()
    for moment, visitor, arrived in rows:
        if arrived is None or moment <= arrived + skew:
            counted = moment if arrived is None else min(moment, arrived)
            latest[visitor] = max(counted, latest.get(visitor, NO_CLOCK))
        clocks.append(sorted([NO_CLOCK, NO_CLOCK, *latest.values()])[-2])
    return clocks


def fed(pieces: list[Piece], buckets: int, skew: int) -> dict[int, int]:
    """Position -> clock of the row in its bucket, the pieces taken in turn, of each what is new."""
    reach, clock, found = dict.fromkeys(range(buckets), UNKNOWN), dict.fromkeys(range(buckets), NO_CLOCK), {}
    cursor, home = -1, {}
    for one in pieces:
        parts = list(bucket_pieces(one, buckets, skew))
        assert [part.log for part in parts] == [f"hub/0/{bucket}" for bucket in range(buckets)]
        for bucket, part in enumerate(parts):
            rows = taken(part, max(part.low, cursor + 1), reach[bucket], clock[bucket])
            reach[bucket] = Reach(*map(int, merged(reach[bucket], reach_of(part.rows))))
            clock[bucket] = max(clock[bucket], reach[bucket].second_us)
            names = ("position", "clock", "visitor")
            columns = [rows[n].cast(pa.int64()) if n == "clock" else rows[n] for n in names]
            for position, at, visitor in zip(*(column.to_pylist() for column in columns), strict=True):
                assert position not in found and home.setdefault(visitor, bucket) == bucket
                found[position] = at
        cursor = max(cursor, one.high)
    assert len({clock[bucket] for bucket in clock}) == 1
    return found


@settings(max_examples=150, deadline=None)
@given(rows_of, st.integers(1, 7), st.integers(0, 3), st.integers(1, 4), st.integers(0, 200))
def test_the_clock_of_a_row_is_where_two_visitors_have_been_wherever_the_pieces_are_cut(
    rows, size, overlap, buckets, skew
):
    pieces = [piece(max(0, at - overlap), rows[max(0, at - overlap) : at + size]) for at in range(0, len(rows), size)]
    expected = plain_clocks(rows, skew)
    assert fed(pieces, buckets, skew) == dict(enumerate(expected))


def test_one_visitor_alone_moves_the_clock_a_stretch_of_positions_later():
    first, second = ([(10 * n, 1, None)] for n in (1, 2))
    near, far = piece(5, second), piece(65_536, second)
    assert fed([piece(4, first), near], 1, 0)[5] == NO_CLOCK
    assert fed([piece(4, first), far], 1, 0)[65_536] == 10


def test_what_was_taken_before_is_cut_off():
    (part,) = bucket_pieces(piece(10, [(1, 0, None), (2, 1, None), (3, 2, None)]), 1)
    rows = taken(part, 12, UNKNOWN, NO_CLOCK)
    assert rows["position"].to_pylist() == [12] and rows["clock"].cast(pa.int64()).to_pylist() == [2]


def test_rows_that_do_not_know_their_position_have_that_of_their_piece():
    bare = piece(10, [(1, 0, None), (2, 0, None)])
    bare = Piece("hub/0", 10, 20, bare.rows.drop_columns([POSITION.name]))
    (part,) = bucket_pieces(bare, 1)
    assert part.rows["position"].to_pylist() == [10, 10]


def test_a_piece_without_rows_has_no_reach():
    parts = list(bucket_pieces(piece(3, []), 2))
    assert [reach_of(part.rows) for part in parts] == [UNKNOWN, UNKNOWN]
