"""The adapter over the client's private parts, and sending, against the loopback by the unmodified client."""

import inspect
import pickle
import time
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from azure.eventhub import EventHubConsumerClient, _consumer
from azure.eventhub._pyamqp import _transport, client, link

from tests.event_hubs import Faults, loopback
from transforms.errors import UserError
from transforms.io import event_hubs_connection
from transforms.io.event_hubs_client import EVENTS, HubReader
from transforms.io.event_hubs_connection import HubConnection, partitions
from transforms.io.event_hubs_encode import Body
from transforms.io.event_hubs_send import HubSender, send

TABLE = "CUSTOMER_ENGAGEMENT_EVENTS"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    hubs = dict.fromkeys(["read", "rows", "faults", "lost", "trimmed", "big", "owned", "busy"], 2)
    with loopback(tmp_path_factory.mktemp("hubs") / "events", hubs) as running:
        yield running


@pytest.fixture
def connection(server):
    yield HubConnection.from_url(server.connection_string())
    server.control.faults()


def put(connection, hub, bodies, partition=0):
    with HubSender(connection, hub, f"{TABLE}/1", "row") as sender:
        return sender.send_bodies([Body(partition, body, 1) for body in bodies])


def read(reader, count, seconds=10.0, at_once=5000):
    """At least `count` events, or what came in time."""
    got, until = [], time.monotonic() + seconds
    while sum(batch.num_rows for batch in got) < count and time.monotonic() < until:
        got.append(reader.pull(at_once, 0.3))
    return pa.Table.from_batches(got, EVENTS)


def test_events_come_as_they_were_sent(connection):
    before = datetime.now(UTC)
    put(connection, "read", [b"%d" % i for i in range(3000)])
    reader = HubReader(connection, "read", "0", 500)
    got = read(reader, 2500, at_once=700)
    assert got["sequence_number"].to_pylist() == list(range(500, 3000))
    assert got["body"].to_pylist() == [b"%d" % i for i in range(500, 3000)]
    assert set(got["schema_id"].to_pylist()) == {f"{TABLE}/1"}
    assert set(got["content_type"].to_pylist()) == {"application/json"}
    assert abs((got["enqueued_at"][0].as_py() - before).total_seconds()) < 30
    assert max(batch.num_rows for batch in got.to_batches()) <= 700
    state = reader.properties()
    assert (state.begin_sequence_number, state.last_sequence_number, state.is_empty) == (0, 2999, False)
    assert (reader.next, reader.reconnects, partitions(connection, "read")) == (3000, 0, ("0", "1"))
    begun = time.monotonic()
    assert reader.pull(10, 0.3).num_rows == 0
    assert time.monotonic() - begun < 1.5
    reader.close()


def test_the_private_parts_of_the_client_are_still_there():
    """If this fails, the client has changed: look at `HubReader` before anything else."""
    assert list(inspect.signature(EventHubConsumerClient._create_consumer).parameters)[1:5] == [
        "consumer_group",
        "partition_id",
        "event_position",
        "on_event_received",
    ]
    source = inspect.getsource(_consumer.EventHubConsumer)
    source += inspect.getsource(client.ReceiveClient) + inspect.getsource(link.Link) + inspect.getsource(_transport)
    parts = ["_message_buffer", "self._keep_alive", "def _open(self)", "_handler.do_work(batch=", "_message_received"]
    parts += ["self._link.current_link_credit", "self._connection", "self.sock.settimeout", "def get_state(self)"]
    for part in parts:
        assert part in source, f"azure-eventhub has no {part!r} any more; event_hubs_client.HubReader needs it"


def test_a_reader_survives_dropped_connections_without_a_double(server, connection):
    sent = [b"%d" % i for i in range(4000)]
    put(connection, "faults", sent)
    reader = HubReader(connection, "faults", "0", 0)
    got = [reader.pull(500, 0.3)]
    for _ in range(3):
        server.control.drop()
        got.append(read(reader, 800, at_once=500))
    server.control.faults(Faults(drop_every=900, seed=3))
    got.append(read(reader, 4000 - reader.next, seconds=15))
    whole = pa.concat_tables([pa.Table.from_batches([g]) if isinstance(g, pa.RecordBatch) else g for g in got])
    assert whole["sequence_number"].to_pylist() == list(range(4000))
    assert whole["body"].to_pylist() == sent and reader.reconnects >= 3
    reader.close()


def test_what_is_acknowledged_arrives_and_a_lost_acknowledgement_may_double(server, connection):
    rows = pa.record_batch(
        {"ENGAGEMENT_ID": [str(i) for i in range(2000)], "CUSTOMER_ID": [str(i % 50) for i in range(2000)]}
    )
    server.control.next("lost_ack", "busy", "drop")
    sent = send(connection, "lost", [rows.slice(at, 500) for at in range(0, 2000, 500)], TABLE, "row", "CUSTOMER_ID")
    assert (sent.rows, sent.events, sent.rejected_rows) == (2000, 2000, 0) and sent.retries >= 2
    bodies, places = [], {}
    for partition in ("0", "1"):
        reader = HubReader(connection, "lost", partition, 0)
        part = read(reader, reader.properties().last_sequence_number + 1)
        reader.close()
        mine = part["body"].to_pylist()
        bodies += mine
        for body in mine:
            places.setdefault(body.split(b'"CUSTOMER_ID":')[1], set()).add(partition)
    assert len(set(bodies)) == 2000 < len(bodies)
    assert all(len(where) == 1 for where in places.values())
    assert set.union(*places.values()) == {"0", "1"}


