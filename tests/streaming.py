"""A stream over a loopback hub, for tests and benchmarks: what was sent is known, place by place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
from azure.eventhub import EventData, EventHubProducerClient

from pipelines.config import Lake
from pipelines.stream_config import default_hubs
from tests.event_hubs import LoopbackProcess, producer
from transforms.contracts import contract
from transforms.generator.jsonl import to_json_lines
from transforms.io.delta import open_table, read_table

ROOT = Path(__file__).parents[1]
CONTENT_TYPES = {
    "row": "application/json",
    "lines": "application/x-ndjson",
    "arrow": "application/vnd.apache.arrow.stream",
}
PLACE = ("_file", "_position", "_row")
TABLES = {hub: tables[0] for hub, tables in default_hubs().items()}


def event(body: bytes, form: str = "row", schema_id: str | None = None) -> EventData:
    """One event as a producer sends it."""
    made = EventData(body)
    made.content_type = CONTENT_TYPES[form]
    if schema_id is not None:
        made.properties = {"schema-id": schema_id}
    return made


def bodies(rows: pa.Table, form: str, rows_an_event: int) -> list[tuple[bytes, pa.Table]]:
    """The rows as bodies of events, each with its rows."""
    parts = [rows.slice(at, rows_an_event) for at in range(0, rows.num_rows, rows_an_event)]
    return [(arrow_body(part) if form == "arrow" else to_json_lines(part).rstrip(b"\n"), part) for part in parts]


def arrow_body(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


@dataclass
class Sent:
    """What one hub was sent, without faults: sequence numbers are counted here, not asked for."""

    server: LoopbackProcess
    hub: str
    partitions: int = 2
    rows: list[pa.Table] = field(default_factory=list)
    broken: list[tuple[str, int, bytes, str]] = field(default_factory=list)  # log, position, body, rule
    largest: int = 0  # bytes of a body with rows
    _ends: dict[int, int] = field(default_factory=dict)
    _turn: int = 0
    _client: EventHubProducerClient | None = None
    _waiting: dict[int, list[EventData]] = field(default_factory=dict)

    def grow(self, partitions: int) -> Sent:
        """The hub gets more partitions, of which a client that is open would not know."""
        self.server.control.partitions(self.hub, partitions)
        self.close()
        self.partitions = partitions
        return self

    @property
    def table(self) -> str:
        return TABLES[self.hub]

    def send(self, rows: pa.Table, form: str = "arrow", rows_an_event: int = 40) -> Sent:
        """Makes events of the rows, for each partition in turn; `flush` sends them."""
        step = 1 if form == "row" else rows_an_event
        for body, part in bodies(rows, form, step):
            log, position = self._one(event(body, form, self.table))
            self.largest = max(self.largest, len(body))
            places = [[log] * len(part), [position] * len(part), list(range(len(part)))]
            types = (pa.string(), pa.int64(), pa.int32())
            for name, values, kind in zip(PLACE, places, types, strict=True):
                part = part.append_column(name, pa.array(values, kind))
            self.rows.append(part)
        return self

    def send_broken(self, body: bytes, rule: str, form: str = "row", schema_id: str | None = None) -> Sent:
        """One event that must be rejected with this rule."""
        log, position = self._one(event(body, form, schema_id or self.table))
        self.broken.append((log, position, body, rule))
        return self

    @property
    def expected(self) -> pa.Table:
        """Business columns and the place of each row, in order of place."""
        return pa.concat_tables(self.rows).sort_by([(name, "ascending") for name in PLACE])

    def _one(self, made: EventData) -> tuple[str, int]:
        number = self._turn % self.partitions
        self._turn += 1
        self._waiting.setdefault(number, []).append(made)
        position = self._ends.get(number, 0)
        self._ends[number] = position + 1
        return f"{self.hub}/{number}", position

    def flush(self) -> Sent:
        """Sends what waits; acknowledged when it returns."""
        if self._client is None:
            self._client = producer(self.server, self.hub)
        for number, events in self._waiting.items():
            batch = self._client.create_batch(partition_id=str(number))
            for made in events:
                try:
                    batch.add(made)
                except ValueError:  # full
                    self._client.send_batch(batch)
                    batch = self._client.create_batch(partition_id=str(number))
                    batch.add(made)
            self._client.send_batch(batch)
        self._waiting = {}
        return self

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def bronze_rows(lake: str | Path, table: str) -> pa.Table:
    """Business columns and the place of each row, in order of place."""
    found = contract(table)
    rows = read_table(Lake(str(lake)).bronze(found), columns=[*found.names, *PLACE])
    return rows.sort_by([(name, "ascending") for name in PLACE])


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Same rows, in this order."""
    left, right = pl.from_arrow(found), pl.from_arrow(expected.select(found.column_names).cast(found.schema))
    assert isinstance(left, pl.DataFrame) and isinstance(right, pl.DataFrame)
    assert left.height == right.height
    for name in left.columns:  # one column after the other: a difference is shown, not two tables
        wrong = left[name].ne_missing(right[name])
        assert not wrong.any(), (name, left.filter(wrong).head(3).to_dicts(), right.filter(wrong).head(3).to_dicts())


def command(server: LoopbackProcess | str, lake: str | Path, *arguments: object) -> tuple[list[str], dict[str, str]]:
    """The `stream` command and its environment, for `subprocess`."""
    string = server if isinstance(server, str) else server.connection_string()
    line = [sys.executable, "-m", "pipelines", "stream", "--lake", str(lake), *map(str, arguments)]
    return line, {**os.environ, "C360_EVENTS": string}


def stream(
    server: LoopbackProcess | str, lake: str | Path, *arguments: object, code: int = 0, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs `stream` to its end and checks how it ended."""
    line, environment = command(server, lake, *arguments)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


@contextmanager
def running(server: LoopbackProcess, lake: str | Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`stream` at work; killed at the end of the block where it has not ended by then."""
    line, environment = command(server, lake, *arguments)
    with subprocess.Popen(
        line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(true: Callable[[], object], seconds: float = 60, every: float = 0.1) -> None:
    """Waits until it is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"did not come true within {seconds} s"
        time.sleep(every)


def count_rows(lake: str | Path, table: str) -> int:
    """How many rows bronze has now."""
    found = open_table(Lake(str(lake)).bronze(contract(table)))
    return 0 if found is None else sum(found.get_add_actions(flatten=True)["num_records"].to_pylist())
