"""The source: pieces without hole or overlap, watermarks, gaps, and what it refuses."""

import dataclasses
import itertools
import time
from datetime import UTC, datetime

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker
from apache_beam.testing.util import assert_that
from apache_beam.utils.timestamp import Timestamp

from tests.event_hubs import Faults, loopback
from transforms.errors import UserError
from transforms.io import event_hubs, event_hubs_pool
from transforms.io.event_hubs import HubConnection, HubReader, HubSender, Limits, ReadFromEventHubs, WriteToEventHubs
from transforms.io.event_hubs_encode import Body
from transforms.positions import Piece, advance

TABLE = "CUSTOMER_ENGAGEMENT_EVENTS"
HUBS = ["all", "two", "steps", "idle", "trimmed", "emptied", "short", "grown", "faults", "out", "fast", "slow", "mute"]
HUBS += ["overtaken"]
QUICK = Limits(pull_seconds=0.1, poll_seconds=0.01, until_idle_seconds=0.3, max_events=400)

UNTIL_IDLE = dataclasses.replace(QUICK, until_idle_seconds=1.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with loopback(tmp_path_factory.mktemp("hubs") / "events", dict.fromkeys(HUBS, 2)) as running:
        yield running


@pytest.fixture
def connection(server):
    yield HubConnection.from_url(server.connection_string())
    server.control.faults()


def put(connection, hub, bodies, partition=0):
    with HubSender(connection, hub, TABLE, "row") as sender:
        sender.send_bodies([Body(partition, body, 1) for body in bodies])


def whole(pieces: list[Piece], start: int) -> list[bytes]:
    """The bodies of one partition's pieces, which must follow each other from `start` without a hole."""
    step = advance(start - 1, pieces)
    assert not step.held and step.dropped == 0
    assert all(piece.low == keep for piece, keep in step.accepted)
    return [body for piece, _ in step.accepted for body in piece.rows["body"].to_pylist()]


def read(connection, hubs, start, check, limits=QUICK):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | ReadFromEventHubs(connection, hubs, start, limits), check)
    return pipeline.result


def from_zero(log):
    return 0


def test_every_partition_of_every_hub_is_read_from_its_own_start(connection):
    sent = {f"{hub}/{p}": [f"{hub} {p} {i}".encode() for i in range(900)] for hub in ("all", "two") for p in (0, 1)}
    for log, bodies in sent.items():
        put(connection, log[:3], bodies, int(log[-1]))
    starts = {"all/0": 0, "all/1": 5, "two/0": 899, "two/1": 900}

    def check(pieces):
        for log, bodies in sent.items():
            mine = [piece for piece in pieces if piece.log == log]
            assert whole(mine, starts[log]) == bodies[starts[log] :]
            assert all(piece.gap is None and piece.rows.num_rows <= 400 for piece in mine)

    result = read(connection, ("all", "two"), starts.get, check)
    counted = result.metrics().query(beam.metrics.MetricsFilter().with_name("events"))["counters"]
    assert sum(c.committed for c in counted) == sum(len(b) for b in sent.values()) - 5 - 899 - 900


def test_nothing_is_lost_or_doubled_while_connections_drop(server, connection):
    sent = [b"%d" % i for i in range(3000)]
    put(connection, "faults", sent)
    server.control.faults(Faults(drop_every=700, seed=1))

    def check(pieces):
        assert whole([piece for piece in pieces if piece.log == "faults/0"], 0) == sent

    read(connection, ("faults",), from_zero, check)


