"""`ReadDelta` and `WriteDelta` in pipelines: one commit, empty inputs, windows, retried bundles, death."""

from __future__ import annotations

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from tests.io.delta_child import CONTEXT, die_at
from tests.io.delta_data import bag
from transforms.batches import register_batch_coder
from transforms.errors import UserError
from transforms.io.delta import (
    Append,
    CommitResult,
    Overwrite,
    ReadDelta,
    Upsert,
    WriteDelta,
    append_rows,
    committed,
    open_table,
    read_table,
    table_version,
)

SCHEMA = pa.schema([pa.field("K", pa.int64(), False), ("P", pa.string()), ("V", pa.float64())])


def batches(number: int, parts: int = 4) -> pa.Table:
    keys = range(number * 100, number * 100 + 100)
    columns = {"K": list(keys), "P": [f"p/{k % parts}" for k in keys], "V": [k / 2 for k in keys]}
    return pa.table(columns, schema=SCHEMA)


def make(number: int):
    yield from batches(number).to_batches(max_chunksize=30)


def written(uri: str, numbers: list[int], runner=None, **options) -> list[CommitResult]:
    """Runs a pipeline that writes `batches` of these numbers; gives what it returned, by way of a table."""
    register_batch_coder()
    results = uri + "-results"
    with beam.Pipeline(runner or FnApiRunner()) as root:
        (
            root
            | beam.Create(numbers, reshuffle=False)
            | beam.FlatMap(make).with_output_types(pa.RecordBatch)
            | WriteDelta(uri, SCHEMA, **options)
            | beam.Map(_remember, results)
        )
    return [CommitResult(**row) for row in read_table(results).sort_by("version").to_pylist()]


def _remember(result: CommitResult, uri: str) -> None:
    append_rows(uri, pa.Table.from_pylist([vars(result)]))


def everything(numbers: list[int]) -> pa.Table:
    return pa.concat_tables([batches(number) for number in numbers])


@pytest.mark.parametrize("partition_by", [(), ("P",)])
def test_a_pipeline_writes_one_commit_and_reads_it_back(tmp_path, partition_by):
    uri = str(tmp_path / "t")
    (result,) = written(uri, [0, 1, 2], partition_by=partition_by, transactions=(("in", 3),))
    assert (result.status, result.rows, result.version, table_version(uri)) == ("committed", 300, 1, 1)
    assert result.files == len(pa.table(open_table(uri).get_add_actions()))
    assert bag(read_table(uri)) == bag(everything([0, 1, 2])) and committed(uri, ["in"]) == {"in": 3}

    copy = str(tmp_path / "copy")
    with beam.Pipeline(FnApiRunner()) as root:
        read = root | ReadDelta(uri, ("V", "K"), (("K", ">=", 150), ("P", "!=", "p/1")), batch_rows=7)
        read | "Small" >> beam.Filter(lambda batch: batch.num_rows > 7) | "Never" >> beam.Map(_fail)
        read | WriteDelta(copy, pa.schema([SCHEMA.field("V"), SCHEMA.field("K")]))
    wanted = [r for r in everything([0, 1, 2]).to_pylist() if r["K"] >= 150 and r["P"] != "p/1"]
    assert bag(read_table(copy)) == bag(pa.Table.from_pylist(wanted, schema=SCHEMA).select(["V", "K"]))


def _fail(batch: pa.RecordBatch) -> None:
    raise AssertionError(f"a batch of {batch.num_rows} rows")


def test_an_empty_input_creates_the_table_and_commits_the_transactions(tmp_path):
    uri = str(tmp_path / "t")
    (result,) = written(uri, [], transactions=(("in", 1),))
    assert (result.status, result.rows) == ("committed", 0)
    assert read_table(uri).schema.equals(SCHEMA) and committed(uri, ["in"]) == {"in": 1}
    with beam.Pipeline(FnApiRunner()) as root:
        root | ReadDelta(uri) | beam.Map(_fail)


def test_the_same_transactions_are_skipped(tmp_path):
    uri = str(tmp_path / "t")
    (first,) = written(uri, [0, 1], transactions=(("a", 1), ("b", 1)))
    files = sorted(tmp_path.glob("t/*.parquet"))
    both = written(uri, [0, 1], transactions=(("a", 1), ("b", 1)))
    assert first.status == "committed" and sorted(r.status for r in both) == ["committed", "skipped"]
    assert bag(read_table(uri)) == bag(everything([0, 1]))
    assert sorted(tmp_path.glob("t/*.parquet")) == files  # not even an orphan


