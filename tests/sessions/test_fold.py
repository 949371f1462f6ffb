"""Folding: any split in any order closes exactly the sessions of the batch; what is late is said row by row."""

import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sessions import plain_sessions as plain
from transforms.errors import UserError
from transforms.sessions.event import EVENTS
from transforms.sessions.fold import AHEAD, END, LATE, OPEN, SessionState, Tolerance, finish, fold
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import SESSIONS, sessions_of

NOON = datetime(2010, 6, 1, 12, tzinfo=UTC)


def at(minutes: float, visitor: str = "v", **more) -> dict:
    return {"visitor": visitor, "event_time": NOON + timedelta(minutes=minutes), **more}


def us(minutes: float) -> int:
    return plain.micros(NOON + timedelta(minutes=minutes))


def ordered(rows: pa.Table) -> list[dict]:
    return sorted(rows.to_pylist(), key=lambda row: (row["visitor"], row["started_at"], row["session_id"]))


def pieces(events: list[dict], lateness_minutes: float, seed: int) -> list[tuple[list[dict], int]]:
    """(rows, watermark behind them): out of order, but no row after a watermark that would make it late."""
    draw = random.Random(seed)
    arrivals = sorted(events, key=lambda e: plain.micros(e["event_time"]) + draw.random() * lateness_minutes * 60e6)
    cut, watermark = [], None
    while arrivals:
        size = draw.choice((1, 1, 2, 5))
        rows, arrivals = arrivals[:size], arrivals[size:]
        # As far as anyone may say that the source is: what still comes is at most that late.
        ahead = min(plain.micros(e["event_time"]) for e in arrivals or rows) + round(lateness_minutes * 60e6)
        watermark = max(watermark or ahead, draw.choice((watermark or ahead, ahead)))
        cut.append((draw.sample(rows, len(rows)), watermark))
    return cut


@settings(max_examples=120, deadline=None)
@given(plain.events(), plain.rules, st.sampled_from((0, 7, 45)), st.integers(0, 2**32))
def test_any_split_in_any_order_within_the_lateness_closes_the_sessions_of_the_batch(events, rules, lateness, seed):
    tolerance = Tolerance(lateness * 60, 366 * 86_400)
    state, closed = SessionState.empty(), []
    for rows, watermark in pieces(events, lateness, seed):
        folded = fold(SessionState.from_bytes(state.to_bytes()), plain.table(rows), watermark, rules, tolerance)
        state = folded.state
        assert folded.late.num_rows == 0
        assert all(
            row["ended_at"] < plain.EPOCH + timedelta(microseconds=watermark) for row in folded.closed.to_pylist()
        )
        closed.append(folded.closed)
    closed.append(finish(state, rules).closed)
    found = pa.concat_tables(closed)
    assert found.schema.equals(SESSIONS)
    assert ordered(found) == ordered(sessions_of(plain.table(events), rules))


@settings(max_examples=80, deadline=None)
@given(plain.events(), plain.rules, st.integers(0, 2**32))
def test_rows_are_taken_up_or_late_and_none_is_lost_however_the_clock_runs(events, rules, seed):
    draw = random.Random(seed)
    state, late, counted, duplicates = SessionState.empty(), 0, 0, 0
    for event in events:
        watermark = us(draw.randrange(-100_000, 400))
        folded = fold(state, plain.table([event]), watermark, rules, Tolerance(600))
        state = folded.state
        late, duplicates = late + folded.late.num_rows, duplicates + folded.duplicates
        counted += sum(folded.closed["events"].to_pylist())
    counted += sum(finish(state, rules).closed["events"].to_pylist())
    assert counted + late + duplicates == len(events)


@settings(max_examples=60, deadline=None)
@given(plain.events(), st.integers(0, 2**32))
def test_with_a_clock_of_their_own_the_same_rows_are_late_however_they_are_cut(events, seed):
    """The clock of a row is the latest event time so far, as a partition tells it; all else follows from the rows."""
    clock, rows = -(2**60), []
    for position, event in enumerate(events):
        clock = max(clock, plain.micros(event["event_time"]))
        rows.append({**event, "clock": plain.EPOCH + timedelta(microseconds=max(clock, 0)), "position": position})
    results = []
    for size in (1, 4, len(rows) or 1):
        state, late, closed = SessionState.empty(), [], []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            table = pa.Table.from_pylist(part, schema=pa.schema([*LATE.remove(LATE.get_field_index("reason"))]))
            folded = fold(state, table, plain.micros(part[-1]["clock"]), SessionRules(), Tolerance(600))
            state = folded.state
            late += folded.late["position"].to_pylist()
            closed.append(folded.closed)
        closed.append(finish(state, SessionRules()).closed)
        results.append((sorted(late), ordered(pa.concat_tables(closed))))
    expected = [row["position"] for row in rows if row["clock"] - row["event_time"] > timedelta(minutes=10)]
    assert results[0] == results[1] == results[2]
    assert results[0][0] == expected


