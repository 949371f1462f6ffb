"""Source tables to sessions: the generator's planted visits, and the tracker's sessions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tests.sessions import plain_sessions as plain
from transforms.contracts import contract
from transforms.generator.retailer import build_shard
from transforms.generator.spec import GeneratorSpec
from transforms.sessions.behaviour import behavioural_events, online_purchases
from transforms.sessions.event import split_events
from transforms.sessions.reconcile import COMPUTED, RECONCILED, TRACKED, reconcile_sessions
from transforms.sessions.reconciliation import ReconcileSessions
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import sessions_of

NOON = datetime(2010, 6, 1, 12, tzinfo=UTC)
TRACKER = contract("sessions").arrow
LONGEST_GAP = 200  # seconds that the generator's tracker waits at most after a visit's last event


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return build_shard(GeneratorSpec(seed=4, customers=400), 0).tables


def test_the_generators_visits_are_found_again_and_agree_with_its_tracker(tables):
    behaviour = behavioural_events(tables["CUSTOMER_BEHAVIORAL_EVENTS"])
    purchases = online_purchases(tables["CUSTOMER_TRANSACTIONS"])
    tracked = {row["SESSION_ID"]: row for row in tables["CUSTOMER_SESSION_DATA"].to_pylist()}
    events, refused = split_events(pa.concat_tables([behaviour, purchases]))
    guests = [key for key, row in tracked.items() if row["CONVERSION_EVENT"] and row["CUSTOMER_ID"] is None]
    assert len(refused) - refused.null_count == len(guests)  # purchases without a customer
    sessions = sessions_of(events, SessionRules())
    twice = {row["session_id"] for row in sessions.to_pylist() if row["conversions"] > 1}  # two orders in one visit
    rows = reconcile_sessions(sessions, tables["CUSTOMER_SESSION_DATA"], tolerance_seconds=LONGEST_GAP).to_pylist()
    seen = [row for row in rows if row["tracker_session"]]
    assert sorted(row["tracker_session"] for row in seen) == sorted(tracked)
    assert {row["matched_by"] for row in seen} == {"session_id"}
    differing = {row["tracker_session"]: row["differing"] for row in seen if row["session_id"] not in twice}
    assert {key: fields for key, fields in differing.items() if fields} == {key: ["conversion"] for key in guests}


def computed(*visits: tuple) -> pa.Table:
    """(minutes of its events, tracker's session) of visitor C."""
    rows = [
        {
            "visitor": "C",
            "event_time": NOON + timedelta(minutes=m),
            "event_type": "PAGE_VIEW",
            "tracker_session": session,
        }
        for minutes, session in visits
        for m in minutes
    ]
    return sessions_of(plain.table(rows), SessionRules())


def tracked(session: str, start: float, end: float | None, **more) -> dict:
    row = {"SESSION_ID": session, "CUSTOMER_ID": "C", "SESSION_START": NOON + timedelta(minutes=start), **more}
    return {**row, "SESSION_END": None if end is None else NOON + timedelta(minutes=end)}


def told(sessions: pa.Table, *rows: dict) -> list[tuple]:
    found = reconcile_sessions(sessions, pa.Table.from_pylist(list(rows), schema=TRACKER))
    assert found.schema.equals(RECONCILED)
    return sorted(
        (row["tracker_session"] or "-", row["verdict"], row["matched_by"] or "-", row["differing"])
        for row in found.to_pylist()
    )


def test_each_verdict():
    sessions = computed(((0, 10), "T1"), ((100, 110), None), ((200,), "T3"), ((300,), None))
    assert told(
        sessions,
        tracked("T1", 0, 10.5, PAGE_VIEWS=2, CONVERSION_EVENT=False),
        tracked("T2", 105, 130, PAGE_VIEWS=3),
        tracked("T3", 200, None, CONVERSION_EVENT=True, CONVERSION_VALUE=Decimal("5.00")),
        tracked("T4", 400, 410),
    ) == [
        ("-", "not_tracked", "-", []),
        ("T1", "agrees", "session_id", []),
        ("T2", "differs", "overlap", ["start", "end", "page_views"]),
        ("T3", "differs", "session_id", ["conversion"]),
        ("T4", "not_seen", "-", []),
    ]


def test_a_visit_that_the_tracker_cut_in_two_is_matched_with_both():
    assert [row[:3] for row in told(computed(((0, 20), "T1")), tracked("T1", 0, 9), tracked("T2", 10, 20))] == [
        ("T1", "differs", "session_id"),
        ("T2", "differs", "overlap"),
    ]


def test_nothing_on_either_side():
    assert told(computed()) == []
    assert told(computed(), tracked("T1", 0, 1)) == [("T1", "not_seen", "-", [])]
    assert told(computed(((0,), None))) == [("-", "not_tracked", "-", [])]


def test_in_buckets_on_beam_the_verdicts_are_those_of_all_at_once(tables, tmp_path):
    """Also where a tracker lost who it was, so that the two sides of a pair have other visitors, or sent no id."""
    behaviour = behavioural_events(tables["CUSTOMER_BEHAVIORAL_EVENTS"])
    events = split_events(behaviour).accepted
    sessions = sessions_of(events, SessionRules(gap_seconds=60))  # cut in other places than the tracker's
    everyone, lost = tables["CUSTOMER_SESSION_DATA"], []
    for n, row in enumerate(everyone.to_pylist()):
        lost.append(row | ({"CUSTOMER_ID": None} if n % 5 == 0 else {}))
    tracked = pa.Table.from_pylist([row for n, row in enumerate(lost) if n % 7], schema=everyone.schema)
    unnamed = [None if n % 3 == 0 else name for n, name in enumerate(sessions["tracker_session"].to_pylist())]
    place = sessions.schema.get_field_index("tracker_session")
    sessions = sessions.set_column(place, "tracker_session", pa.array(unnamed, pa.string()))
    expected = reconcile_sessions(sessions, tracked)
    assert set(expected["verdict"].to_pylist()) == {"agrees", "differs", "not_tracked", "not_seen"}
    assert set(expected["matched_by"].to_pylist()) == {"session_id", "overlap", None}
    with beam.Pipeline(runner=FnApiRunner()) as root:
        parts = {
            name: root | name >> beam.Create([0]) | f"Rows {name}" >> beam.FlatMap(_batches, rows, schema)
            for name, rows, schema in (("computed", sessions, COMPUTED), ("tracked", tracked, TRACKED))
        }
        found = parts | ReconcileSessions(buckets=5, spill_dir=str(tmp_path))
        _ = found | beam.Map(_keep, str(tmp_path / "out"))
    rows = pa.concat_tables(pq.read_table(path) for path in tmp_path.glob("out-*"))
    order = [("session_id", "ascending"), ("tracker_session", "ascending")]
    assert rows.sort_by(order).to_pylist() == expected.sort_by(order).to_pylist()


def _batches(_: int, rows: pa.Table, schema: pa.Schema) -> list[pa.RecordBatch]:
    return rows.select(schema.names).combine_chunks().to_batches(max_chunksize=200)


def _keep(batch: pa.RecordBatch, path: str) -> None:
    pq.write_table(pa.Table.from_batches([batch]), f"{path}-{uuid4().hex}")
