"""The unmodified azure-eventhub client against the loopback: what is sent comes back, from any position."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from azure.eventhub import EventData, EventHubConsumerClient
from azure.eventhub._utils import get_last_enqueued_event_properties
from azure.eventhub.amqp import AmqpAnnotatedMessage, AmqpMessageProperties
from azure.eventhub.exceptions import EventHubError

from tests.event_hubs import GROUP, loopback, producer, receive, send, send_batch
from transforms.io.event_hubs_loopback.hub import key_hash


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    hubs = {
        "events": 4,
        "Other.Hub": 1,
        "bodies": 1,
        "places": 1,
        "keys": 4,
        "sizes": 1,
        "burst": 2,
        "credit": 1,
        "consumer": 2,
    }
    with loopback(tmp_path_factory.mktemp("client") / "events", hubs) as running:
        yield running


def test_what_is_sent_comes_back_in_order(server):
    bodies = [f"event {i}" for i in range(1000)]
    send(server, bodies, partition_id="0")
    got = receive(server, 1000)
    assert [event.body_as_str() for event in got] == bodies
    assert [event.sequence_number for event in got] == list(range(1000))


def test_the_hub_says_what_it_holds(server):
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    send(server, ["a", "b"], hub="Other.Hub")
    with producer(server, "other.hub") as client:
        assert client.get_eventhub_properties()["eventhub_name"] == "Other.Hub"
        assert client.get_partition_ids() == ["0"]
        properties = client.get_partition_properties("0")
    last = receive(server, 2, hub="Other.Hub")[-1]
    assert (properties["beginning_sequence_number"], properties["last_enqueued_sequence_number"]) == (0, 1)
    assert properties["last_enqueued_offset"] == last.offset
    assert properties["last_enqueued_time_utc"] == last.enqueued_time and not properties["is_empty"]
    assert before <= last.enqueued_time <= datetime.now(UTC)


def test_bodies_and_properties_of_every_type_come_back(server):
    uid = uuid.uuid4()
    text = EventData("é\n\x00")
    text.properties = {"text": "é", "bytes": b"\x00\xff", "int": -(2**31), "true": True, "float": 1.5, "uuid": uid}
    text.message_id, text.correlation_id, text.content_type = "id", "corr", "application/json"
    several = AmqpAnnotatedMessage(
        data_body=[b"one", b"two"],
        annotations={b"x-opt-mine": "kept", b"x-opt-sequence-number": 99},
        properties=AmqpMessageProperties(subject="s", user_id=b"u", group_sequence=3),
        footer={b"f": 1},
    )
    value = AmqpAnnotatedMessage(value_body={b"k": [1, None, b"v"]})
    sequence = AmqpAnnotatedMessage(sequence_body=[[1, b"a"], [2]])
    with producer(server, "bodies") as client:
        batch = client.create_batch()
        for message in (text, several, value, sequence, EventData(b"")):
            batch.add(message)
        client.send_batch(batch)
        client.send_event(several)
    got = receive(server, 6, hub="bodies")
    assert got[0].body_as_str() == "é\n\x00"
    assert got[0].properties == {
        b"text": "é".encode(), b"bytes": b"\x00\xff", b"int": -(2**31), b"true": True, b"float": 1.5, b"uuid": uid
    }  # fmt: skip
    assert (got[0].message_id, got[0].correlation_id, got[0].content_type) == ("id", "corr", "application/json")
    for again in (got[1], got[5]):
        raw = again.raw_amqp_message
        assert list(raw.body) == [b"one", b"two"] and raw.footer == {b"f": 1}
        assert raw.annotations[b"x-opt-mine"] == b"kept" and again.sequence_number in (1, 5)
        assert (raw.properties.subject, raw.properties.user_id, raw.properties.group_sequence) == (b"s", b"u", 3)
    assert got[2].raw_amqp_message.body == {b"k": [1, None, b"v"]}
    assert list(got[3].raw_amqp_message.body) == [[1, b"a"], [2]]
    assert b"".join(got[4].body) == b""


def test_every_kind_of_position(server):
    with producer(server, "places") as client:
        for i in range(5):
            send_batch(client, [f"{i}a", f"{i}b"])
    every = receive(server, 10, hub="places")
    third = every[4]
    for position in (third.sequence_number, third.offset):
        for inclusive in (True, False):
            got = receive(server, 5, position, hub="places", inclusive=inclusive)
            assert got[0].sequence_number == (4 if inclusive else 5), (position, inclusive)
            assert got[-1].sequence_number == 9
    from_time = receive(server, 1, third.enqueued_time, hub="places", inclusive=True)
    assert [e.sequence_number for e in from_time] == [
        e.sequence_number for e in every if e.enqueued_time >= third.enqueued_time
    ]
    after_time = receive(server, 1, every[1].enqueued_time, hub="places")
    later = [e.sequence_number for e in every if e.enqueued_time > every[1].enqueued_time]
    assert [e.sequence_number for e in after_time] == later
    assert receive(server, 1, "@latest", hub="places", seconds=1) == []
    assert receive(server, 1, 10**9, hub="places", seconds=1) == [], "beyond the end is the end"


def test_latest_gets_what_is_sent_afterwards(server):
    got: list[EventData] = []
    reading = threading.Thread(target=lambda: got.extend(receive(server, 1, "@latest", hub="Other.Hub")))
    reading.start()
    _until(lambda: server.control.state()["readers"] > 0)
    send(server, ["new"], hub="Other.Hub")
    reading.join(20)
    assert [event.body_as_str() for event in got] == ["new"]


def _until(true, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_last_enqueued_event_is_told_with_each_event(server):
    send(server, ["x", "y"], partition_id="3")
    got = receive(server, 2, partition="3", track_last_enqueued_event_properties=True)
    told = get_last_enqueued_event_properties(got[0])
    assert (told["sequence_number"], told["offset"], told["enqueued_time"]) == (
        got[-1].sequence_number, got[-1].offset, got[-1].enqueued_time
    )  # fmt: skip


def test_a_partition_key_always_leads_to_the_same_partition(server):
    keys = [f"visitor-{i}" for i in range(12)]
    with producer(server, "keys") as client:
        for key in keys:
            send_batch(client, [key], partition_key=key)
        client.send_event(EventData(keys[0]), partition_key=keys[0])
    ends = [partition["end"] for partition in server.control.state()["hubs"]["keys"]]
    assert sum(ends) == 13
    for number, end in enumerate(ends):
        for event in receive(server, end, partition=str(number), hub="keys") if end else []:
            assert event.partition_key.decode() == event.body_as_str()
            assert key_hash(event.body_as_str()) % 4 == number


def test_a_megabyte_passes_over_frames_and_more_is_refused(server):
    body = bytes(range(256)) * 4000
    with producer(server, "sizes", retry_total=0) as client:
        client.send_event(EventData(body))
        with pytest.raises(EventHubError):
            client.send_event(EventData(b"z" * 1_100_000))
        client.send_event(EventData(b"after"))
    first, second = receive(server, 2, hub="sizes")
    assert (b"".join(first.body), second.body_as_str()) == (body, "after")


def test_small_frames_carry_everything(start_loopback):
    server = start_loopback({"h": 1}, max_frame_bytes=4096)
    send(server, [bytes([i]) * 3000 for i in range(50)], hub="h")
    assert [b"".join(e.body) for e in receive(server, 50, hub="h")] == [bytes([i]) * 3000 for i in range(50)]


def test_a_small_prefetch_gets_everything_and_never_more_than_asked(server):
    send(server, [str(i) for i in range(200)], hub="credit")
    before = server.control.state()["counts"]["events_out"]
    client = EventHubConsumerClient.from_connection_string(server.connection_string("credit"), GROUP)
    with client:
        reader = client._create_consumer(GROUP, "0", "-1", lambda events: None, prefetch=7)
        reader._keep_alive = None
        while not reader._open():
            pass
        reader._handler.do_work(batch=1)  # the client gives its credit with the first turn of work
        _until(lambda: server.control.state()["counts"]["events_out"] > before)
        assert server.control.state()["counts"]["events_out"] - before == 7
        reader.close()
    got = receive(server, 200, hub="credit", prefetch=7)
    assert [event.body_as_str() for event in got] == [str(i) for i in range(200)]


def test_a_burst_of_50_000_events(server):
    sent = {str(n): [] for n in range(2)}
    with producer(server, "burst") as client:
        for start in range(0, 50_000, 2500):
            partition = str(start // 2500 % 2)
            batch = client.create_batch(partition_id=partition)
            for i in range(start, start + 2500):
                batch.add(EventData(f"{i:07d}" + "x" * 93))
            client.send_batch(batch)
            sent[partition] += range(start, start + 2500)
    for partition, numbers in sent.items():
        got = receive(server, len(numbers), partition=partition, hub="burst")
        assert [int(event.body_as_str()[:7]) for event in got] == numbers


def test_the_public_consumer_reads_all_partitions(server):
    for partition in ("0", "1"):
        send(server, [f"{partition}-{i}" for i in range(100)], hub="consumer", partition_id=partition)
    client = EventHubConsumerClient.from_connection_string(server.connection_string("consumer"), GROUP)
    seen: set[str] = set()

    def take(_, events):
        seen.update(event.body_as_str() for event in events)

    reading = threading.Thread(target=lambda: client.receive_batch(take, starting_position="-1", max_wait_time=0.1))
    reading.start()
    _until(lambda: len(seen) == 200)
    client.close()
    reading.join(20)
    assert seen == {f"{p}-{i}" for p in "01" for i in range(100)}
