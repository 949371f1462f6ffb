"""What is written is what is read: types, nulls, odd partition values, statistics, push-down."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from time import sleep
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.fs import DeltaStorageHandler
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.io.delta_data import COLUMNS, SCHEMA, bag, tables
from transforms.io.delta import append_rows, maintain, open_table, overwrite_rows, read_table
from transforms.io.delta_read import plan_scan, read_file

QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.shrink],
)
COMPARABLE = tuple(name for name in COLUMNS if name not in ("tags", "pair", "raw"))
PARTITIONABLE = ("text", "i32", "day", "flag", "money", "wall", "utc")


@pytest.fixture(scope="module")
def folder():
    path = tempfile.mkdtemp()
    yield path
    shutil.rmtree(path)


def fresh(folder: str) -> str:
    return tempfile.mkdtemp(dir=folder) + "/a täble/x"


@QUICK
@given(table=tables())
def test_rows_come_back_as_written(folder, table):
    uri = fresh(folder)
    append_rows(uri, table)
    assert bag(read_table(uri)) == bag(table)
    assert read_table(uri).schema.equals(table.schema)
    assert bag(DeltaTable(uri).to_pyarrow_table().select(table.column_names)) == bag(table)  # another reader agrees
    assert DeltaTable(uri).count() == len(table)


@QUICK
@given(table=tables(), by=st.sampled_from(PARTITIONABLE))
def test_any_partition_value_comes_back(folder, table, by):
    uri = fresh(folder)
    append_rows(uri, table, partition_by=(by,))
    if by == "text":  # Delta: the empty text is the null partition
        text = pc.if_else(pc.equal(table["text"], ""), pa.scalar(None, pa.string()), table["text"])
        table = table.set_column(table.column_names.index("text"), "text", text)
    assert bag(read_table(uri)) == bag(table)
    for value in set(table[by].to_pylist()) - {None}:
        mine = read_table(uri, where=[(by, "=", value)])
        assert bag(mine) == bag(table.filter(pc.equal(table[by], pa.scalar(value, table[by].type))))


CONDITION = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def oracle(table: pa.Table, where: list[tuple[str, str, Any]]) -> pa.Table:
    for name, operator, value in where:
        column = table[name]
        if operator in CONDITION:
            mask = CONDITION[operator](column, pa.scalar(value, column.type))
        elif operator == "in":
            mask = pc.is_in(column, value_set=pa.array([v for v in value if v is not None], column.type))
        else:
            mask = pc.is_null(column) if operator == "is_null" else pc.is_valid(column)
        table = table.filter(pc.fill_null(mask, False))
    return table


@st.composite
def conditions(draw, table: pa.Table) -> list[tuple[str, str, Any]]:
    found = []
    for name in draw(st.lists(st.sampled_from(COMPARABLE), min_size=1, max_size=2)):
        value = st.sampled_from([v for v in table[name].to_pylist() if v is not None] or [None]) | COLUMNS[name][1]
        operator = draw(st.sampled_from([*CONDITION, "in", "is_null", "not_null"]))
        if operator == "in":
            found.append((name, operator, draw(st.lists(value.filter(lambda v: v is not None), max_size=3))))
        else:
            found.append((name, operator, draw(value.filter(lambda v: v is not None))))
    return found


@settings(QUICK, max_examples=80)
@given(data=st.data())
def test_statistics_never_lose_a_matching_row(folder, data):
    uri = fresh(folder)
    by = data.draw(st.sampled_from([(), ("day",), ("text",), ("flag", "i8")]))
    parts = [data.draw(tables(COMPARABLE, 5)) for _ in range(3)]
    if "text" in by:
        parts = [part.filter(pc.fill_null(pc.not_equal(part["text"], ""), True)) for part in parts]
    for part in parts:
        append_rows(uri, part, partition_by=by)
    if data.draw(st.booleans()):
        maintain(uri)
    everything = pa.concat_tables(parts)
    where = data.draw(conditions(everything))
    assert bag(read_table(uri, where=where)) == bag(oracle(everything, where))


def test_files_are_left_out(tmp_path):
    uri = str(tmp_path / "t")
    for start in range(0, 5000, 1000):
        rows = pa.table({"K": list(range(start, start + 1000)), "D": [date(2024, 1, 1 + start // 2500)] * 1000})
        append_rows(uri, rows, partition_by=("D",))
    assert len(plan_scan(uri).files) == 5
    assert len(plan_scan(uri, where=[("D", "=", date(2024, 1, 2))]).files) == 2
    assert len(plan_scan(uri, where=[("K", ">=", 4000)]).files) == 1
    assert len(plan_scan(uri, where=[("K", "in", [1, 2500])]).files) == 3  # bounds of the list
    assert plan_scan(uri, where=[("K", "is_null", None)]).files == []


def test_row_groups_are_left_out(tmp_path, monkeypatch):
    uri = str(tmp_path / "t")
    monkeypatch.setattr("transforms.io.delta_files.ROW_GROUP_BYTES", 1 << 20)
    noise = np.random.default_rng(0).integers(0, 1 << 60, 8 * 65_536)
    with monkeypatch.context() as patch:
        patch.setattr("transforms.io.delta_sink.CHUNK_BYTES", 1 << 20)
        append_rows(uri, pa.table({"K": np.arange(8 * 65_536), "NOISE": noise}))
    read = 0
    for file in plan_scan(uri).files:
        counting = _Counting(uri)
        scan = plan_scan(uri, where=[("K", "<", 10)])
        found = list(read_file(scan, file, files=pafs.PyFileSystem(counting)))
        assert all(batch.num_rows == 10 for batch in found)
        read += counting.bytes
    assert 0 < read < sum(file.size for file in plan_scan(uri).files) / 3


class _Counting(DeltaStorageHandler):
    """A file system that counts the bytes read."""

    bytes = 0

    def open_input_file(self, path):
        inner, outer = self._handler.open_input_file(path), self

        class Counted:
            closed, mode = False, "rb"

            def __getattr__(self, name):
                return getattr(inner, name)

            def read(self, size=-1):
                data = inner.read(size)
                outer.bytes += len(data)
                return data

        return pa.PythonFile(Counted(), mode="r")


def test_statistics_hold_for_other_readers_too(tmp_path):
    uri, text = str(tmp_path / "t"), "z" * 31 + "\U0010ffff" + "tail"
    moment = datetime(2024, 5, 6, 7, 8, 9, 123456, UTC)
    rows = {"f64": [1.0, float("nan")], "f32": [1.5, None], "text": [text, "a"], "utc": [moment, None],
            "wall": [None, None], "money": [Decimal("-1.25"), Decimal("7.00")], "raw": [b"x", None],
            "pair": [{"a": 1, "b": "x"}, None], "flag": [True, None]}  # fmt: skip
    append_rows(uri, pa.table(rows, schema=pa.schema([SCHEMA.field(name) for name in rows])))
    log = (tmp_path / "t" / "_delta_log" / f"{1:020d}.json").read_text().splitlines()
    (add,) = (json.loads(line)["add"] for line in log if '"add"' in line)
    stats = json.loads(add["stats"])
    assert stats["numRecords"] == 2
    assert stats["nullCount"] == {
        "f64": 0, "f32": 1, "text": 0, "utc": 1, "wall": 2, "money": 0, "raw": 1, "flag": 1
    }  # fmt: skip
    # no bounds for a NaN (other engines hold it for the greatest), bytes and nested; ends rounded outwards
    assert stats["minValues"] == {
        "f32": 1.5, "text": "a", "utc": "2024-05-06T07:08:09.123Z", "money": -1.25, "flag": True
    }  # fmt: skip
    assert stats["maxValues"] == {
        "f32": 1.5, "text": "z" * 30 + "{", "utc": "2024-05-06T07:08:09.124Z", "money": 7, "flag": True
    }  # fmt: skip


def test_an_older_file_reads_new_columns_as_null(tmp_path):
    uri = str(tmp_path / "t")
    append_rows(uri, pa.table({"K": [1, 2]}))
    append_rows(uri, pa.table({"K": [3], "NEW": ["x"]}), evolve=True)
    assert bag(read_table(uri)) == {(1, None): 1, (2, None): 1, (3, "x"): 1}
    assert read_table(uri, where=[("NEW", "is_null", None)]).num_rows == 2
    assert read_table(uri, where=[("NEW", "!=", "y")]).num_rows == 1


def test_tables_of_other_writers_are_read(tmp_path):
    uri = str(tmp_path / "t")
    rows = pa.Table.from_pylist(
        [{"text": "a/b c%", "utc": datetime(2024, 1, 1, 1, 2, 3, 999999, UTC), "money": Decimal("1.50"), "i64": 7}],
        schema=pa.schema([SCHEMA.field(name) for name in ("text", "utc", "money", "i64")]),
    )
    write_deltalake(uri, rows, partition_by=["text"])
    append_rows(uri, rows, partition_by=("text",))
    assert bag(read_table(uri, rows.column_names)) == {k: 2 * n for k, n in bag(rows).items()}
    assert read_table(uri, where=[("utc", ">=", datetime(2024, 1, 1, 1, 2, 3, 999999, UTC))]).num_rows == 2


def test_time_travel_by_version_and_by_moment(tmp_path):
    uri = str(tmp_path / "t")
    moments = []
    for number in range(3):
        overwrite_rows(uri, pa.table({"K": [number]}), whole_table=True)
        moments.append(datetime.now(UTC))  # a version counts from when its log entry was there, not from when it began
        sleep(0.01)
    for number in range(3):
        assert read_table(uri, version=number + 1)["K"].to_pylist() == [number]
        assert read_table(uri, version=moments[number])["K"].to_pylist() == [number]


def test_files_are_cut_at_the_target_size(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.io.delta_files.ROW_GROUP_BYTES", 1 << 18)
    from transforms.io.delta_commit import TableWrite, commit
    from transforms.io.delta_modes import Append
    from transforms.io.delta_sink import TableSink

    rows = pa.table({"K": pa.array(range(1_000_000), pa.int64())})
    write = TableWrite(str(tmp_path / "t"), rows.schema, Append())
    sink = TableSink(write, target_bytes=100_000)
    for start in range(0, 1_000_000, 50_000):
        sink.add(rows.slice(start, 50_000))
        sink._hand_over()
    result = commit(write, sink.finish())
    sink.close()
    sizes = pa.table(open_table(write.uri).get_add_actions())["size_bytes"].to_pylist()
    assert result.rows == 1_000_000 and len(sizes) > 4 and min(sorted(sizes)[2:]) >= 100_000
    assert read_table(write.uri)["K"].combine_chunks().sort().equals(rows["K"].combine_chunks())
