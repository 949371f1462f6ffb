"""GroupBatches: every row in one bucket, rows with one key together, the same with and without spilling."""

import os
import resource

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.shuffle import GroupBatches, bucket_of, spill_folder, split_buckets, tables_of

texts = st.lists(st.none() | st.text(max_size=5), max_size=30)


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(1, 9))
def test_splitting_keeps_every_row_and_keeps_keys_together(values, buckets):
    batch = pa.RecordBatch.from_pydict(
        {"K": pa.array(values, pa.string()), "N": pa.array(range(len(values)), pa.int64())}
    )
    home: dict = {}
    seen = []
    for bucket, rows in split_buckets(batch, ("K",), buckets):
        for row in rows.to_pylist():
            assert home.setdefault(row["K"], bucket) == bucket
            seen.append(row["N"])
    assert sorted(seen) == list(range(len(values)))


def test_buckets_are_about_equal():
    table = pa.table({"K": [f"C{i}" for i in range(50_000)]})
    sizes = np.bincount(bucket_of(table, ("K",), 10), minlength=10)
    assert sizes.min() > 4_500 and sizes.max() < 5_500  # 5,000 each; six standard deviations are 402


@pytest.mark.parametrize("spill", [True, False])
def test_two_inputs_meet_in_their_bucket(tmp_path, spill):
    def batches(name: str, rows: int):
        return [
            pa.RecordBatch.from_pydict({"K": [f"C{i % 40}" for i in range(a, a + 50)], name: list(range(a, a + 50))})
            for a in range(0, rows, 50)
        ]

    def check(found):
        left = [row for _, tables in found for row in tables["left"].to_pylist()]
        right = [row for _, tables in found for row in tables["right"].to_pylist()]
        assert sorted(row["A"] for row in left) == list(range(200))
        assert sorted(row["B"] for row in right) == list(range(100))
        for _, tables in found:
            assert set(tables["left"]["K"].to_pylist()) == set(tables["right"]["K"].to_pylist())
        assert 1 < len(found) <= 4

    with beam.Pipeline(runner=FnApiRunner()) as root:
        inputs = {
            "left": root | "Left" >> beam.Create(["A"]) | "L" >> beam.FlatMap(lambda name: batches(name, 200)),
            "right": root | "Right" >> beam.Create(["B"]) | "R" >> beam.FlatMap(lambda name: batches(name, 100)),
        }
        grouped = inputs | GroupBatches({"left": ("K",), "right": ("K",)}, 4, str(tmp_path) if spill else None)
        assert_that(grouped | beam.MapTuple(lambda bucket, parts: (bucket, tables_of(parts))), check)
    assert spill == any(tmp_path.iterdir())


def test_more_buckets_than_files_may_be_open(tmp_path):
    """Every row comes back, and spilling into 600 buckets keeps within 64 open files."""
    rows = 40_000

    def batches(_):
        for start in range(0, rows, 10_000):  # two schemas: a column that came later
            keys = [f"K{i}" for i in range(start, start + 10_000)]
            later = {"LATER": ["x"] * 10_000} if start >= 20_000 else {}
            yield pa.RecordBatch.from_pydict({"K": keys, "N": list(range(start, start + 10_000)), **later})

    def check(found):
        tables = [tables_of(parts)["left"] for _, parts in found]
        assert sorted(n for table in tables for n in table["N"].to_pylist()) == list(range(rows))
        later = pa.concat_tables(tables, promote_options="default")
        assert later["LATER"].null_count == 20_000
        assert len(found) == 600

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 64, hard))
    try:
        with beam.Pipeline(runner=FnApiRunner()) as root:
            left = root | beam.Create([0]) | beam.FlatMap(batches)
            grouped = {"left": left} | GroupBatches({"left": ("K",)}, 600, str(tmp_path))
            assert_that(grouped | beam.MapTuple(lambda bucket, parts: (bucket, list(parts))), check)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_workers_that_share_no_disk_spill_nowhere():
    with spill_folder(False) as nowhere:
        assert nowhere is None
    with spill_folder(True) as folder:
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)