class Steps:
    """Calls `process` by hand, as a runner would, and keeps what it did."""

    def __init__(self, connection, hub, start=0, limits=QUICK, of=2, partition="0"):
        self.fn = event_hubs._ReadFn(connection, lambda log: start, limits, None)
        self.element = event_hubs.Partition(hub, partition, of)
        self.restriction = self.fn.initial_restriction(self.element)
        self.watermark = ManualWatermarkEstimator(None)
        self.pause = 0.0

    def __call__(self):
        tracker = ThreadsafeRestrictionTracker(self.fn.create_tracker(self.restriction))
        out = list(self.fn.process(self.element, RestrictionTrackerView(tracker), self.watermark))
        tracker.check_done()
        rest = tracker.deferred_status()
        if rest is None:
            self.restriction = None
        else:
            self.restriction, self.pause = rest[0], rest[1].micros / 1e6
        return out

    def until(self, count=1, seconds=30.0):
        found, end = [], time.monotonic() + seconds
        while len(found) < count and time.monotonic() < end:
            found += self()
        return found

    @property
    def position(self):
        return self.restriction.start


def test_a_read_until_idle_ends_when_all_partitions_are_silent_together(connection):
    both = [Steps(connection, "slow", partition=p, limits=UNTIL_IDLE) for p in "01"]
    both[1].fn = both[0].fn  # one process reads both
    sent, found = {"0": [], "1": []}, {"0": [], "1": []}

    def look(steps):
        found[steps.element.id] += [element.value for element in steps()]
        return steps.restriction is None

    begun = time.monotonic()
    with HubSender(connection, "slow", TABLE, "row") as sender:
        while time.monotonic() - begun < 3 * UNTIL_IDLE.until_idle_seconds:  # one is silent, the other one is not
            sent["1"].append(b"%d" % len(sent["1"]))
            sender.send_bodies([Body(1, sent["1"][-1], 1)])
            assert not any(look(steps) for steps in both)
    sent["0"].append(b"last")
    put(connection, "slow", sent["0"], 0)
    ended = next(steps for steps in itertools.cycle(both) if look(steps))
    [other] = [steps for steps in both if steps is not ended]
    sent[other.element.id].append(b"behind")  # it is over by now, but this one has not looked yet
    put(connection, "slow", [b"behind"], int(other.element.id))
    begun = time.monotonic()
    while not look(other):
        assert time.monotonic() - begun < UNTIL_IDLE.until_idle_seconds
    assert {name: whole(pieces, 0) for name, pieces in found.items()} == sent


