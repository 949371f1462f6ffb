"""Whatever a client sends, the server goes on for the others."""

from __future__ import annotations

import random
import socket
import time

import pytest

from tests.event_hubs import loopback, receive, send
from transforms.io.event_hubs_loopback.codec import Described, UInt, ULong
from transforms.io.event_hubs_loopback.frames import AMQP_HEADER, EMPTY_FRAME, SASL_HEADER, frame

OPEN = frame(0, 0x10, ["me", None, None, None, None])
BEGIN = frame(0, 0x11, [None, UInt(0), UInt(10), UInt(10), UInt(9)])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with loopback(tmp_path_factory.mktemp("hostile") / "events", {"h": 1}, idle_timeout_ms=3000) as running:
        send(running, ["still there"], hub="h")
        yield running


def talk(server, data: bytes, seconds: float = 5) -> bytes:
    """Sends bytes and gives what comes back until the server ends the connection or `seconds` are over."""
    said = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as client:
        try:
            client.sendall(data)
            while part := client.recv(65536):
                said += part
        except OSError:
            pass
    return said


def alive(server) -> bool:
    return [event.body_as_str() for event in receive(server, 1, hub="h")] == ["still there"]


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (AMQP_HEADER + OPEN + b"\x00\x00\x00\x03\x02\x00\x00\x00", b"framing-error"),
        (AMQP_HEADER + OPEN + b"\x7f\xff\xff\xff\x02\x00\x00\x00", b"framing-error"),
        (AMQP_HEADER + OPEN + b"\x00\x00\x00\x10\xff\x00\x00\x00", b"framing-error"),
        (AMQP_HEADER + OPEN + b"\x00\x00\x00\x09\x02\x09\x00\x00x", b"framing-error"),
        (AMQP_HEADER + OPEN + b"\x00\x00\x00\x0c\x02\x00\x00\x00junk", b"decode-error"),
        (AMQP_HEADER + OPEN + frame(0, 0x19, []), b"decode-error"),
        (AMQP_HEADER + OPEN + frame(5, 0x12, ["l", 0, False]), b"decode-error"),  # a link without a session
        (AMQP_HEADER + OPEN + frame(0, 0x11, ["x", "y", "z"]) + frame(0, 0x13, [1, 2]), b"decode-error"),
        (AMQP_HEADER + OPEN + BEGIN + frame(0, 0x12, ["l"]), b"decode-error"),
        (AMQP_HEADER + OPEN + BEGIN + frame(0, 0x14, [{}]), b"decode-error"),
    ],
)
def test_malformed_frames_end_their_own_connection_with_a_reason(server, data, condition):
    assert condition in talk(server, data)
    assert alive(server)


@pytest.mark.parametrize(
    "data",
    [
        b"AMQP\x09\x09\x09\x09",
        AMQP_HEADER + BEGIN,
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /faults HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /faults HTTP/1.1\r\nContent-Length: x\r\nAuthorization: Bearer \xff\r\n\r\n{",
        b"Z" * 100_000,
        SASL_HEADER + frame(0, 0x41, ["PLAIN", b"\0user\0wrong"], sasl=True),
        SASL_HEADER + frame(0, 0x41, ["PLAIN", b"no zeros"], sasl=True),
        b"\x00" * 64,
    ],
)
def test_what_is_no_client_is_sent_away(server, data):
    talk(server, data, seconds=1)
    assert alive(server)


def test_without_a_token_there_is_no_link(server):
    source, wanted = Described(ULong(0x28), ["me"]), Described(ULong(0x29), ["amqps://localhost/h"])
    address = frame(0, 0x12, ["w", UInt(0), False, None, None, source, wanted])
    assert b"unauthorized-access" in talk(server, AMQP_HEADER + OPEN + BEGIN + address, seconds=1)


def test_random_changes_to_a_sound_conversation(server):
    link = frame(
        0, 0x12, ["r", UInt(0), True, None, None, Described(ULong(0x28), ["$cbs"]), Described(ULong(0x29), ["r"])]
    )
    flow = frame(0, 0x13, [UInt(1), UInt(10), UInt(0), UInt(10), UInt(0), UInt(0), UInt(10)])
    sent = frame(0, 0x14, [UInt(0), UInt(1), b"t", UInt(0)], b"\x00\x53\x75\xa0\x01x")
    sound = AMQP_HEADER + OPEN + BEGIN + link + flow + sent
    rng = random.Random(11)
    for _ in range(150):
        data = bytearray(sound)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(8, len(data))] = rng.randrange(256)
        with socket.create_connection(("127.0.0.1", server.port), timeout=2) as client:
            client.sendall(data)
    assert alive(server)


def test_a_silent_client_is_sent_away_and_a_waiting_one_gets_heartbeats(server):
    start = time.monotonic()
    said = talk(server, AMQP_HEADER + frame(0, 0x10, ["me", None, None, None, UInt(1000)]), seconds=10)
    assert b"amqp:connection:forced" in said and 2.5 < time.monotonic() - start < 8
    assert said.count(EMPTY_FRAME) >= 2
