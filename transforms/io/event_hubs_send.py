"""Rows to Event Hubs, without Beam: batches under the hub's limit, and patience with a hub that is busy or gone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from transforms.errors import UserError
from transforms.io.event_hubs_client import SCHEMA_ID
from transforms.io.event_hubs_connection import HubConnection, partitions, patiently
from transforms.io.event_hubs_encode import CONTENT_TYPES, Body, Form, encode_rows, partition_numbers

if TYPE_CHECKING:
    from azure.eventhub import EventDataBatch

TARGET_BYTES = 256 << 10
OVERHEAD_BYTES = 1024  # properties of an event and the frame of a batch


@dataclass(frozen=True)
class Sent:
    """What became of rows; `retries` counts the batches that had to be sent again, and may be in the hub twice."""

    rows: int = 0
    events: int = 0
    bytes: int = 0
    retries: int = 0
    rejected: tuple[pa.RecordBatch, ...] = field(default=(), repr=False)

    def __add__(self, other: Sent) -> Sent:
        counts = (self.rows + other.rows, self.events + other.events, self.bytes + other.bytes)
        return Sent(*counts, self.retries + other.retries, self.rejected + other.rejected)

    @property
    def rejected_rows(self) -> int:
        """Rows too large for an event."""
        return sum(batch.num_rows for batch in self.rejected)


class HubSender:
    """Sends rows of one table to one hub.

    Delivery is at least once and in order within a partition, but for repeated batches: a batch whose acknowledgement
    is lost is sent again.

    Args:
      schema_id: "TABLE" or "TABLE/VERSION".
      form: one JSON row an event ("row"), JSON lines ("lines"), or an Arrow stream ("arrow").
      key: the column whose equal values go to one partition, the one the service itself would choose; None sends in
        turn.

    Raises:
      UserError: wrong key, unknown hub, or no answer for `patience_seconds`.
    """

    def __init__(
        self,
        connection: HubConnection,
        hub: str,
        schema_id: str,
        form: Form = "arrow",
        key: str | None = None,
        patience_seconds: float = 60.0,
    ) -> None:
        if form not in CONTENT_TYPES:
            raise UserError(f"{form!r} is no form of events", "--form", f"use {', '.join(CONTENT_TYPES)}")
        self._connection, self._hub, self._schema_id, self._form, self._key = connection, hub, schema_id, form, key
        self._patience = patience_seconds
        self._partitions = partitions(connection, hub)
        self._client = connection.producer(hub)
        self._turn = 0
        self._limit = self._batch(0).max_size_in_bytes - OVERHEAD_BYTES

    def send(self, rows: pa.RecordBatch) -> Sent:
        """Sends the rows; returns when the hub has acknowledged them."""
        number = self._numbers(rows)
        bodies, rejected = encode_rows(rows, self._form, number, TARGET_BYTES, self._limit)
        kept = self.send_bodies(bodies)
        return kept + Sent(rejected=(rejected,) if rejected.num_rows else ())

    def send_bodies(self, bodies: Sequence[Body]) -> Sent:
        """Sends events as they are, in this order within each partition."""
        from azure.eventhub import EventData

        done = Sent()
        for number in sorted({body.partition for body in bodies}):
            batch = self._batch(number)
            for body in (body for body in bodies if body.partition == number):
                event = EventData(body.data)
                event.content_type = CONTENT_TYPES[self._form]
                event.properties = {SCHEMA_ID: self._schema_id}
                try:
                    batch.add(event)
                except ValueError:  # full
                    done += self._flush(batch)
                    batch = self._batch(number)
                    batch.add(event)
            done += self._flush(batch)
        return done + Sent(sum(b.rows for b in bodies), len(bodies), sum(len(b.data) for b in bodies))

    def close(self) -> None:
        """Lets go of the connections."""
        self._client.close()

    def __enter__(self) -> HubSender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _numbers(self, rows: pa.RecordBatch) -> np.ndarray:
        if self._key is not None and self._key not in rows.schema.names:
            raise UserError(f"there is no column {self._key}", self._hub, f"it has {', '.join(rows.schema.names)}")
        keys = rows[self._key] if self._key is not None else None
        turn, many = self._turn, len(self._partitions)
        if keys is None and self._form != "row":  # whole events take turns, not rows
            self._turn = (turn + 1) % many
            return np.full(rows.num_rows, turn)
        self._turn = (turn + rows.num_rows) % many
        return partition_numbers(keys, rows.num_rows, many, turn)

    def _batch(self, number: int) -> EventDataBatch:
        make = self._client.create_batch
        return self._asked(lambda: make(partition_id=self._partitions[number]))  # type: ignore[no-any-return]

    def _flush(self, batch: EventDataBatch) -> Sent:
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            self._client.send_batch(batch, timeout=20)

        if len(batch):
            self._asked(once)
        return Sent(retries=max(0, tries - 1))

    def _asked(self, ask):  # type: ignore[no-untyped-def]
        return patiently(self._connection, self._hub, ask, self._patience)


def send(
    connection: HubConnection,
    hub: str,
    batches: Iterable[pa.RecordBatch],
    schema_id: str,
    form: Form = "arrow",
    key: str | None = None,
    rows_per_second: float | None = None,
) -> Sent:
    """Sends all batches to a hub, at most so many rows a second; see `HubSender`."""
    done, begun = Sent(), time.monotonic()
    with HubSender(connection, hub, schema_id, form, key) as sender:
        for batch in batches:
            done += sender.send(batch)
            if rows_per_second:
                time.sleep(max(0.0, done.rows / rows_per_second - (time.monotonic() - begun)))
    return done
