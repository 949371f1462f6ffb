"""The bare azure-eventhub client against the loopback: its rates, and how much of the work is the server's."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from azure.eventhub import EventData, EventHubConsumerClient

from tests.event_hubs import GROUP, LoopbackProcess, loopback, producer

HUB = "events"


def run(events: int = 50_000, event_bytes: int = 400) -> dict[str, float]:
    """Events/s sent and received, and server CPU seconds for each of the client's, at the same work.

    A share above 1 would say that the server limits the client.
    """
    found: dict[str, float] = {"events": events, "event_bytes": event_bytes}
    with tempfile.TemporaryDirectory() as folder, loopback(Path(folder) / "hub", {HUB: 1}) as server:
        for name, work in (("send", send_all), ("receive", receive_all)):
            with work(server, events, event_bytes) as go:
                found |= {f"{name}_{key}": value for key, value in measured(server, go, events).items()}
    return found


def measured(server: LoopbackProcess, work: Callable[[], None], events: int) -> dict[str, float]:
    server_before, before, start = server.control.state()["cpu_seconds"], time.process_time(), time.perf_counter()
    work()
    seconds, client = time.perf_counter() - start, time.process_time() - before
    cpu = server.control.state()["cpu_seconds"] - server_before
    return {
        "events_per_second": round(events / seconds),
        "events_per_client_cpu_second": round(events / client),
        "server_to_client_cpu": round(cpu / client, 2),
    }


@contextmanager
def send_all(server: LoopbackProcess, events: int, event_bytes: int) -> Iterator[Callable[[], None]]:
    """Batches as large as the hub takes, made and sent one after the other."""
    with producer(server, HUB) as client:

        def go() -> None:
            batch = client.create_batch(partition_id="0")
            for _ in range(events):
                event = EventData(b"x" * event_bytes)
                try:
                    batch.add(event)
                except ValueError:  # full
                    client.send_batch(batch)
                    batch = client.create_batch(partition_id="0")
                    batch.add(event)
            client.send_batch(batch)

        client.create_batch(partition_id="0")  # opens the link
        yield go


@contextmanager
def receive_all(server: LoopbackProcess, events: int, event_bytes: int) -> Iterator[Callable[[], None]]:
    """The low-level consumer, opened outside the measured time."""
    client = EventHubConsumerClient.from_connection_string(server.connection_string(HUB), GROUP)
    got: list[EventData] = []
    consumer = client._create_consumer(GROUP, "0", "-1", got.extend, prefetch=1000)
    consumer._keep_alive = None
    while not consumer._open():
        pass

    def go() -> None:
        while len(got) < events:
            consumer.receive(batch=True, max_batch_size=1000, max_wait_time=1)

    yield go
    consumer.close()
    client.close()


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=2))
