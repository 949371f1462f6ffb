"""Event Hubs out, from a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics.metric import Metrics

from transforms.batches import register_batch_coder
from transforms.io.event_hubs_connection import HubConnection
from transforms.io.event_hubs_encode import Form
from transforms.io.event_hubs_send import HubSender


@dataclass(eq=False)
class WriteToEventHubs(beam.PTransform):
    """PCollection[pa.RecordBatch] into a hub -> the rows too large for an event (schema REJECTED).

    At least once: a batch whose acknowledgement was lost, or whose bundle is retried, is in the hub twice. Each row
    is one JSON object, or part of JSON lines or of an Arrow stream; see `HubSender`. Counters: `sent_rows`,
    `sent_events`, `sent_bytes`, `send_retries`, `oversize_rows`.
    """

    connection: HubConnection
    hub: str
    schema_id: str
    form: Form = "arrow"
    key: str | None = None

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        register_batch_coder()
        writer = _WriteFn((self.connection, self.hub, self.schema_id, self.form, self.key))
        return batches | "SendEvents" >> beam.ParDo(writer).with_output_types(pa.RecordBatch)


class _WriteFn(beam.DoFn):
    def __init__(self, settings: tuple[HubConnection, str, str, Form, str | None]) -> None:
        self._settings = settings
        self._sender: HubSender | None = None
        names = ("sent_rows", "sent_events", "sent_bytes", "send_retries", "oversize_rows")
        self._counters = [Metrics.counter("event_hubs", name) for name in names]

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        self._sender = self._sender or HubSender(*self._settings)
        sent = self._sender.send(batch)
        for counter, value in zip(
            self._counters, (sent.rows, sent.events, sent.bytes, sent.retries, sent.rejected_rows), strict=True
        ):
            counter.inc(value)
        yield from sent.rejected

    def teardown(self) -> None:
        if self._sender is not None:
            self._sender.close()
