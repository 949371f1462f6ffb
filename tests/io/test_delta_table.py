"""What a write refuses, how a table grows, what upkeep does, and what a broken or foreign table answers."""

from __future__ import annotations

import json
import os
import random
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tests.io.delta_child import CONTEXT
from tests.io.delta_data import bag
from transforms.errors import SchemaMismatch, UserError
from transforms.io.delta import (
    NotAppendOnly,
    append_rows,
    arrow_schema,
    committed,
    evolve_schema,
    maintain,
    open_table,
    overwrite_rows,
    read_table,
    table_version,
    upsert_rows,
)
from transforms.io.delta_read import plan_scan, read_file

STRICT = pa.schema([pa.field("K", pa.int64(), False), ("T", pa.string()), ("M", pa.decimal128(10, 2))])
ROWS = pa.table({"K": [1, 2], "T": ["a", None], "M": [Decimal("1.25"), None]}, schema=STRICT)


@pytest.fixture
def uri(tmp_path):
    append_rows(str(tmp_path / "t"), ROWS)
    return str(tmp_path / "t")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS.append_column("X", pa.array([1, 2])), r"column X \(int64\) is not in the table"),
        (pa.table({"K": ["1"]}), "column K is string, the table has int64"),
        (pa.table({"T": ["1"]}), "column K must not be null and is missing"),
        (pa.table({"K": pa.array([None, 1], pa.int64())}), r"column K has 1 null\(s\) but must not be null"),
        (pa.table({"K": [1], "M": pa.array([Decimal("1.234")])}), "column M is decimal128"),
        (pa.table({"K": [1], "M": pa.array([1.5])}), "column M is double"),
        (pa.table({"K": [1], "T": pa.array([1], pa.duration("s"))}), "which Delta cannot store"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_the_commit(uri, rows, message):
    with pytest.raises(SchemaMismatch, match=message):
        append_rows(uri, rows)
    assert table_version(uri) == 1 and bag(read_table(uri)) == bag(ROWS)


def test_narrower_columns_and_missing_nullable_ones_fit(uri):
    append_rows(uri, pa.table({"M": pa.array([Decimal("7.5")], pa.decimal128(4, 1)), "K": pa.array([3], pa.int8())}))
    assert read_table(uri, where=[("K", "=", 3)]).to_pylist() == [{"K": 3, "T": None, "M": Decimal("7.50")}]


def test_check_constraints_are_kept(uri):
    DeltaTable(uri).alter.add_constraint({"positive": "K > 0"})
    with pytest.raises(SchemaMismatch, match=r"1 row\(s\) break the table's constraint \"K\" > 0"):
        append_rows(uri, pa.table({"K": [5, -5]}))
    assert append_rows(uri, pa.table({"K": [5]})).rows == 1
    upsert_rows(uri, pa.table({"K": [5], "T": ["new"]}), ["K"])
    assert read_table(uri, ["T"], [("K", "=", 5)]).to_pylist() == [{"T": "new"}]


def test_a_constraint_added_while_rows_are_written_stops_the_commit(uri):
    from transforms.io.delta_commit import TableWrite, commit
    from transforms.io.delta_modes import Append
    from transforms.io.delta_sink import TableSink

    write = TableWrite(uri, STRICT, Append())
    sink = TableSink(write)
    sink.add(ROWS)
    files = sink.finish()
    sink.close()
    DeltaTable(uri).alter.add_constraint({"small": "K < 100"})
    with pytest.raises(UserError, match="was added while the rows were written"):
        commit(write, files)


def test_the_layout_of_a_table_is_fixed(uri):
    with pytest.raises(SchemaMismatch, match=r"laid out by \(\), not \(T\)"):
        append_rows(uri, ROWS, partition_by=["T"])


def test_columns_are_added_and_types_widen(tmp_path):
    uri = str(tmp_path / "t")
    old = pa.schema([("I", pa.int32()), ("F", pa.float32()), ("D", pa.decimal128(5, 2)), ("P", pa.string())])
    rows = pa.table({"I": [1], "F": [1.5], "D": [Decimal("1.25")], "P": ["x"]}, schema=old)
    append_rows(uri, rows, (("in", 1),), partition_by=["P"])
    new = pa.schema([("I", pa.int64()), ("F", pa.float64()), ("D", pa.decimal128(9, 3)), ("P", pa.string()),
                     ("N", pa.string())])  # fmt: skip
    changes = evolve_schema(uri, new)
    assert changes == ["I: int32 to int64", "F: float to double", "D: decimal128(5, 2) to decimal128(9, 3)",
                       "N: added (string)"]  # fmt: skip
    assert evolve_schema(uri, new) == [] and evolve_schema(uri, old) == []
    assert arrow_schema(open_table(uri)).field("I").type == pa.int64() and committed(uri, ["in"]) == {"in": 1}
    big = pa.table({"I": [1 << 40], "F": [0.1], "D": [Decimal("1.125")], "P": ["y"], "N": ["n"]}, schema=new)
    append_rows(uri, big, partition_by=["P"])
    assert bag(read_table(uri).select(big.column_names)) == bag(big) + bag(
        rows.cast(pa.schema([new.field(n) for n in old.names])).append_column("N", pa.array([None], pa.string()))
    )
    with pytest.raises(SchemaMismatch, match="column I is int64 and cannot become bool"):
        evolve_schema(uri, pa.schema([("I", pa.bool_())]))


def since(uri: str, version: int) -> pa.Table:
    scan = plan_scan(uri, since=version)
    return pa.Table.from_batches([b for file in scan.files for b in read_file(scan, file)], scan.schema)


def test_rows_since_a_version_are_seen_through_compaction_and_widening(tmp_path):
    uri = str(tmp_path / "t")
    parts = [pa.table({"K": pa.array([i, i + 10], pa.int32())}) for i in range(4)]
    versions = [append_rows(uri, part).version for part in parts]
    maintain(uri)
    assert len(plan_scan(uri).files) == 1
    for i, version in enumerate(versions):
        assert bag(since(uri, version)) == bag(pa.concat_tables([*parts[i + 1 :], parts[0].slice(0, 0)]))
    evolve_schema(uri, pa.schema([("K", pa.int64())]))
    last = append_rows(uri, pa.table({"K": [99]}))
    assert sorted(since(uri, versions[2])["K"].to_pylist()) == [3, 13, 99]
    assert since(uri, versions[2]).schema.field("K").type == pa.int64()
    assert since(uri, last.version).num_rows == 0
    upsert_rows(uri, pa.table({"K": [99]}), ["K"])
    with pytest.raises(NotAppendOnly):
        since(uri, versions[2])


def test_maintain_changes_no_row_and_twice_is_once(tmp_path):
    uri = str(tmp_path / "t")
    parts = [pa.table({"K": range(i, i + 5), "P": ["a", "b", None, "a", "b"]}) for i in range(0, 60, 5)]
    for part in parts:
        append_rows(uri, part, partition_by=["P"])
    orphan = Path(uri) / "P=a" / "part-orphan.parquet"
    orphan.write_bytes(b"left by a dead run")
    with pytest.raises(UserError, match="retention of 1 h could remove files of a run under way"):
        maintain(uri, retention_hours=1)
    plan = maintain(uri, dry_run=True)
    assert (plan.files_before, plan.files_after, plan.vacuumed) == (36, 36, 0)
    first = maintain(uri)
    assert (first.files_before, first.files_after, first.checkpointed) == (36, 3, True) and orphan.exists()
    again = maintain(uri)
    assert (again.version, again.files_after, again.vacuumed, again.checkpointed) == (first.version, 3, 0, False)
    os.utime(orphan, (0, 0))  # a week has passed for this one
    assert maintain(uri).vacuumed == 1 and not orphan.exists()
    assert bag(read_table(uri)) == bag(pa.concat_tables(parts))
    assert bag(read_table(uri, where=[("P", "=", "a"), ("K", "<", 9)])) == bag(
        pa.Table.from_pylist([r for p in parts for r in p.to_pylist() if r["P"] == "a" and r["K"] < 9])
    )


def test_upsert_follows_a_plain_dictionary(tmp_path):
    rng, uri = random.Random(7), str(tmp_path / "t")
    schema = pa.schema(
        [("A", pa.string()), ("B", pa.int32()), ("AT", pa.int64()), ("P", pa.string()), ("V", pa.int64())]
    )
    model: dict[tuple, dict] = {}
    for step in range(12):
        batch = {}
        for _ in range(40):
            row = {"A": rng.choice(["x", "y", None]), "B": rng.randrange(15), "AT": rng.choice([None, 1, 2, 3]),
                   "P": rng.choice(["p", "q/%", None]), "V": rng.randrange(10**6)}  # fmt: skip
            batch[row["A"], row["B"]] = row
        kept = {k: r for k, r in batch.items() if k not in model or (model[k]["AT"] or 0) <= (r["AT"] or 0)}
        new = sum(key not in model for key in kept)
        rows = pa.Table.from_pylist(list(batch.values()), schema=schema)
        result = upsert_rows(uri, rows, ["A", "B"], order_by=["AT"], partition_by=["P"])
        assert (result.inserted, result.updated, result.stale) == (new, len(kept) - new, len(batch) - len(kept))
        model |= kept
        assert bag(read_table(uri)) == bag(pa.Table.from_pylist(list(model.values()), schema=schema)), step


def test_upsert_in_passes_gives_the_same(tmp_path, monkeypatch):
    old, new = ({"K": range(i, i + 1000), "V": [i] * 1000} for i in (0, 500))
    monkeypatch.setattr("transforms.io.delta_upsert.PASS_ROWS", 64)
    uri = str(tmp_path / "t")
    append_rows(uri, pa.table(old))
    result = upsert_rows(uri, pa.table(new), ["K"])
    assert (result.inserted, result.updated) == (500, 500)
    assert bag(read_table(uri)) == bag(pa.concat_tables([pa.table(old).slice(0, 500), pa.table(new)]))


def test_upsert_leaves_files_alone_that_lose_nothing(tmp_path):
    uri = str(tmp_path / "t")
    for start in range(0, 50, 10):
        append_rows(uri, pa.table({"K": range(start, start + 10)}))
    before = {file.path for file in plan_scan(uri).files}
    result = upsert_rows(uri, pa.table({"K": [13, 99]}), ["K"])
    assert (result.removed_files, len(before & {file.path for file in plan_scan(uri).files})) == (1, 4)


def test_upsert_refuses_two_rows_of_one_key_and_names_no_value(tmp_path):
    uri = str(tmp_path / "t")
    with pytest.raises(UserError, match=r"2 incoming rows share their key \(EMAIL\)") as caught:
        upsert_rows(uri, pa.table({"EMAIL": ["ann@example.org"] * 2, "V": [1, 2]}), ["EMAIL"])
    assert "ann" not in str(caught.value) and read_table(uri).num_rows == 0


def newer(uri: str, **protocol) -> None:
    path = Path(uri) / "_delta_log" / f"{table_version(uri) + 1:020d}.json"
    path.write_text(json.dumps({"protocol": protocol}) + "\n")


@pytest.mark.parametrize("feature", [None, "deletionVectors", "fromTheFuture"])
def test_a_table_of_a_newer_delta_is_refused_in_one_line(uri, feature):
    if feature is None:
        newer(uri, minReaderVersion=4, minWriterVersion=8)
    else:
        newer(uri, minReaderVersion=3, minWriterVersion=7, readerFeatures=[feature], writerFeatures=[feature])
    for attempt in (lambda: read_table(uri), lambda: append_rows(uri, ROWS), lambda: maintain(uri)):
        with pytest.raises(UserError, match="written by a newer version") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_a_writer_feature_we_lack_stops_writing_only(uri):
    newer(uri, minReaderVersion=1, minWriterVersion=7, writerFeatures=["rowTracking", "domainMetadata"])
    assert read_table(uri).num_rows == 2
    with pytest.raises(UserError, match="newer version"):
        append_rows(uri, ROWS)


@pytest.mark.parametrize("damage", ["truncate", "empty", "garbage"])
def test_a_broken_log_is_said_in_one_line(uri, damage):
    logs = sorted(Path(uri, "_delta_log").glob("*.json"))
    if damage == "truncate":
        logs[1].write_text(logs[1].read_text()[:100])
    for log in logs if damage != "truncate" else []:
        log.write_text("" if damage == "empty" else "\0\1garbage")
    with pytest.raises(UserError, match="_delta_log") as caught:
        read_table(uri)
    assert "\n" not in str(caught.value)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "t").write_text("not a folder")
    with pytest.raises(UserError):
        append_rows(str(tmp_path / "t"), ROWS)
    with pytest.raises(UserError, match=r"there is no table|not a folder"):
        read_table(str(tmp_path / "t"))


