"""The replayed hour: against the rows it was cut from, and what was done to them on purpose."""

import json
from dataclasses import replace
from datetime import datetime

import polars as pl
import pytest

from transforms.contracts import CONTRACTS
from transforms.generator.frames import HOUR, MINUTE
from transforms.generator.replay import STREAMED, arrivals
from transforms.generator.retailer import build_shard
from transforms.generator.spec import GeneratorSpec

SPEC = GeneratorSpec(customers=1_500, days=1).clean
BEGIN = SPEC.start_us + 15 * HOUR
TIMED = {
    "CUSTOMER_TRANSACTIONS": "TRANSACTION_DATE",
    "CUSTOMER_SESSION_DATA": "SESSION_START",
    "CUSTOMER_BEHAVIORAL_EVENTS": "EVENT_DATE",
    "CUSTOMER_ENGAGEMENT_EVENTS": "ENGAGEMENT_DATE",
}


def micros(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


@pytest.fixture(scope="module")
def clean():
    return arrivals(SPEC, BEGIN)


@pytest.fixture(scope="module")
def rows(clean):
    return [dict(row, **json.loads(row["line"])) for row in clean.to_dicts()]


def test_each_row_of_the_hour_is_there_once_with_all_columns(clean, rows):
    tables = build_shard(SPEC, 0).tables
    for name, column in TIMED.items():
        found = sorted(row[CONTRACTS[name].key[0]] for row in rows if row["table"] == name)
        source = pl.DataFrame(pl.from_arrow(tables[name]))
        at = source[column].cast(pl.Datetime("us")).cast(pl.Int64)
        assert found == sorted(source.filter(at.is_between(BEGIN, BEGIN + HOUR, closed="left"))[CONTRACTS[name].key[0]])
    for row in rows:
        assert set(CONTRACTS[row["table"]].names) <= set(row)
    assert set(clean["table"]) == set(STREAMED)


def test_rows_come_at_their_time_in_order_and_lines_of_orders_with_their_order(clean, rows):
    assert clean["arrives_us"].is_sorted()
    assert (clean["arrives_us"] == clean["event_us"]).all()
    at = {row["TRANSACTION_ID"]: row for row in rows if row["table"] == "CUSTOMER_TRANSACTIONS"}
    for row in rows:
        if row["table"] in TIMED:
            assert row["event_us"] == micros(row[TIMED[row["table"]]])
            assert row["who"] == (row["CUSTOMER_ID"] or row.get("SESSION_ID"))
        elif row["table"] == "CUSTOMER_TRANSACTION_ITEMS":
            order = at[row["TRANSACTION_ID"]]
            assert (row["event_us"], row["who"]) == (order["event_us"], order["CUSTOMER_ID"])
        else:
            assert micros(row["PREFERENCE_DATE"] + "T00:00:00+00:00") <= row["event_us"] < BEGIN + HOUR


def test_late_rows_come_minutes_later_within_the_hour_and_nothing_else_moves(clean):
    late = arrivals(replace(SPEC, late_share=0.3), BEGIN)
    assert late["arrives_us"].is_sorted() and sorted(late["line"]) == sorted(clean["line"])
    moved = late.filter(pl.col("arrives_us") != pl.col("event_us"))
    minutes = (moved["arrives_us"] - moved["event_us"]) / MINUTE
    assert 0.05 < moved.height / late.height < 0.3
    assert minutes.is_between(15, 45).all() and (moved["arrives_us"] < BEGIN + HOUR).all()
    assert set(moved["table"]) <= set(TIMED)


def test_broken_lines_are_lines_still_and_the_same_every_time(clean):
    spec = replace(SPEC, broken_share=0.2)
    broken = arrivals(spec, BEGIN)
    changed = set(clean["line"]) - set(broken["line"])
    assert 0.1 < len(changed) / clean.height < 0.3
    assert broken.drop("line").equals(clean.drop("line")) and broken.equals(arrivals(spec, BEGIN))
