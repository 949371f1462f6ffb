"""The server dies by SIGKILL again and again: nothing it acknowledged is lost, and nothing stands in the log torn."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from azure.eventhub import EventData
from azure.eventhub.exceptions import EventHubError

from tests.event_hubs import loopback, producer, receive, send
from transforms.errors import UserError


def test_killed_while_it_takes_events(tmp_path):
    server = loopback(tmp_path / "events", {"h": 2}).start()
    done = threading.Event()
    acknowledged: dict[str, list[str]] = {"0": [], "1": []}

    def keep_sending(partition: str) -> None:
        with producer(server, "h", retry_total=0) as client:
            number = 0
            while not done.is_set():
                bodies = [f"{number}-{i}" for i in range(100)]
                number += 1
                try:
                    batch = client.create_batch(partition_id=partition)
                    for body in bodies:
                        batch.add(EventData(body))
                    client.send_batch(batch)
                except EventHubError:
                    continue  # unknown whether it is stored: it does not count as acknowledged
                acknowledged[partition] += bodies

    senders = [threading.Thread(target=keep_sending, args=(partition,)) for partition in "01"]
    for sender in senders:
        sender.start()
    rng, kills = random.Random(5), 4
    for _ in range(kills):
        time.sleep(rng.uniform(0.8, 1.5))
        server.kill()
        server.start()
    time.sleep(1)
    done.set()
    for sender in senders:
        sender.join(30)
    ends = [partition["end"] for partition in server.control.state()["hubs"]["h"]]
    for partition, end in zip("01", ends, strict=True):
        events = receive(server, end, partition=partition, hub="h")
        assert [event.sequence_number for event in events] == list(range(end))
        held = [event.body_as_str() for event in events]
        assert set(acknowledged[partition]) <= set(held) and len(acknowledged[partition]) > 100
        batches = [held[i : i + 100] for i in range(0, end, 100)]
        assert all(len({body.split("-")[0] for body in batch}) == 1 for batch in batches), "a batch is stored whole"
    server.stop()


def test_a_reader_goes_on_over_a_restart(tmp_path):
    with loopback(tmp_path / "events", {"h": 1}, durable=True) as server:
        send(server, ["a", "b"], hub="h")
        first = receive(server, 2, hub="h")
        server.kill()
        server.start()
        send(server, ["c"], hub="h")
        assert [e.body_as_str() for e in receive(server, 1, first[1].offset, hub="h")] == ["c"]
        again = receive(server, 3, hub="h")
        assert [(e.offset, e.enqueued_time) for e in again[:2]] == [(e.offset, e.enqueued_time) for e in first]


def test_the_server_ends_with_who_started_it(tmp_path):
    code = f"""
import os
from pathlib import Path
from tests.event_hubs import loopback
server = loopback(Path({str(tmp_path / "events")!r})).start()
print(server.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    until = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    loopback(tmp_path / "events").start().stop()


def test_retention_by_time(start_loopback):
    server = start_loopback({"h": 1}, retention_seconds=1.0)
    send(server, ["x"], hub="h")
    until = time.monotonic() + 10
    while server.control.state()["hubs"]["h"] != [{"first": 1, "end": 1}]:
        assert time.monotonic() < until
        time.sleep(0.1)
    send(server, ["y"], hub="h")
    assert [(e.sequence_number, e.body_as_str()) for e in receive(server, 1, hub="h")] == [(1, "y")]


def test_a_folder_is_one_servers_and_of_its_kind(tmp_path):
    folder = tmp_path / "events"
    with loopback(folder, {"h": 2}) as server:
        with pytest.raises(UserError, match="another server uses the folder"):
            loopback(folder, {"h": 2}).start()
        with pytest.raises(UserError, match=f"port {server.port} is in use"):
            loopback(tmp_path / "other", {"h": 1}, port=server.port).start()
    with pytest.raises(UserError, match="2 partitions, 1 are asked for"):
        loopback(folder, {"h": 1}).start()
    with loopback(folder, {"H": 3, "i": 1}) as server:
        assert {name: len(held) for name, held in server.control.state()["hubs"].items()} == {"h": 3, "i": 1}
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="something else"):
        loopback(strange, {"h": 1}).start()
    assert [path.name for path in strange.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("hubs", [{"": 1}, {"../up": 1}, {"h": 0}, {"h": 5000}, {".hidden": 1}])
def test_a_hub_that_cannot_be_is_refused(tmp_path, hubs):
    with pytest.raises(UserError):
        loopback(tmp_path / "events", hubs)
