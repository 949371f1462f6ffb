"""A table amended holds what it was given, and rows that were there already stay in their files."""

from __future__ import annotations

import shutil
import tempfile

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.io.delta_data import COLUMNS, bag, tables
from transforms.io.delta import Amend, TableWrite, amend_rows, append_rows, open_table, read_table, write_rows


@pytest.fixture(scope="module")
def folder():
    path = tempfile.mkdtemp()
    yield path
    shutil.rmtree(path)


def files(uri: str) -> set[str]:
    return set(open_table(uri).file_uris())


def numbers(low: int, high: int) -> pa.Table:
    tags = pa.array([[str(n), None] for n in range(low, high)], pa.list_(pa.string()))
    return pa.table({"n": pa.array(range(low, high), pa.int64()), "tags": tags})


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=tables(max_rows=8), after=tables(max_rows=8), kept=st.integers(0, 8), by=st.sampled_from([(), ("text",)]))
def test_any_table_becomes_any_other(folder, before, after, kept, by):
    assert set(COLUMNS) == set(before.column_names)
    uri = tempfile.mkdtemp(dir=folder) + "/t"
    wanted = pa.concat_tables([before.slice(0, kept), after, after.slice(0, 1)])
    if by:  # Delta: the empty text is the null partition
        at = before.column_names.index("text")
        filled = [pa.array([value or "x" for value in t["text"].to_pylist()], pa.string()) for t in (before, wanted)]
        before, wanted = (t.set_column(at, "text", c) for t, c in zip((before, wanted), filled, strict=True))
    append_rows(uri, before, partition_by=by)
    write_rows(TableWrite(uri, wanted.schema, Amend(), by), wanted)
    assert bag(read_table(uri)) == bag(wanted)


def test_only_files_in_which_something_changed_are_written_again(tmp_path):
    uri = str(tmp_path / "t")
    for low in (0, 10, 20, 30):
        append_rows(uri, numbers(low, low + 10))
    before = files(uri)
    holding = {name: pa.parquet.read_table(name)["n"].to_pylist() for name in before}
    now = pa.concat_tables([numbers(0, 13), numbers(14, 42)])  # 13 goes, 40 and 41 come
    done = amend_rows(uri, now)
    assert (done.rows, done.inserted, done.removed_files) == (41, 2, 1)
    stayed = before & files(uri)
    assert sorted(n for name in stayed for n in holding[name]) == [*range(0, 10), *range(20, 40)]
    assert bag(read_table(uri)) == bag(now)


def test_the_same_rows_again_change_nothing_but_the_note(tmp_path):
    uri = str(tmp_path / "t")
    append_rows(uri, numbers(0, 10))
    before, version = files(uri), open_table(uri).version()
    shuffled = numbers(0, 10).sort_by([("n", "descending")])
    assert amend_rows(uri, shuffled).version == version  # no note, no commit
    assert amend_rows(uri, shuffled, note=lambda done: "looked").version == version + 1
    assert files(uri) == before


def test_rows_that_occur_twice_are_counted(tmp_path):
    uri = str(tmp_path / "t")
    append_rows(uri, numbers(0, 3))
    twice = pa.concat_tables([numbers(0, 3), numbers(0, 2)])
    amend_rows(uri, twice)
    assert bag(read_table(uri)) == bag(twice)
    amend_rows(uri, numbers(0, 3))
    assert bag(read_table(uri)) == bag(numbers(0, 3))
    assert amend_rows(uri, numbers(0, 0)).rows == 0 and not read_table(uri).num_rows
