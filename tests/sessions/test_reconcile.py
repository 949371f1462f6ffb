"""Source tables to sessions: the generator's planted visits, the tracker's sessions, and ids that others take over."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.sessions import plain_sessions as plain
from transforms.contracts import contract
from transforms.generator.retailer import build_shard
from transforms.generator.spec import GeneratorSpec
from transforms.sessions.behaviour import behavioural_events, online_purchases
from transforms.sessions.event import split_events
from transforms.sessions.reconcile import RECONCILED, reconcile_sessions
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import sessions_of
from transforms.sessions.supersede import SUPERSEDED, superseded_ids

NOON = datetime(2010, 6, 1, 12, tzinfo=UTC)
TRACKED = contract("sessions").arrow
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
    found = reconcile_sessions(sessions, pa.Table.from_pylist(list(rows), schema=TRACKED))
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


def superseded(before: list[float], after: list[float]) -> list[tuple]:
    """As (start of the old session, start of the new one) in minutes."""
    old, new = computed((before, None)), computed((after, None))
    starts = {
        row["session_id"]: (row["started_at"] - NOON) / timedelta(minutes=1)
        for row in (*old.to_pylist(), *new.to_pylist())
    }
    found = superseded_ids(old, new)
    assert found.schema.equals(SUPERSEDED)
    return sorted((starts[row["session_id"]], starts.get(row["superseded_by"])) for row in found.to_pylist())


def test_what_late_rows_do_to_ids():
    assert superseded([10, 20], [10, 15, 20]) == []  # within: the id stays
    assert superseded([10, 20], [0, 10, 20]) == [(10, 0)]  # in front: another id
    assert superseded([0, 50], [0, 25, 50]) == [(50, 0)]  # between: one takes over the other
    assert superseded([0, 50], [-5, 0, 25, 50]) == [(0, -5), (50, -5)]
    assert superseded([0, 100], [0]) == [(100, None)]


@settings(max_examples=100, deadline=None)
@given(plain.events(), plain.events(), plain.rules)
def test_every_id_that_went_is_named_and_leads_to_sessions_that_are_there(first, more, rules):
    before, after = sessions_of(plain.table(first), rules), sessions_of(plain.table(first + more), rules)
    rows = superseded_ids(before, after).to_pylist()
    old, new = (set(table["session_id"].to_pylist()) for table in (before, after))
    assert {row["session_id"] for row in rows} == old - new
    assert {row["superseded_by"] for row in rows} <= new  # no event went, so that each has a successor
