"""Sessions of a lake: those of the kernel over silver's events, cut again only when the events changed."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from pipelines import sessions, stream
from pipelines.config import Run
from pipelines.reconcile import TRACKED_TABLE, reconcile, verdicts
from pipelines.refining import Refining
from pipelines.runs import table_runs
from pipelines.session_gap import gap_for
from pipelines.stream_config import StreamConfig
from tests.pipelines.conftest import transaction, write_lines
from transforms.contracts import contract
from transforms.errors import UserError
from transforms.io.delta import open_table, read_table
from transforms.sessions.behaviour import behavioural_events, online_purchases
from transforms.sessions.event import split_events
from transforms.sessions.reconcile import reconcile_sessions
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import sessions_of

EVENTS, ORDERS = contract("CUSTOMER_BEHAVIORAL_EVENTS"), contract("CUSTOMER_TRANSACTIONS")


def events(numbers: range, minutes_apart: int = 7) -> list[dict[str, object]]:
    """Three visitors take turns; one of them has no name, only the tracker's session."""
    return [
        {
            "EVENT_ID": f"E{n}",
            "CUSTOMER_ID": None if n % 3 == 0 else f"C{n % 3}",
            "SESSION_ID": f"W{n // 30}",
            "EVENT_TYPE": "PAGE_VIEW",
            "EVENT_DATE": f"2010-03-{1 + n * minutes_apart // 1440:02}T{n * minutes_apart % 1440 // 60:02}"
            f":{n * minutes_apart % 60:02}:00Z",
            "PAGE_URL": f"https://shop.example/{n}",
        }
        for n in numbers
    ]


def ordered(table: pa.Table) -> list[dict[str, object]]:
    return table.sort_by([("visitor", "ascending"), ("started_at", "ascending")]).to_pylist()


def test_a_lakes_sessions_are_those_of_the_kernel_and_are_cut_again_when_events_come(shop):
    lake, folder = shop.lake, shop.root / "behavioral"
    write_lines(folder / "a.jsonl", events(range(0, 300, 2)))
    shop.bronze(behavioral=folder)
    shop.silver()
    first = sessions.cut(lake, Run("silver"))
    assert first is not None and sessions.cut(lake, Run("silver")) is None
    expected = sessions_of(behavioural_events(read_table(lake.silver(EVENTS))), SessionRules())
    assert first.table.counts.accepted == expected.num_rows > 5
    assert ordered(read_table(lake.sessions)) == ordered(expected)

    write_lines(folder / "b.jsonl", events(range(1, 300, 2)))  # between the others
    shop.bronze(behavioral=folder)
    shop.silver()
    again = sessions.cut(lake, Run("silver"))
    whole = sessions_of(behavioural_events(read_table(lake.silver(EVENTS))), SessionRules())
    assert again is not None and ordered(read_table(lake.sessions)) == ordered(whole)
    assert {row["visitor"] for row in whole.to_pylist()} >= {"C1", "C2", "anonymous:W0"}


def test_what_was_bought_online_is_in_the_session_that_led_to_it(shop):
    lake, online = shop.lake, {"CHANNEL": "ECOMMERCE", "CUSTOMER_ID": "C1"}
    orders = [
        transaction(1, **online, TRANSACTION_DATE="2010-03-01T00:08:00Z", TOTAL_AMOUNT=12.5),
        transaction(2, **online, TRANSACTION_DATE="2010-05-01T00:00:00Z"),  # with nothing around it
        transaction(3, **online | {"CHANNEL": "POS"}, TRANSACTION_DATE="2010-03-01T00:09:00Z"),
        transaction(4, **online | {"CUSTOMER_ID": None}, TRANSACTION_DATE="2010-03-01T00:09:00Z"),  # a guest
    ]
    write_lines(shop.root / "behavioral" / "a.jsonl", events(range(10)))
    shop.bronze(behavioral=shop.root / "behavioral")
    shop.silver()
    assert sessions.cut(lake, Run("silver")) is not None
    before = read_table(lake.sessions)
    assert set(before["conversions"].to_pylist()) == {0}
    write_lines(shop.root / "transactions" / "a.jsonl", orders)
    shop.bronze(transactions=shop.root / "transactions")
    shop.silver()
    assert sessions.cut(lake, Run("silver")) is not None and sessions.cut(lake, Run("silver")) is None
    after = read_table(lake.sessions).to_pylist()
    sold = [(row["visitor"], row["conversions"], row["value"]) for row in after if row["conversions"]]
    assert sorted(sold) == [("C1", 1, Decimal("12.25")), ("C1", 1, Decimal("12.5"))]
    assert len(after) == before.num_rows + 1
    parts = [behavioural_events(read_table(lake.silver(EVENTS))), online_purchases(read_table(lake.silver(ORDERS)))]
    kept = split_events(pa.concat_tables(parts)).accepted
    assert ordered(pa.Table.from_pylist(after, before.schema)) == ordered(sessions_of(kept, SessionRules()))


