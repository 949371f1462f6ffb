"""The unmodified azure-eventhub client against the loopback: what is sent comes back."""

from __future__ import annotations

import time

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient

from tests.event_hubs import LoopbackProcess, loopback

GROUP = "$Default"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with loopback(tmp_path_factory.mktemp("client") / "events", {"events": 4, "Other.Hub": 1}) as running:
        yield running


def producer(server: LoopbackProcess, hub: str = "events", **options) -> EventHubProducerClient:
    options = {"retry_backoff_factor": 0.05, **options}
    return EventHubProducerClient.from_connection_string(server.connection_string(hub), **options)


def send(server: LoopbackProcess, bodies: list, hub: str = "events", **where) -> None:
    with producer(server, hub) as client:
        batch = client.create_batch(**where)
        for body in bodies:
            batch.add(body if isinstance(body, EventData) else EventData(body))
        client.send_batch(batch)


def receive(
    server: LoopbackProcess, count: int, position="-1", partition="0", hub="events", seconds=20.0, **options
) -> list[EventData]:
    """At least `count` events by the low-level consumer, or what came in `seconds`."""
    client = EventHubConsumerClient.from_connection_string(server.connection_string(hub), GROUP)
    got: list[EventData] = []
    inclusive = options.pop("inclusive", False)
    consumer = client._create_consumer(
        GROUP, partition, position, got.extend, event_position_inclusive=inclusive, prefetch=1000, **options
    )
    consumer._keep_alive = None
    until = time.monotonic() + seconds
    try:
        while len(got) < count and time.monotonic() < until:
            consumer.receive(batch=True, max_batch_size=1000, max_wait_time=0.2)
    finally:
        consumer.close()
        client.close()
    return got


def test_what_is_sent_comes_back_in_order(server):
    bodies = [f"event {i}" for i in range(1000)]
    send(server, bodies, partition_id="0")
    got = receive(server, 1000)
    assert [event.body_as_str() for event in got] == bodies
    assert [event.sequence_number for event in got] == list(range(1000))


def test_the_hub_says_what_it_holds(server):
    send(server, ["a", "b"], hub="Other.Hub")
    with producer(server, "other.hub") as client:
        assert client.get_eventhub_properties()["eventhub_name"] == "Other.Hub"
        assert client.get_partition_ids() == ["0"]
        properties = client.get_partition_properties("0")
    last = receive(server, 2, hub="Other.Hub")[-1]
    assert (properties["beginning_sequence_number"], properties["last_enqueued_sequence_number"]) == (0, 1)
    assert properties["last_enqueued_offset"] == last.offset
    assert properties["last_enqueued_time_utc"] == last.enqueued_time and not properties["is_empty"]
