"""Cutting and summarising: the same as the definition word for word, whatever the order of the rows."""

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.sessions import plain_sessions as plain
from transforms.errors import UserError
from transforms.sessions.cut import cut_sessions
from transforms.sessions.event import EVENTS, complete, split_events
from transforms.sessions.rules import SessionRules, parse_gaps, parse_seconds
from transforms.sessions.summarise import SESSIONS, sessions_of

NOON = datetime(2010, 6, 1, 12, tzinfo=UTC)


def visit(*minutes: float, visitor: str = "v", **more) -> list[dict]:
    return [{"visitor": visitor, "event_time": NOON + timedelta(minutes=m), **more} for m in minutes]


def spans(events: list[dict], rules: SessionRules) -> list[tuple[float, float]]:
    rows = sessions_of(plain.table(events), rules).to_pylist()
    return [tuple((row[at] - NOON) / timedelta(minutes=1) for at in ("started_at", "ended_at")) for row in rows]


@settings(max_examples=200, deadline=None)
@given(plain.events(), plain.rules)
def test_sessions_are_those_of_the_definition(events, rules):
    rows = sessions_of(plain.table(events), rules)
    assert rows.schema.equals(SESSIONS)
    assert plain.without_ids(rows) == plain.sessions(events, rules)
    assert len(set(rows["session_id"].to_pylist())) == rows.num_rows


@settings(max_examples=100, deadline=None)
@given(plain.events(), plain.rules)
def test_any_permutation_and_any_duplicate_gives_identical_rows(events, rules):
    rows = sessions_of(plain.table(events), rules)
    known = [event for event in events if event["event_id"] is not None]
    shuffled = random.Random(1).sample(events + known, len(events) + len(known))
    cut = cut_sessions(plain.table(shuffled), rules)
    assert cut.duplicates == len(shuffled) - len(plain.once(events))
    assert sessions_of(plain.table(shuffled), rules).equals(rows)


@settings(max_examples=100, deadline=None)
@given(plain.events(), plain.rules)
def test_no_event_is_lost_and_no_session_passes_its_bound(events, rules):
    cut = cut_sessions(plain.table(events), rules)
    rows = sessions_of(plain.table(events), rules)
    assert sum(rows["events"].to_pylist()) == len(plain.once(events))
    assert all(span < rules.max_seconds for span in rows["duration_seconds"].to_pylist())
    ends = cut.events["event_time"].to_physical().to_numpy()[cut.ends - 1] if len(cut.starts) else np.empty(0)
    assert (cut.bounds > ends).all()


def test_a_gap_of_exactly_its_length_cuts_and_one_microsecond_less_does_not():
    assert spans(visit(0, 30), SessionRules()) == [(0, 0), (30, 30)]
    assert len(spans(visit(0, 30 - 1e-6 / 60), SessionRules())) == 1


def test_each_event_keeps_its_session_open_for_the_gap_of_its_own_channel():
    rules = SessionRules(channel_gap_seconds=(("app", 300),))
    web, app = visit(0, channel="web"), visit(1, 10, channel="APP")
    assert spans(web + app, rules) == [(0, 10)]  # within the web page's half hour
    assert spans(app, rules) == [(1, 1), (10, 10)]
    assert spans(web + app + visit(31, channel="app"), rules) == [(0, 10), (31, 31)]


def test_midnight_is_that_of_the_zone_also_when_clocks_change():
    before = {"visitor": "v", "event_time": datetime(2010, 3, 27, 23, 10, tzinfo=UTC)}  # 00:10 on the 28th in Berlin
    after = {"visitor": "v", "event_time": datetime(2010, 3, 27, 22, 50, tzinfo=UTC)}  # 23:50 on the 27th
    changed = [{"visitor": "v", "event_time": datetime(2010, 3, 28, hour, minute, tzinfo=UTC)}
               for hour, minute in ((0, 50), (1, 10))]  # fmt: skip
    for zone, expected in (("Europe/Berlin", [1, 1, 2]), ("UTC", [2, 2]), (None, [2, 2])):
        rows = sessions_of(plain.table([before, after, *changed]), SessionRules(midnight_zone=zone))
        assert rows["events"].to_pylist() == expected, zone


def test_a_campaign_cuts_only_when_asked_and_only_where_it_changes():
    named = [("c1", 0), (None, 1), ("c1", 2), ("c2", 3), (None, 4), ("c2", 5)]
    events = [event for campaign, minute in named for event in visit(minute, campaign=campaign)]
    assert spans(events, SessionRules()) == [(0, 5)]
    assert spans(events, SessionRules(campaign_cuts=True)) == [(0, 2), (3, 5)]


def test_times_before_1970_and_in_the_far_future_are_times():
    old, far = datetime(1901, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, tzinfo=UTC)
    events = [{"visitor": "v", "event_time": at + timedelta(minutes=m)} for at in (old, far) for m in (0, 0.5)]
    rows = sessions_of(plain.table(events), SessionRules(midnight_zone="Europe/Berlin"))
    assert rows["events"].to_pylist() == [2, 2]
    assert rows["started_at"].to_pylist() == [old, far]


def test_rows_without_a_visitor_or_with_a_time_no_calendar_has_are_refused_with_the_rule():
    moments = pa.array([0, None, 0, 0, 2**62, -(2**62)], pa.int64()).view(pa.timestamp("us", tz="UTC"))
    raw = pa.table({"visitor": ["a", "a", None, " ", "a", "a"], "event_time": moments})
    accepted, refused = split_events(raw)
    assert refused.to_pylist() == [None, "required", "required", "required", "time_out_of_range", "time_out_of_range"]
    assert accepted.schema.equals(EVENTS) and accepted.num_rows == 1


def test_nothing_in_nothing_out():
    assert sessions_of(EVENTS.empty_table(), SessionRules()).equals(SESSIONS.empty_table())


def test_one_visitor_with_a_million_events_in_an_unbroken_chain_is_cut_by_length():
    times = np.random.default_rng(1).permutation(1_000_000) * 1_000_000
    rows = pa.table({"visitor": ["robot"] * len(times), "event_time": pa.array(times).view(pa.timestamp("us", "UTC"))})
    sessions = sessions_of(complete(rows), SessionRules())
    assert sessions["events"].to_pylist() == [86_400] * 11 + [1_000_000 - 11 * 86_400]
    assert sessions["started_at"].cast(pa.int64()).to_pylist() == [day * 86_400_000_000 for day in range(12)]


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("90", 90), ("1.5h", 5400), ("500 ms", 0.5)])
def test_lengths_of_time(text, seconds):
    assert parse_seconds(text) == seconds


def test_gaps_by_channel():
    assert parse_gaps("30m") == (1800, ())
    assert parse_gaps("web=30m, app=5m") == (1800, (("web", 1800), ("app", 300)))
    assert parse_gaps("10m,app=5m") == (600, (("app", 300),))


@pytest.mark.parametrize("make", [
    lambda: SessionRules(gap_seconds=0), lambda: SessionRules(gap_seconds=90_000),
    lambda: SessionRules(midnight_zone="Mars/Phobos"), lambda: SessionRules(max_seconds=1e12),
    lambda: SessionRules(gap_seconds=float("nan")),
    lambda: parse_seconds("soon"), lambda: parse_gaps("web=1m,WEB=2m"), lambda: parse_gaps("=1m"),
])  # fmt: skip
def test_rules_that_make_no_sense_are_refused_early(make):
    with pytest.raises(UserError):
        make()