def test_a_busy_hub_is_asked_again_until_patience_ends(server, connection):
    with HubSender(connection, "busy", TABLE, "row", patience_seconds=1.0) as sender:
        server.control.faults(Faults(busy_every=1))
        with pytest.raises(UserError, match=r"has not answered for .*server-busy"):
            sender.send_bodies([Body(0, b"{}", 1)])
        server.control.faults()
        assert sender.send_bodies([Body(0, b"{}", 1)]).events == 1


@pytest.mark.parametrize("form", ["row", "lines", "arrow"])
def test_rows_in_every_form_stay_under_the_limit_and_an_oversize_row_is_counted(connection, form):
    texts = ["a" * 1000] * 3000 + ["b" * 1_100_000] + ["c"]
    sent = send(connection, "big", [pa.record_batch({"MESSAGE_CONTENT": texts})], TABLE, form)
    assert (sent.rows, sent.rejected_rows) == (3001, 1)
    assert sent.rejected[0]["rule"].to_pylist() == ["event_too_large"]
    assert (sent.events == 3001) if form == "row" else (sent.events < 100)


def test_retention_moves_the_beginning(server, connection):
    put(connection, "trimmed", [b"x"] * 100)
    server.control.trim("trimmed", 0, 40)
    reader = HubReader(connection, "trimmed", "0", 10)
    assert reader.properties().begin_sequence_number == 40
    assert read(reader, 60)["sequence_number"].to_pylist() == list(range(40, 100))
    reader.close()


def test_an_older_owner_is_told_that_it_was_replaced(connection):
    put(connection, "owned", [b"x"] * 10)
    first = HubReader(connection, "owned", "0", 0, owner_level=1)
    assert read(first, 10).num_rows == 10
    second = HubReader(connection, "owned", "0", 0, owner_level=2)
    assert read(second, 10).num_rows == 10
    with pytest.raises(UserError, match="another reader took over this partition"):
        read(first, 1, seconds=5)
    first.close()
    second.close()


def refusal(action) -> str:
    with pytest.raises(UserError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_wrong_keys_and_unknown_hubs_are_one_line_without_the_key(server, connection):
    wrong = HubConnection.from_url(server.connection_string().replace(server.key, "d3Jvbmc="))
    for action in (
        lambda: partitions(wrong, "read"),
        lambda: HubReader(wrong, "read", "0", 0).pull(1, 5),
        lambda: HubSender(wrong, "read", TABLE),
    ):
        said = refusal(action)
        assert "refused the credentials" in said and "d3Jvbmc=" not in said and server.key not in said
    for action in (
        lambda: partitions(connection, "nowhere"),
        lambda: HubReader(connection, "nowhere", "0", 0).pull(1, 5),
        lambda: HubSender(connection, "nowhere", TABLE),
    ):
        assert "there is no such hub" in refusal(action)


def test_a_partition_that_is_not_there_is_said(connection):
    assert "no such partition or position" in refusal(lambda: HubReader(connection, "read", "7", 0).pull(1, 5))


def test_a_hub_that_is_gone_is_said_after_some_patience(monkeypatch):
    nobody = HubConnection.from_url(
        "Endpoint=sb://localhost:1;SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true"
    )
    assert "has not answered" in refusal(lambda: partitions(nobody, "read", patience_seconds=0.5))
    monkeypatch.setattr(event_hubs_connection, "PATIENCE_SECONDS", 0.5)
    reader = HubReader(nobody, "read", "0", 0)

    def pull_for_ever():
        while True:
            assert reader.pull(10, 0.2).num_rows == 0

    assert "sb://localhost:1/read" in refusal(pull_for_ever)


def test_the_key_is_never_shown_and_references_stay_references(server, monkeypatch, tmp_path):
    text = server.connection_string()
    monkeypatch.setenv("HUB", text)
    (tmp_path / "hub.txt").write_text(text + "\n")
    for given in (text, "env:HUB", f"file:{tmp_path}/hub.txt"):
        found = HubConnection.from_url(given)
        assert found.address == f"sb://localhost:{server.port}"
        assert server.key not in f"{found!r} {found} {UserError('x', str(found))}"
        assert pickle.loads(pickle.dumps(found)) == found
        assert partitions(found, "read") == ("0", "1")
    assert server.key.encode() not in pickle.dumps(HubConnection.from_url("env:HUB"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "endpoint, sharedaccesskeyname, sharedaccesskey missing"),
        ("Endpoint=sb://a.b;SharedAccessKeyName=x", "sharedaccesskey missing"),
        ("env:NO_SUCH_VARIABLE", "the variable NO_SUCH_VARIABLE is not set"),
        ("file:/no/such/file", "cannot be read"),
    ],
)
def test_what_is_no_connection_string_is_said_at_once(given, said):
    assert said in refusal(lambda: HubConnection.from_url(given))


def test_a_connection_string_of_one_hub_serves_no_other(server):
    bound = HubConnection.from_url(server.connection_string("read"))
    assert partitions(bound, "read") == ("0", "1")
    assert "for the hub 'read' alone" in refusal(lambda: partitions(bound, "rows"))


def test_azure_ad_needs_only_the_name_space(monkeypatch):
    import sys

    named = HubConnection.from_url("sb://shop.servicebus.windows.net/")
    with named.consumer("read") as found:
        assert (found._address.hostname, found.eventhub_name) == ("shop.servicebus.windows.net", "read")
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    assert "pip install azure-identity" in refusal(lambda: named.consumer("read"))
