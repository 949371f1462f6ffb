"""Small files become few; what others do meanwhile stays."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake.exceptions import CommitFailedError

from transforms.io import delta_merge
from transforms.io.delta import append_rows, committed, open_table, overwrite_rows, read_table
from transforms.io.delta_merge import merge_files, replace_files

SCHEMA = pa.schema([pa.field("bucket", pa.int32(), nullable=False), ("key", pa.string()), ("value", pa.int64())])


def rows(first: int, count: int = 8) -> pa.Table:
    numbers = range(first, first + count)
    columns = [[n % 4 for n in numbers], [f"k{n % 40}" for n in numbers], list(numbers)]
    return pa.table(columns, schema=SCHEMA)


@pytest.fixture
def uri(tmp_path) -> str:
    for first in range(0, 80, 8):
        append_rows(str(tmp_path / "t"), rows(first))
    return str(tmp_path / "t")


def greatest(table: pa.Table) -> pa.Table:
    found = table.group_by(["bucket", "key"]).aggregate([("value", "max")])
    return found.rename_columns({"value_max": "value"}).select(SCHEMA.names).cast(SCHEMA)


def files(uri: str) -> int:
    return len(open_table(uri).file_uris())


def keys(uri: str) -> dict[str, int]:
    return {row["key"]: row["value"] for row in read_table(uri).sort_by("value").to_pylist()}


@pytest.mark.parametrize("pass_bytes", [1, 1 << 20])
def test_all_rows_of_a_key_are_merged_in_bounded_passes(uri, monkeypatch, pass_bytes):
    monkeypatch.setattr(delta_merge, "PASS_BYTES", pass_bytes)
    seen, before = [], keys(uri)
    assert (
        merge_files(uri, lambda part: seen.append(set(part["bucket"].to_pylist())) or greatest(part), "bucket", 4) == 10
    )
    assert len(seen) == (4 if pass_bytes == 1 else 1) and set.union(*seen) == {0, 1, 2, 3}
    assert files(uri) == 1 and read_table(uri).num_rows == 40
    assert keys(uri) == before


def test_few_files_are_left_alone_and_large_ones_until_the_small_are_as_much(uri):
    assert merge_files(uri, greatest, "bucket", 4, least=11) == 0
    assert files(uri) == 10
    noise = pc.random(300_000)
    big = pa.table([pa.array([0] * 300_000, pa.int32()), noise.cast(pa.string()), range(300_000)], schema=SCHEMA)
    append_rows(uri, big)
    assert merge_files(uri, greatest, "bucket", 4) == 10
    assert files(uri) == 2


def test_what_is_appended_meanwhile_stays_and_the_merge_tries_again(uri, monkeypatch):
    real, calls = delta_merge.try_commit, []

    def slow(uri, table, plan, transactions):
        calls.append(table.version())
        if len(calls) == 1:
            append_rows(uri, rows(1000))
        real(uri, table, plan, transactions)

    monkeypatch.setattr(delta_merge, "try_commit", slow)
    assert merge_files(uri, greatest, "bucket", 4) == 10
    assert len(calls) == 2 and files(uri) == 2
    assert set(range(1000, 1008)) <= set(read_table(uri)["value"].to_pylist())


def test_files_that_somebody_else_replaced_are_not_brought_back(uri, monkeypatch):
    def slower(uri, table, plan, transactions):
        overwrite_rows(uri, rows(5000), whole_table=True)
        raise CommitFailedError("somebody was faster")

    monkeypatch.setattr(delta_merge, "try_commit", slower)
    assert merge_files(uri, greatest, "bucket", 4) == 0
    assert read_table(uri)["value"].to_pylist() == list(range(5000, 5008))


def test_replacing_takes_every_file_with_the_transaction_though_another_was_faster(uri, monkeypatch):
    real, calls = delta_merge.try_commit, []

    def raced(uri, table, plan, transactions):
        calls.append(1)
        if len(calls) == 1:
            overwrite_rows(uri, rows(5000), whole_table=True)
            raise CommitFailedError("somebody was faster")
        return real(uri, table, plan, transactions)

    monkeypatch.setattr(delta_merge, "try_commit", raced)
    replace_files(uri, lambda part: part, "bucket", 4, (("map", 7),))
    assert committed(uri, ["map"]) == {"map": 7}
    assert sorted(read_table(uri)["value"].to_pylist()) == list(range(5000, 5008))
