"""Reads one partition over private parts of the Azure Event Hubs client; the only place that knows them. No Beam."""

from __future__ import annotations

import contextlib
import fcntl
import select
import struct
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from transforms.io import event_hubs_connection
from transforms.io.event_hubs_connection import (
    CredentialsRefused,
    HubConnection,
    Transient,
    patiently,
    told,
    unreachable,
)

EVENTS = pa.schema(
    [
        pa.field("sequence_number", pa.int64(), nullable=False),
        pa.field("enqueued_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("schema_id", pa.string()),
        pa.field("content_type", pa.string()),
        pa.field("body", pa.binary(), nullable=False),
    ]
)
SCHEMA_ID = "schema-id"  # the application property that names the table, or the table and its version
PREFETCH = 1000
FRAME_BYTES = 4096  # about what a frame takes; only decides how many are read before the clock is looked at
HEARTBEAT_SECONDS = 10.0  # the client keeps a silent connection alive and renews its token when it is stepped
OPEN_SECONDS = 30.0
OPENING_SECONDS = 1.0  # the least that a pull waits while the connection is being opened

_MICROS = EVENTS.field("enqueued_at").type
_SEQUENCE, _ENQUEUED = b"x-opt-sequence-number", b"x-opt-enqueued-time"


@dataclass(frozen=True)
class PartitionState:
    """What the hub says of a partition; `last_sequence_number` is -1 where nothing was ever sent."""

    begin_sequence_number: int
    last_sequence_number: int
    last_enqueued_at: datetime
    is_empty: bool


class HubReader:
    """Reads one partition from a sequence number on, in bounded pulls, each event once and in order.

    It steps the client's consumer itself, since the public one blocks and owns its loop, and takes the messages before
    the client makes objects of them. After a lost connection it opens anew at the event it wants next.
    """

    def __init__(self, connection: HubConnection, hub: str, partition: str, start: int, owner_level: int | None = None):
        self.connection, self.hub, self.partition, self.owner_level = connection, hub, partition, owner_level
        self.next = start
        self.reconnects = 0
        self._client = connection.consumer(hub)
        self._consumer: Any = None
        self._opened_at, self._ready = 0.0, False
        self._ready_at = self._worked_at = 0.0
        self._failed_since: float | None = None
        self._not_before, self._pause = 0.0, 0.1

    def pull(
        self, max_events: int, wait_seconds: float, max_bytes: int = 8 << 20, more_seconds: float = 0.0
    ) -> pa.RecordBatch:
        """Events from `next` on, as soon as there are some; empty when none came within `wait_seconds`.

        While one event follows the other without a pause it goes on, for `more_seconds` at most.

        Raises:
          UserError: the credentials are refused, the partition is not there or taken over, or nothing answers.
        """
        begun, size = time.monotonic(), 0
        taken: list[Any] = []
        while True:
            deadline = begun + (wait_seconds if self._ready else max(wait_seconds, OPENING_SECONDS))
            before = len(taken)
            self._step(0.0 if taken else max(0.0, deadline - time.monotonic()))
            for message in self._waiting(max_events - len(taken)):
                taken.append(message)
                size += sum(map(len, message.data or ()))
            full = len(taken) >= max_events or size >= max_bytes
            over = time.monotonic() >= deadline + (more_seconds if taken else 0.0)
            if full or over or (taken and len(taken) == before):
                return self._events(taken)

    @property
    def open_seconds(self) -> float:
        """How long the connection has been open; 0 where there is none."""
        return time.monotonic() - self._ready_at if self._consumer is not None and self._ready else 0.0

    def properties(self) -> PartitionState:
        """What the hub says of the partition now."""
        found = patiently(self.connection, self.hub, lambda: self._client.get_partition_properties(self.partition), 10)
        return PartitionState(
            found["beginning_sequence_number"],
            found["last_enqueued_sequence_number"],
            found["last_enqueued_time_utc"],
            found["is_empty"],
        )

    def partitions(self) -> tuple[str, ...]:
        """The ids of the hub's partitions now."""
        return tuple(patiently(self.connection, self.hub, self._client.get_partition_ids, 10))

    def reopen(self, why: str) -> None:
        """Gives up the connection; the next pull opens another, after a pause that grows from one time to the next.

        Raises:
          UserError: that has gone on for a minute.
        """
        now = time.monotonic()
        self._drop()
        self.reconnects += 1
        self._failed_since = self._failed_since or now
        if now - self._failed_since > event_hubs_connection.PATIENCE_SECONDS:
            raise unreachable(self.connection, self.hub, now - self._failed_since, why)
        self._not_before = now + self._pause
        self._pause = min(self._pause * 2, 5.0)

    def close(self) -> None:
        """Lets go of the connection."""
        self._drop()
        with contextlib.suppress(Exception):
            self._client.close()

    def _step(self, wait_seconds: float) -> None:
        """Opens what is not open, or handles the frames that have come or come within `wait_seconds`."""
        try:
            with told(self.connection, self.hub):
                if self._consumer is not None or time.monotonic() >= self._not_before:
                    self._work(wait_seconds)
                else:
                    time.sleep(min(0.05, wait_seconds))
        except CredentialsRefused:
            if not self._ready:
                raise
            self.reopen("the token has expired")
        except Transient as error:
            self.reopen(error.condition)

    def _work(self, wait_seconds: float) -> None:
        if self._consumer is None:
            self._consumer = self._client._create_consumer(
                self.connection.consumer_group,
                self.partition,
                self.next,
                _never,
                event_position_inclusive=True,
                prefetch=PREFETCH,
                owner_level=self.owner_level,
            )
            self._consumer._keep_alive = None  # no thread of its own
            self._opened_at, self._ready, self._worked_at = time.monotonic(), False, 0.0
        if not self._ready:
            if self._consumer._open():
                self._ready, self._ready_at = True, time.monotonic()
            elif time.monotonic() - self._opened_at > OPEN_SECONDS:
                raise Transient("no answer to opening")
            return
        frames = self._frames(wait_seconds)
        if frames:
            self._worked_at = time.monotonic()
            if self._consumer._handler.do_work(batch=frames) is False:
                raise Transient("closed")
            self._failed_since, self._pause = None, 0.1

    def _frames(self, wait_seconds: float) -> int:
        """How many frames to read now; the client would wait for the last of them on a silent socket."""
        handler = self._consumer._handler
        if handler._link is None or handler._link.current_link_credit <= 0:
            return 1  # asks for more
        handler._link.get_state()  # raises what the hub said when it closed the link
        sock = handler._connection._transport.sock
        if sock is None:
            raise Transient("closed")
        known = sock.pending() if hasattr(sock, "pending") else 0
        if known or select.select([sock], [], [], wait_seconds)[0]:
            (waiting,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0" * 4))
            return max(1, min(64, (known + waiting) // FRAME_BYTES))
        return int(time.monotonic() - self._worked_at > HEARTBEAT_SECONDS)

    def _waiting(self, most: int) -> Iterator[Any]:
        buffer = self._consumer._message_buffer if self._consumer is not None else ()
        while buffer and most > 0:
            message = buffer.popleft()
            position = message.message_annotations[_SEQUENCE]
            if position < self.next:
                continue  # handed out again after a reconnect
            self.next = position + 1
            most -= 1
            yield message

    def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):  # the connection is gone; so is what closing would say
                consumer.close()

    def _events(self, messages: list[Any]) -> pa.RecordBatch:
        columns = [
            pa.array([m.message_annotations[_SEQUENCE] for m in messages], pa.int64()),
            pa.array([m.message_annotations[_ENQUEUED] * 1000 for m in messages], pa.int64()).cast(_MICROS),
            pa.array([_property(m.application_properties) for m in messages], pa.string()),
            pa.array([_text(m.properties.content_type) if m.properties else None for m in messages], pa.string()),
            pa.array([_body(m) for m in messages], pa.binary()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=EVENTS)


def _never(context: Any, events: Any = None) -> None:
    raise AssertionError("the client called back though it is stepped by hand")


def _property(properties: Any) -> str | None:
    if not properties:
        return None
    return _text(properties.get(SCHEMA_ID.encode(), properties.get(SCHEMA_ID)))


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)


def _body(message: Any) -> bytes:
    data = message.data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if data is not None:
        parts = list(data)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
    value = message.value  # an AMQP value or sequence, as other clients send it
    if isinstance(value, (bytes, str)):
        return value if isinstance(value, bytes) else value.encode()
    return b"" if value is None and not message.sequence else str(value or message.sequence).encode()
