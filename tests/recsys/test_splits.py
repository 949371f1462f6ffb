"""What is held out: nothing learnt from is as late as what is judged, and every held row is accounted for."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.evaluate.splits import at_time, leave_last_out, parse_split
from recsys.interactions import INTERACTIONS, encode
from tests.recsys.test_interactions import START, rows, table
from transforms.errors import UsageError


def held_plainly(some, most):
    """{user: [(moment, items) of the baskets held out]} and the users judged, row by row."""
    bought = [row for row in some if row[3] in (None, "purchase", "rating")] or list(some)
    found = {}
    for user in {row[0] for row in bought}:
        baskets = {}
        for row in bought:
            if row[0] == user:
                mates = [r[2] for r in some if row[4] is not None and (r[0], r[4]) == (user, row[4])] or [row[2]]
                baskets.setdefault((min(mates), row[4] or ""), set()).add(row[1])
        last = sorted(baskets, key=lambda key: (key[0], key[1] != "", key[1]))  # rows without a basket come first
        last = last[-max(1, min(most, len(last) // 5)) :]
        early = [row for row in some if row[0] == user and row[2] < min(moment for moment, _ in last)]
        if early:
            found[user] = [(moment, baskets[moment, name]) for moment, name in last]
    return found


@given(rows, st.sampled_from([1, 2, 5]))
@settings(max_examples=150, deadline=None)
def test_the_last_baskets_are_held_out_and_nothing_later_is_learnt(some, most):
    split = leave_last_out(log := encode(table(some)), True, most)
    wanted, names = held_plainly(some, most), log.item_ids.to_list()
    begin = int(START.timestamp())
    got = {}
    for place, user in enumerate(split.users):
        basket = split.targets.items[split.targets.offsets[place] : split.targets.offsets[place + 1]]
        got.setdefault(log.user_ids[int(user)], []).append(
            ((split.now[place] - begin) // 3600, {names[item] for item in basket})
        )
        rows_before = slice(*split.histories.offsets[place : place + 2])
        known = (log.users == user) & (log.seconds < split.now[place])
        assert split.histories.items[rows_before].tolist() == log.items[known].tolist()
    assert {user: sorted(lists, key=str) for user, lists in got.items()} == {
        user: sorted(lists, key=str) for user, lists in wanted.items()
    }
    for user in range(len(log.user_ids)):
        mine, held = split.train.users == user, wanted.get(log.user_ids[user])
        until = begin + 3600 * min(moment for moment, _ in held) if held else np.inf
        assert mine.sum() == ((log.users == user) & (log.seconds < until)).sum()
    assert np.array_equal(np.unique(split.train.users), np.unique(log.users))  # who is not judged is learnt from


@given(rows)
@settings(max_examples=60, deadline=None)
def test_in_file_order_one_row_is_held_out(some):
    split = leave_last_out(log := encode(table(some), in_file_order=True), repeats=True)
    last = {int(user): int(np.flatnonzero(log.bought & (log.users == user))[-1]) for user in log.users[log.bought]}
    judged = {user: row for user, row in last.items() if row > log.starts[user]}
    assert split.users.tolist() == sorted(judged)
    assert split.targets.items.tolist() == [log.items[judged[user]] for user in sorted(judged)]
    rest = sum(log.starts[user + 1] - row for user, row in judged.items())
    assert len(split.train) == len(log) - rest


@given(rows)
@settings(max_examples=60, deadline=None)
def test_without_repeats_nothing_known_is_asked_for(some):
    log = encode(table(some))
    at = START.timestamp() + 6 * 3600
    pairs = [(leave_last_out(log, True), leave_last_out(log)), (at_time(log, at, True), at_time(log, at))]
    for every, new in pairs:
        assert set(new.users) <= set(every.users)
        for place, user in enumerate(new.users):
            wanted = set(new.targets.items[new.targets.offsets[place] : new.targets.offsets[place + 1]].tolist())
            known = set(new.train.items[new.train.users == user].tolist())
            assert wanted and known and not wanted & known


def test_a_date_parts_the_log():
    some = [("a", "u", 0, None, None), ("a", "v", 30, None, None), ("b", "u", 30, None, None)]
    split = parse_split("time:2020-01-02", log := encode(table(some)))
    assert split.train.seconds.tolist() == [int(START.timestamp())]
    assert split.users.tolist() == [0] and split.targets.items.tolist() == [1]  # b was not known before
    assert split.now.tolist() == [int(datetime(2020, 1, 2, tzinfo=UTC).timestamp())]
    for wrong in ("last", "time:", "time:soon", "leave-last-out:x", "time:1990-01-01", "time:2030-01-01"):
        with pytest.raises(UsageError):
            parse_split(wrong, log)


def test_a_basket_over_two_times_is_held_out_whole():
    times = [START + timedelta(hours=h) for h in (0, 5, 7, 6)]
    made = pa.table([["a"] * 4, ["u", "v", "w", "x"], times, [None] * 4, ["1", "2", "2", "3"]], schema=INTERACTIONS)
    split = leave_last_out(encode(made))
    assert split.train.item_ids.gather(split.train.items).to_list() == ["u", "v"]  # w came after the last basket began
    assert split.train.item_ids.gather(split.targets.items).to_list() == ["x"]


@given(rows, st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_some_lists_are_all_lists_of_some_people(some, most):
    split = leave_last_out(encode(table(some)), True, 5)
    part = split.some(most, 1)
    people, lists = len(set(split.users)), len(split.users)
    assert len(set(part.users)) == (people if lists <= most else max(1, people * most // lists))
    assert part.train is split.train
    whole = {user: sum(split.users == user) for user in part.users}
    assert {user: sum(part.users == user) for user in part.users} == whole
    places = np.flatnonzero(np.isin(split.users, part.users))
    assert part.now.tolist() == split.now[places].tolist()
    assert part.targets.counts.tolist() == split.targets.counts[places].tolist()
    assert part.histories.items.tolist() == split.histories.rows(places).items.tolist()
