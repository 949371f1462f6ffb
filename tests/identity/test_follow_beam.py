"""Rows follow their customer's person and visits their login, over buckets as in one table."""

import random
from datetime import UTC, datetime, timedelta

import apache_beam as beam
import polars as pl
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from transforms.identity.follow import VISITORS, AttributeVisits, FollowPersons, StitchVisits
from transforms.identity.stitch import StitchRules, attribute_visits, place_visits, stitch_visits, summarise_visits

START = datetime(2024, 1, 1, tzinfo=UTC)


def source(root, name, table):
    return (
        root
        | name >> beam.Create([name])
        | f"Read{name}" >> beam.FlatMap(lambda _: table.to_batches(max_chunksize=40)).with_output_types(pa.RecordBatch)
    )


def test_rows_get_the_person_of_their_customer():
    rows = pa.table({"CUSTOMER_ID": [None if n % 7 == 0 else f"C{n % 30}" for n in range(200)], "n": range(200)})
    map = pa.table({"record": [f"customers:C{n}" for n in range(25)] + ["crm:C26"],
                    "person_id": [f"p{n // 2}" for n in range(26)]})  # fmt: skip

    def check(batches):
        found = pl.concat([pl.DataFrame(batch) for batch in batches]).sort("n")
        assert found["n"].to_list() == list(range(200))
        for customer, _, person in found.iter_rows():
            number = None if customer is None else int(customer[1:])
            assert person == (f"p{number // 2}" if number is not None and number < 25 else None)

    with beam.Pipeline(runner=FnApiRunner()) as root:
        assert_that((source(root, "rows", rows), source(root, "map", map)) | FollowPersons(3), check)


def test_visits_are_stitched_over_buckets_as_in_one_table():
    draw = random.Random(2)
    times = [START + timedelta(hours=draw.randrange(2_000)) for _ in range(300)]
    sessions = [draw.randrange(60) for _ in range(300)]
    visits = pa.table({
        "device": pa.array([draw.choice([None, f"d{n % 20}"]) for n in sessions], pa.string()),
        "SESSION_ID": [f"s{n}" for n in sessions],
        "at": pa.array(times, pa.timestamp("us", tz="UTC")),
        "customer": pa.array([draw.choice([None, None, None, "ann", "ben"]) for _ in range(300)], pa.string()),
    })  # fmt: skip
    rules = StitchRules(86_400 * 5, 86_400 * 2)
    expected = pl.DataFrame(summarise_visits(stitch_visits(place_visits(visits), rules)))
    assert expected["visits"].sum() == 300 and expected["device"].n_unique() > 20  # and sessions
    assert expected["stitch_rule"].n_unique() == 4

    def check(batches):
        assert all(batch.schema == VISITORS for batch in batches)
        found = pl.concat([pl.DataFrame(batch) for batch in batches])
        order = ["device", "SESSION_ID", "first_at", "CUSTOMER_ID", "stitch_rule"]
        assert found.sort(order, nulls_last=True).equals(expected.sort(order, nulls_last=True))

    with beam.Pipeline(runner=FnApiRunner()) as root:
        assert_that(source(root, "visits", visits) | StitchVisits(rules, 4), check)


def test_rows_without_a_customer_get_that_of_their_visitor():
    draw = random.Random(5)
    times = [START + timedelta(hours=draw.randrange(500)) for _ in range(300)]
    rows = pa.table({
        "n": range(300),
        "SESSION_ID": pa.array([draw.choice([None, *(f"s{k}" for k in range(40))]) for _ in range(300)], pa.string()),
        "CUSTOMER_ID": pa.array([draw.choice([None, None, "ann", "ben"]) for _ in range(300)], pa.string()),
        "EVENT_DATE": pa.array(times, pa.timestamp("us", tz="UTC")),
    })  # fmt: skip
    visits = rows.select(["SESSION_ID", "SESSION_ID", "CUSTOMER_ID", "EVENT_DATE"])
    stitched = stitch_visits(visits.rename_columns(["device", "SESSION_ID", "customer", "at"]), StitchRules(9e5, 9e5))
    visitors = summarise_visits(stitched)
    expected = stitched["stitched_customer"].to_pylist()  # each visit by itself is the oracle of their runs
    assert expected != rows["CUSTOMER_ID"].to_pylist()

    def check(batches):
        found = pl.concat([pl.DataFrame(batch) for batch in batches]).sort("n")
        assert found["CUSTOMER_ID"].to_list() == expected and found.columns == rows.column_names

    assert attribute_visits(rows, visitors, "EVENT_DATE")["CUSTOMER_ID"].to_pylist() == expected
    with beam.Pipeline(runner=FnApiRunner()) as root:
        inputs = (source(root, "rows", rows), source(root, "visitors", visitors))
        assert_that(inputs | AttributeVisits("EVENT_DATE", 3), check)
