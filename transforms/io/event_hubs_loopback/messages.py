"""What a sender's message becomes in the log: its own sections, with the hub's annotations put in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from transforms.io.event_hubs_loopback.codec import DecodeError, Symbol, decode, elements, encode, skip

BATCH_FORMAT = 0x80013700  # message format of a batch: every data section is a whole message
ANNOTATIONS, PROPERTIES, DATA, FOOTER = 0x72, 0x73, 0x75, 0x78
PARTITION_KEY = Symbol("x-opt-partition-key")
SEQUENCE, OFFSET, ENQUEUED = (Symbol(f"x-opt-{name}") for name in ("sequence-number", "offset", "enqueued-time"))
_OURS = {PARTITION_KEY, SEQUENCE, OFFSET, ENQUEUED, Symbol("x-opt-publisher")}
_U32 = struct.Struct(">I")
# The annotations every stored event has: a long map whose first three pairs have a fixed shape.
_STAMP = struct.Struct(f">4s I I {len(encode(SEQUENCE))}s B q {len(encode(ENQUEUED))}s B q {len(encode(OFFSET))}s B B")
_SEQUENCE, _ENQUEUED, _OFFSET = encode(SEQUENCE), encode(ENQUEUED), encode(OFFSET)
_HEAD = b"\x00\x53\x72\xd1"


@dataclass(frozen=True, slots=True)
class Event:
    """An event as sent, ready to be stamped: the sender's other annotations and the sections after them, encoded.

    `annotations` counts pairs in `annotation_count`; `body` is properties, application properties, body and footer.
    """

    annotations: bytes
    annotation_count: int
    body: bytes

    def stamped(self, sequence: int, offset: int, enqueued_ms: int) -> bytes:
        """The message a reader gets."""
        place = str(offset).encode()
        size = _STAMP.size - 8 + len(place) + len(self.annotations)
        count = 2 * (3 + self.annotation_count)
        head = _STAMP.pack(
            _HEAD, size, count, _SEQUENCE, 0x81, sequence, _ENQUEUED, 0x83, enqueued_ms, _OFFSET, 0xA1, len(place)
        )
        return b"".join((head, place, self.annotations, self.body))


def sections(message: bytes, at: int = 0) -> Iterator[tuple[int, int, int, int]]:
    """(code, begin of the section, begin of its value, end) of each section from `at` on; raises `DecodeError`."""
    size = len(message)
    while at < size:
        if message[at] or size - at < 4:
            raise DecodeError("a message is a row of described sections")
        begin = at
        if message[at + 1] == 0x53:
            code, at = message[at + 2], at + 3
        else:
            code, at = decode(message, at + 1)
        if not isinstance(code, int) or not 0x70 <= code <= FOOTER:
            raise DecodeError("a message is a row of described sections")
        value, at = at, skip(message, at)
        yield code, begin, value, at


def partition_key_of(message: bytes) -> str | None:
    """The partition key in a message's annotations, if there is one."""
    for code, _, value, _ in sections(message):
        if code == ANNOTATIONS:
            key = _pairs(message, value)[2]
            return key
        if code > ANNOTATIONS:
            break
    return None


def read_event(message: bytes, partition_key: str | None = None) -> Event:
    """Takes one message apart; `partition_key` (of its batch) counts where the message has none."""
    kept, count, body = b"", 0, len(message)
    for code, begin, value, _ in sections(message):
        if code == ANNOTATIONS:
            kept, count, own = _pairs(message, value)
            partition_key = own or partition_key
        elif code > ANNOTATIONS:
            body = begin
            break
    for _ in sections(message, body):  # a broken tail is the sender's error, not the readers'
        pass
    if partition_key:
        kept, count = kept + encode(PARTITION_KEY) + encode(partition_key), count + 1
    return Event(kept, count, message[body:])


def unbatch(message: bytes) -> Iterator[bytes]:
    """The messages inside a batch."""
    for code, _, value, end in sections(message):
        if code == DATA:
            yield message[value + (2 if message[value] == 0xA0 else 5) : end]


def _pairs(message: bytes, at: int) -> tuple[bytes, int, str | None]:
    """The sender's annotations but for the hub's own, how many, and the partition key."""
    kept, count, key, spans = [], 0, None, list(elements(message, at))
    for (begin, end), (_, last) in zip(spans[::2], spans[1::2], strict=False):
        name = decode(message, begin)[0]
        if name == PARTITION_KEY:
            key = decode(message, end)[0]
        elif name not in _OURS:
            kept.append(message[begin:last])
            count += 1
    return b"".join(kept), count, key if isinstance(key, str) else None
