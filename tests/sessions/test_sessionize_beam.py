"""Sessions on Beam: buckets and state give what Beam's own session windows give, and what the batch gives."""

import random
from datetime import timedelta
from functools import partial
from itertools import zip_longest

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import IntervalWindow, Sessions, TimestampedValue, WindowFn
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Duration

from tests.sessions import plain_sessions as plain
from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.positions import Piece
from transforms.sessions.bucket import FED, STEPS, Standing, bucket_pieces, taken
from transforms.sessions.fold import Tolerance
from transforms.sessions.reach import Reach
from transforms.sessions.rules import SessionRules
from transforms.sessions.sessionize import SessionizeEvents
from transforms.sessions.stream import SessionizeStream
from transforms.sessions.summarise import sessions_of

RULES = SessionRules(channel_gap_seconds=(("app", 300), ("tv", 7200)))
GAPS = {"web": 1800, "app": 300, "tv": 7200}


def draw_events(rows: int = 900, visitors: int = 30, seed: int = 5) -> list[dict]:
    """Events of two days, some twice, in no order."""
    draw = random.Random(seed)
    found = [
        {
            "visitor": f"v{draw.randrange(visitors)}",
            "event_time": plain.BASE + timedelta(seconds=draw.randrange(172_800)),
            "event_id": f"e{number}",
            "channel": draw.choice(tuple(GAPS)),
            "event_type": draw.choice(("PAGE_VIEW", "CLICK", "PURCHASE")),
        }
        for number in range(rows)
    ]
    return draw.sample(found + found[:30], rows + 30)


class ChannelSessions(WindowFn):
    """Beam's session windows with a gap for each channel. (A subclass of `Sessions` is sent as one with one gap.)"""

    def assign(self, context):
        gap = Duration(seconds=GAPS[context.element[1]["channel"]])
        return [IntervalWindow(context.timestamp, context.timestamp + gap)]

    def merge(self, context):
        Sessions(1).merge(context)

    def get_window_coder(self):
        return Sessions(1).get_window_coder()


def beams_sessions(events: list[dict]) -> list[tuple]:
    """(visitor, start in microseconds, events, page views) by session windows and a combiner, one dict an event."""
    once = {event["event_id"]: event for event in events}
    with beam.Pipeline(runner=FnApiRunner()) as root:
        counted = (
            root
            | beam.Create(list(once.values()))
            | beam.Map(lambda e: TimestampedValue((e["visitor"], e), e["event_time"].timestamp()))
            | beam.WindowInto(ChannelSessions())
            | beam.MapTuple(lambda visitor, e: (visitor, np.array([1, e["event_type"] == "PAGE_VIEW"], int)))
            | beam.CombinePerKey(sum)
            | beam.Map(lambda row, window=beam.DoFn.WindowParam: (row[0], window.start.micros, *row[1].tolist()))
            | "Back" >> beam.WindowInto(beam.window.GlobalWindows())
        )
        counted | beam.Map(partial(plain.keep, "beam"))
    return sorted(plain.KEPT.pop("beam"))


def told(rows: pa.Table) -> list[tuple]:
    times = rows["started_at"].cast(pa.int64()).to_pylist()
    columns = (rows[name].to_pylist() for name in ("events", "page_views"))
    return sorted(zip(rows["visitor"].to_pylist(), times, *columns, strict=True))


ARRIVED = plain.BASE + timedelta(days=30)


@pytest.fixture(scope="module")
def events() -> list[dict]:
    return draw_events()


def test_the_kernel_cuts_where_beams_session_windows_cut(events):
    assert told(sessions_of(plain.table(events), RULES)) == beams_sessions(events)


