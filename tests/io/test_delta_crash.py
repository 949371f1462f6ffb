"""Killed at every step, delivered twice, raced: no row is lost and none is there twice."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.io.delta_child import at_once, killed_write
from tests.io.delta_data import bag
from transforms.errors import PartlyCommitted
from transforms.io.delta import Append, Overwrite, Upsert, append_rows, committed, maintain, read_table, upsert_rows
from transforms.io.delta_commit import TableWrite, commit
from transforms.io.delta_rows import write_rows
from transforms.io.delta_sink import TableSink

FILES, COMMIT, TABLE = "transforms.io.delta_files:", "transforms.io.delta_commit:", "transforms.io.delta_table:"
PLACES = [
    (FILES + "FileWriter.write", "before", 1),
    (FILES + "FileWriter.write", "after", 1),
    (FILES + "FileWriter.close", "before", 2),
    (FILES + "FileWriter.close", "after", 2),
    (COMMIT + "prepare", "before", 1),
    (COMMIT + "prepare", "after", 1),
    (COMMIT + "_seen", "after", 1),
    (COMMIT + "_plan", "after", 1),
    (COMMIT + "_commit_once", "before", 1),
    (COMMIT + "_commit_once", "after", 1),
    *[(COMMIT + "_commit_once", str(seconds), 1) for seconds in (0.0002, 0.001, 0.002, 0.003, 0.005, 0.01)],
]
CREATE = [(COMMIT + "create_table", "before", 1), (COMMIT + "create_table", "after", 1),
          *[(COMMIT + "create_table", str(seconds), 1) for seconds in (0.0005, 0.002, 0.004)]]  # fmt: skip
UPSERT = [("transforms.io.delta_upsert:_match", "after", 1), ("transforms.io.delta_upsert:rewrite", "after", 1)]
SCHEMA = pa.schema([pa.field("K", pa.int64(), False), ("P", pa.string()), ("V", pa.string())])


def rows(keys: range, text: str) -> pa.Table:
    columns = {"K": list(keys), "P": [f"p {k % 3}" for k in keys], "V": [f"{text} {k}" for k in keys]}
    return pa.table(columns, schema=SCHEMA)


FIRST, SECOND = rows(range(100), "old"), rows(range(50, 150), "new")
MODES = {
    "append": (Append(), bag(pa.concat_tables([FIRST, SECOND]))),
    "upsert": (Upsert(("K",)), bag(pa.concat_tables([FIRST.slice(0, 50), SECOND]))),
    "overwrite": (Overwrite(), bag(SECOND)),
}
CASES = [(mode, *place) for mode in MODES for place in [*PLACES, *(UPSERT if mode == "upsert" else [])]]


@pytest.mark.parametrize(("mode", "place", "moment", "nth"), CASES)
def test_killed_and_run_again(tmp_path, mode, place, moment, nth):
    uri = str(tmp_path / "t")
    append_rows(uri, FIRST, partition_by=("P",))
    how, expected = MODES[mode]
    write = TableWrite(uri, SCHEMA, how, ("P",))
    assert killed_write(place, moment, nth, write, SECOND, (("run", 1), ("input", 7))) == -9
    assert bag(read_table(uri)) in (bag(FIRST), expected)  # all or nothing
    again = write_rows(write, SECOND, (("run", 1), ("input", 7)))
    assert bag(read_table(uri)) == expected
    assert write_rows(write, SECOND, (("run", 1), ("input", 7))).status == "skipped"
    assert bag(read_table(uri)) == expected
    assert committed(uri, ["run", "input", "other"]) == {"run": 1, "input": 7}
    maintain(uri, retention_hours=0, force=True)  # takes the dead child's files, and none that is alive
    assert bag(read_table(uri)) == expected and again.status in ("committed", "skipped")


@pytest.mark.parametrize(("place", "moment", "nth"), CREATE)
def test_killed_while_the_table_is_created(tmp_path, place, moment, nth):
    write = TableWrite(str(tmp_path / "t"), SCHEMA, Append(), ("P",))
    assert killed_write(place, moment, nth, write, FIRST, (("run", 1),)) == -9
    write_rows(write, FIRST, (("run", 1),))
    assert bag(read_table(write.uri)) == bag(FIRST)


def test_killed_between_new_column_and_rows(tmp_path):
    uri = str(tmp_path / "t")
    append_rows(uri, FIRST)
    more = SECOND.append_column("NEW", pa.array(["x"] * 100))
    write = TableWrite(uri, SCHEMA, Append(), evolve=True)
    assert killed_write(COMMIT + "add_columns", "after", 1, write, more, (("run", 1),)) == -9
    write_rows(write, more, (("run", 1),))
    assert read_table(uri).num_rows == 200 and read_table(uri)["NEW"].null_count == 100


@pytest.mark.parametrize("mode", MODES)
def test_files_delivered_twice_count_once(tmp_path, mode):
    uri = str(tmp_path / "t")
    append_rows(uri, FIRST, partition_by=("P",))
    how, expected = MODES[mode]
    write = TableWrite(uri, SCHEMA, how, ("P",))
    sink = TableSink(write)
    sink.add(SECOND)
    files = sink.finish()
    sink.close()
    assert commit(write, [*files, *files]).status == "committed"
    maintain(uri)  # after a compaction the same paths would otherwise double the rows
    assert commit(write, files).status == "skipped"
    assert bag(read_table(uri)) == expected


def test_writers_at_once_all_land(tmp_path):
    write = TableWrite(str(tmp_path / "t"), SCHEMA, Append(), ("P",))  # they also race to create it
    works = [
        [(write, rows(range(100 * i, 100 * i + 100), f"w{w}"), ((f"w{w}/{i}", 1),)) for i in range(5)] for w in range(3)
    ]
    results = [result for child in at_once(works) for result in child]
    assert [getattr(result, "status", result) for result in results] == ["committed"] * 15
    expected = pa.concat_tables([table for work in works for _, table, _ in work])
    assert bag(read_table(write.uri)) == bag(expected)


def test_the_same_transaction_lands_once(tmp_path):
    write = TableWrite(str(tmp_path / "t"), SCHEMA, Append())
    works = [[(write, FIRST, ((f"input/{i}", 1),)) for i in range(5)] for _ in range(3)]
    results = at_once(works)
    for i in range(5):
        assert sorted(child[i].status for child in results) == ["committed", "skipped", "skipped"]
    assert read_table(write.uri).num_rows == 500


def test_upserts_at_once_lose_nothing_and_double_nothing(tmp_path):
    schema = pa.schema([("K", pa.int64()), ("AT", pa.int64()), ("BY", pa.string())])
    write = TableWrite(str(tmp_path / "t"), schema, Upsert(("K",), ("AT",)))
    works = []
    for w in range(3):
        tables = [
            pa.table({"K": range(5 * i, 5 * i + 40), "AT": [i * 3 + w] * 40, "BY": [f"{w}/{i}"] * 40}, schema=schema)
            for i in range(4)
        ]
        works.append([(write, table, ((f"{w}/{i}", 1),)) for i, table in enumerate(tables)])
    results = [result for child in at_once(works) for result in child]
    assert [getattr(result, "status", result) for result in results] == ["committed"] * 12
    newest: dict[int, tuple[int, str]] = {}
    for work in works:
        for _, table, _ in work:
            for row in table.to_pylist():
                newest[row["K"]] = max(newest.get(row["K"], (-1, "")), (row["AT"], row["BY"]))
    stored = read_table(write.uri)
    assert sorted(stored["K"].to_pylist()) == sorted(newest)
    assert {row["K"]: (row["AT"], row["BY"]) for row in stored.to_pylist()} == newest


def test_an_overwrite_at_once_with_appends_keeps_what_came_after(tmp_path):
    uri = str(tmp_path / "t")
    whole = TableWrite(uri, SCHEMA, Overwrite(whole_table=True))
    append = TableWrite(uri, SCHEMA, Append())
    overwrites, appends = at_once(
        [[(whole, FIRST, (("o", i),)) for i in range(4)], [(append, SECOND, (("a", i),)) for i in range(4)]]
    )
    versions = [result.version for result in (*overwrites, *appends)]
    assert len(set(versions)) == 8  # eight commits, one after the other
    after = sum(result.version > overwrites[-1].version for result in appends)
    assert bag(read_table(uri)) == bag(pa.concat_tables([FIRST] + [SECOND] * after))


def test_part_of_the_input_taken_by_another_run(tmp_path):
    uri = str(tmp_path / "t")
    append_rows(uri, FIRST, (("file/a", 1),))
    with pytest.raises(PartlyCommitted, match="1 of 2 inputs"):
        append_rows(uri, SECOND, (("file/a", 1), ("file/b", 1)))
    assert bag(read_table(uri)) == bag(FIRST)
    append_rows(uri, SECOND, (("file/b", 1),))
    assert upsert_rows(uri, SECOND, ["K"], (("file/b", 1),)).status == "skipped"
