"""Faults one by one, with exact accounting: nothing acknowledged is lost, and sequence numbers tell what came twice."""

from __future__ import annotations

import random
import threading
import time

import pytest
from azure.eventhub import EventData
from azure.eventhub.exceptions import EventHubError

from tests.event_hubs import Faults, loopback, producer, receive, send, send_batch
from transforms.errors import UserError
from transforms.io.event_hubs_loopback.faults import FaultPlan


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    hubs = {"once": 1, "drops": 1, "slow": 1, "late": 1, "trim": 1, "grow": 2, "storm": 2}
    with loopback(tmp_path_factory.mktemp("faults") / "events", hubs) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_goes_wrong_afterwards(server):
    yield
    server.control.faults()


def bodies(server, hub: str, count: int, **options) -> list[str]:
    return [event.body_as_str() for event in receive(server, count, hub=hub, retries=3, **options)]


def test_busy_refuses_drop_loses_and_a_lost_acknowledgement_doubles(server):
    with producer(server, "once") as client:
        server.control.next("busy", "busy")  # the client tries once more with a new link, at once
        with pytest.raises(EventHubError, match="server-busy"):
            client.send_event(EventData("refused"))
        server.control.next("drop")
        client.send_event(EventData("sent again"))
        server.control.next("lost_ack")
        client.send_event(EventData("twice"))
    assert bodies(server, "once", 3) == ["sent again", "twice", "twice"]
    counts = server.control.state()["counts"]
    assert (counts["busy"], counts["lost_acknowledgements"], counts["dropped_connections"]) == (2, 1, 2)


def test_dropped_readers_get_every_event_once_after_dedupe(server):
    for start in range(0, 3000, 1000):
        send(server, [str(i) for i in range(start, start + 1000)], hub="drops")
    before = server.control.state()["counts"]["dropped_connections"]
    server.control.faults(Faults(drop_every=400, seed=7))
    got, sequence = {}, 0
    until = time.monotonic() + 30
    while sequence < 3000 and time.monotonic() < until:
        for event in receive(server, 1, sequence, hub="drops", inclusive=True, seconds=2, retries=3):
            got[event.sequence_number] = event.body_as_str()
        sequence = max(got, default=-1) + 1
    assert got == {i: str(i) for i in range(3000)}
    assert server.control.state()["counts"]["dropped_connections"] - before >= 3


def test_slow_is_as_slow_as_asked(server):
    send(server, ["x" * 1000] * 100, hub="slow")
    server.control.faults(Faults(bytes_per_second=100_000))
    start = time.monotonic()
    assert len(bodies(server, "slow", 100)) == 100
    assert 0.8 < time.monotonic() - start < 8


def test_a_delayed_acknowledgement_comes_late(server):
    with producer(server, "late") as client:
        client.send_event(EventData("warm"))
        server.control.faults(Faults(delay_seconds=0.7))
        start = time.monotonic()
        client.send_event(EventData("x"))
        assert 0.7 <= time.monotonic() - start < 5


def test_trimmed_events_are_gone_and_reading_goes_on_with_the_oldest(server):
    with producer(server, "trim") as client:
        for i in range(10):
            send_batch(client, [f"{i}-{j}" for j in range(10)])
    old = receive(server, 100, hub="trim")[5]
    server.control.trim("trim", 0, 42)
    with producer(server, "trim") as client:
        properties = client.get_partition_properties("0")
    assert (properties["beginning_sequence_number"], properties["last_enqueued_sequence_number"]) == (42, 99)
    for position in ("-1", old.sequence_number, old.offset, old.enqueued_time):
        assert receive(server, 1, position, hub="trim")[0].sequence_number == 42
    server.control.trim("trim", 0, 10_000)
    with producer(server, "trim") as client:
        properties = client.get_partition_properties("0")
        assert properties["is_empty"]
        assert (properties["beginning_sequence_number"], properties["last_enqueued_sequence_number"]) == (100, 99)
        client.send_event(EventData("new"))
    assert [e.sequence_number for e in receive(server, 1, 7, hub="trim")] == [100]


