"""Frames and performatives (OASIS AMQP 1.0, part 2), as the client wants them: every field present."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any

from transforms.io.event_hubs_loopback.codec import DecodeError, Described, Symbol, ULong, decode, encode

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
EMPTY_FRAME = struct.pack(">IBBH", 8, 2, 0, 0)


class Performative(IntEnum):
    """The descriptor of a frame's body."""

    OPEN = 0x10
    BEGIN = 0x11
    ATTACH = 0x12
    FLOW = 0x13
    TRANSFER = 0x14
    DISPOSITION = 0x15
    DETACH = 0x16
    END = 0x17
    CLOSE = 0x18
    SASL_MECHANISMS = 0x40
    SASL_INIT = 0x41
    SASL_OUTCOME = 0x44


# The client reads fields by position and fails on an elided tail.
_FIELDS = {0x10: 10, 0x11: 8, 0x12: 14, 0x13: 11, 0x14: 11, 0x15: 6, 0x16: 3, 0x17: 1, 0x18: 1}
# Which fields are numbers, and which of them must be there.
_NUMBERS = {0x10: (2, 3, 4), 0x11: (0, 1, 2, 3), 0x12: (1,), 0x13: (0, 1, 2, 3, 4, 5, 6), 0x14: (0, 1, 3), 0x16: (0,)}
_NEEDED = {0x11: (1, 2, 3), 0x12: (1,), 0x13: (1, 2, 3), 0x14: (0,), 0x16: (0,)}
ACCEPTED = Described(ULong(0x24), [])


class AmqpError(Exception):
    """An answer with an error condition ("amqp:not-found") that ends a delivery, a link or a connection."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(condition, description)
        self.condition, self.description = condition, description

    @property
    def value(self) -> Described:
        return Described(ULong(0x1D), [Symbol(self.condition), self.description, None])

    @property
    def rejected(self) -> Described:
        return Described(ULong(0x25), [self.value])


def frame(channel: int, code: int, fields: list[Any], payload: bytes = b"", sasl: bool = False) -> bytes:
    """One frame; missing fields at the end become null."""
    padded = fields + [None] * (_FIELDS.get(code, 0) - len(fields))
    body = b"\x00\x53" + bytes((code,)) + encode(padded) + payload
    return struct.pack(">IBBH", len(body) + 8, 2, int(sasl), channel) + body


def parse(data: bytes, at: int = 0) -> tuple[int, list[Any], int]:
    """(performative, its fields padded with nulls, where its payload begins) of the frame's body at `at`."""
    if data[at] != 0:
        raise DecodeError("a frame's body is a described list")
    code, at = decode(data, at + 1)
    fields, end = decode(data, at)
    if not isinstance(code, int) or not isinstance(fields, list):
        raise DecodeError("a frame's body is a described list")
    fields += [None] * (15 - len(fields))
    for i in _NUMBERS.get(code, ()):
        value = fields[i]
        missing = value is None and i in _NEEDED.get(code, ())
        if missing or not (value is None or (type(value) is int and 0 <= value < 1 << 32)):
            raise DecodeError(f"field {i} of 0x{code:02x} is no uint")
    return code, fields, end


# size, data offset, type, channel | described TRANSFER, list8 of size 21, 11 fields | handle | delivery id |
# tag | format 0, settled, more = false, five nulls. The tag is always the same: a settled delivery's tag is free at
# once, and the client keeps every distinct settled tag for ever.
_TRANSFER = struct.Struct(">IBBH 6s BI BI 11s")
_LEAD = b"\x00\x53\x14\xc0\x16\x0b"
_TAIL = b"\xa0\x01\x00" + b"\x43\x41\x42\x40\x40\x40\x40\x40"
TRANSFER_BYTES = _TRANSFER.size


def transfer(channel: int, handle: int, delivery_id: int, size: int) -> bytes:
    """The head of a settled one-frame delivery whose payload of `size` bytes follows."""
    return _TRANSFER.pack(TRANSFER_BYTES + size, 2, 0, channel, _LEAD, 0x70, handle, 0x70, delivery_id, _TAIL)
