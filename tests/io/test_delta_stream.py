"""A stream into a Delta table: whatever comes twice, late, cut anew or not at all, each position is there once."""

from __future__ import annotations

import dataclasses
import json
import random
from itertools import pairwise
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.batches import register_batch_coder
from transforms.errors import UserError
from transforms.io import delta_committer, delta_stream
from transforms.io.delta import append_rows, maintain, read_table
from transforms.io.delta_committer import PositionCommitter, PositionGap
from transforms.io.delta_notes import read_notes
from transforms.io.delta_positions import Fenced, OwnerWatch, position_app, positions, take_over
from transforms.io.delta_ranges import StreamWrite, write_ranges
from transforms.io.delta_stream import ReadCommitted, WriteStream, arrival_windows
from transforms.io.delta_table import open_table
from transforms.io.delta_tail import Backlog, read_ranges
from transforms.positions import Piece

SCHEMA = pa.schema(
    [
        pa.field("_log", pa.string(), nullable=False),
        pa.field("_position", pa.int64(), nullable=False),
        pa.field("_enqueued_at", pa.timestamp("us", tz="UTC")),
        pa.field("VALUE", pa.string()),
        pa.field("_month", pa.string()),
    ]
)
LOGS = ("orders/0", "orders/1")


def rows(log: str, low: int, high: int) -> pa.RecordBatch:
    """What the log holds from low to high: every seventh position is a hole, every fifth an event of two rows."""
    taken = [p for p in range(low, high + 1) if p % 7 for _ in range(2 if p % 5 == 0 else 1)]
    columns = [
        [log] * len(taken),
        taken,
        [p * 1_000 for p in taken],
        [f"{log}:{p}" for p in taken],
        [f"2010-{p // 40 % 12 + 1:02}" for p in taken],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def piece(log: str, low: int, high: int) -> Piece:
    return Piece(log, low, high, rows(log, low, high))


def expected(end: int) -> list[tuple[str, int, str]]:
    whole = [row for log in LOGS for row in rows(log, 0, end).to_pylist()]
    return sorted((row["_log"], row["_position"], row["VALUE"]) for row in whole)


def found(uri: str) -> list[tuple[str, int, str]]:
    return sorted((row["_log"], row["_position"], row["VALUE"]) for row in read_table(uri).to_pylist())


def writer(uri: str, epoch: int | None = None, **kwargs: float) -> StreamWrite:
    return StreamWrite(uri, SCHEMA, "orders", ("_month",), "_log", epoch=epoch, **kwargs)


def deliveries(rng: random.Random, end: int) -> list[list[Piece]]:
    """Windows of pieces that cover 0..end of both logs: repeated, cut anew, from older positions, out of order."""
    pieces = []
    for log in LOGS:
        at = 0
        while at <= end:
            high = min(end, at + rng.randint(0, 30))
            pieces.append(piece(log, at, high))
            if rng.random() < 0.3:
                pieces.append(pieces[-1])
            if rng.random() < 0.3:
                low = max(0, at - rng.randint(0, 40))
                pieces.append(piece(log, low, rng.randint(low, high)))
            at = high + 1
    order = sorted(range(len(pieces)), key=lambda i: i + rng.uniform(-6, 6))
    windows, i = [], 0
    while i < len(order):
        size = rng.randint(1, 5)
        windows.append([pieces[k] for k in order[i : i + size]])
        i += size
    return windows


def offer(one: PositionCommitter, write: StreamWrite, window: list[Piece]) -> None:
    one.offer(write_ranges(write, window))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_each_position_is_there_once_whatever_is_delivered(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng, uri, end = random.Random(seed), str(tmp_path_factory.mktemp("lake") / "orders"), 150
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"), idle_seconds=0)
    one = PositionCommitter(write)
    for window in deliveries(rng, end):
        offer(one, write, window)
        if rng.random() < 0.2:  # dies: what waited is lost, and is delivered again from where the table stands
            write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"), idle_seconds=0)
            one = PositionCommitter(write)
            held = positions(uri, "orders", LOGS)
            offer(
                one, write, [piece(log, held[log] + 1, end) for log in LOGS if held[log] < end and rng.random() < 0.5]
            )
        if rng.random() < 0.1:
            maintain(uri)
    offer(one, write, [piece(log, at + 1, end) for log, at in positions(uri, "orders", LOGS).items() if at < end])
    assert found(uri) == expected(end)
    assert positions(uri, "orders", LOGS) == dict.fromkeys(LOGS, end)


def test_an_older_stream_is_fenced_and_the_newer_goes_on(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    old = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"))
    first, second = PositionCommitter(old), None
    offer(first, old, [piece(log, 0, 9) for log in LOGS])
    new = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"))
    second = PositionCommitter(new)
    with pytest.raises(Fenced, match="another stream has taken this table over"):
        offer(first, old, [piece(log, 10, 19) for log in LOGS])
    offer(second, new, [piece(log, 10, 29) for log in LOGS])
    assert found(uri) == expected(29)


def test_an_older_stream_that_has_nothing_to_commit_learns_of_the_newer(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    watch = OwnerWatch([(uri, "orders", take_over(uri, SCHEMA, ("_month",), "orders"))])
    watch.check()
    take_over(uri, SCHEMA, ("_month",), "refunds")  # another stream's business
    append_rows(uri, pa.Table.from_batches([rows("file", 1, 3)]), (("file/1", 1),), partition_by=("_month",))
    watch.check()
    take_over(uri, SCHEMA, ("_month",), "orders")
    with pytest.raises(Fenced, match="another stream has taken this table over"):
        watch.check()


def test_two_writers_without_a_fence_are_still_exact(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    take_over(uri, SCHEMA, ("_month",), "orders")
    write = writer(uri)
    one, two = PositionCommitter(write), PositionCommitter(write)
    for low in range(0, 100, 10):
        offer(one, write, [piece(log, low, low + 9) for log in LOGS])
        offer(two, write, [piece(log, max(0, low - 3), low + 9) for log in LOGS])
    assert found(uri) == expected(99)


def test_a_gap_that_does_not_close_stops_the_stream_and_says_which(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"), hold_seconds=0)
    one = PositionCommitter(write)
    offer(one, write, [piece("orders/0", 0, 9)])
    with pytest.raises(PositionGap, match="positions 10 to 14 of orders/0 did not come"):
        offer(one, write, [piece("orders/0", 15, 19)])


def test_a_log_begins_where_it_was_told(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders", {"orders/0": 100}))
    one = PositionCommitter(write)
    offer(one, write, [piece("orders/0", 100, 109)])
    take_over(uri, SCHEMA, ("_month",), "orders", {"orders/0": 500})  # known by now: not moved
    assert positions(uri, "orders", ["orders/0"]) == {"orders/0": 109}


def test_positions_without_rows_are_kept_in_mind_and_committed_with_the_next_rows(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"), idle_seconds=3600)
    one = PositionCommitter(write)
    offer(one, write, [piece("orders/0", 0, 0)])  # position 0 is a hole; the first offer is due at once
    version = open_table(uri).version()
    for at in (7, 14, 21):
        offer(one, write, [Piece("orders/0", at - 6, at, rows("orders/0", 0, 0))])
    assert open_table(uri).version() == version
    offer(one, write, [piece("orders/0", 22, 30)])
    assert open_table(uri).version() == version + 1
    assert positions(uri, "orders", ["orders/0"]) == {"orders/0": 30}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("gap", "hole", "rows")), st.booleans()), min_size=1, max_size=12))
def test_every_gap_is_told_once_however_long_its_commit_waits(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    uri = str(tmp_path_factory.mktemp("lake") / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"), idle_seconds=3600)
    one, planted, at, window = PositionCommitter(write), [], 0, list[Piece]()
    offer(one, write, [Piece("orders/0", 0, 0, rows("orders/0", 0, 0))])  # the first offer is due at once
    for what, is_offered in steps:
        low, at = at + 1, at + 10
        window.append(piece("orders/0", low, at) if what == "rows" else Piece("orders/0", low, at, rows("", 0, -1)))
        if what == "gap":
            window[-1] = dataclasses.replace(window[-1], gap=(low, at - 3))
            planted.append(("orders/0", low, at - 3))
        if is_offered:
            offer(one, write, window)
            window = []
    offer(one, write, [*window, piece("orders/0", at + 1, at + 10)])
    notes = [json.loads(note.text) for note in read_notes(open_table(uri), uri, -1) if note.text]
    told = [(log, *gap) for facts in notes for log, gaps in facts.get("gaps", {}).items() for gap in gaps]
    assert told == [tuple(gap) for gap in planted]


def test_a_gap_that_was_read_meanwhile_is_none(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"))
    one, late = PositionCommitter(write), dataclasses.replace(piece("orders/0", 0, 29), gap=(0, 14))
    offer(one, write, [piece("orders/0", 0, 9)])
    done = one.offer(write_ranges(write, [late]))
    assert done is not None and done.ranges[0].gaps == ((10, 14),)
    assert found(uri) == [row for row in expected(29) if row[0] == "orders/0"]


def test_a_batch_append_between_does_not_disturb(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"))
    one = PositionCommitter(write)
    offer(one, write, [piece("orders/0", 0, 9)])
    append_rows(uri, pa.Table.from_batches([rows("file", 1, 3)]), (("file/1", 1),), partition_by=("_month",))
    offer(one, write, [piece("orders/0", 10, 19)])
    assert open_table(uri).transaction_version(position_app("orders", "orders/0")) == 19
    assert len(found(uri)) == rows("x", 0, 19).num_rows + 3


def test_a_new_column_is_added_on_the_way(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"))
    one = PositionCommitter(write)
    offer(one, write, [piece("orders/0", 0, 9)])
    wide = rows("orders/0", 10, 19)
    wide = wide.append_column("COLOUR", pa.array(["red"] * wide.num_rows))
    offer(one, write, [Piece("orders/0", 10, 19, wide)])
    offer(one, write, [piece("orders/0", 20, 29)])
    table = read_table(uri)
    assert table["COLOUR"].null_count == len(table) - wide.num_rows
    assert len(table) == rows("orders/0", 0, 29).num_rows


def test_on_beam(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"), idle_seconds=0)
    register_batch_coder()
    with beam.Pipeline(runner=FnApiRunner()) as root:
        (
            root
            | beam.Create([(log, low) for log in LOGS for low in range(0, 100, 10)] * 2)
            | beam.Map(lambda at: piece(at[0], at[1], at[1] + 9)).with_output_types(Piece)
            | beam.Map(lambda p: beam.window.TimestampedValue(p, p.low / 20))
            | WriteStream(write)
        )
    assert found(uri) == expected(99)


@pytest.fixture
def backlog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backlog:
    """Positions 7 to 99 of the first log, and none of the second, 30 a piece."""
    monkeypatch.setattr(delta_stream, "PIECE_POSITIONS", 30)
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"))
    offer(PositionCommitter(write), write, [piece(log, 0, 99) for log in LOGS])
    return Backlog(uri, "orders", {LOGS[0]: 7, LOGS[1]: 100}, log_column="_log")


PIECES = [
    (LOGS[0], low, high, rows(LOGS[0], low, high)["_position"].to_pylist())
    for low, high in ((7, 36), (37, 66), (67, 96), (97, 99))
]


def seen(piece: Piece) -> tuple[str, int, int, list[int]]:
    return piece.log, piece.low, piece.high, piece.rows.column(0).to_pylist()


def test_the_logs_of_a_window_share_a_file_and_are_told_apart_again(tmp_path: Path) -> None:
    uri = str(tmp_path / "orders")
    write = StreamWrite(uri, SCHEMA, "orders", (), "_log", epoch=take_over(uri, SCHEMA, (), "orders"))
    one, window = PositionCommitter(write), [piece(LOGS[1], 0, 9), piece(LOGS[0], 20, 29), piece(LOGS[0], 0, 9)]
    done = one.offer(write_ranges(write, window))
    assert len(done.ranges) == 2 and done.held == 1
    first = len(open_table(uri).file_uris())  # the range that waits shares the file: those that go on get their own
    assert first == 2 and found(uri) == expected(9)
    done = one.offer(write_ranges(write, [piece(LOGS[0], 10, 19)]))
    assert [part.place for part in done.ranges] == [(LOGS[0], 10, 19), (LOGS[0], 20, 29)]
    window = [piece(LOGS[0], 30, 39), piece(LOGS[1], 10, 39)]
    done = one.offer(write_ranges(write, window))
    assert len(open_table(uri).file_uris()) == first + 2 + 1 and found(uri) == expected(39)
    read = list(read_ranges(uri, done.ranges, ("_log", "VALUE"), "_log"))
    wanted = [piece(*part.place) for part in done.ranges]
    assert {part.log for part in read} == set(LOGS)
    assert [p.rows.to_pylist() for p in read] == [p.rows.select(["_log", "VALUE"]).to_pylist() for p in wanted]


def test_a_backlog_is_read_whole(backlog: Backlog) -> None:
    with beam.Pipeline(runner=FnApiRunner()) as root:
        commits = root | "None" >> beam.Create([], reshuffle=False)
        assert_that(commits | ReadCommitted(backlog, ("_position",)) | beam.Map(seen), equal_to(PIECES))


def test_a_backlog_comes_a_piece_a_bundle_and_each_lets_go_of_the_one_before(backlog: Backlog) -> None:
    fn = delta_stream._BacklogFn(backlog, ("_position",))
    found, rest, watermark = [], fn.initial_restriction(LOGS[0]), ManualWatermarkEstimator(None)
    while rest is not None:
        tracker = ThreadsafeRestrictionTracker(fn.create_tracker(rest))
        (element,) = fn.process(LOGS[0], RestrictionTrackerView(tracker), watermark)
        tracker.check_done()
        found.append((seen(element.value), element.timestamp))
        assert watermark.current_watermark() == element.timestamp < 0
        deferred = tracker.deferred_status()
        rest = deferred[0] if deferred else None
    assert [piece for piece, _ in found] == PIECES
    assert all(later - earlier >= 60 for (_, earlier), (_, later) in pairwise(found))


def test_a_backlog_goes_on_to_what_was_committed_while_it_was_read(backlog: Backlog) -> None:
    fn = delta_stream._BacklogFn(backlog, ("_position",))
    tracker = ThreadsafeRestrictionTracker(fn.create_tracker(fn.initial_restriction(LOGS[0])))
    list(fn.process(LOGS[0], RestrictionTrackerView(tracker), ManualWatermarkEstimator(None)))
    write = writer(backlog.uri, take_over(backlog.uri, SCHEMA, ("_month",), "orders"))
    offer(PositionCommitter(write), write, [piece(LOGS[0], 100, 130)])
    rest, pieces = tracker.deferred_status()[0], []
    while rest is not None:
        tracker = ThreadsafeRestrictionTracker(fn.create_tracker(rest))
        pieces += fn.process(LOGS[0], RestrictionTrackerView(tracker), ManualWatermarkEstimator(None))
        deferred = tracker.deferred_status()
        rest = deferred[0] if deferred else None
    assert [seen(each.value)[1:3] for each in pieces] == [(37, 66), (67, 96), (97, 126), (127, 130)]


def test_whether_files_fit_a_table_is_looked_at_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = list[object]()
    prepare = delta_committer.prepare
    monkeypatch.setattr(delta_committer, "prepare", lambda *given: looks.append(given) or prepare(*given))
    uri = str(tmp_path / "orders")
    write = writer(uri, take_over(uri, SCHEMA, ("_month",), "orders"))
    one = PositionCommitter(write)
    for at in range(0, 50, 10):
        offer(one, write, [piece(LOGS[0], at, at + 9)])
    assert len(looks) == 1
    written = write_ranges(write, [piece(LOGS[0], 50, 59)])
    open_table(uri).alter.add_constraint({"some": "_position >= 0"})
    with pytest.raises(UserError, match=r"the constraint .* was added while the rows were written"):
        one.offer(written)
    assert found(uri) == [row for row in expected(49) if row[0] == LOGS[0]]


def test_what_comes_behind_the_watermark_leaves_at_once_and_is_not_dropped() -> None:
    """Whoever told the watermark too early, as Prism may: the guard behind `ArrivalClock`."""
    stream = TestStream().advance_watermark_to(0).add_elements([TimestampedValue(("a", "in time"), 10)])
    stream = stream.advance_watermark_to(100).add_elements([TimestampedValue(("a", "late"), 11)])
    stream = stream.advance_watermark_to(500).add_elements([TimestampedValue(("a", "very late"), 12)])
    options = PipelineOptions(streaming=True)
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as root:
        grouped = root | stream.advance_watermark_to_infinity() | arrival_windows(1.0) | beam.GroupByKey()
        values = grouped | beam.MapTuple(lambda _, several: sorted(several))
        assert_that(
            values | "AnyTime" >> beam.WindowInto(GlobalWindows()), equal_to([["in time"], ["late"], ["very late"]])
        )
