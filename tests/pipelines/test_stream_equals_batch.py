"""A generated day by the stream, faults on, then the daily batch: the same lake as by the batch alone."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import threading
import zlib
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from azure.eventhub import EventData, EventDataBatch, EventHubProducerClient
from azure.eventhub.exceptions import EventDataSendError

from pipelines import bronze, gold, sessions, silver
from pipelines.config import GOLD, Lake, Run
from pipelines.dataset import inputs_of
from pipelines.prism import Prism
from pipelines.stream_config import StreamConfig, default_hubs
from pipelines.supervisor import Supervisor
from tests.event_hubs import receive
from tests.pipelines.conftest import WHEN
from tests.streaming import count_rows, until
from transforms.contracts import CONTRACTS, contract
from transforms.contracts.schema import Arrival
from transforms.generator.dataset import write_dataset
from transforms.generator.spec import GeneratorSpec
from transforms.io.delta import open_table, read_table
from transforms.io.event_hubs_loopback.faults import Faults
from transforms.io.event_hubs_loopback.namespace import LoopbackConfig
from transforms.io.event_hubs_loopback.process import LoopbackProcess
from transforms.sessions.live import events_of
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import sessions_of

PARTITIONS = 2
_DROP_EVERY = 5_003  # of 58,000 events: each drop makes the client wait for a second or two
_PATIENCE_SECONDS = 300
STREAMED = [c.name for c in CONTRACTS.values() if c.arrival is Arrival.STREAM]
EVENTS_TABLE = "CUSTOMER_BEHAVIORAL_EVENTS"
_STREAM_ONLY = ("realtime_features",)  # held to the batch kernel in test_stream and by the chaos test
PLACE = ("_file", "_position")
_TIMES = ("EVENT_DATE", "SESSION_START", "TRANSACTION_DATE", "ENGAGEMENT_DATE", "PREFERENCE_DATE")


def lines_of(folder: Path) -> list[bytes]:
    """As they arrive: by event time, a few minutes shuffled, one in a hundred hours late."""
    draw = random.Random(7)
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    times = [moment_of(line) for line in lines]
    last = max(times, default=0)
    keyed = [
        (t + draw.uniform(0, 300) if draw.random() > 0.01 else last + draw.random(), i) for i, t in enumerate(times)
    ]
    return [lines[i] for _, i in sorted(keyed)]


def moment_of(line: bytes) -> float:
    try:
        row = json.loads(line)
        when = next(
            row[name] for name in ("EVENT_DATE", "SESSION_START", "TRANSACTION_DATE", "COLLECTION_DATE") if name in row
        )
        return datetime.fromisoformat(when).timestamp()
    except (ValueError, StopIteration, TypeError, AttributeError):
        return 0.0


def partition_of(line: bytes) -> str:
    """A visitor's rows go to one partition."""
    try:
        row = json.loads(line)
        who = row.get("CUSTOMER_ID") or row.get("SESSION_ID") or ""
    except (ValueError, AttributeError):
        who = ""
    return str(zlib.crc32(str(who).encode()) % PARTITIONS)


def send_all(connection: str, hub: str, lines: list[bytes]) -> None:
    with EventHubProducerClient.from_connection_string(connection, eventhub_name=hub, retry_total=5) as client:
        for partition in map(str, range(PARTITIONS)):
            batch = client.create_batch(partition_id=partition)
            for line in lines:
                if partition_of(line) != partition:
                    continue
                try:
                    batch.add(EventData(line))
                except ValueError:
                    send(client, batch)
                    batch = client.create_batch(partition_id=partition)
                    batch.add(EventData(line))
            if len(batch):
                send(client, batch)


def send(client: EventHubProducerClient, batch: EventDataBatch) -> None:
    """Until it is acknowledged: the client sends again when the connection drops, and leaves a busy server to us."""
    try:
        client.send_batch(batch)
    except EventDataSendError as refused:
        assert "server-busy" in str(refused)
        client.send_batch(batch)


def business(lake: Lake, table: str) -> list[dict]:
    names = contract(table).names
    if open_table(lake.bronze(contract(table))) is None:
        return []
    columns = (*names, "_quality_score", "_source")
    rows = read_table(lake.bronze(contract(table)), columns=columns).to_pylist()
    return sorted(rows, key=str)


def refused(lake: Lake) -> list[tuple]:
    rows = read_table(lake.rejects, columns=("table", "stage", "rule", "reason", "raw")).to_pylist()
    return sorted((r["table"], r["stage"], r["rule"], r["reason"], r["raw"]) for r in rows if r["stage"] == "bronze")


def everything(lake: Lake) -> dict[str, list]:
    """All of bronze, silver, sessions and gold, without what says when and from where a row came."""
    found: dict[str, list] = {f"bronze {name}": business(lake, name) for name in CONTRACTS}
    for name in CONTRACTS:
        uri = lake.silver(contract(name))
        found[f"silver {name}"] = sorted(read_table(uri).to_pylist(), key=str) if open_table(uri) else []
    found["sessions"] = sorted(read_table(lake.sessions).to_pylist(), key=str)
    for name in GOLD:
        if name not in _STREAM_ONLY:
            found[f"gold {name}"] = sorted(read_table(lake.gold(name)).to_pylist(), key=without_floats)
    found["rejects"] = refused(lake)
    return found


def without_floats(row: dict) -> tuple[str, list[float]]:
    """To sort by: floats last, since sums of them may differ in the last digits."""
    exact = {name: value for name, value in row.items() if not isinstance(value, float)}
    return str(exact), [value for value in row.values() if isinstance(value, float)]


