"""Stitching: a plain look forwards and backwards from each visit is the oracle."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.identity.stitch import StitchRules, device_column, follow_persons, place_visits, stitch_visits

START = datetime(2024, 1, 1, tzinfo=UTC)
RULES = StitchRules(look_back_seconds=10, carry_seconds=5)
SCHEMA = pa.schema([("device", pa.string()), ("at", pa.timestamp("us", tz="UTC")), ("customer", pa.string())])


def stitch(visits, rules=RULES):
    rows = [
        {"device": d, "at": None if at is None else START + timedelta(seconds=at), "customer": c} for d, at, c in visits
    ]
    table = stitch_visits(pa.Table.from_pylist(rows, schema=SCHEMA), rules)
    return [(row["stitched_customer"], row["stitch_rule"]) for row in table.to_pylist()]


def plain(visits, rules=RULES):
    found = []
    for device, at, customer in visits:
        if customer is not None:
            found.append((customer, "own"))
            continue
        logins = [(t, c) for d, t, c in visits if c is not None and t is not None and d == device and d is not None]
        before = [(t, c) for t, c in logins if at is not None and t <= at <= t + rules.carry_seconds]
        after = [(t, c) for t, c in logins if at is not None and at <= t <= at + rules.look_back_seconds]
        if before:
            latest = max(t for t, _ in before)
            found.append((min(c for t, c in before if t == latest), "after_login"))
        elif after:
            first = min(t for t, _ in after)
            found.append((min(c for t, c in after if t == first), "before_login"))
        else:
            found.append((None, None))
    return found


def test_before_a_login_after_it_and_beyond_its_reach():
    visits = [("d", 0, None), ("d", 10, None), ("d", 20, "ann"), ("d", 25, None), ("d", 26, None), ("e", 20, None)]
    assert stitch(visits) == [(None, None), ("ann", "before_login"), ("ann", "own"), ("ann", "after_login"),
                              (None, None), (None, None)]  # fmt: skip


def test_a_shared_device_is_cut_at_the_switch():
    visits = [("d", 0, None), ("d", 1, "ann"), ("d", 2, None), ("d", 3, "ben"), ("d", 4, None)]
    assert [who for who, _ in stitch(visits)] == ["ann", "ann", "ann", "ben", "ben"]


visit = st.tuples(st.sampled_from([None, "d", "e"]), st.none() | st.integers(0, 40),
                  st.sampled_from([None, None, "ann", "ben"]))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(visit, max_size=20), st.randoms(use_true_random=False))
def test_visits_go_where_a_plain_look_says_in_any_order(visits, draw):
    assert stitch(visits) == plain(visits)
    order = draw.sample(range(len(visits)), len(visits))
    assert stitch([visits[at] for at in order]) == [plain(visits)[at] for at in order]


def test_rows_follow_their_customers_person():
    rows = pa.table({"CUSTOMER_ID": ["c2", None, "c1", "c9", "c2"], "n": [1, 2, 3, 4, 5]})
    map = pa.table({"record": ["c1", "c2"], "person_id": ["p", "q"]})
    followed = follow_persons(rows, map, "CUSTOMER_ID")
    assert followed["person_id"].to_pylist() == ["q", None, "p", None, "q"] and followed["n"] == rows["n"]
    assert follow_persons(followed, map, "CUSTOMER_ID") == followed


def test_a_reach_is_no_less_than_nothing():
    with pytest.raises(ValueError, match="-1"):
        StitchRules(look_back_seconds=-1)


def test_a_visit_has_the_device_of_its_session_else_the_session():
    visits = pa.table({
        "device": pa.array([None, "d2", "d1", None, None, "d3"], pa.string()),
        "SESSION_ID": pa.array(["s", "s", "s", "t", None, None], pa.string()),
    })  # fmt: skip
    assert place_visits(visits)["device"].to_pylist() == ["d1", "d2", "d1", "t", None, "d3"]


def test_devices_are_known_by_common_names():
    assert device_column(["note", "Anonymous_Id", "cookieId"]) == "Anonymous_Id"
    assert device_column(["DEVICE_TYPE", "SESSION_ID"]) is None


def test_who_it_is_comes_with_the_login_that_says_so():
    at = [START + timedelta(seconds=s) for s in (1, 5, 8, 30)]
    visits = pa.table({"device": ["d"] * 4, "at": at, "customer": [None, "ann", None, None]})
    assert stitch_visits(visits, RULES)["login_at"].to_pylist() == [at[1], at[1], at[1], None]
