"""A reader's and a writer's link."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transforms.io.event_hubs_loopback.codec import Symbol, Timestamp, UInt, encode
from transforms.io.event_hubs_loopback.faults import Throttle
from transforms.io.event_hubs_loopback.frames import TRANSFER_BYTES, AmqpError, Performative, frame, transfer
from transforms.io.event_hubs_loopback.hub import Hub
from transforms.io.event_hubs_loopback.log import LogReader, PartitionLog

if TYPE_CHECKING:
    from transforms.io.event_hubs_loopback.connection import Connection

_TURN_BYTES = 512 << 10  # what one reader may send before the others have their turn
_MOST_READERS = 5  # of one partition and consumer group, without an epoch
_WINDOW = 1 << 20


@dataclass
class Session:
    """A channel: its links by handle, and the counts AMQP keeps for it."""

    channel: int
    window: int
    links: dict[int, Link] = field(default_factory=dict)
    next_out: int = 1
    next_in: int = 0
    delivery_id: int = 0


@dataclass(eq=False)
class Link:
    """One end of a link; `node` is its address, `sends` says that the server is the sender."""

    connection: Connection
    session: Session
    handle: int
    node: str
    sends: bool
    credit: int = 0
    delivery_count: int = 0

    def release(self) -> None:
        """The link is gone."""

    def flow(self, drain: bool = False) -> None:
        """Tells the peer this end's counts."""
        session = self.session
        counts = [session.next_in, _WINDOW, session.next_out, _WINDOW, self.handle, self.delivery_count, self.credit]
        fields = [_uint(count) for count in counts]
        self.connection.write(frame(session.channel, Performative.FLOW, [*fields, _uint(0), drain, False]))

    def send(self, message: bytes) -> None:
        """One delivery, over as many frames as it needs."""
        session, connection = self.session, self.connection
        delivery_id, step = session.delivery_id, connection.peer_frame_bytes - TRANSFER_BYTES - 32
        session.delivery_id = (delivery_id + 1) & 0xFFFFFFFF
        for begin in range(0, max(1, len(message)), step):
            more = begin + step < len(message)
            fields = [_uint(self.handle), _uint(delivery_id), b"\x00", _uint(0), True, more]
            part = message[begin : begin + step]
            connection.write(frame(session.channel, Performative.TRANSFER, fields, part))
            session.next_out += 1
            session.window -= 1
        self.delivery_count += 1
        self.credit -= 1


@dataclass(eq=False)
class WriterLink(Link):
    """A client's sender: to the hub, to one partition (`partition`), or to a node such as `$cbs` (`hub` is None)."""

    hub: Hub | None = None
    partition: int | None = None
    partial: bytearray = field(default_factory=bytearray)
    partial_bytes: int = 0
    first: list[Any] | None = None

    def grant(self) -> None:
        """Lets the client send on."""
        if self.credit < 1000:
            self.credit = 2000
            self.flow()


