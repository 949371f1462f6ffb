"""Buckets of a log: every row once, and a clock that does not depend on where the pieces are cut."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.positions import Piece
from transforms.sessions.bucket import NO_CLOCK, bucket_pieces, clock_of, taken
from transforms.sessions.fold import POSITION

micros = st.integers(-(10**6), 10**6)


def piece(low: int, moments: list[int]) -> Piece:
    rows = {
        "visitor": [f"v{moment % 7}" for moment in moments],
        "event_time": pa.array(moments, pa.int64()).view(pa.timestamp("us", tz="UTC")),
        "position": pa.array(range(low, low + len(moments)), pa.int64()),
    }
    return Piece("hub/0", low, low + max(len(moments), 1) - 1, pa.RecordBatch.from_pydict(rows))


@settings(max_examples=100, deadline=None)
@given(st.lists(micros, min_size=1), st.integers(1, 7), st.integers(1, 4), micros)
def test_the_clock_of_a_row_is_the_latest_time_so_far_wherever_the_pieces_are_cut(moments, size, buckets, arrived):
    expected = np.maximum.accumulate([min(moment, arrived) for moment in moments]).tolist()
    clocks, found, home = dict.fromkeys(range(buckets), NO_CLOCK), {}, {}
    for at in range(0, len(moments), size):
        parts = list(bucket_pieces(piece(at, moments[at : at + size]), buckets, arrived))
        assert [part.log for part in parts] == [f"hub/0/{bucket}" for bucket in range(buckets)]
        for bucket, part in enumerate(parts):
            rows = taken(part, part.low, clocks[bucket])
            clocks[bucket] = max(clocks[bucket], clock_of(part.rows))
            columns = (
                rows["position"].to_pylist(),
                rows["clock"].cast(pa.int64()).to_pylist(),
                rows["visitor"].to_pylist(),
            )
            for position, clock, visitor in zip(*columns, strict=True):
                assert position not in found and home.setdefault(visitor, bucket) == bucket
                found[position] = clock
    assert [found[position] for position in range(len(moments))] == expected
    assert set(clocks.values()) == {expected[-1]}


def test_what_was_taken_before_is_cut_off():
    (part,) = bucket_pieces(piece(10, [1, 2, 3]), 1, 100)
    assert taken(part, 12, NO_CLOCK)["position"].to_pylist() == [12]


def test_rows_that_do_not_know_their_position_have_that_of_their_piece():
    bare = piece(10, [1, 2])
    bare = Piece("hub/0", 10, 20, bare.rows.drop_columns([POSITION.name]))
    (part,) = bucket_pieces(bare, 1, 100)
    assert part.rows["position"].to_pylist() == [10, 10]


def test_a_piece_without_rows_has_no_clock():
    parts = list(bucket_pieces(piece(3, []), 2, 100))
    assert [clock_of(part.rows) for part in parts] == [NO_CLOCK, NO_CLOCK]
