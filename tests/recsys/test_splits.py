"""What is held out: nothing learnt from is as late as what is judged, and every held row is accounted for."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from recsys.evaluate.splits import at_time, leave_last_out, parse_split
from recsys.interactions import INTERACTIONS, encode
from tests.recsys.test_interactions import START, rows, table
from transforms.errors import UsageError


@given(rows)
@settings(max_examples=100, deadline=None)
def test_the_last_basket_is_held_out_and_nothing_later_is_learnt(some):
    split = leave_last_out(log := encode(table(some)), repeats=True)
    for place, user in enumerate(split.users):
        moment = split.now[place]
        mine, learnt = log.users == user, split.train.users == user
        assert split.train.seconds[learnt].max() < moment
        wanted = split.targets.items[split.targets.offsets[place] : split.targets.offsets[place + 1]]
        assert set(wanted) <= set(log.items[mine & (log.seconds >= moment)])
        assert learnt.sum() == (mine & (log.seconds < moment)).sum()
    judged = {log.user_ids[int(user)] for user in split.users}
    several = {r[0] for r in some if any(o[0] == r[0] and o[2] < r[2] and (not o[4] or o[4] != r[4]) for o in some)}
    assert judged <= several
    assert np.array_equal(np.unique(split.train.users), np.unique(log.users))  # who is not judged is learnt from


@given(rows)
@settings(max_examples=60, deadline=None)
def test_in_file_order_one_row_is_held_out(some):
    split = leave_last_out(log := encode(table(some), in_file_order=True), repeats=True)
    sizes = np.bincount(log.users, minlength=len(log.user_ids))
    assert split.users.tolist() == np.flatnonzero(sizes > 1).tolist()
    assert (split.targets.counts == 1).all()
    assert len(split.train) == len(log) - len(split.users)
    assert split.targets.items.tolist() == log.items[log.starts[1:][split.users] - 1].tolist()


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