def test_a_reader_left_behind_by_a_trim_goes_on_with_the_oldest(start_loopback):
    server = start_loopback({"h": 1}, faults=Faults(bytes_per_second=20_000))
    send(server, [f"{i:04d}" + "x" * 400 for i in range(2000)], hub="h")
    got: list[int] = []
    reading = threading.Thread(
        target=lambda: got.extend(e.sequence_number for e in receive(server, 2000, hub="h", seconds=4))
    )
    reading.start()
    time.sleep(1.5)
    server.control.trim("h", 0, 1990)
    server.control.faults()
    reading.join(20)
    assert got == sorted(set(got)) and got[0] == 0 and got[-1] == 1999


def test_partitions_come_and_go(server):
    with producer(server, "grow") as client:
        client.send_event(EventData("kept"), partition_id="1")
        server.control.partitions("grow", 3)
        assert client.get_partition_ids() == ["0", "1", "2"]
        server.control.partitions("grow", 1)
        assert client.get_partition_ids() == ["0"]
    with pytest.raises(EventHubError, match="invalid: 1"):
        receive(server, 1, partition="1", hub="grow", seconds=5)
    server.control.partitions("grow", 2)
    assert bodies(server, "grow", 1, partition="1") == ["kept"]


def test_a_reader_of_a_partition_that_goes_is_told(start_loopback):
    server = start_loopback({"h": 2})
    errors: list[Exception] = []

    def read():
        try:
            receive(server, 1, partition="1", hub="h", seconds=10)
        except EventHubError as error:
            errors.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    while not server.control.state()["readers"]:
        time.sleep(0.01)
    server.control.partitions("h", 1)
    reading.join(20)
    assert len(errors) == 1


def test_a_storm_of_faults_loses_nothing_that_was_acknowledged(server):
    server.control.faults(Faults(drop_every=900, lose_ack_every=1100, busy_every=1300, seed=3))
    sent: dict[str, set[str]] = {"0": set(), "1": set()}
    rng = random.Random(1)
    with producer(server, "storm", retry_total=5) as client:
        for number in range(60):
            partition, batch = str(rng.randrange(2)), [f"{number}-{i}" for i in range(50)]
            while not _acknowledged(client, batch, partition):
                pass
            sent[partition] |= set(batch)
    server.control.faults()
    ends = [partition["end"] for partition in server.control.state()["hubs"]["storm"]]
    for partition, end in zip("01", ends, strict=True):
        events = receive(server, end, partition=partition, hub="storm")
        assert [e.sequence_number for e in events] == list(range(end))
        assert {e.body_as_str() for e in events} == sent[partition]
    counts = server.control.state()["counts"]
    assert min(counts["busy"], counts["lost_acknowledgements"]) > 0 and sum(ends) > 3000, "something was sent twice"


def _acknowledged(client, batch: list[str], partition: str) -> bool:
    together = client.create_batch(partition_id=partition)
    for body in batch:
        together.add(EventData(body))
    try:
        client.send_batch(together)
    except EventHubError:
        return False
    return True


def test_the_control_refuses_what_makes_no_sense(server):
    from transforms.io.event_hubs_loopback.control import LoopbackControl

    with pytest.raises(UserError, match="key"):
        LoopbackControl(server.port, "wrong").state()
    with pytest.raises(UserError, match="no fault 'burn'"):
        server.control.next("burn")
    with pytest.raises(UserError, match="no hub"):
        server.control.partitions("nothing", 2)
    with pytest.raises(UserError, match="no partition"):
        server.control.trim("once", 9, 1)
    with pytest.raises(UserError, match="drop_every"):
        Faults(drop_every=-1)
    with pytest.raises(UserError, match="the faults are"):
        Faults.of({"burn": 1})


def test_a_plan_with_the_same_seed_does_the_same():
    def run(seed):
        plan = FaultPlan(Faults(drop_every=10, lose_ack_every=20, busy_every=30, seed=seed))
        return [plan.of_batch(3) for _ in range(500)]

    assert run(1) == run(1) != run(2)
    for kind, every in (("drop", 10), ("lost_ack", 20), ("busy", 30)):
        assert 0.5 < run(1).count(kind) / (1500 / every) < 1.5, kind