def test_a_session_leaves_when_the_watermark_has_passed_its_end_the_gap_and_the_lateness():
    state = fold(SessionState.empty(), plain.table([at(0)]), us(0), SessionRules(), Tolerance(600)).state
    early = fold(state, EVENTS.empty_table(), us(40) - 1, SessionRules(), Tolerance(600))
    assert early.closed.num_rows == 0 and early.state.rows.num_rows == 1
    due = fold(early.state, EVENTS.empty_table(), us(40), SessionRules(), Tolerance(600))
    assert due.closed.num_rows == 1 and due.state.rows.num_rows == 0


def test_late_is_before_the_clock_minus_the_lateness_and_the_clock_does_not_go_back():
    state = fold(SessionState.empty(), EVENTS.empty_table(), us(60), SessionRules(), Tolerance(600)).state
    folded = fold(
        state,
        plain.table([at(50, event_id="in"), at(50 - 1e-6, event_id="out")]),
        us(0),
        SessionRules(),
        Tolerance(600),
    )
    assert [(row["event_id"], row["reason"]) for row in folded.late.to_pylist()] == [("out", "late")]
    assert folded.state.watermark_us == us(60) and folded.state.rows["event_id"].to_pylist() == ["in"]


def test_a_row_from_the_future_is_set_aside_and_does_not_stay():
    folded = fold(SessionState.empty(), plain.table([at(0), at(60 * 24 * 400)]), us(0), SessionRules(), Tolerance())
    assert folded.late["reason"].to_pylist() == [AHEAD] and folded.state.rows.num_rows == 1


def test_a_late_row_between_two_open_sessions_merges_them():
    rules, tolerance = SessionRules(), Tolerance(3600)
    state = fold(SessionState.empty(), plain.table([at(0), at(50)]), us(50), rules, tolerance).state
    state = fold(state, plain.table([at(25)]), us(60), rules, tolerance).state
    assert [(row["events"], row["duration_seconds"]) for row in finish(state, rules).closed.to_pylist()] == [
        (3, 3000.0)
    ]


def test_an_event_that_comes_again_counts_once_also_after_its_session_left():
    again = [at(0, event_id="e")]
    state = fold(SessionState.empty(), plain.table(again + again), us(0), SessionRules()).state
    second = fold(state, plain.table(again), us(100), SessionRules())
    assert second.closed["events"].to_pylist() == [1] and second.duplicates == 1
    third = fold(second.state, plain.table(again), us(100), SessionRules())
    assert third.late.num_rows == 1 and third.closed.num_rows == 0


def test_state_is_bounded_by_the_longest_session_and_the_lateness():
    """A robot with an event a minute for ten days: never more than a session, a gap and the lateness in state."""
    rules, state, most = SessionRules(max_seconds=7200), SessionState.empty(), 0
    for hour in range(240):
        rows = plain.table([at(60 * hour + minute, event_id=f"{hour}-{minute}") for minute in range(60)])
        folded = fold(state, rows, us(60 * hour + 59), rules, Tolerance(600))
        state, most = folded.state, max(most, folded.state.rows.num_rows)
    assert most <= 120 + 10 + 60
    assert state.rows.schema.equals(OPEN)


def test_the_position_to_replay_from_is_that_of_the_oldest_open_row():
    rows = plain.table([at(0), at(100)]).append_column("position", pa.array([7, 8], pa.int64()))
    folded = fold(SessionState.empty(), rows, us(100), SessionRules())
    assert folded.closed.num_rows == 1 and folded.state.safe_position == 8
    assert fold(folded.state, EVENTS.empty_table(), END, SessionRules()).state.safe_position is None


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e9])
def test_a_lateness_that_makes_no_sense_is_refused(seconds):
    with pytest.raises(UserError):
        Tolerance(seconds)
