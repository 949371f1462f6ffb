"""The AMQP codec: the client's own encoder and decoder are the oracle."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from azure.eventhub._pyamqp._decode import _decode_described, decode_frame
from azure.eventhub._pyamqp._encode import encode_frame, encode_value
from azure.eventhub._pyamqp.performatives import FlowFrame, TransferFrame
from azure.eventhub._pyamqp.types import TYPE, VALUE, AMQPTypes
from hypothesis import given
from hypothesis import strategies as st

from transforms.io.event_hubs_loopback.codec import (
    Array,
    DecodeError,
    Described,
    Int,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
    decode,
    elements,
    encode,
    skip,
)
from transforms.io.event_hubs_loopback.frames import Performative, frame, parse, transfer


def integers(kind, bits, signed=False):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return st.integers(low, high).map(kind)


SIMPLE = st.one_of(
    st.none(),
    st.booleans(),
    integers(UByte, 8),
    integers(UShort, 16),
    integers(UInt, 32),
    integers(ULong, 64),
    integers(Int, 32, signed=True),
    integers(Timestamp, 64, signed=True),
    integers(int, 64, signed=True),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.text(st.characters(max_codepoint=127), max_size=300).map(Symbol),
    st.binary(max_size=300),
    st.uuids(),
)
KEYS = st.one_of(st.text(max_size=5), st.integers(-9, 9))
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=9,
)


@given(VALUES)
def test_a_value_comes_back(value):
    data = encode(value)
    assert decode(data) == (value, len(data))
    assert skip(data, 0) == len(data)


def as_client(value):
    """How the client's decoder shows a value: text as bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [as_client(item) for item in value]
    if isinstance(value, dict):
        return {as_client(key): as_client(item) for key, item in value.items()}
    return value


@given(VALUES)
def test_the_client_reads_what_we_write(value):
    data = encode(Described(ULong(1), value))
    rest, read = _decode_described(memoryview(data)[1:])
    assert (bytes(rest), read) == (b"", as_client(value))


AMQP_VALUES = st.one_of(
    st.integers(0, 255).map(lambda v: (AMQPTypes.ubyte, v)),
    st.integers(0, 2**32 - 1).map(lambda v: (AMQPTypes.uint, v)),
    st.integers(0, 2**64 - 1).map(lambda v: (AMQPTypes.ulong, v)),
    st.integers(-(2**31), 2**31 - 1).map(lambda v: (AMQPTypes.int, v)),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: (AMQPTypes.long, v)),
    st.integers(-(2**15), 2**15 - 1).map(lambda v: (AMQPTypes.short, v)),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: (AMQPTypes.timestamp, v)),
    st.booleans().map(lambda v: (AMQPTypes.boolean, v)),
    st.floats(allow_nan=False).map(lambda v: (AMQPTypes.double, v)),
    st.floats(allow_nan=False, width=32).map(lambda v: (AMQPTypes.float, v)),
    st.text(max_size=300).map(lambda v: (AMQPTypes.string, v)),
    st.binary(max_size=300).map(lambda v: (AMQPTypes.binary, v)),
    st.uuids().map(lambda v: (AMQPTypes.uuid, v)),
    st.lists(st.text(max_size=5), max_size=4).map(lambda v: (AMQPTypes.list, v)),
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=4).map(
        lambda v: (AMQPTypes.map, list(v.items())),
    ),
)


@given(AMQP_VALUES)
def test_we_read_what_the_client_writes(typed):
    kind, value = typed
    output = bytearray()
    encode_value(output, {TYPE: kind, VALUE: value})
    expected = dict(value) if kind == AMQPTypes.map else value
    assert decode(bytes(output)) == (expected, len(output))
    assert skip(bytes(output), 0) == len(output)


@given(st.lists(st.text(max_size=5), max_size=4), st.booleans())
def test_arrays(items, symbols):
    items = [item.encode("ascii", "ignore").decode() for item in items] if symbols else items
    data = encode(Array(tuple(items), symbols))
    assert decode(data) == (items, len(data))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=50))
def test_the_client_reads_our_transfers(handle, delivery_id, payload):
    head = transfer(3, handle, delivery_id, len(payload))
    whole = head + payload
    assert int.from_bytes(whole[:4], "big") == len(whole)
    code, fields = decode_frame(memoryview(whole)[8:])
    assert code == 20 and fields[:2] == [handle, delivery_id] and bytes(fields[11]) == payload
    settled, more = fields[4], fields[5]
    assert settled is True and more is False


def test_we_read_the_clients_frames():
    flow = FlowFrame(next_incoming_id=7, incoming_window=8, next_outgoing_id=9, outgoing_window=10, handle=1,
                     delivery_count=2, link_credit=300)  # fmt: skip
    _, data = encode_frame(flow)
    code, fields, end = parse(bytes(data))
    assert (code, fields[:7], end) == (Performative.FLOW, [7, 8, 9, 10, 1, 2, 300], len(data))
    sent = TransferFrame(handle=1, delivery_id=5, delivery_tag=b"t", message_format=0, payload=b"body")
    _, data = encode_frame(sent)
    code, fields, end = parse(bytes(data))
    assert code == Performative.TRANSFER and fields[:3] == [1, 5, b"t"] and bytes(data)[end:] == b"body"


def test_frames_have_every_field_for_the_client():
    for code, count in ((0x10, 10), (0x12, 14), (0x13, 11), (0x15, 6), (0x16, 3)):
        data = frame(0, code, [])
        assert decode_frame(memoryview(data)[8:]) == (code, [None] * count)


@given(VALUES)
def test_elements_are_the_encoded_items(value):
    items = value if isinstance(value, list) else [value]
    data = encode(items)
    assert [data[begin:end] for begin, end in elements(data, 0)] == [encode(item) for item in items]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_decode_error(data):
    for read in (decode, lambda data: skip(data, 0)):
        with contextlib.suppress(DecodeError):
            read(data)


@given(VALUES, st.data())
def test_a_value_cut_short_is_a_decode_error(value, data):
    whole = encode(value)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DecodeError):
        decode(whole[:cut])
    with pytest.raises(DecodeError):
        skip(whole[:cut], 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 5000,  # nested without end
        b"\xc0\xff\xff" * 2000,
        b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",  # four thousand million nulls in ten bytes
        b"\xd0\xff\xff\xff\xff\xff\xff\xff\xff\x40",
        b"\xc1\x02\x01\x40",  # half a pair
        b"\xa3\x01\xff",  # no ASCII
        b"\xa1\x01\xff",  # no UTF-8
        b"\xc1\x05\x02\xc0\x01\x00\x40",  # a list as a key
        b"",
    ],
)
def test_hostile_values_are_decode_errors(data):
    with pytest.raises(DecodeError):
        decode(data)


def test_a_type_amqp_has_not_is_refused():
    with pytest.raises(TypeError):
        encode({"key": object()})
    assert decode(encode(uuid.UUID(int=5)))[0] == uuid.UUID(int=5)
