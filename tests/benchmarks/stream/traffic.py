"""A stream under load: the stream itself, and who sends to it at a rate."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.prism import Prism
from pipelines.stream_config import StreamConfig
from pipelines.supervisor import Supervisor
from tests.benchmarks.stream.sender import LightSender
from tests.event_hubs import LoopbackProcess
from tests.stream_views import HUB, TABLE, rows_from
from transforms.io.event_hubs import HubConnection

PARTITIONS = 2
WARM_UP_SECONDS = 10.0
_AT_ONCE, _VIEWS, _COHORTS = 997, 8, 100
_SUPERVISOR = "supervisor"


@contextmanager
def streaming(server: LoopbackProcess, lake: Path) -> Iterator[Supervisor]:
    """The stream as `python -m pipelines stream` runs it, for the time of the block."""
    config = StreamConfig(str(lake), server.connection_string(), {HUB: (TABLE,)})
    supervisor = Supervisor(config, Prism(), said=lambda line: print(line, file=sys.stderr))
    thread = threading.Thread(target=supervisor.run, name=_SUPERVISOR)
    thread.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
        thread.join()


def visits_from(first: int, count: int) -> pa.RecordBatch:
    """`rows_from`, a second apart: 997 visitors at a time, eight views each, who all come again after some weeks.

    They are 99,700, as many as there are features of: a table of ever more persons would grow, whoever keeps it. At
    5,000 views a second each is back after 160 s, and after 480 s all have as many views as features list.
    """
    rows, numbers = rows_from(first, count), np.arange(first, first + count)
    cohorts = numbers // (_VIEWS * _AT_ONCE) % _COHORTS
    names = [f"C{cohort}-{n % _AT_ONCE}" for cohort, n in zip(cohorts.tolist(), numbers.tolist(), strict=True)]
    return rows.set_column(rows.schema.get_field_index("CUSTOMER_ID"), "CUSTOMER_ID", pa.array(names))


def send_at(server: LoopbackProcess, rate: float, seconds: float, first: int = 0) -> tuple[int, float]:
    """Sends single rows at a rate, numbered from `first`, while the block's stream goes on; (rows, rows/s it came to).

    From a process of its own: what a sender's client keeps is not the stream's memory, nor is its CPU.
    """
    apart = multiprocessing.get_context("spawn")
    over, (answer, told) = apart.Event(), apart.Pipe(duplex=False)
    given = (server.connection_string(), rate, seconds, first)
    sender = apart.Process(target=_send, args=(*given, over, told), daemon=True)
    sender.start()
    told.close()
    while not answer.poll(1.0):
        if not _is_streaming():
            over.set()
    sent, took = answer.recv()  # raises where the sender died
    sender.join()
    return sent, sent / took


def _send(connection: str, rate: float, seconds: float, first: int, over: Event, told: Connection) -> None:
    sent, begun, step = 0, time.monotonic(), max(1, int(rate / 20))
    with LightSender(HubConnection(connection), HUB, TABLE, "row", "CUSTOMER_ID") as sender:
        while time.monotonic() - begun < seconds and not over.is_set():
            sender.send(visits_from(first + sent, step))
            sent += step
            time.sleep(max(0.0, sent / rate - (time.monotonic() - begun)))
    told.send((sent, time.monotonic() - begun))


def _is_streaming() -> bool:
    """Whether the stream of the block goes on; it may be between two lives."""
    return any(thread.name == _SUPERVISOR for thread in threading.enumerate())