def test_timestamps_are_arrival_times_that_never_go_back(connection):
    steps = Steps(connection, "steps")
    put(connection, "steps", [b"a", b"b"])
    [first] = steps.until()
    last = first.value.rows["enqueued_at"].to_pylist()[-1]
    assert first.timestamp == Timestamp(last.timestamp()) == steps.watermark.current_watermark()
    assert (steps.position, steps.pause) == (2, pytest.approx(QUICK.more_seconds, abs=0.01))
    ahead = Timestamp(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
    steps.watermark.set_watermark(ahead)
    put(connection, "steps", [b"c"])
    [second] = steps.until()
    assert (second.value.low, second.value.high) == (2, 2)
    assert second.timestamp == ahead == steps.watermark.current_watermark()


def test_a_silent_partition_lets_the_watermark_follow_the_clock(connection):
    steps = Steps(connection, "idle", limits=Limits(idle_seconds=0.2, slack_seconds=1.0))
    begun, seen = time.time(), []
    while time.time() - begun < 2:
        assert steps() == []
        time.sleep(0.05)
        seen.append(steps.watermark.current_watermark())
    assert steps.position == 0 and steps.pause == pytest.approx(Limits().poll_seconds, abs=0.01)
    told = [float(at) for at in seen if at is not None]
    assert len(set(told)) >= 3 and told == sorted(told)
    assert begun + 0.2 < told[-1] < time.time() - 1.0 + 0.01


def test_what_retention_took_is_inside_a_piece_and_said(server, connection, caplog):
    put(connection, "trimmed", [b"%d" % i for i in range(100)])
    server.control.trim("trimmed", 0, 60)
    steps = Steps(connection, "trimmed", start=20)
    pieces = [element.value for element in steps.until(2)]
    assert (pieces[0].low, pieces[0].gap) == (20, (20, 59))
    assert whole(pieces, 20) == [b"%d" % i for i in range(60, 100)]
    assert "trimmed/0: events 20 to 59 are not in the hub any more" in caplog.text


def test_a_hub_emptied_below_the_committed_position_is_said_before_anything_comes(server, connection):
    put(connection, "emptied", [b"x"] * 50)
    server.control.trim("emptied", 0, 50)
    steps = Steps(connection, "emptied", start=10)
    [gap] = steps.until()
    assert (gap.value.low, gap.value.high, gap.value.gap, gap.value.rows.num_rows) == (10, 49, (10, 49), 0)
    assert abs(float(gap.timestamp) - time.time()) < 30  # a time that windows can hold
    put(connection, "emptied", [b"after"])
    [piece] = steps.until()
    assert (piece.value.low, piece.value.gap, piece.value.rows["body"].to_pylist()) == (50, None, [b"after"])


def test_retention_that_overtakes_an_open_reader_is_said_and_the_read_goes_on(server, connection, monkeypatch):
    put(connection, "overtaken", [b"0"])
    steps = Steps(connection, "overtaken", limits=Limits(ask_seconds=0.2, reader_processes=0))
    steps.until()
    [held] = [held for held in event_hubs_pool._OPEN.values() if held.log == "overtaken/0"]
    monkeypatch.setattr(held._reader, "_frames", lambda wait: 0)  # a connection that is slower than retention
    put(connection, "overtaken", [b"1", b"2", b"3"])
    server.control.trim("overtaken", 0, 4)
    [gap] = steps.until(1, seconds=8)
    assert (gap.value.low, gap.value.high, gap.value.gap, gap.value.rows.num_rows) == (1, 3, (1, 3), 0)
    monkeypatch.undo()
    put(connection, "overtaken", [b"4"])
    [piece] = steps.until()
    assert (piece.value.low, piece.value.gap, piece.value.rows["body"].to_pylist()) == (4, None, [b"4"])


def test_a_start_beyond_the_end_is_refused(connection):
    put(connection, "short", [b"x"] * 3)
    with pytest.raises(UserError, match="short/0 ends at 2, but 9 was read from it before"):
        Steps(connection, "short", start=10)()
    assert Steps(connection, "short", start=3)() == []


def test_a_hub_made_anew_under_a_running_stream_is_noticed(connection, monkeypatch):
    steps = Steps(connection, "short", partition="1", limits=Limits(ask_seconds=0.3))
    put(connection, "short", [b"x"] * 3, partition=1)
    steps.until()
    [held] = [held for held in event_hubs_pool._OPEN.values() if held.log == "short/1"]
    anew = dataclasses.replace(held.ask(), last_sequence_number=-1, is_empty=True)
    monkeypatch.setattr(held._reader, "properties", lambda: anew)
    with pytest.raises(UserError, match="short/1 ends at -1, but 2 was read from it before"):
        steps.until(1, seconds=5)


def test_the_backlog_is_known_while_reading(connection):
    put(connection, "two", [b"x"] * 950, partition=1)
    steps = Steps(connection, "two", partition="1", limits=Limits(max_events=100))
    [piece] = steps.until()
    left = steps.fn.restriction_size(steps.element, steps.restriction)
    end = HubReader(connection, "two", "1", 0).properties().last_sequence_number
    assert left == end - piece.value.high


def test_another_number_of_partitions_is_noticed(server, connection):
    steps = Steps(connection, "grown", limits=Limits(check_seconds=0.1))
    steps()
    server.control.partitions("grown", 3)
    with pytest.raises(UserError, match="had 2 partitions when the stream began and has 3 now"):
        steps.until(1, seconds=5)


def test_the_source_limits_itself(connection):
    put(connection, "fast", [b"x" * 1000] * 500)
    slow = Limits(max_events_per_second=100, max_events=500)
    steps = Steps(connection, "fast", limits=slow)
    [piece] = steps.until()
    assert steps.pause == pytest.approx(piece.value.rows.num_rows / 100, abs=1.0)
    heavy = Steps(connection, "fast", limits=Limits(max_bytes=20_000, max_bytes_per_second=10_000))
    [piece] = heavy.until()
    assert piece.value.rows.nbytes < 200_000 and heavy.pause > 1


def test_partitions_draw_on_one_allowance_and_one_alone_may_use_it_up():
    allowance = event_hubs_pool.Allowance()
    assert allowance.spend(2.0, 100.0) == 102.0  # the first partition
    assert allowance.spend(3.0, 100.5) == 105.0  # another one, meanwhile
    assert allowance.spend(1.0, 105.0) == 106.0  # as fast as the limit allows, whoever it is
    assert allowance.spend(1.0, 200.0) == 201.0  # what nobody used is not saved up


def test_a_connection_that_says_nothing_is_left_for_another(connection, monkeypatch):
    put(connection, "mute", [b"1"])
    steps = Steps(connection, "mute", limits=Limits(ask_seconds=0.2, reader_processes=0))
    steps.until()
    [held] = [held for held in event_hubs_pool._OPEN.values() if held.log == "mute/0"]
    mute = held._reader._consumer
    monkeypatch.setattr(held._reader, "_frames", lambda wait: 0)
    put(connection, "mute", [b"2"])
    steps.until(1, seconds=1)
    monkeypatch.undo()
    [piece] = steps.until()
    assert piece.value.rows["body"].to_pylist() == [b"2"] and held._reader._consumer is not mute


def test_a_runner_that_stops_a_read_loses_nothing(connection):
    put(connection, "steps", [b"x"] * 5, partition=1)
    steps = Steps(connection, "steps", partition="1")
    tracker = ThreadsafeRestrictionTracker(steps.fn.create_tracker(steps.restriction))
    kept, rest = tracker.try_split(0)
    assert list(steps.fn.process(steps.element, RestrictionTrackerView(tracker), steps.watermark)) == []
    tracker.check_done()
    assert (kept.start, kept.stop, rest.start) == (0, 0, 0)
    steps.restriction = rest
    assert whole([element.value for element in steps.until()], 0) == [b"x"] * 5
    assert tracker.try_split(0.5) is None


def test_idle_readers_are_closed(connection, monkeypatch):
    monkeypatch.setattr(event_hubs_pool, "IDLE_CLOSE_SECONDS", 0.0)
    Steps(connection, "short")()
    time.sleep(0.01)
    Steps(connection, "idle")()
    assert [held.log for held in event_hubs_pool._OPEN.values()] == ["idle/0"]


def test_what_a_pipeline_writes_a_pipeline_reads(connection):
    rows = pa.record_batch(
        {"ENGAGEMENT_ID": [str(i) for i in range(1000)], "CUSTOMER_ID": [str(i % 9) for i in range(1000)]}
    )
    large = pa.record_batch({"ENGAGEMENT_ID": ["x" * 1_200_000], "CUSTOMER_ID": ["1"]})
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        batches = pipeline | beam.Create([0]) | beam.FlatMap(lambda _: [rows, large]).with_output_types(pa.RecordBatch)
        refused = batches | WriteToEventHubs(connection, "out", TABLE, "lines", "CUSTOMER_ID")

        def one(found):
            assert [batch["rule"].to_pylist() for batch in found] == [["event_too_large"]]

        assert_that(refused, one)

    def check(pieces):
        lines = [line for piece in pieces for body in piece.rows["body"].to_pylist() for line in body.splitlines()]
        assert sorted(lines) == sorted(b'{"ENGAGEMENT_ID":"%d","CUSTOMER_ID":"%d"}' % (i, i % 9) for i in range(1000))

    read(connection, ("out",), from_zero, check)


@pytest.mark.parametrize("hubs", [(), ("a", "a")])
def test_hubs_are_named_once(connection, hubs):
    with pytest.raises(UserError, match="hubs must be named"):
        ReadFromEventHubs(connection, hubs, from_zero)
    with pytest.raises(ValueError, match="max_events must be positive"):
        Limits(max_events=0)
