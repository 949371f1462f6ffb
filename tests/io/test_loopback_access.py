"""Who may do what: keys, tokens, hubs that are not there, and which of two readers stays."""

from __future__ import annotations

import time

import pytest
from azure.core.credentials import AccessToken
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, ConnectError, ConnectionLostError, EventHubError
from hypothesis import example, given
from hypothesis import strategies as st

from tests.event_hubs import GROUP, loopback, producer, receive, send
from transforms.io.event_hubs_loopback.namespace import KEY_NAME
from transforms.io.event_hubs_loopback.server import connection_string
from transforms.io.event_hubs_loopback.tokens import TokenRefused, check, sign


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with loopback(tmp_path_factory.mktemp("access") / "events", {"h": 1, "epochs": 2}) as running:
        yield running


def with_token(server, resource: str, seconds: float) -> EventHubProducerClient:
    token = sign(resource, KEY_NAME, server.key, int(time.time() + seconds))
    text = f"Endpoint=sb://localhost:{server.port};SharedAccessSignature={token};UseDevelopmentEmulator=true"
    return EventHubProducerClient.from_connection_string(text + ";EntityPath=h", retry_total=0)


def test_a_wrong_key_is_refused(server):
    text = connection_string(server.port, "d3Jvbmc=", "h")
    client = EventHubProducerClient.from_connection_string(text, retry_total=0)
    with client, pytest.raises(AuthenticationError, match="401"):
        client.send_event(EventData("x"))


def test_an_expired_token_is_refused_and_says_so(server):
    with with_token(server, "sb://localhost/h", -5) as client, pytest.raises(AuthenticationError, match="ExpiredToken"):
        client.send_event(EventData("x"))


def test_a_token_ends_while_it_is_used(server):
    with with_token(server, "sb://localhost/h", 2) as client:
        client.send_event(EventData("x"))
        time.sleep(3)
        with pytest.raises(AuthenticationError, match=r"(?i)expired"):
            client.send_event(EventData("y"))


def test_a_token_is_for_its_own_hub(server):
    with with_token(server, "sb://localhost/epochs", 60) as client, pytest.raises(AuthenticationError):
        client.send_event(EventData("x"), partition_id="0")


class _Credential:
    """What azure-identity's credentials are to the client."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_, **__) -> AccessToken:
        return AccessToken(self._token, int(time.time() + 3600))


def test_a_bearer_token_counts_where_it_was_named(start_loopback):
    server = start_loopback({"h": 1}, bearer_tokens=("the-token",))
    where = {"fully_qualified_namespace": f"localhost:{server.port}", "eventhub_name": "h", "use_tls": False}
    with EventHubProducerClient(**where, credential=_Credential("the-token"), retry_total=0) as client:
        client.send_event(EventData("x"))
    client = EventHubProducerClient(**where, credential=_Credential("another"), retry_total=0)
    with client, pytest.raises(AuthenticationError, match="401"):
        client.send_event(EventData("x"))


def test_an_unknown_hub_or_partition_is_not_found(server):
    with producer(server, "nothing", retry_total=0) as client, pytest.raises(ConnectError, match="404"):
        client.get_partition_ids()
    with pytest.raises(EventHubError, match="could not be found"):
        receive(server, 1, hub="nothing", seconds=5)
    with pytest.raises(EventHubError, match="invalid: 7"):
        receive(server, 1, hub="h", partition="7", seconds=5)


def open_reader(server, partition: str, **options):
    client = EventHubConsumerClient.from_connection_string(server.connection_string("epochs"), GROUP, retry_total=0)
    got: list[EventData] = []
    reader = client._create_consumer(GROUP, partition, "-1", got.extend, **options)
    reader._keep_alive = None
    until = time.monotonic() + 10
    while not got:
        assert time.monotonic() < until
        reader.receive(batch=True, max_wait_time=0.1)
    return reader, client, got


def test_the_reader_with_the_higher_epoch_stays(server):
    send(server, ["a"], hub="epochs", partition_id="0")
    reader, client, _ = open_reader(server, "0", owner_level=1)
    for options in ({}, {"owner_level": 0}):
        with pytest.raises(ConnectionLostError, match="epoch"):
            receive(server, 1, hub="epochs", seconds=5, **options)
    assert len(receive(server, 1, hub="epochs", owner_level=2)) == 1
    with pytest.raises(ConnectionLostError, match="link:stolen"):
        for _ in range(50):
            reader.receive(batch=True, max_wait_time=0.1)
    reader.close()
    client.close()
    assert len(receive(server, 1, hub="epochs")) == 1, "when all are gone, no epoch counts"


def test_five_readers_without_epoch_share_a_partition_and_no_more(server):
    send(server, ["a"], hub="epochs", partition_id="1")
    readers = [open_reader(server, "1") for _ in range(5)]
    with pytest.raises(EventHubError, match="receivers per partition"):
        open_reader(server, "1")
    for reader, client, _ in readers:
        reader.close()
        client.close()


KEYS = {KEY_NAME: "key"}
SOON = int(time.time()) + 10_000


@given(st.text("abcXYZ/$-é ", max_size=12))
def test_a_signed_token_grants_its_path_and_what_is_below(path):
    grant = check(sign(f"sb://localhost:5672/{path}", KEY_NAME, "key", SOON), KEYS)
    assert grant.allows(f"amqps://elsewhere/{path}") and grant.allows(f"{path.strip('/')}/Partitions/0")
    assert path.strip("/ ") == "" or not grant.allows("amqps://localhost/q")


@given(st.integers(0, 200), st.characters(min_codepoint=33, max_codepoint=126))
@example(104, "8")  # makes a signature that is not ASCII
def test_a_changed_token_is_refused(place, character):
    token = sign("sb://localhost/h", KEY_NAME, "key", SOON)
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    if changed == token:
        return
    try:
        assert check(changed, KEYS) == check(token, KEYS), "only another spelling of the same may pass"
    except TokenRefused as refusal:
        assert token not in str(refusal)


@pytest.mark.parametrize("token", ["", "SharedAccessSignature ", "Bearer x", "SharedAccessSignature sr=a&sig=b&se=c"])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(TokenRefused):
        check(token, KEYS)