def _as_nobody(uri: str, results) -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)
    for attempt in (lambda: append_rows(uri, ROWS), lambda: read_table(uri)):
        try:
            attempt()
            results.put("allowed")
        except UserError as error:
            results.put(str(error))


def test_a_lake_without_permission_is_said_in_one_line(tmp_path):
    (tmp_path / "lake").mkdir()
    append_rows(str(tmp_path / "lake" / "t"), ROWS)
    (tmp_path / "lake").chmod(0)
    results = CONTEXT.Queue()
    child = CONTEXT.Process(target=_as_nobody, args=(str(tmp_path / "lake" / "t"), results))
    child.start()
    answers = [results.get(timeout=30) for _ in range(2)]
    child.join()
    (tmp_path / "lake").chmod(0o700)
    assert all("permission" in answer and "\n" not in answer for answer in answers), answers


def test_unknown_columns_operators_values_and_versions(uri):
    for options, message in [
        ({"columns": ["NO"]}, "column NO is not in the table"),
        ({"where": [("NO", "=", 1)]}, "column NO is not in the table"),
        ({"where": [("K", "~", 1)]}, "operator '~' is not known"),
        ({"where": [("K", "=", "secret")]}, "the value compared with K is not a int64"),
        ({"version": 99}, "the table has no version 99"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            read_table(uri, **options)
        assert "secret" not in str(caught.value)
    assert overwrite_rows(uri, ROWS.slice(0, 0), whole_table=True).removed_files == 1
    assert read_table(uri).num_rows == 0