def test_overwrite_takes_the_partitions_of_the_input(tmp_path):
    uri = str(tmp_path / "t")
    append_rows(uri, everything([0, 1]), partition_by=("P",))
    only = batches(2).filter(pa.compute.equal(batches(2)["P"], "p/3"))
    register_batch_coder()
    for mode, kept in ((Overwrite(), {"p/0", "p/1", "p/2"}), (Overwrite(whole_table=True), set())):
        with beam.Pipeline(FnApiRunner()) as root:
            rows = root | beam.Create([2]) | beam.FlatMap(lambda _: only.to_batches()).with_output_types(pa.RecordBatch)
            rows | WriteDelta(uri, SCHEMA, mode, ("P",))
        old = everything([0, 1])
        expected = [r for r in old.to_pylist() if r["P"] in kept] + only.to_pylist()
        assert bag(read_table(uri)) == bag(pa.Table.from_pylist(expected, schema=SCHEMA))


def test_each_window_commits_once(tmp_path):
    uri = str(tmp_path / "t")
    register_batch_coder()
    for _ in range(2):  # the second run finds each window's transaction
        with beam.Pipeline(FnApiRunner()) as root:
            rows = root | beam.Create([0, 1, 2]) | beam.FlatMap(_timed).with_output_types(pa.RecordBatch)
            rows | beam.WindowInto(FixedWindows(60)) | WriteDelta(uri, SCHEMA, transactions=(("stream", 1),))
    assert bag(read_table(uri)) == bag(everything([0, 1, 2])) and table_version(uri) == 3
    assert committed(uri, ["stream/59999", "stream/119999", "stream/179999"]).keys() == {
        "stream/59999", "stream/119999", "stream/179999"
    }  # fmt: skip


def _timed(number: int):
    for batch in make(number):
        yield TimestampedValue(batch, number * 60 + 1)


class _RaiseOnce(beam.DoFn):
    """Lets the bundle fail once per process and flag, after some elements went through."""

    def __init__(self, flag: str) -> None:
        self.flag = flag

    def process(self, element):
        yield element
        if _first(self.flag):
            raise RuntimeError("injected: the bundle is tried again")


_seen: set[str] = set()


def _first(flag: str) -> bool:
    first = flag not in _seen
    _seen.add(flag)
    return first


@pytest.mark.parametrize("mode", [Append(), Upsert(("K",)), Overwrite()])
@pytest.mark.parametrize("place", ["before", "after", "commit"])
def test_bundles_tried_again_double_nothing(tmp_path, monkeypatch, mode, place):
    uri, flag = str(tmp_path / "t"), str(tmp_path)
    append_rows(uri, batches(0))
    if place == "commit":
        import transforms.io.delta as module

        real = module.commit

        def commit_and_die_once(*arguments):
            result = real(*arguments)
            if _first(flag):
                raise RuntimeError("injected: died after the commit")
            return result

        monkeypatch.setattr(module, "commit", commit_and_die_once)
    register_batch_coder()
    with beam.Pipeline(BundleBasedDirectRunner()) as root:  # the one local runner that tries a bundle again
        rows = root | beam.Create([1, 2]) | beam.FlatMap(make).with_output_types(pa.RecordBatch)
        if place == "before":
            rows = rows | beam.ParDo(_RaiseOnce(flag)).with_output_types(pa.RecordBatch)
        results = rows | WriteDelta(uri, SCHEMA, mode)
        if place == "after":
            results | beam.ParDo(_RaiseOnce(flag))
    assert flag in _seen
    expected = everything([1, 2] if isinstance(mode, Overwrite) else [0, 1, 2])
    assert bag(read_table(uri)) == bag(expected)


def _pipeline_that_dies(uri: str, place: str, moment: str) -> None:
    die_at(place, moment)
    written(uri, [0, 1], transactions=(("in", 1),))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("place", ["transforms.io.delta:_WriteFilesFn.finish_bundle", "transforms.io.delta:commit"])
def test_a_killed_pipeline_run_again(tmp_path, place, moment):
    uri = str(tmp_path / "t")
    child = CONTEXT.Process(target=_pipeline_that_dies, args=(uri, place, moment))
    child.start()
    child.join(60)
    assert child.exitcode == -9
    written(uri, [0, 1], transactions=(("in", 1),))
    assert bag(read_table(uri)) == bag(everything([0, 1]))


def test_a_missing_table_reads_as_empty_or_says_so(tmp_path):
    uri = str(tmp_path / "none")
    with beam.Pipeline(FnApiRunner()) as root:
        root | ReadDelta(uri, missing_ok=True, schema=SCHEMA) | beam.Map(_fail)
    with pytest.raises(Exception, match="there is no table"), beam.Pipeline(FnApiRunner()) as root:
        root | ReadDelta(uri)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_file_bytes": 0}, "target_file_bytes is 0"),
        ({"transactions": (("a", 1), ("a", 2))}, "occurs twice"),
        ({"mode": Upsert(("NO",))}, "NO is missing"),
        ({"partition_by": ("V",)}, "partition column V has type double"),
        ({"partition_by": ("NO",)}, "partition column NO is missing"),
    ],
)
def test_wrong_options_are_refused_while_building(tmp_path, options, message):
    with pytest.raises((ValueError, UserError), match=message):
        WriteDelta(str(tmp_path / "t"), SCHEMA, **options)