@pytest.mark.parametrize("spill", [True, False])
def test_buckets_give_the_sessions_of_the_kernel_and_refuse_rows_without_a_visitor(tmp_path, events, spill):
    expected = sessions_of(plain.table(events), RULES)
    nobody = as_batch(plain.table(events[:3])).set_column(0, "visitor", pa.nulls(3, pa.string()))

    def read(_):
        register_batch_coder()
        for at in range(0, len(events), 100):
            yield as_batch(plain.table(events[at : at + 100]))
        yield nobody

    def check_sessions(batches):
        rows = pa.Table.from_batches(batches).sort_by([("visitor", "ascending"), ("started_at", "ascending")])
        assert rows.equals(expected)

    def check_rejected(batches):
        assert [rule for batch in batches for rule in batch["rule"].to_pylist()] == ["required"] * 3

    with beam.Pipeline(runner=FnApiRunner()) as root:
        batches = root | beam.Create([0]) | beam.FlatMap(read).with_output_types(pa.RecordBatch)
        made = batches | SessionizeEvents(RULES, 5, str(tmp_path) if spill else None)
        assert_that(made.sessions, check_sessions, "Sessions")
        assert_that(made.rejected, check_rejected, "Rejected")


def stream_of(events: list[dict], size: int, seed: int = 1) -> list[Piece]:
    """Pieces of one log: rows at most ten minutes out of order, a few pieces twice, a few swapped."""
    draw = random.Random(seed)
    arrived = sorted(events, key=lambda e: e["event_time"] + timedelta(seconds=draw.randrange(590)))
    found = [piece_of(arrived[at : at + size], at) for at in range(0, len(arrived), size)]
    for _ in range(5):
        k = draw.randrange(len(found) - 3)
        found[k], found[k + 2] = found[k + 2], found[k]
        found.insert(draw.randrange(k, len(found)), found[k])
    return found


def piece_of(events: list[dict], at: int) -> Piece:
    positions = pa.array(range(at, at + len(events)), pa.int64())
    rows = as_batch(plain.table(events).append_column("position", positions))
    return Piece("hub/0", at, at + len(events) - 1, rows)


def run_stream(
    pieces: list[Piece], transform: SessionizeStream, apart_seconds: float = 1, backlog: int = 0
) -> tuple[list[Piece], pa.Table | None]:
    """(pieces of sessions, late rows); the first `backlog` pieces tell no arrival."""
    register_batch_coder()
    plain.KEPT.clear()
    stream = TestStream()
    for number, element in enumerate(pieces):
        second = ARRIVED.timestamp() + number * apart_seconds
        if number < backlog:
            stream = stream.add_elements([TimestampedValue(element, MIN_TIMESTAMP)])
            continue
        stream = stream.advance_watermark_to(second).add_elements([TimestampedValue(element, second)])
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as root:
        source = root | stream.advance_watermark_to_infinity()
        made = source | beam.Map(lambda x: x).with_output_types(Piece) | transform
        made.sessions | "KeepSessions" >> beam.Map(partial(plain.keep, "sessions"))
        made.rejected | "KeepRejected" >> beam.Map(partial(plain.keep, "rejected"))
        made.late | "KeepLate" >> beam.Map(partial(plain.keep, "late"))
    late = plain.KEPT.pop("late", [])
    return plain.KEPT.pop("sessions", []), pa.Table.from_batches(late) if late else None


def rows_of(pieces: list[Piece]) -> pa.Table:
    rows = pa.Table.from_batches([piece.rows.replace_schema_metadata(None) for piece in pieces])
    return rows.sort_by([("visitor", "ascending"), ("started_at", "ascending")])


def first(log: str) -> int:
    assert log == "hub/0"
    return 0


def transform(**more) -> SessionizeStream:
    given = {"buckets": 2, "start": first, "fold_seconds": 600, "close_at_end": True, **more}
    return SessionizeStream(RULES, Tolerance(600), **given)


@pytest.mark.parametrize("size", [25, 100])
def test_a_stream_out_of_order_with_repetitions_gives_the_sessions_of_the_batch_and_of_beam(events, size):
    found, late = run_stream(stream_of(events, size), transform())
    assert late is None
    assert rows_of(found).equals(sessions_of(plain.table(events), RULES))
    assert told(rows_of(found)) == beams_sessions(events)


