"""The Event Hubs stand-in in its own process, and the unmodified client around it, for any test that needs a hub."""

from __future__ import annotations

import time
from pathlib import Path

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient

from transforms.io.event_hubs_loopback.faults import Faults
from transforms.io.event_hubs_loopback.namespace import LoopbackConfig
from transforms.io.event_hubs_loopback.process import LoopbackProcess

GROUP = "$Default"
_SOCKET_SECONDS = 0.05  # the client waits so long each time it looks and nothing is there
__all__ = ["Faults", "LoopbackConfig", "LoopbackProcess", "loopback", "producer", "receive", "send", "send_batch"]


def loopback(folder: Path, hubs: dict[str, int] | None = None, **settings: object) -> LoopbackProcess:
    """A server on `folder`, not started: `with loopback(tmp_path / "events") as hub: hub.connection_string("h")`."""
    return LoopbackProcess(LoopbackConfig(folder, hubs or {"events": 2}, **settings))  # type: ignore[arg-type]


def producer(server: LoopbackProcess, hub: str = "events", **options) -> EventHubProducerClient:
    options = {"retry_backoff_factor": 0.05, "socket_timeout": _SOCKET_SECONDS, **options}
    return EventHubProducerClient.from_connection_string(server.connection_string(hub), **options)


def send(server: LoopbackProcess, bodies: list, hub: str = "events", **where) -> None:
    with producer(server, hub) as client:
        send_batch(client, bodies, **where)


def send_batch(client: EventHubProducerClient, bodies: list, **where) -> None:
    batch = client.create_batch(**where)
    for body in bodies:
        batch.add(body if isinstance(body, EventData) else EventData(body))
    client.send_batch(batch)


def receive(
    server: LoopbackProcess, count: int, position="-1", partition="0", hub="events", seconds=20.0, retries=0, **options
) -> list[EventData]:
    """At least `count` events by the low-level consumer, or what came in `seconds`."""
    # With retries the client's receive loop meets a refusal again and again and never says so.
    client = EventHubConsumerClient.from_connection_string(
        server.connection_string(hub), GROUP, retry_total=retries, socket_timeout=_SOCKET_SECONDS
    )
    got: list[EventData] = []
    inclusive = options.pop("inclusive", False)
    options.setdefault("prefetch", 1000)
    consumer = client._create_consumer(
        GROUP, partition, position, got.extend, event_position_inclusive=inclusive, **options
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