@dataclass(eq=False)
class ReaderLink(Link):
    """A client's receiver of one partition; sends while there are events, credit and room."""

    log: PartitionLog | None = None
    group: str = ""
    epoch: int | None = None
    tracks_last: bool = False
    reader: LogReader | None = None

    def __post_init__(self) -> None:
        self._rows: list[bytes] = []
        self._at = 0
        self._scheduled = False
        self._released = False
        self._throttle = Throttle()

    def admit(self) -> None:
        """Takes its place among the partition's readers by epoch; raises `AmqpError` where an older one is stronger."""
        assert self.log is not None
        readers = self.connection.namespace.readers[self.log]
        same = [reader for reader in readers if reader.group == self.group]
        highest = max((reader.epoch for reader in same if reader.epoch is not None), default=None)
        if highest is not None and (self.epoch is None or self.epoch < highest):
            text = f"At least one receiver for the endpoint is created with epoch of '{highest}', and so "
            text += "non-epoch receiver is" if self.epoch is None else f"a receiver with epoch '{self.epoch}' is"
            raise AmqpError("amqp:link:stolen", text + " not allowed. Reconnect with a higher epoch.")
        if self.epoch is None and len(same) >= _MOST_READERS:
            text = f"Exceeded the maximum number of receivers per partition in a consumer group, {_MOST_READERS}"
            raise AmqpError("amqp:resource-limit-exceeded", text)
        readers.add(self)
        if self.epoch is not None:
            text = f"New receiver with higher epoch of '{self.epoch}' is created, so the current one is disconnected."
            for reader in same:
                reader.connection.detach(reader, AmqpError("amqp:link:stolen", text))

    def release(self) -> None:
        self._released = True
        if self.log is not None:
            self.connection.namespace.readers[self.log].discard(self)

    def pump(self) -> None:
        """Sends what may go now."""
        left = _TURN_BYTES
        while left > 0:
            if self._released or self.credit <= 0 or self.session.window <= 0 or not self.connection.writable:
                return
            wait = self._throttle.wait_seconds()
            if wait:
                return self._later(wait)
            if self._at >= len(self._rows) and not self._fetch():
                return
            left -= self._send_some(left)
        self._later(0)

    def _later(self, seconds: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._scheduled = False
        self.pump()

    def _fetch(self) -> bool:
        assert self.reader is not None
        _, self._rows = self.reader.chunk()
        self._at = 0
        return bool(self._rows)

    def _send_some(self, most_bytes: int) -> int:
        namespace, session, connection = self.connection.namespace, self.session, self.connection
        rate = namespace.plan.faults.bytes_per_second
        if rate:
            most_bytes = min(most_bytes, max(1, rate // 10))
        count = min(self.credit, session.window, len(self._rows) - self._at, namespace.plan.events_before_drop())
        lead = self._last_event() if self.tracks_last else b""
        out: list[bytes] = []
        sent_bytes = sent = 0
        largest = connection.peer_frame_bytes - TRANSFER_BYTES - len(lead)
        channel, handle, delivery_id = session.channel, self.handle, session.delivery_id
        for row in self._rows[self._at : self._at + count]:
            if len(row) > largest:
                break
            out.append(transfer(channel, handle, delivery_id, len(lead) + len(row)))
            out.append(lead)
            out.append(row)
            delivery_id = (delivery_id + 1) & 0xFFFFFFFF
            sent += 1
            sent_bytes += len(row)
            if sent_bytes >= most_bytes:
                break
        connection.write(b"".join(out))
        self.delivery_count = (self.delivery_count + sent) & 0xFFFFFFFF
        self.credit -= sent
        session.delivery_id = delivery_id
        session.next_out = (session.next_out + sent) & 0xFFFFFFFF
        session.window -= sent
        if not sent:
            row = self._rows[self._at]
            self.send(lead + row)
            sent, sent_bytes = 1, len(row)
        self._at += sent
        self._after(sent, sent_bytes, rate)
        return sent_bytes

    def _after(self, sent: int, sent_bytes: int, rate: int) -> None:
        namespace = self.connection.namespace
        namespace.counts["events_out"] += sent
        if rate:
            self._throttle.spend(sent_bytes, rate)
        if namespace.plan.drops_after(sent):
            self.connection.drop()

    def _last_event(self) -> bytes:
        """The delivery annotations that say what the partition's last event is."""
        assert self.log is not None
        last = {
            Symbol("last_enqueued_sequence_number"): self.log.end - 1,
            Symbol("last_enqueued_offset"): str(self.log.last_offset),
            Symbol("last_enqueued_time_utc"): Timestamp(self.log.last_ms),
            Symbol("runtime_info_retrieval_time_utc"): Timestamp(time.time() * 1000),
        }
        return b"\x00\x53\x71" + encode(last)


def _uint(value: int) -> UInt:
    return UInt(value & 0xFFFFFFFF)