def test_late_rows_leave_by_their_own_output_and_all_else_is_as_without_them(events):
    late_one = {**events[0], "event_id": "late", "event_time": plain.BASE - timedelta(days=2)}
    pieces = [*stream_of(events, 50), piece_of([late_one], len(events))]
    found, late = run_stream(pieces, transform())
    assert late is not None and late["event_id"].to_pylist() == ["late"] and late["reason"].to_pylist() == ["late"]
    assert rows_of(found).equals(sessions_of(plain.table(events), RULES))


def test_what_leaves_says_where_it_stands_and_from_there_the_rest_follows(events):
    """Stopped behind any piece of sessions, a new run that has the open rows again gives just what had not left."""
    pieces = stream_of(events, 60)
    found, _ = run_stream(pieces, transform())
    of_key = [piece for piece in found if piece.log == "hub/0/1"]
    assert [piece.low for piece in of_key] == [0, *(piece.high + 1 for piece in of_key[:-1])]
    assert all(dict(piece.marks)["safe"] <= piece.high // STEPS + 1 for piece in of_key)
    stopped = of_key[: len(of_key) // 2]
    cursor = stopped[-1].high // STEPS
    again = [piece_of_from(piece, cursor + 1) for piece in pieces if piece.high > cursor]
    left = {row["session_id"] for piece in stopped for row in piece.rows.to_pylist()}
    stood = partial(standing, events=events, pieces=pieces, last=stopped[-1], left=left)
    rest, late = run_stream(again, transform(start=None, restore=stood))
    assert late is None
    then = [piece for piece in rest if piece.log == "hub/0/1"]
    assert then[0].low == stopped[-1].high + 1
    assert rows_of([*stopped, *then]).equals(rows_of(of_key))


def standing(log: str, events: list[dict], pieces: list[Piece], last: Piece, left: set[str]) -> Standing:
    """What bucket 1 held behind its piece `last`: the rows so far that are in none of the sessions that left."""
    cursor, marks = last.high // STEPS, dict(last.marks)
    reach = Reach(*(marks[name] for name in Reach._fields))
    if log != "hub/0/1":
        return Standing(cursor, last.high, marks["clock"], reach, FED.empty_table())
    rows = {row["position"]: row for piece in pieces for row in piece.rows.to_pylist() if row["position"] <= cursor}
    gone = [row for row in sessions_of(plain.table(events), RULES).to_pylist() if row["session_id"] in left]
    spans = {(s["visitor"], s["started_at"], s["ended_at"]) for s in gone}
    open_rows = [
        row
        for row in rows.values()
        if not any(who == row["visitor"] and start <= row["event_time"] <= end for who, start, end in spans)
    ]
    held = Piece("hub/0", 0, cursor, as_batch(pa.Table.from_pylist(open_rows, pieces[0].rows.schema)))
    part = next(part for part in bucket_pieces(held, 2) if part.log == log)
    return Standing(cursor, last.high, marks["clock"], reach, as_table(taken(part, 0, reach, marks["clock"])))


def piece_of_from(piece: Piece, safe: int) -> Piece:
    """As a source that begins at `safe` would give it."""
    low = max(piece.low, safe)
    return Piece(piece.log, low, piece.high, piece.rows.slice(low - piece.low))


def test_a_piece_that_never_comes_is_said_and_not_passed_over(events):
    missing = [piece for piece in stream_of(events[:300], 10) if piece.low != 50]
    with pytest.raises(Exception, match="positions behind 49 are missing"):
        run_stream(missing, transform(max_held=5))


def test_more_ahead_than_is_held_comes_again_by_a_source_that_catches_up(events):
    """What was read back may be behind what comes live for long; of that only the latest pieces are kept."""
    pieces = sorted(stream_of(events, 10), key=lambda piece: piece.low)
    live, back = [piece for piece in pieces if piece.low >= 300], pieces[:-3]
    woven = [piece for both in zip_longest(live, back) for piece in both if piece is not None]
    found, late = run_stream(woven, transform(max_held=10))
    assert late is None
    assert rows_of(found).equals(sessions_of(plain.table(events), RULES))


def test_without_closing_at_the_end_open_sessions_stay_for_the_next_run():
    now = [{"visitor": "a", "event_time": plain.BASE, "event_id": "1"}]
    found, _ = run_stream([piece_of(now, 0)], transform(buckets=1, close_at_end=False))
    assert [(piece.rows.num_rows, dict(piece.marks)["safe"]) for piece in found] == [(0, 0)]


@pytest.mark.parametrize("silence_closes", [True, False])
def test_a_silent_log_closes_its_sessions_if_asked(silence_closes):
    """The watermark passes the gap and the lateness behind the last arrival; then the next rows come."""
    rows = [visit("a", 0), visit("a", 5), visit("a", 10), visit("a", 200), visit("b", 200)]
    pieces = [piece_of(rows[:3], 0), piece_of(rows[3:], 3)]
    given = transform(silence_closes=silence_closes, buckets=1, close_at_end=False, fold_seconds=1)
    found, late = run_stream(pieces, given, apart_seconds=RULES.longest_gap_us / 1e6 + 700)
    assert late is None
    behind = [piece.high for piece in found for row in piece.rows.to_pylist() if row["events"] == 3]
    assert behind == ([2 * STEPS] if silence_closes else [4 * STEPS])  # before the next rows, or with them


def test_what_is_read_back_after_a_start_is_no_silence():
    """It says nothing of its arrival: the next rows are in time."""
    rows = [visit("a", 0), visit("b", 1), visit("a", 5), visit("b", 6)]
    given = transform(silence_closes=True, buckets=1, fold_seconds=1)
    found, late = run_stream([piece_of(rows[:2], 0), piece_of(rows[2:], 2)], given, backlog=1)
    assert late is None
    assert rows_of(found).equals(sessions_of(plain.table(rows), RULES))


@pytest.mark.parametrize("silence", [False, True])
def test_a_visitor_whose_clock_is_a_day_ahead_makes_nobody_late(silence):
    """In a replay, where the time of arrival tells nothing; nor is that clock believed when nothing more comes."""
    wrong = [visit("wrong", minute) for minute in (1441, 1443, 1450)]
    rows = [visit("a", 0), visit("b", 1), *wrong, visit("a", 2), visit("b", 200), visit("a", 201), visit("b", 230)]
    cut = 6 if silence else len(rows)
    pieces = [piece_of(part, at) for part, at in ((rows[:cut], 0), (rows[cut:], cut)) if part]
    given = transform(silence_closes=True, buckets=1, fold_seconds=1)
    found, late = run_stream(pieces, given, apart_seconds=RULES.longest_gap_us / 1e6 + 700)
    assert late is None
    assert rows_of(found).equals(sessions_of(plain.table(rows), RULES))


def visit(visitor: str, minute: float) -> dict:
    at = plain.BASE + timedelta(minutes=minute)
    return {"visitor": visitor, "event_time": at, "event_id": f"{visitor}{minute}", "event_type": "CLICK"}


def test_rows_without_a_visitor_are_refused_and_counted_in_the_stream():
    nobody = piece_of([{"visitor": "a", "event_time": plain.BASE}] * 2, 0)
    rows = nobody.rows.set_column(0, "visitor", pa.array([None, "a"]))
    found, _ = run_stream([Piece("hub/0", 0, 1, rows)], transform())
    assert rows_of(found)["events"].to_pylist() == [1]
    assert [batch["rule"].to_pylist() for batch in plain.KEPT.pop("rejected")] == [["required"]]