def test_the_batch_cuts_by_the_gap_of_the_stream(shop):
    """Events of a visitor come every 21 minutes: one session by 30 minutes, each its own by 10."""
    write_lines(shop.root / "behavioral" / "a.jsonl", events(range(60)))
    shop.bronze(behavioral=shop.root / "behavioral")
    shop.silver()
    config = StreamConfig(shop.lake.uri, "env:NONE", gap="10m")
    writes = stream.own(config, Run("stream"))
    assert read_table(shop.lake.sessions).num_rows == 0 and writes
    Refining(config.lake, 3600, [].append).finish()
    stored = behavioural_events(read_table(shop.lake.silver(EVENTS)))
    assert ordered(read_table(shop.lake.sessions)) == ordered(sessions_of(stored, config.rules))
    assert sessions.cut(shop.lake, Run("silver")) is None  # the lake's gap is the stream's


def test_the_gap_stays_with_the_lake_and_another_one_cuts_all_anew_in_batch_and_is_refused_in_the_stream(shop):
    write_lines(shop.root / "behavioral" / "a.jsonl", events(range(60)))
    shop.bronze(behavioral=shop.root / "behavioral")
    shop.silver()
    stored = behavioural_events(read_table(shop.lake.silver(EVENTS)))
    usual = sessions.cut(shop.lake, Run("silver"))
    assert usual is not None and (usual.gap, usual.gap_before) == ("30m", None)
    assert usual.table.counts.accepted == sessions_of(stored, SessionRules()).num_rows < 60
    assert sessions.cut(shop.lake, Run("silver"), gap="1800s") is None  # the same, spelt otherwise
    other = StreamConfig(shop.lake.uri, "env:NONE", gap="10m")
    with pytest.raises(UserError, match="after a silence of 30m, not 10m") as told:
        stream.own(other, Run("stream"))
    assert (
        "silver --gap 10m" in told.value.remedy and open_table(shop.lake.bronze(ORDERS)) is None
    )  # nothing taken over
    short = sessions.cut(shop.lake, Run("silver"), gap="10m")
    assert short is not None and (short.gap, short.gap_before) == ("10m", "30m")
    assert short.table.counts.accepted == 60 and sessions.cut(shop.lake, Run("silver")) is None
    assert gap_for(shop.lake) == "10m" and gap_for(shop.lake, "5m") == "5m"
    stream.own(other, Run("stream"))
    with pytest.raises(UserError, match="not 30m"):
        stream.own(StreamConfig(shop.lake.uri, "env:NONE"), Run("stream"))


def test_the_trackers_sessions_are_held_against_those_of_the_lake_when_either_changed(shop):
    write_lines(shop.root / "behavioral" / "a.jsonl", events(range(60)))
    shop.bronze(behavioral=shop.root / "behavioral")
    shop.silver()
    assert sessions.cut(shop.lake, Run("silver")) and reconcile(shop.lake, Run("silver")) is None  # no tracker
    # W0's events are of three visitors, none named by the tracker; W9 is C1's by time alone; W8 is nobody's.
    start, hour = "2010-03-01T00:00:00Z", "2010-03-01T01:00:00Z"
    visits = [
        {"SESSION_ID": "W0", "CUSTOMER_ID": None, "SESSION_START": start, "SESSION_END": hour, "PAGE_VIEWS": 1},
        {"SESSION_ID": "W9", "CUSTOMER_ID": "C1", "SESSION_START": start, "SESSION_END": hour},
        {"SESSION_ID": "W8", "CUSTOMER_ID": "C7", "SESSION_START": start, "SESSION_END": hour},
    ]
    write_lines(shop.root / "sessions" / "a.jsonl", visits)
    shop.bronze(sessions=shop.root / "sessions")
    shop.silver()
    assert sessions.cut(shop.lake, Run("silver")) is None
    run = Run("silver")
    found = reconcile(shop.lake, run)
    assert found is not None and reconcile(shop.lake, Run("silver")) is None
    both = read_table(shop.lake.sessions), read_table(shop.lake.silver(TRACKED_TABLE))
    expected = reconcile_sessions(*both, tolerance_seconds=300)
    stored = read_table(shop.lake.reconciled_sessions)
    order = [("session_id", "ascending"), ("tracker_session", "ascending")]
    assert stored.sort_by(order).to_pylist() == expected.sort_by(order).to_pylist()
    assert found == verdicts(shop.lake) and found.counts["not_seen"] == 1 and found.counts["differs"] >= 3
    told = {row["tracker_session"]: row["verdict"] for row in stored.to_pylist() if row["tracker_session"]}
    assert told == {"W0": "differs", "W9": "differs", "W8": "not_seen"} and "1 without events" in str(found)
    noted = next(done for done in table_runs(shop.lake, run) if done.table == "reconciled_sessions")
    assert noted.counts.accepted == stored.num_rows == sum(found.counts.values())
