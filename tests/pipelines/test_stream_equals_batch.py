"""A generated day by the stream, faults on, then the daily batch: the same lake as by the batch alone."""

from __future__ import annotations

import json
import random
import zlib
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from azure.eventhub import EventData, EventHubProducerClient

from pipelines import bronze, gold, sessions, silver
from pipelines.config import Lake, Run
from pipelines.dataset import inputs_of
from pipelines.prism import Prism
from pipelines.stream_config import StreamConfig, default_hubs
from pipelines.supervisor import Supervisor
from tests.pipelines.conftest import WHEN
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
STREAMED = [c.name for c in CONTRACTS.values() if c.arrival is Arrival.STREAM]
EVENTS_TABLE = "CUSTOMER_BEHAVIORAL_EVENTS"
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
                    client.send_batch(batch)
                    batch = client.create_batch(partition_id=partition)
                    batch.add(EventData(line))
            if len(batch):
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
    found["gold"] = sorted(read_table(lake.gold("customer_360")).to_pylist(), key=str)
    found["rejects"] = refused(lake)
    return found


def daily_batch(lake: Lake, inputs: list[bronze.TableInput]) -> None:
    bronze.ingest(lake, Run("bronze", started_at=WHEN), inputs)
    silver.refine(lake, Run("silver", started_at=WHEN))
    sessions.cut(lake, Run("silver", started_at=WHEN))
    gold.assemble(lake, Run("gold", started_at=WHEN))


@pytest.mark.slow
def test_a_day_by_the_stream_and_the_daily_batch_is_the_day_by_the_batch(prism: str, tmp_path: Path) -> None:
    day = tmp_path / "day"
    write_dataset(GeneratorSpec(customers=12_000, days=4, late_share=0.0, duplicate_share=0.01), day)
    hubs = dict.fromkeys(default_hubs(), PARTITIONS)
    with LoopbackProcess(LoopbackConfig(tmp_path / "events", hubs)) as server:
        connection = server.connection_string()
        for hub in hubs:
            send_all(connection, hub, lines_of(day / hub))
        server.control.faults(Faults(drop_every=701))  # of what is read: a doubled send would be another day
        config = StreamConfig(str(tmp_path / "streamed"), connection, until_idle_seconds=5)
        Supervisor(config, Prism(prism), said=lambda _: None).run()
    streamed, batch = Lake(str(tmp_path / "streamed")), Lake(str(tmp_path / "batch"))
    check_live_sessions(streamed)
    inputs = inputs_of(str(day), [])
    daily_batch(streamed, [one for one in inputs if one.contract.name not in STREAMED])
    daily_batch(batch, inputs)
    ours, theirs = everything(streamed), everything(batch)
    for name in theirs:
        assert len(ours[name]) == len(theirs[name]), name
        assert ours[name] == theirs[name], name


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
