"""What a stream is given that is wrong: a clear answer in one line, and nothing lost."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.config import Lake, Run
from pipelines.stream import own
from pipelines.stream_config import StreamConfig
from tests.event_hubs import loopback
from tests.sessions.plain_stream import cut_log
from tests.streaming import Sent, arrow_body, assert_same, bronze_rows, count_rows, running, stream, until
from tests.streaming import event as one_event
from transforms.contracts import contract
from transforms.errors import UserError
from transforms.io.delta import read_table
from transforms.io.delta_positions import OwnerWatch, take_over
from transforms.sessions.fold import AHEAD, TOO_LATE
from transforms.sessions.live import LIVE_SESSIONS, events_of
from transforms.sessions.rules import SessionRules

TABLE, OTHER = "CUSTOMER_BEHAVIORAL_EVENTS", "CUSTOMER_ENGAGEMENT_EVENTS"
ONE_HUB = ("--hub", f"behavioral={TABLE}")


def views(first: int, count: int, begin: datetime = datetime(2010, 1, 5, tzinfo=UTC), **columns) -> pa.Table:
    """Page views numbered from `first`, a second apart."""
    schema, numbers = contract(TABLE).arrow, range(first, first + count)
    made = {"EVENT_ID": [f"E{n}" for n in numbers], "CUSTOMER_ID": [f"C{n % 7}" for n in numbers]}
    made |= {"EVENT_TYPE": ["PAGE_VIEW"] * count, "EVENT_DATE": [begin + timedelta(seconds=n) for n in numbers]}
    made |= columns
    return pa.table({f.name: pa.array(made.get(f.name, [None] * count), f.type) for f in schema}, schema=schema)


def rejects(lake) -> list[tuple]:
    rows = read_table(Lake(str(lake)).rejects).to_pylist()
    return sorted((row["file"], row["position"], row["rule"], row["raw_bytes"]) for row in rows)


def said(done) -> str:
    """The one line of an error."""
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with loopback(tmp_path_factory.mktemp("bad") / "hub", {"behavioral": 2}) as server:
        yield server


@pytest.mark.slow
def test_a_wrong_key_is_said_and_not_shown(hub, tmp_path):
    key = re.search("SharedAccessKey=([^;]+)", hub.connection_string()).group(1)
    wrong = hub.connection_string().replace(key, "not-the-key-at-all")
    line = said(stream(wrong, tmp_path / "lake", *ONE_HUB, "--until-idle", code=1))
    assert "refused the credentials" in line and "check the key" in line
    assert "not-the-key" not in line and not (tmp_path / "lake").exists()


@pytest.mark.slow
def test_an_unknown_hub_is_said(hub, tmp_path):
    line = said(stream(hub, tmp_path / "lake", "--hub", f"nowhere={TABLE}", "--until-idle", code=1))
    assert "no such hub" in line and "nowhere" in line


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["FnApiRunner", "DirectRunner", "SparkRunner"])
def test_a_runner_that_cannot_is_refused(hub, tmp_path, runner):
    line = said(stream(hub, tmp_path / "lake", *ONE_HUB, "--runner", runner, code=2))
    assert runner in line and "--runner prism" in line


@pytest.mark.slow
def test_a_wrong_path_to_prism_is_said(hub, tmp_path):
    line = said(stream(hub, tmp_path / "lake", *ONE_HUB, "--prism", tmp_path / "nothing", code=1))
    assert "this is no program" in line and "--prism" in line


@pytest.mark.slow
def test_a_lake_that_cannot_be_written_is_said(prism, hub, tmp_path):
    (tmp_path / "file").write_text("no folder")
    line = said(stream(hub, tmp_path / "file" / "lake", *ONE_HUB, "--until-idle", code=1))
    assert str(tmp_path / "file" / "lake") in line


@pytest.mark.slow
def test_odd_events_are_taken_or_refused_one_by_one(prism, tmp_path, start_loopback):
    """Large ones, those of another table, of tomorrow and of 1970; what comes with and behind them is as always.

    Rows of tomorrow and of 1970 are in bronze and in `late`, each with its reason; no session has them, and they move
    no clock: the sessions are those of the other rows, and leave when those say so.
    """
    sent = Sent(start_loopback({"behavioral": 2}, max_message_bytes=2 << 20), "behavioral")
    now = datetime.now(UTC).replace(microsecond=0)
    long = ["/p/" + "x" * 190] * 3_500
    sent.send(views(0, 100)).send(views(100, 3_500, PAGE_URL=long), "lines", 3_500)
    assert len(sent.expected) == 3_600 and sent.largest > 1_100_000
    sent.send(views(9_000, 10, now + timedelta(days=1))).send(views(9_100, 10, datetime(1970, 1, 1, tzinfo=UTC)))
    large = b'{"EVENT_ID": "' + b"x" * 1_100_000
    sent.send_broken(large, "json_syntax")
    orders = pa.table({"TRANSACTION_ID": ["T1"], "TOTAL_AMOUNT": [1.5]})
    sent.send_broken(arrow_body(orders), "another_table", "arrow")
    sent.send_broken(b'{"TRANSACTION_ID": "T1"}', "required")
    sent.send_broken(arrow_body(views(0, 1)), "not_json", "lines")
    sent.send(views(10_000, 100)).flush()
    assert any(len(body) > 1_100_000 for _, _, body, _ in sent.broken)
    stream(sent.server, tmp_path / "lake", *ONE_HUB, "--until-idle")
    assert_same(bronze_rows(tmp_path / "lake", TABLE), sent.expected)
    assert rejects(tmp_path / "lake") == sorted((log, at, rule, len(body)) for log, at, body, rule in sent.broken)
    odd = {f"E{n}": TOO_LATE if n >= 9_100 else AHEAD for n in (*range(9_000, 9_010), *range(9_100, 9_110))}
    check_followers(Lake(str(tmp_path / "lake")), odd)


def check_followers(lake: Lake, odd: dict[str, str]) -> None:
    """`late` has the events of `odd` with their reasons and nothing else; sessions are those of all others."""
    rows, expected, places = read_table(lake.bronze(contract(TABLE))).sort_by("_position"), list[dict](), list[tuple]()
    for log in sorted(set(rows["_file"].to_pylist())):
        events = events_of(rows.filter(pc.equal(rows["_file"], log))).to_pylist()
        final, late = cut_log((e for e in events if e["event_id"] not in odd), SessionRules(), 600)
        assert final and not late
        expected += final
        places += [(log, e["position"], e["event_id"], odd[e["event_id"]]) for e in events if e["event_id"] in odd]
    found = read_table(lake.late).to_pylist()
    told = [(r["_log"].rpartition("/")[0], r["position"], r["event_id"], r["reason"]) for r in found]
    assert sorted(told) == sorted(places) and len(told) == len(odd)
    live = read_table(lake.live_sessions).drop_columns(["session_id", "_log", "_step"]).to_pylist()
    assert sorted(live, key=str) == sorted(expected, key=str)


@pytest.mark.slow
def test_what_the_hub_dropped_before_it_was_read_is_told_and_the_stream_goes_on(prism, tmp_path, start_loopback):
    sent, lake = Sent(start_loopback({"behavioral": 1}), "behavioral", 1), tmp_path / "lake"
    sent.send(views(0, 100), "row").flush()
    stream(sent.server, lake, *ONE_HUB, "--until-idle")
    sent.send(views(100, 100), "row").flush()
    sent.server.control.trim("behavioral", 0, 150)
    done = stream(sent.server, lake, *ONE_HUB, "--until-idle")
    assert "behavioral/0: events 100 to 149 (50) were no longer in the hub" in done.stderr
    sent.send(views(200, 10), "row").flush()
    sent.server.control.trim("behavioral", 0, 210)  # nothing is left, and nothing comes
    done = stream(sent.server, lake, *ONE_HUB, "--until-idle")
    assert "behavioral/0: events 200 to 209 (10) were no longer in the hub" in done.stderr
    left = sent.expected.filter([at < 100 or 150 <= at < 200 for at in sent.expected["_position"].to_pylist()])
    assert_same(bronze_rows(lake, TABLE), left)


@pytest.mark.slow
def test_a_hub_made_anew_is_noticed(prism, tmp_path, start_loopback):
    sent, lake = Sent(start_loopback({"behavioral": 1}), "behavioral", 1), tmp_path / "lake"
    sent.send(views(0, 100), "row").flush()
    stream(sent.server, lake, *ONE_HUB, "--until-idle")
    again = start_loopback({"behavioral": 1})
    Sent(again, "behavioral", 1).send(views(0, 10), "row").flush()
    done = stream(again, lake, *ONE_HUB, "--until-idle", code=1)
    line = done.stderr.splitlines()[-1]
    assert "behavioral/0 ends at 9, but 99 was read from it before" in line and "made anew" in line
    assert_same(bronze_rows(lake, TABLE), sent.expected)


@pytest.mark.slow
def test_of_two_streams_on_one_lake_the_older_one_gives_way(prism, tmp_path, start_loopback):
    sent, lake = Sent(start_loopback({"behavioral": 2}), "behavioral"), tmp_path / "lake"
    sent.send(views(0, 100)).flush()
    with running(sent.server, lake, *ONE_HUB) as older:
        until(lambda: count_rows(lake, TABLE) == 100)
        with running(sent.server, lake, *ONE_HUB) as newer:
            _, words = older.communicate(timeout=60)  # nothing comes: it notices without a commit
            assert older.returncode == 1, words
            assert "another stream has taken this table over" in words and "Traceback" not in words
            sent.send(views(100, 100)).flush()
            until(lambda: count_rows(lake, TABLE) == 200)
            newer.send_signal(signal.SIGTERM)
            assert newer.wait(30) == 0
    assert_same(bronze_rows(lake, TABLE), sent.expected)


@pytest.mark.parametrize("written_before_it_was_kept", [False, True])
def test_another_number_of_session_buckets_is_refused_and_fences_nobody(tmp_path, written_before_it_was_kept):
    config = StreamConfig(str(tmp_path / "lake"), "", {"behavioral": (TABLE,)})
    if written_before_it_was_kept:
        take_over(Lake(config.lake).live_sessions, LIVE_SESSIONS, (), config.name)
    first = own(config, Run("stream"))
    OwnerWatch((write.uri, write.stream, write.epoch) for write in first.values()).check()
    for other in (1, 8):
        with pytest.raises(UserError, match=f"kept in 4 buckets a partition, not {other}.*session_buckets=4") as error:
            own(replace(config, session_buckets=other), Run("stream"))
        assert "\n" not in str(error.value)
    OwnerWatch((write.uri, write.stream, write.epoch) for write in first.values()).check()
    assert own(config, Run("stream")).keys() == first.keys()
    other_stream = own(replace(config, session_buckets=8, name="others", hubs={"elsewhere": (TABLE,)}), Run("stream"))
    assert other_stream.keys() == first.keys()


def test_a_stream_of_another_name_does_not_bring_a_hub_again(tmp_path):
    config = StreamConfig(str(tmp_path / "lake"), "", {"behavioral": (TABLE,), "engagement": (OTHER,)})
    first = own(config, Run("stream"))
    for hubs in (config.hubs, {"other": (TABLE,), "engagement": (OTHER,)}):
        with pytest.raises(UserError, match=r"'events' brings (behavioral|engagement) into .*--name events"):
            own(replace(config, name="others", hubs=hubs), Run("stream"))
    OwnerWatch((write.uri, write.stream, write.epoch) for write in first.values()).check()
    assert own(replace(config, name="others", hubs={"other": (TABLE,)}), Run("stream"))
    assert own(config, Run("stream")).keys() == first.keys()


@pytest.mark.slow
def test_partitions_added_while_it_runs_are_read_too(prism, tmp_path, start_loopback):
    sent, lake = Sent(start_loopback({"behavioral": 1}), "behavioral", 1), tmp_path / "lake"
    sent.send(views(0, 100)).flush()
    with running(sent.server, lake, *ONE_HUB) as process:
        until(lambda: count_rows(lake, TABLE) == 100)
        sent.grow(2).send(views(100, 400)).flush()
        until(lambda: count_rows(lake, TABLE) == 500, 150, 0.5)
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=40)
        assert process.returncode == 0 and "had 1 partitions when the stream began and has 2 now" in words
    assert_same(bronze_rows(lake, TABLE), sent.expected)


def test_the_helper_says_what_is_sent():
    """The oracle of these tests: events of so many rows, to the partitions in turn."""
    sent = Sent(None, "behavioral").send(views(0, 5), "arrow", 2)
    assert sent.expected["_position"].to_pylist() == [0, 0, 1, 0, 0]
    assert sent.expected["_file"].to_pylist() == ["behavioral/0"] * 3 + ["behavioral/1"] * 2
    assert json.loads(b"".join(one_event(b"{}", "row", TABLE).body)) == {}
