"""Pieces: however a log is cut, repeated and shuffled, each position is taken once and in order."""

from itertools import pairwise

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.batches import PieceCoder, register_batch_coder
from transforms.positions import Piece, advance

START, END = 5, 60


def piece(low: int, high: int, gap: tuple[int, int] | None = None) -> Piece:
    positions = [p for p in range(low, high + 1) if p % 7 and not (gap and gap[0] <= p <= gap[1])]  # 7, 14, …: holes
    return Piece("orders/0", low, high, pa.record_batch({"at": pa.array(positions, pa.int64())}), gap)


def taken(step) -> list[int]:
    return [at for part, keep_from in step.accepted for at in part.rows["at"].to_pylist() if at >= keep_from]


@st.composite
def cut_logs(draw):
    """Pieces that cover START..END, with overlaps and repeats, in any order; and where deliveries are cut in groups."""
    edges = sorted(draw(st.sets(st.integers(START + 1, END), max_size=12)) | {START, END + 1})
    pieces = [piece(low, high - 1) for low, high in pairwise(edges)]
    for _ in range(draw(st.integers(0, 8))):
        low = draw(st.integers(0, END))
        pieces.append(piece(low, draw(st.integers(low, END))))
    pieces += draw(st.lists(st.sampled_from(pieces), max_size=6))
    return draw(st.permutations(pieces)), draw(st.lists(st.integers(1, 6), min_size=1, max_size=10))


@settings(deadline=None)
@given(cut_logs())
def test_each_position_is_taken_once_and_in_order(log):
    pieces, sizes = log
    cursor, held, got, dropped, accepted = START - 1, (), [], 0, 0
    while pieces:
        size = sizes[len(pieces) % len(sizes)]
        step = advance(cursor, [*held, *pieces[:size]])
        assert all(part.low > step.cursor + 1 for part in step.held)
        cursor, held, pieces = step.cursor, step.held, pieces[size:]
        got += taken(step)
        dropped, accepted = dropped + step.dropped, accepted + len(step.accepted)
    assert (cursor, held) == (END, ())
    assert got == [p for p in range(START, END + 1) if p % 7]
    assert dropped + accepted == len(log[0])


def test_ahead_is_held_and_taken_when_the_missing_piece_comes():
    early = advance(9, [piece(20, 30)])
    assert (early.accepted, early.cursor, [p.low for p in early.held], early.dropped) == ((), 9, [20], 0)
    later = advance(9, [*early.held, piece(8, 19)])
    assert [(p.low, keep) for p, keep in later.accepted] == [(8, 10), (20, 20)]
    assert (later.cursor, later.held) == (30, ())


def test_a_reading_that_came_too_late_does_not_replace_a_whole_one():
    step = advance(-1, [piece(0, 40, gap=(0, 25)), piece(0, 30)])
    assert taken(step) == [p for p in range(41) if p % 7]


def test_a_piece_without_positions_is_refused():
    with pytest.raises(ValueError, match="orders/0 from 3 to 2"):
        piece(3, 2)


@pytest.mark.parametrize("gap", [None, (0, 3)])
@pytest.mark.parametrize("rows", [0, 3])
def test_the_coder_gives_back_what_it_took(rows, gap):
    batch = pa.record_batch({"body": pa.array([b"\0", None, b"x" * 9][:rows], pa.binary())})
    given_ = Piece("häb/12", 2**61, 2**61 + 5, batch, gap)
    back = PieceCoder().decode(PieceCoder().encode(given_))
    assert (back.log, back.low, back.high, back.gap) == (given_.log, given_.low, given_.high, given_.gap)
    assert back.rows.equals(batch)
    assert PieceCoder().estimate_size(given_) >= batch.nbytes


def test_pieces_cross_a_shuffle_with_their_own_coder(monkeypatch):
    seen = []
    monkeypatch.setattr(
        PieceCoder, "encode", lambda self, value, was=PieceCoder.encode: (seen.append(1), was(self, value))[1]
    )
    register_batch_coder()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        grouped = (
            pipeline
            | beam.Create([0, 10])
            | beam.Map(lambda low: ("orders/0", piece(low, low + 9))).with_output_types(tuple[str, Piece])
            | beam.GroupByKey()
        )

        def check(found):
            [(log, pieces)] = found
            assert log == "orders/0"
            assert taken(advance(-1, list(pieces))) == [p for p in range(20) if p % 7]

        assert_that(grouped, check)
    assert seen
