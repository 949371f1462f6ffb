"""The reading process: it gives what the reader itself gives, is ahead by one pull, and goes with its owner."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.event_hubs import Faults, loopback
from transforms.errors import UserError
from transforms.io.event_hubs import HubConnection, HubSender
from transforms.io.event_hubs_encode import Body
from transforms.io.event_hubs_process import AheadReader, ReadingProcess, _Ahead

TABLE = "CUSTOMER_ENGAGEMENT_EVENTS"
PULL = (400, 0.5, 1 << 20, 0.1)  # events, seconds, bytes, seconds


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with loopback(tmp_path_factory.mktemp("hubs") / "events", dict.fromkeys(["sent", "drops", "later"], 2)) as running:
        yield running


@pytest.fixture
def connection(server):
    yield HubConnection.from_url(server.connection_string())
    server.control.faults()


@pytest.fixture(scope="module")
def process():
    made = ReadingProcess()
    yield made
    made.close()
    assert not made.is_alive


def put(connection, hub, bodies, partition=0):
    with HubSender(connection, hub, TABLE, "row") as sender:
        sender.send_bodies([Body(partition, body, 1) for body in bodies])


def drained(reader, count, at_once=PULL):
    """Positions and bodies of the next `count` events, each pull within its limits."""
    found, end = [], time.monotonic() + 20
    while len(found) < count and time.monotonic() < end:
        events = reader.pull(*at_once)
        assert events.num_rows <= at_once[0]
        found += zip(events["sequence_number"].to_pylist(), events["body"].to_pylist(), strict=True)
        time.sleep(0.02)  # so that something is read ahead
    return found


def test_every_event_comes_once_in_order_while_connections_drop(server, connection, process):
    sent = {p: [b"%d %d" % (p, i) for i in range(3000)] for p in (0, 1)}
    for partition, bodies in sent.items():
        put(connection, "drops", bodies, partition)
    server.control.faults(Faults(drop_every=900, seed=2))
    readers = {p: AheadReader(process, connection, "drops", str(p), 7) for p in sent}
    for partition, reader in readers.items():
        assert drained(reader, 2993) == list(enumerate(sent[partition]))[7:]
        assert reader.next == 3000
        reader.close()


def test_what_comes_after_a_silence_is_read_too(connection, process):
    reader = AheadReader(process, connection, "later", "0", 0)
    assert reader.pull(*PULL).num_rows == 0
    put(connection, "later", [b"first"])
    assert drained(reader, 1) == [(0, b"first")]
    assert reader.pull(10, 0.1, 1000, 0.0).num_rows == 0 and reader.open_seconds > 0.1
    put(connection, "later", [b"second"])
    assert drained(reader, 1) == [(1, b"second")]
    assert reader.properties().last_sequence_number == 1 and reader.partitions() == ("0", "1")
    reader.reopen("a test")
    put(connection, "later", [b"third"])
    assert drained(reader, 1) == [(2, b"third")]


@pytest.mark.parametrize("most", [(100, 1 << 20), (10_000, 8_000)])
def test_one_pull_at_most_is_read_ahead(connection, most):
    put(connection, "sent", [b"x" * 100] * 1000)
    ahead = _Ahead(connection, "sent", "0", 0)
    first = ahead.answer("pull", 0, most[0], 1.0, most[1], 0.2)
    while ahead.read_on():
        pass
    waiting = sum(batch.num_rows for batch in ahead._waiting)
    assert 0 < waiting <= most[0]
    assert waiting * 100 < most[1] + 64 * 1000  # a byte limit is looked at after each handful of frames
    second = ahead.answer("pull", first.num_rows, most[0], 1.0, most[1], 0.2)
    assert second.num_rows == waiting and second["sequence_number"][0].as_py() == first.num_rows
    ahead.close()


def test_refusals_come_back_as_what_they_are(connection, process):
    with pytest.raises(UserError, match="no such partition or position"):
        AheadReader(process, connection, "sent", "7", 0).pull(*PULL)
    with pytest.raises(UserError, match="NOT_SET_ANYWHERE is not set"):
        AheadReader(process, HubConnection("env:NOT_SET_ANYWHERE"), "sent", "0", 0)


def test_a_process_that_has_ended_is_said(connection):
    process = ReadingProcess()
    reader = AheadReader(process, connection, "sent", "0", 0)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="the process that reads the hubs has ended"):
        reader.pull(*PULL)
        reader.pull(*PULL)
    process.close()


def test_the_process_ends_when_its_owner_is_killed():
    program = (
        "from transforms.io.event_hubs_process import ReadingProcess; import time\n"
        "print(ReadingProcess().pid, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
