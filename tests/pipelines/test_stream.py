"""The stream as a user meets it: events of all hubs to bronze, stopped and started again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines import bronze, live
from pipelines.config import Lake, Run
from pipelines.prism import Prism
from pipelines.stream import StreamConfig
from pipelines.supervisor import Supervisor
from tests.event_hubs import LoopbackProcess, loopback
from tests.sessions.plain_stream import cut_log
from tests.streaming import TABLES, Sent, assert_same, bronze_rows, count_rows, running, stream, until
from transforms.bronze.envelope import columns_for_silver
from transforms.contracts import contract
from transforms.contracts.commerce import ITEMS, TRANSACTIONS
from transforms.errors import UserError
from transforms.generator.dataset import tables
from transforms.generator.jsonl import to_json_lines
from transforms.generator.spec import GeneratorSpec
from transforms.gold import touches
from transforms.gold.realtime import features, fold
from transforms.gold.realtime_items import LINES, ORDERS
from transforms.gold.realtime_table import read_features
from transforms.identity.customers import customers_of
from transforms.identity.persons import IDENTITY_MAP
from transforms.io.delta import open_table, overwrite_rows, read_table
from transforms.sessions.live import events_of
from transforms.sessions.rules import SessionRules
from transforms.silver.to_silver import to_silver

pytestmark = pytest.mark.slow

FORMS = {"transactions": "arrow", "items": "arrow", "behavioral": "row", "sessions": "lines", "engagement": "lines"}


def people() -> pa.Table:
    """Customers, two a person; the first is in no map yet."""
    customers = [rows for name, rows in tables(GeneratorSpec(customers=12).clean) if name == "CUSTOMERS"]
    ids = pa.concat_tables(customers)["CUSTOMER_ID"].to_pylist()[1:]
    since = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [{"record": f"customers:{c}", "person_id": f"P{n // 2}", "since": since} for n, c in enumerate(ids)]
    return pa.Table.from_pylist(rows, IDENTITY_MAP)


@dataclass
class Day:
    """What was sent, and the lake of a stream that has taken it."""

    server: LoopbackProcess
    lake: Path
    hubs: dict[str, Sent]
    told: dict


@pytest.fixture(scope="module")
def day(prism, tmp_path_factory) -> Day:
    root = tmp_path_factory.mktemp("stream")
    with loopback(root / "hub", dict.fromkeys(TABLES, 2)) as server:
        rows = {name: [table] for name, table in tables(GeneratorSpec(customers=12).clean)}
        hubs = {hub: Sent(server, hub) for hub in TABLES}
        for hub, sent in hubs.items():
            whole = pa.concat_tables(rows[sent.table])
            sent.send(whole.slice(0, len(whole) // 2), FORMS.get(hub, "row"))
            break_some(sent)
            sent.send(whole.slice(len(whole) // 2), FORMS.get(hub, "row")).flush().close()
        overwrite_rows(Lake(str(root / "lake")).identity_map, people(), whole_table=True)
        done = stream(server, root / "lake", "--until-idle", "--json")
        yield Day(server, root / "lake", hubs, json.loads(done.stdout))


def break_some(sent: Sent) -> None:
    sent.send_broken(b"no JSON {", "json_syntax")
    sent.send_broken(b"no Arrow", "not_arrow", form="arrow")
    sent.send_broken(b'{"A": 1}', "unknown_schema", schema_id="NO_SUCH_TABLE/3")
    sent.send_broken(b'{"CUSTOMER_ID": "C1"}', "required")


@pytest.mark.parametrize("hub", TABLES)
def test_bronze_holds_what_was_sent_and_where(day, hub):
    sent = day.hubs[hub]
    assert_same(bronze_rows(day.lake, sent.table), sent.expected)


def test_what_was_broken_is_a_reject_with_its_bytes(day):
    found = read_table(Lake(str(day.lake)).rejects).to_pylist()
    expected = [(*broken, hub.table) for hub in day.hubs.values() for broken in hub.broken]
    assert sorted((r["file"], r["position"], r["raw"], r["rule"], r["table"]) for r in found) == sorted(expected)


def test_the_counts_add_up(day):
    runs = pl.DataFrame(pl.from_arrow(read_table(Lake(str(day.lake)).runs)))
    assert (runs["read"] == runs["accepted"] + runs["rejected"] + runs["duplicates"]).all()
    accepted = dict(runs.group_by("table").agg(pl.col("accepted").sum()).iter_rows())
    rows = {sent.table: sent.expected.num_rows for sent in day.hubs.values()}
    assert {name: count for name, count in accepted.items() if count} == rows
    broken = sum(len(sent.broken) for sent in day.hubs.values())
    assert (runs["rejected"].sum(), day.told["rejected"], day.told["rows"]) == (broken, broken, sum(rows.values()))
    assert {row["table"]: row["rows"] for row in day.told["tables"]} == {
        **{name.lower(): count for name, count in rows.items()},
        "rejected": broken,
        "sessions": read_table(Lake(str(day.lake)).live_sessions).num_rows,
    }
    assert (day.told["sessions"], day.told["late"]) == (len(final_sessions(day)), 0)


def test_the_sessions_are_those_that_nothing_can_change_any_more(day):
    found = read_table(Lake(str(day.lake)).live_sessions).to_pylist()
    assert len({row["session_id"] for row in found}) == len(found) > 100
    ours = [{name: row[name] for name in row if name[0] != "_" and name != "session_id"} for row in found]
    assert sorted(ours, key=str) == sorted(final_sessions(day), key=str)


def final_sessions(day: Day) -> list[dict]:
    """By the slow oracle, partition by partition; none of the rows is late."""
    lake, sessions = Lake(str(day.lake)), list[dict]()
    rows = read_table(lake.bronze(contract("CUSTOMER_BEHAVIORAL_EVENTS"))).sort_by("_position")
    for log in pc.unique(rows["_file"]).to_pylist():
        events = events_of(rows.filter(pc.equal(rows["_file"], log))).to_pylist()
        of_log, late = cut_log(events, SessionRules(), StreamConfig.lateness_seconds)
        assert not late
        sessions += of_log
    return sessions


def test_the_features_of_each_person_are_those_of_the_kernel_over_all_of_bronze(day):
    """Whatever the engine cut and delayed: folded once, in another order, they are the same."""
    lake, silver = Lake(str(day.lake)), {}
    for table in touches.TABLES:
        rows = read_table(lake.bronze(contract(table)), columns=columns_for_silver(contract(table)))
        silver[table] = to_silver(rows, contract(table)).accepted
    lines, orders = (
        pl.DataFrame(pl.from_arrow(silver[t.name].select(s.names))) for t, s in ((ITEMS, LINES), (TRANSACTIONS, ORDERS))
    )
    bought = lines.drop("_ingested_at").join(orders, on="TRANSACTION_ID")
    silver[ITEMS.name] = bought.to_arrow(compat_level=pl.CompatLevel.oldest())
    known = pl.DataFrame(pl.from_arrow(touches.TOUCHES.empty_table()))
    person_of = customers_of(people()).rename_columns(["customer_id", "person_id"])
    for table, rows in silver.items():
        known = fold(known, pl.DataFrame(pl.from_arrow(touches.read_touches(table, rows, person_of))))
    expected = features(known, datetime(1970, 1, 1, tzinfo=UTC)).drop_columns(["updated_at"])
    found = read_features(lake.realtime_features).drop_columns(["updated_at"])
    assert {"P1", "P2"} < set(found["person_id"].to_pylist())
    assert found.num_rows > 5 and sum(found["spend_24h"].to_pylist()) > 0
    assert found.equals(expected)


def test_the_batch_path_makes_the_same_rows_of_files(day, tmp_path):
    """The same rows as JSON lines in files: the same business columns, types, quality scores and partitions."""
    lake = Lake(str(tmp_path / "lake"))
    for hub, sent in day.hubs.items():
        found = contract(sent.table)
        path = tmp_path / hub / "part.jsonl"
        path.parent.mkdir()
        path.write_bytes(to_json_lines(sent.expected.select(found.names)))
        bronze.ingest(lake, Run("bronze"), [bronze.TableInput(found, str(path))])
        columns = [*found.names, "_quality_score", "_quality_issues", "_source", "_schema_version", *found.partition_by]
        by = [(name, "ascending") for name in found.key]
        from_files = read_table(lake.bronze(found), columns=columns).sort_by(by)
        from_hub = read_table(Lake(str(day.lake)).bronze(found), columns=columns).sort_by(by)
        assert_same(from_hub, from_files)


def test_a_second_run_changes_nothing(day):
    lake = Lake(str(day.lake))
    uris = [lake.bronze(contract(sent.table)) for sent in day.hubs.values()] + [lake.rejects]
    before = [sorted(open_table(uri).file_uris()) for uri in uris]
    counted = pc.sum(read_table(lake.runs)["read"]).as_py()
    told = json.loads(stream(day.server, day.lake, "--until-idle", "--json").stdout)
    assert (told["rows"], told["rejected"], told["restarts"]) == (0, 0, 0)
    assert [sorted(open_table(uri).file_uris()) for uri in uris] == before
    assert pc.sum(read_table(lake.runs)["read"]).as_py() == counted


def page_views(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    schema = contract("CUSTOMER_BEHAVIORAL_EVENTS").arrow
    made = {"EVENT_ID": [f"E{n}" for n in numbers], "CUSTOMER_ID": [f"C{n % 7}" for n in numbers]}
    made |= {"EVENT_TYPE": ["PAGE_VIEW"] * count, "EVENT_DATE": [n * 1_000_000 for n in numbers]}
    return pa.table({f.name: pa.array(made.get(f.name, [None] * count), f.type) for f in schema}, schema=schema)


def scraped(port: int) -> dict[str, float]:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics") as page:
        lines = page.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def test_it_is_watched_stopped_by_a_signal_and_goes_on_where_it_was(prism, tmp_path, start_loopback, free_port):
    sent, lake = Sent(start_loopback({"behavioral": 2}), "behavioral"), tmp_path / "lake"
    sent.send(page_views(0, 500)).flush()
    hub = ("--hub", f"behavioral={sent.table}")
    with running(sent.server, lake, *hub, "--metrics-port", free_port) as process:
        until(lambda: count_rows(lake, sent.table) == 500)
        rows = f'c360_stream_rows{{table="{sent.table}"}}'
        until(lambda: scraped(free_port)[rows] == 500)
        found = scraped(free_port)
        assert found[f'c360_stream_lost{{table="{sent.table}"}}'] == found["c360_stream_restarts"] == 0
        assert 0 < found[f'c360_stream_lag{{table="{sent.table}"}}'] < 60
        events = [f'c360_stream_event_hubs_events{{part="behavioral/{number}"}}' for number in range(2)]
        state = [
            f'c360_stream_sessions_state_rows{{part="behavioral/{n}/{bucket}"}}' for n in (0, 1) for bucket in range(4)
        ]
        until(lambda: sum(scraped(free_port).get(name, 0) for name in events) == -(-500 // 40))
        until(lambda: sum(scraped(free_port).get(name, 0) for name in state) > 0)
        assert scraped(free_port)["c360_stream_late"] == 0
        sent.send(page_views(500, 500), "row").flush()
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, "Traceback" in out + err) == (0, False), out + err
        assert time.monotonic() - asked < 10
    sent.send(page_views(1000, 500), "lines").flush()
    stream(sent.server, lake, *hub, "--until-idle")
    assert_same(bronze_rows(lake, sent.table), sent.expected)


def test_an_outage_of_the_hub_is_waited_for(prism, tmp_path, start_loopback):
    """Longer than a start has patience, and with the worker gone: it is started until the hub answers."""
    sent, said, lake = Sent(start_loopback({"behavioral": 1}), "behavioral", 1), list[str](), tmp_path / "lake"
    sent.send(page_views(0, 100)).flush().close()
    config = StreamConfig(str(lake), sent.server.connection_string(), {"behavioral": (sent.table,)})
    supervisor, failed = Supervisor(config, Prism(prism), said=said.append, back_off=(0.1,)), list[Exception]()

    def run() -> None:
        try:
            supervisor.run()
        except UserError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: count_rows(lake, sent.table) == 100)
        sent.server.kill()
        os.kill(supervisor.pids["worker"], signal.SIGKILL)
        until(lambda: supervisor.restarts >= 2 or failed)
        assert not failed
        sent.server.start()
        sent.send(page_views(100, 100)).flush()
        until(lambda: count_rows(lake, sent.table) == 200 or failed)
    finally:
        supervisor.stop()
        thread.join(40)
    assert not failed and "Event Hubs has not answered for" in said[1]
    assert_same(bronze_rows(lake, sent.table), sent.expected)


def test_a_worker_that_hangs_is_started_again(prism, tmp_path, start_loopback, monkeypatch):
    monkeypatch.setattr(live, "_STUCK_SECONDS", 12.0)
    sent, said = Sent(start_loopback({"behavioral": 1}), "behavioral", 1), list[str]()
    sent.send(page_views(0, 100)).flush()
    config = StreamConfig(str(tmp_path / "lake"), sent.server.connection_string(), {"behavioral": (sent.table,)})
    shown = live.Live(config, quiet=True)
    supervisor = shown.supervisor = Supervisor(config, Prism(prism), shown.tick, said=said.append)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        until(lambda: count_rows(tmp_path / "lake", sent.table) == 100)
        os.kill(supervisor.pids["worker"], signal.SIGSTOP)
        sent.send(page_views(100, 100)).flush()
        until(lambda: count_rows(tmp_path / "lake", sent.table) == 200, 90)
    finally:
        supervisor.stop()
        thread.join(40)
        shown.close()
    assert supervisor.restarts >= 1 and "nothing was committed for 12 s, and events wait" in said[0]
    assert_same(bronze_rows(tmp_path / "lake", sent.table), sent.expected)
