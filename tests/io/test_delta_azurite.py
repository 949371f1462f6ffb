"""The same sink and source on Azure Blob storage, as Azurite serves it."""

from __future__ import annotations

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from deltalake.exceptions import CommitFailedError

from tests.io.delta_child import at_once, killed_write
from tests.io.delta_data import bag
from transforms.batches import register_batch_coder
from transforms.io import storage
from transforms.io.delta import (
    Append,
    ReadDelta,
    Upsert,
    WriteDelta,
    append_rows,
    evolve_schema,
    maintain,
    open_table,
    read_table,
    upsert_rows,
)
from transforms.io.delta_commit import TableWrite
from transforms.io.delta_landed import new_attempt
from transforms.io.delta_log import LogTail, TableLog, sum_up
from transforms.io.delta_rows import write_rows
from transforms.io.delta_table import create_table, existing_table, explain

pytestmark = pytest.mark.azurite
SCHEMA = pa.schema([pa.field("K", pa.int64(), False), ("P", pa.string()), ("V", pa.string())])


def rows(start: int, count: int = 60) -> pa.Table:
    keys = range(start, start + count)
    columns = {"K": list(keys), "P": [["a b", "c/d %", None][k % 3] for k in keys], "V": [f"ü {k}" for k in keys]}
    return pa.table(columns, schema=SCHEMA)


@pytest.fixture(params=["az", "abfss", "azfs"])
def uri(request, azurite):
    return {
        "az": f"az://{azurite.container}/bronze/orders",
        "abfss": f"abfss://{azurite.container}@{azurite.account}.dfs.core.windows.net/bronze/orders",
        "azfs": f"azfs://{azurite.account}/{azurite.container}/bronze/orders",
    }[request.param]


def make(start: int):
    yield from rows(start).to_batches(max_chunksize=25)


def test_pipelines_write_and_read(uri):
    assert open_table(uri) is None
    register_batch_coder()
    for _ in range(2):  # the second time is skipped
        with beam.Pipeline(FnApiRunner()) as root:
            made = root | beam.Create([0, 60]) | beam.FlatMap(make).with_output_types(pa.RecordBatch)
            made | WriteDelta(uri, SCHEMA, partition_by=("P",), transactions=(("in", 1),))
    assert bag(read_table(uri)) == bag(rows(0, 120))
    copy = storage.join(uri, "..", "copy").replace("orders/../", "")
    with beam.Pipeline(FnApiRunner()) as root:
        root | ReadDelta(uri, where=(("P", "=", "c/d %"), ("K", "<", 50))) | WriteDelta(copy, SCHEMA, Upsert(("K",)))
    assert sorted(read_table(copy)["K"].to_pylist()) == [k for k in range(50) if k % 3 == 1]


def test_upsert_evolve_and_maintain(uri):
    for start in (0, 60, 120):
        append_rows(uri, rows(start), partition_by=["P"])
    result = upsert_rows(uri, rows(90), ["K"], (("up", 1),), partition_by=["P"])
    assert (result.inserted, result.updated) == (0, 60)
    assert evolve_schema(uri, SCHEMA.append(pa.field("N", pa.int32()))) == ["N: added (int32)"]
    done = maintain(uri)
    assert done.files_after == 3 and done.checkpointed
    assert maintain(uri, retention_hours=0, force=True).vacuumed > 0
    assert bag(read_table(uri, SCHEMA.names)) == bag(rows(0, 180))


def test_killed_and_raced(azurite):
    uri = f"az://{azurite.container}/t"
    append_rows(uri, rows(0))
    write = TableWrite(uri, SCHEMA, Upsert(("K",)))
    for place in ("_commit_once", "_plan"):
        for moment in ("before", "after"):
            transactions = ((f"{place}/{moment}", 1),)
            assert killed_write(f"transforms.io.delta_commit:{place}", moment, 1, write, rows(30), transactions) == -9
            write_rows(write, rows(30), transactions)
            assert bag(read_table(uri)) == bag(rows(0, 90))
    append = TableWrite(uri, SCHEMA, Append())
    works = [[(append, rows(1000 * w + 100 * i), ((f"{w}/{i}", 1),)) for i in range(1, 4)] for w in range(3)]
    results = [result for child in at_once(works) for result in child]
    assert [getattr(result, "status", result) for result in results] == ["committed"] * 9
    assert read_table(uri).num_rows == 90 + 9 * 60


def test_a_stream_s_entries_are_written_once_whoever_is_first(uri):
    create_table(uri, SCHEMA)
    one, two = TableLog(uri), TableLog(uri)
    assert one.append([], [("s", 1)], "first", new_attempt()) == 1
    with pytest.raises(CommitFailedError):
        two.append([], [("s", 9)], "second", new_attempt())
    two.refresh()
    assert two.transaction_version("s") == 1
    assert two.append([], [("s", 2)], "", new_attempt()) == 2
    assert [version for version, _ in LogTail(uri, 0).new()] == [1, 2]
    assert sum_up(uri, least=2) and existing_table(uri).transaction_version("s") == 2


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AZURE_STORAGE_ACCOUNT_KEY", "bm8=", "no permission"),
        ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:9/devstoreaccount1", "does not answer"),
    ],
)
def test_a_storage_that_refuses_or_is_silent_is_no_entry_of_another(azurite, monkeypatch, name, value, told):
    uri = f"az://{azurite.container}/stream"
    create_table(uri, SCHEMA)
    log = TableLog(uri)
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.setenv(name, value)
    with pytest.raises(OSError, match="while writing") as failed:
        log.append([], [("s", 1)], "", new_attempt())
    assert not isinstance(failed.value, FileExistsError)
    assert told in str(explain(failed.value, uri)) and value not in str(failed.value)
