"""Delays of a stream's rows, against plain loops; and found again in the log of a table."""

import json
import math
from itertools import pairwise

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import Lake
from pipelines.report import arrivals
from pipelines.report.arrivals import ARRIVAL, COMMIT, EDGES, histogram, quantiles, rate, readable
from tests.gold.buckets import transaction
from transforms.bronze.envelope import bronze_schema
from transforms.contracts import CONTRACTS
from transforms.io.delta import append_rows

LOGS = ("hub/0", "hub/1")
TABLE = CONTRACTS["CUSTOMER_TRANSACTIONS"]
times = st.integers(0, 200_000_000)
placed = st.lists(st.tuples(st.sampled_from(LOGS), st.integers(0, 30), st.none() | times), max_size=40)
committed = st.dictionaries(st.sampled_from(LOGS), st.sets(st.integers(0, 30), max_size=8))


def arrived(delays_us, begin=0):
    rows = [("hub/0", n, begin, begin + delay) for n, delay in enumerate(delays_us)]
    return pl.DataFrame(rows, ARRIVAL, orient="row")


@given(placed, committed)
def test_a_row_is_readable_with_the_first_commit_that_reaches_its_position(rows, ends):
    commits = [(log, end, 1_000 * n) for log, several in ends.items() for n, end in enumerate(sorted(several))]
    frame = pl.DataFrame(rows, {"log": pl.String, "position": pl.Int64, "arrived_us": pl.Int64}, orient="row")
    found = readable(frame, pl.DataFrame(commits[::-1], COMMIT, orient="row"))
    expected = []
    for log, position, at in rows:
        reaching = [when for name, end, when in commits if name == log and end >= position]
        if at is not None and reaching:
            expected.append((log, position, at, min(reaching)))
    assert sorted(found.iter_rows()) == sorted(expected)


@given(st.lists(times, min_size=1, max_size=60))
def test_the_histogram_has_each_row_in_its_band_and_quantiles_are_nearest_ranks(delays):
    rows, seconds = arrived(delays), sorted(delay / 1e6 for delay in delays)
    bands = histogram(rows).rows()
    assert bands == [
        (low, high, sum(low < s <= high or (low == 0 and s == 0) for s in seconds)) for low, high, _ in bands
    ]
    assert sum(count for *_, count in bands) == len(delays) and bands[-1][2] > 0
    assert [band[:2] for band in bands] == list(pairwise(EDGES))[: len(bands)]
    found = quantiles(rows)
    assert found["p99_seconds"] == seconds[math.ceil(0.99 * len(seconds)) - 1]
    assert found["p50_seconds"] == seconds[math.ceil(0.5 * len(seconds)) - 1]
    assert found["max_seconds"] == seconds[-1]


@given(st.lists(st.tuples(times, times), min_size=1, max_size=40), st.sampled_from([1, 30, 5_000]))
def test_the_rate_counts_every_row_once_at_each_end(pairs, stretch):
    rows = [("hub/0", n, at * stretch, at * stretch + delay) for n, (at, delay) in enumerate(pairs)]
    frame = pl.DataFrame(rows, ARRIVAL, orient="row")
    found = rate(frame)
    seconds = found["second"].to_list()
    width = seconds[1] - seconds[0] if len(seconds) > 1 else 1
    assert len(seconds) <= 121 and seconds == list(range(0, width * len(seconds), width))
    begin = min(at for _, _, at, _ in rows)
    for name, which in (("arrived", 2), ("readable", 3)):
        for second, value in zip(seconds, found[name], strict=True):
            inside = sum(second <= (row[which] - begin) // 1_000_000 < second + width for row in rows)
            assert value * (width if len(seconds) > 1 else 1) == pytest.approx(inside) or len(seconds) == 1
    if len(seconds) > 1:
        assert found["arrived"].sum() * width == pytest.approx(len(rows)) == found["readable"].sum() * width


def test_clocks_that_differ_make_no_delay_below_zero():
    assert quantiles(arrived([-5, -1]))["max_seconds"] == 0
    assert histogram(arrived([-5, -1])).rows() == [(0.0, 0.25, 2)]


def bronze(log, positions, enqueued_us):
    schema = bronze_schema(TABLE)
    envelope = {"_ingested_at": 0, "_source": "s", "_run_id": "r", "_schema_version": 1, "_quality_score": 1.0}
    rows = [
        transaction(p) | envelope | {"_file": log, "_position": p, "_quality_issues": None, "_enqueued_at": enqueued_us}
        for p in positions
    ]
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)


def note(positions):
    return lambda done: json.dumps({"stream": "events", "rows": done.rows, "positions": positions})


def test_delays_are_found_in_the_log_of_bronze_and_files_have_none(tmp_path):
    lake = Lake(str(tmp_path / "lake"))
    uri = lake.bronze(TABLE)
    append_rows(uri, bronze("a.jsonl", [0, 7], None), note=lambda done: "a batch's note")
    assert arrivals.gather(lake) == {}
    append_rows(uri, bronze("hub/0", [0, 1], 0), note=note({"hub/0": 1}))
    append_rows(uri, bronze("hub/1", [5], 0), note=note({"hub/1": 5, "hub/0": 4}))
    found = arrivals.gather(lake)
    assert found["stream"]["rows"] == 3 and found["stream"]["late"] == 0 and found["stream"]["rejected"] == 0
    assert found["stream_delays"]["rows"].to_pylist()[-1] == 3  # enqueued in 1970


def test_only_the_newest_commits_are_looked_at_and_older_rows_not_blamed_on_them(tmp_path, monkeypatch):
    lake = Lake(str(tmp_path / "lake"))
    for n in range(6):
        append_rows(lake.bronze(TABLE), bronze("hub/0", [2 * n, 2 * n + 1], 0), note=note({"hub/0": 2 * n + 1}))
    assert arrivals.gather(lake)["stream"]["rows"] == 12
    monkeypatch.setattr(arrivals, "COMMITS", 3)
    assert arrivals.gather(lake)["stream"]["rows"] == 4  # the first commit says where it ends, not where it began
