"""Funnels, ways and journeys against plain versions that walk each person's steps by hand."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.gold.attribution.touchpoints import TOUCHPOINTS, AttributionRules, cut_paths
from transforms.gold.journeys.between import WAYS, count_ways, merge_ways
from transforms.gold.journeys.funnel import count_funnel, funnel, merge_funnels
from transforms.gold.journeys.paths import (
    count_journeys,
    merge_journeys,
    time_to_convert,
    transition_shares,
)
from transforms.gold.journeys.steps import STEPS_TAKEN, order_steps, quantile_of_counts, whole_seconds

SECOND = 1_000_000
quick = settings(max_examples=60, deadline=None)
steps_of_some = st.lists(
    st.fixed_dictionaries(
        {"person": st.sampled_from("pqr"), "time": st.integers(0, 40), "step": st.sampled_from("ABCD")}
    ),
    max_size=25,
)
orders = st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=4)


def table(rows: list[dict]) -> pa.Table:
    columns = {"person": [r["person"] for r in rows], "time": [r["time"] * SECOND for r in rows],
               "step": [r["step"] for r in rows]}  # fmt: skip
    return pa.table(
        columns, schema=pa.schema([("person", pa.string()), ("time", pa.int64()), ("step", pa.string())])
    ).cast(STEPS_TAKEN)


def walk(rows: list[dict], person: str) -> list[tuple[int, str]]:
    return sorted((r["time"], r["step"]) for r in rows if r["person"] == person)


def attempt(steps: list[tuple[int, str]], start: int, wanted: list[str], window: int) -> int:
    """How many of the wanted steps an attempt from this place takes."""
    taken, place = 1, start
    for name in wanted[1:]:
        later = [n for n in range(place + 1, len(steps)) if steps[n][1] == name]
        if not later or steps[later[0]][0] - steps[start][0] > window:
            break
        taken, place = taken + 1, later[0]
    return taken


@given(steps_of_some, orders, st.sampled_from([None, 0, 5, 20]))
@quick
def test_a_funnel_is_what_each_person_comes_to_at_best(rows, wanted, window):
    found = funnel(count_funnel(order_steps(table(rows)), wanted, window), wanted)
    best = []
    for person in "pqr":
        steps = walk(rows, person)
        starts = [n for n, (_, name) in enumerate(steps) if name == wanted[0]]
        best.append(max((attempt(steps, s, wanted, 10**9 if window is None else window) for s in starts), default=0))
    assert found["persons"].to_pylist() == [sum(depth > n for depth in best) for n in range(len(wanted))]


@given(steps_of_some, orders)
@quick
def test_a_funnel_never_rises_and_merges(rows, wanted):
    whole = count_funnel(order_steps(table(rows)), wanted)
    parts = [count_funnel(order_steps(table([r for r in rows if r["person"] in who])), wanted) for who in ("q", "pr")]
    assert merge_funnels(parts).equals(whole)
    found = funnel(whole, wanted).to_pylist()
    assert all(a["persons"] >= b["persons"] for a, b in pairwise(found))
    assert sum(row["dropped_persons"] for row in found) == found[0]["persons"] - found[-1]["persons"]


def test_the_times_of_a_funnel_are_from_step_to_step():
    rows = [{"person": p, "time": t, "step": s} for p, s, t in
            (("p", "A", 0), ("p", "B", 10), ("q", "A", 5), ("q", "B", 35), ("q", "C", 36), ("r", "A", 1))]  # fmt: skip
    found = funnel(count_funnel(order_steps(table(rows)), ["A", "B", "C"]), ["A", "B", "C"]).to_pylist()
    assert [r["median_seconds_from_previous"] for r in found] == [None, 10.0, 1.0]
    assert [r["p90_seconds_from_previous"] for r in found] == [None, 30.0, 1.0]
    assert [r["share_of_first"] for r in found] == pytest.approx([1, 2 / 3, 1 / 3])


@given(steps_of_some, st.sampled_from("ABCD"), st.sampled_from("ABCDE"))
@quick
def test_ways_are_those_that_each_person_took(rows, start, goal):
    counted: Counter = Counter()
    for person in "pqr":
        steps = walk(rows, person)
        first = next((n for n, (_, name) in enumerate(steps) if name == start), None)
        if first is None:
            continue
        end = next((n for n in range(first + 1, len(steps)) if steps[n][1] == goal), None)
        if end is None:
            counted[(False, steps[-1][1], 0)] += 1
        else:
            names = [name for name, _ in groupby(name for _, name in steps[first + 1 : end])]
            way = " > ".join(names[:8]) + (" > ..." if len(names) > 8 else "")
            counted[(True, way, steps[end][0] - steps[first][0])] += 1
    found = count_ways(order_steps(table(rows)), start, goal)
    assert {tuple(r.values())[:3]: r["persons"] for r in found.to_pylist()} == dict(counted)
    parts = [
        count_ways(order_steps(table([r for r in rows if r["person"] in who])), start, goal) for who in ("q", "pr")
    ]
    assert merge_ways(parts).equals(found) and found.schema == WAYS


touches_of_some = st.lists(
    st.fixed_dictionaries(
        {"person": st.sampled_from("pqr"), "channel": st.sampled_from(["A", "B", None]), "time": st.integers(0, 60),
         "conversion": st.booleans(), "value_units": st.integers(0, 9)}
    ), max_size=25,
)  # fmt: skip


def journeys_of(rows: list[dict]):  # type: ignore[no-untyped-def]
    columns = {name: [r[name] for r in rows] for name in TOUCHPOINTS.names}
    columns["time"] = [second * SECOND for second in columns["time"]]
    plain = pa.schema([f.with_type(pa.int64()) if f.name == "time" else f for f in TOUCHPOINTS])
    return cut_paths(pa.table(columns, schema=plain).cast(TOUCHPOINTS), AttributionRules(lookback_days=20 / 86_400))


@given(touches_of_some)
@quick
def test_journeys_flow_from_entries_to_exits_without_loss(rows):
    paths = journeys_of(rows)
    found = count_journeys(paths)
    flows = pl.DataFrame(transition_shares(found.transitions))
    journeys = paths.ends.filter(pl.col("count") > 0).height
    assert flows.filter(pl.col("from_step") == "(start)")["journeys"].sum() == journeys
    for name in "AB":
        assert (
            flows.filter(pl.col("to_step") == name)["journeys"].sum()
            == flows.filter(pl.col("from_step") == name)["journeys"].sum()
            == paths.touches.filter(pl.col("channel") == name).height
        )
    sold = paths.ends.filter(pl.col("converted") & (pl.col("count") > 0))
    assert flows.filter(pl.col("to_step") == "(conversion)")["journeys"].sum() == sold.height
    told = pl.DataFrame(found.paths)
    assert (told["journeys"].sum(), told.filter("converted")["journeys"].sum()) == (journeys, sold.height)
    assert pl.DataFrame(found.times)["journeys"].sum() == sold.height
    for (step,), some in flows.group_by("from_step"):
        assert some["share"].sum() == pytest.approx(1), step
    parts = [count_journeys(journeys_of([r for r in rows if r["person"] in who])) for who in ("q", "pr")]
    merged = merge_journeys(parts)
    assert merged.transitions.equals(found.transitions) and merged.paths.equals(found.paths)
    assert merged.times.equals(found.times)


def test_time_to_convert_runs_from_the_first_touch():
    steps = (("A", 0, False), ("B", 7, False), (None, 9, True), ("B", 15, False), (None, 16, True))
    rows = [{"person": "p", "channel": c, "time": t, "conversion": s, "value_units": 1} for c, t, s in steps]
    found = time_to_convert(count_journeys(journeys_of(rows)).times).to_pylist()
    assert [(r["entry_step"], r["journeys"], r["median_seconds"]) for r in found] == [("A", 1, 9.0), ("B", 1, 1.0)]
    assert "A > B > (conversion)" in count_journeys(journeys_of(rows)).paths["path"].to_pylist()


@given(st.lists(st.integers(0, 10**12), min_size=1))
@quick
def test_seconds_are_cut_by_less_than_a_hundredth(values):
    exact = np.array(values) // SECOND
    cut = whole_seconds(np.array(values))
    assert (cut <= exact).all() and (exact - cut <= exact / 100).all()
    some = quantile_of_counts(exact, np.ones(len(exact), np.int64), 0.5)
    assert some == sorted(exact)[(len(values) - 1) // 2]
