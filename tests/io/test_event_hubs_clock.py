"""Pieces of several partitions in an engine that believes whichever watermark it was told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transforms.io.event_hubs_clock import ArrivalClock

LOGS = ("a/0", "a/1", "b/0")
# A call for a partition: which one, its piece's time or the time that it is silent at, and whether the engine has
# taken what it gave out before the next call of any partition.
CALLS = st.lists(
    st.tuples(st.sampled_from(LOGS), st.sampled_from(["piece", "silent"]), st.integers(0, 1000), st.booleans())
)


def late(calls, clocks: dict[str, ArrivalClock]) -> list[str]:
    """Partitions whose piece was behind the highest watermark told when it reached the engine."""
    watermark, on_the_way, found = 0, dict[str, int](), list[str]()
    for log, kind, at, at_once in calls:
        clock = clocks[log]
        if on_the_way.pop(log, watermark) < watermark:  # it is called again: what it gave out has come
            found.append(log)
        clock.delivered(log)
        if kind == "piece":
            on_the_way[log] = clock.arrival(log, at)
            assert on_the_way[log] >= at
            told = clock.watermark(on_the_way[log])
        else:
            told = clock.watermark(at)
        assert told <= at or kind == "piece"
        if at_once and on_the_way.pop(log, watermark) < watermark:
            found.append(log)
        watermark = max(watermark, told)
    return found


@given(CALLS)
def test_with_one_clock_no_piece_is_late(calls):
    assert not late(calls, dict.fromkeys(LOGS, ArrivalClock()))


def test_with_a_clock_each_a_silent_partition_makes_the_piece_of_a_lagging_one_late():
    calls = [("a/0", "piece", 10, True), ("a/1", "silent", 900, True), ("a/0", "piece", 20, True)]
    assert late(calls, {log: ArrivalClock() for log in LOGS}) == ["a/0"]
    assert not late(calls, dict.fromkeys(LOGS, ArrivalClock()))


def test_a_piece_on_its_way_holds_the_others_until_its_partition_is_called_again():
    clock = ArrivalClock()
    clock.arrival("a/0", 100)
    assert clock.watermark(900) == 100
    clock.delivered("a/0")
    assert clock.watermark(900) == 900
    assert clock.arrival("a/0", 200) == 900