def same(left: Any, right: Any) -> bool:
    """Equal; floats to 1e-9."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def daily_batch(lake: Lake, inputs: list[bronze.TableInput]) -> None:
    bronze.ingest(lake, Run("bronze", started_at=WHEN), inputs)
    silver.refine(lake, Run("silver", started_at=WHEN))
    sessions.cut(lake, Run("silver", started_at=WHEN))
    gold.assemble(lake, Run("gold", started_at=WHEN))


@pytest.mark.slow
def test_a_day_by_the_stream_and_the_daily_batch_is_the_day_by_the_batch(prism: str, tmp_path: Path) -> None:
    """The day is what the hub holds: what a sender repeats after a lost acknowledgement is twice in it."""
    day = tmp_path / "day"
    write_dataset(GeneratorSpec(customers=12_000, days=4, late_share=0.0, duplicate_share=0.01), day)
    hubs = dict.fromkeys(default_hubs(), PARTITIONS)
    with LoopbackProcess(LoopbackConfig(tmp_path / "events", hubs)) as server:
        config = StreamConfig(str(tmp_path / "streamed"), server.connection_string(), until_idle_seconds=5)
        stream_with_faults(server, Supervisor(config, Prism(prism), said=lambda _: None, back_off=(0.1,)), day)
        Supervisor(config, Prism(prism), said=lambda _: None).run()
        doubled = sum(take_from_hub(server, hub, day / hub) for hub in hubs)
    assert doubled > 100  # acknowledgements were lost
    streamed, batch = Lake(str(tmp_path / "streamed")), Lake(str(tmp_path / "batch"))
    check_live_sessions(streamed)
    inputs = inputs_of(str(day), [])
    daily_batch(streamed, [one for one in inputs if one.contract.name not in STREAMED])
    daily_batch(batch, inputs)
    ours, theirs = everything(streamed), everything(batch)
    assert sum(bool(rows) for name, rows in theirs.items() if name.startswith("gold")) > 15
    for name in theirs:
        assert len(ours[name]) == len(theirs[name]), name
        for left, right in zip(ours[name], theirs[name], strict=True):
            assert same(left, right), (name, left, right)


def stream_with_faults(server: LoopbackProcess, supervisor: Supervisor, day: Path) -> None:
    """Half of the day waits, half comes while it runs; connections drop, acknowledgements get lost, the server is
    busy, the worker is killed and then the engine."""
    halves = {hub: lines_of(day / hub) for hub in default_hubs()}
    lake, connection = supervisor.config.lake, server.connection_string()
    for hub, lines in halves.items():
        server.control.next("busy")
        send_all(connection, hub, lines[: len(lines) // 2])
    server.control.faults(Faults(drop_every=_DROP_EVERY))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        until(lambda: count_rows(lake, EVENTS_TABLE), _PATIENCE_SECONDS)
        os.kill(supervisor.pids["worker"], signal.SIGKILL)
        server.control.faults(Faults())
        before = count_rows(lake, EVENTS_TABLE)
        for hub, lines in halves.items():
            server.control.next("lost_ack")
            send_all(connection, hub, lines[len(lines) // 2 :])
        server.control.faults(Faults(drop_every=_DROP_EVERY))
        until(lambda: supervisor.restarts == 1 and "engine" in supervisor.pids, _PATIENCE_SECONDS)
        until(lambda: count_rows(lake, EVENTS_TABLE) > before, _PATIENCE_SECONDS)
        os.kill(supervisor.pids["engine"], signal.SIGKILL)
        until(lambda: supervisor.restarts == 2, _PATIENCE_SECONDS)
    except BaseException:
        supervisor.stop()
        raise
    finally:
        thread.join(_PATIENCE_SECONDS)
    assert not thread.is_alive()


def take_from_hub(server: LoopbackProcess, hub: str, folder: Path) -> int:
    """Puts what the hub holds in the place of a day's files; gives how many rows are there twice."""
    server.control.faults(Faults())
    lines, sent = list[bytes](), lines_of(folder)
    for number, log in enumerate(server.control.state()["hubs"][hub]):
        events = receive(server, log["end"], partition=str(number), hub=hub, seconds=120) if log["end"] else []
        lines += [b"".join(event.body) for event in events]
    assert not Counter(sent) - Counter(lines) and set(sent) == set(lines)
    for file in folder.glob("*.jsonl"):
        file.unlink()
    (folder / "hub.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return len(lines) - len(sent)


def check_live_sessions(lake: Lake) -> None:
    """Without the daily batch: the live sessions are those of the batch over all rows but those in `late`."""
    bronze_rows = read_table(lake.bronze(contract(EVENTS_TABLE)))
    late = {(r["_log"].rpartition("/")[0], r["position"]) for r in read_table(lake.late).to_pylist()}
    in_time = [place not in late for place in zip(*(bronze_rows[n].to_pylist() for n in PLACE), strict=True)]
    events = events_of(bronze_rows.filter(pa.array(in_time)))
    expected = {
        row["session_id"]: row for row in sessions_of(events.drop_columns(["position"]), SessionRules()).to_pylist()
    }
    live = read_table(lake.live_sessions).to_pylist()
    assert late and len(live) > 100
    for row in live:
        assert {k: v for k, v in row.items() if not k.startswith("_")} == expected.pop(row["session_id"])
    newest = max(row["ended_at"] for row in live)
    assert all(row["ended_at"] > newest - timedelta(hours=4) for row in expected.values())  # open still
