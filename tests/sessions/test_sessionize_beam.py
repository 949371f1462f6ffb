"""Sessions on Beam: buckets and state give what Beam's own session windows give, and what the batch gives."""

import random
from dataclasses import replace
from datetime import timedelta
from functools import partial

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
from apache_beam.utils.timestamp import Duration

from tests.sessions import plain_sessions as plain
from transforms.batches import as_batch, register_batch_coder
from transforms.sessions.fold import Tolerance
from transforms.sessions.piece import Piece
from transforms.sessions.rules import SessionRules
from transforms.sessions.sessionize import SessionizeEvents
from transforms.sessions.stream import SessionizeStream
from transforms.sessions.summarise import sessions_of
from transforms.shuffle import split_buckets

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


def stream_of(events: list[dict], size: int, seed: int = 1) -> list[tuple[int, pa.RecordBatch]]:
    """Pieces of two buckets: at most ten minutes out of order, a few pieces twice, a few swapped, some late rows."""
    draw = random.Random(seed)
    arrived = sorted(events, key=lambda e: e["event_time"] + timedelta(seconds=draw.randrange(590)))
    clock, found = plain.micros(arrived[0]["event_time"]), []
    for at in range(0, len(arrived), size):
        part = arrived[at : at + size]
        clock = max(clock, *(plain.micros(e["event_time"]) for e in part))
        rows = plain.table(part).append_column("position", pa.array(range(at, at + len(part)), pa.int64()))
        buckets = dict(split_buckets(as_batch(rows), ("visitor",), 2))
        for key in (0, 1):
            piece = Piece(at, at + len(part) - 1, clock, buckets.get(key, as_batch(rows).slice(0, 0)), start=0)
            found.append((key, piece.stamped()))
    for _ in range(10):
        k = draw.randrange(len(found) - 3)
        found[k], found[k + 2] = found[k + 2], found[k]  # two pieces of one key change places
        found.insert(draw.randrange(k, len(found)), found[k])  # and one comes again
    return found


def run_stream(pieces: list[tuple[int, pa.RecordBatch]], transform: SessionizeStream) -> tuple[list, pa.Table | None]:
    """([(key, stamped batch)], late rows)."""
    register_batch_coder()
    plain.KEPT.clear()
    stream = TestStream()
    for number, element in enumerate(pieces):
        stream = stream.advance_watermark_to(number).add_elements([TimestampedValue(element, number)])
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as root:
        source = root | stream.advance_watermark_to_infinity()
        made = source | beam.Map(lambda x: x).with_output_types(tuple[int, pa.RecordBatch]) | transform
        made.sessions | "KeepSessions" >> beam.Map(partial(plain.keep, "sessions"))
        made.late | "KeepLate" >> beam.Map(partial(plain.keep, "late"))
    late = plain.KEPT.pop("late", [])
    return plain.KEPT.pop("sessions", []), pa.Table.from_batches(late) if late else None


@pytest.mark.parametrize("size", [15, 100])
def test_a_stream_out_of_order_with_repetitions_gives_the_sessions_of_the_batch_and_of_beam(events, size):
    transform = SessionizeStream(RULES, Tolerance(600), fold_seconds=600, close_at_end=True)
    found, late = run_stream(stream_of(events, size), transform)
    rows = pa.Table.from_batches([batch.replace_schema_metadata(None) for _, batch in found])
    rows = rows.sort_by([("visitor", "ascending"), ("started_at", "ascending")])
    assert late is None
    assert rows.equals(sessions_of(plain.table(events), RULES))
    assert told(rows) == beams_sessions(events)


def test_late_rows_leave_by_their_own_output_and_all_else_is_as_without_them(events):
    kept = [event for event in events if event["visitor"] != "v1"]
    late_one = {**kept[0], "event_id": "late", "event_time": plain.BASE - timedelta(days=2)}
    pieces = stream_of(kept, 50)
    last = max(Piece.of(batch).last for _, batch in pieces)
    clock = Piece.of(pieces[-1][1]).clock_us
    batch = as_batch(plain.table([late_one]).append_column("position", pa.array([last + 1], pa.int64())))
    pieces += [(key, Piece(last + 1, last + 1, clock, batch.slice(key)).stamped()) for key in (0, 1)]
    found, late = run_stream(pieces, SessionizeStream(RULES, Tolerance(600), 600, close_at_end=True))
    assert late is not None and late["event_id"].to_pylist() == ["late"] and late["reason"].to_pylist() == ["late"]
    rows = pa.Table.from_batches([batch.replace_schema_metadata(None) for _, batch in found])
    assert told(rows) == told(sessions_of(plain.table(kept), RULES))


def test_what_leaves_says_where_it_stands_and_a_replay_from_the_safe_position_gives_the_rest(events):
    """Stopped after any batch of sessions, a new run from `safe` gives what had not left; nothing twice but by id."""
    pieces = stream_of(events, 60)
    transform = SessionizeStream(RULES, Tolerance(600), fold_seconds=600, close_at_end=True)
    found, _ = run_stream(pieces, transform)
    expected = set(sessions_of(plain.table(events), RULES)["session_id"].to_pylist())
    for key in (0, 1):
        batches = [batch for k, batch in found if k == key]
        places = [{name: int(b.schema.metadata[name.encode()]) for name in ("first", "last", "safe")} for b in batches]
        inner = places[:-1]  # the last one is what is closed at the end, at the same position
        assert [place["first"] for place in inner[1:]] == [place["last"] + 1 for place in inner[:-1]]
        assert all(place["safe"] <= place["last"] + 1 for place in places)
    stopped = len([k for k, _ in found if k == 0]) // 2
    batches = [batch for k, batch in found if k == 0]
    safe = int(batches[stopped].schema.metadata[b"safe"])
    before = {i for batch in batches[: stopped + 1] for i in batch["session_id"].to_pylist()}
    again = [replace(Piece.of(b).behind(safe - 1), start=safe) for k, b in pieces if k == 0]
    rest, _ = run_stream([(0, piece.stamped()) for piece in again if piece.last >= safe], transform)
    after = {i for _, batch in rest for i in batch["session_id"].to_pylist()}
    of_key = {i for batch in batches for i in batch["session_id"].to_pylist()}
    assert of_key <= before | after and of_key <= expected


def test_a_piece_that_never_comes_is_said_and_not_passed_over(events):
    pieces = stream_of(events[:300], 10)
    missing = [element for element in pieces if element[0] or Piece.of(element[1]).first != 50]
    with pytest.raises(Exception, match="positions behind 49 are missing"):
        run_stream(missing, SessionizeStream(RULES, Tolerance(600), 600, max_held=5))


def test_without_closing_at_the_end_open_sessions_stay_for_the_next_run():
    now = [{"visitor": "a", "event_time": plain.BASE, "event_id": "1"}]
    piece = Piece(0, 0, plain.micros(plain.BASE), as_batch(plain.table(now))).stamped()
    found, _ = run_stream([(0, piece)], SessionizeStream(RULES, Tolerance(600)))
    assert [(batch.num_rows, batch.schema.metadata[b"safe"]) for _, batch in found] == [(0, b"0"), (0, b"0")]
