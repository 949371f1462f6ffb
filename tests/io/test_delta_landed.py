"""A commit that raised may have landed: no file that the table names is ever deleted, and no row is there twice."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from tests.io.delta_data import bag
from transforms.errors import UserError
from transforms.io import delta_commit, delta_table, storage
from transforms.io.delta import Append, Overwrite, Upsert, append_rows, committed, evolve_schema, read_table
from transforms.io.delta_commit import TableWrite
from transforms.io.delta_committer import PositionCommitter
from transforms.io.delta_landed import Outcome, landed
from transforms.io.delta_merge import merge_files
from transforms.io.delta_positions import positions, take_over
from transforms.io.delta_ranges import StreamWrite, write_ranges
from transforms.io.delta_rows import write_rows
from transforms.io.delta_table import open_table
from transforms.positions import Piece

SCHEMA = pa.schema([pa.field("K", pa.int64(), False), pa.field("B", pa.int32(), False), ("V", pa.string())])
ERRORS = [CommitFailedError, DeltaError, OSError]


def rows(keys: range, text: str) -> pa.Table:
    return pa.table({"K": list(keys), "B": [0] * len(keys), "V": [text] * len(keys)}, schema=SCHEMA)


FIRST, SECOND = rows(range(100), "old"), rows(range(50, 150), "new")
MODES = {
    "append": (Append(), bag(pa.concat_tables([FIRST, SECOND]))),
    "upsert": (Upsert(("K",)), bag(pa.concat_tables([FIRST.slice(0, 50), SECOND]))),
    "overwrite": (Overwrite(), bag(SECOND)),
}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    append_rows(str(tmp_path / "t"), FIRST)
    return str(tmp_path / "t")


def grow(uri: str, version: int) -> None:
    """Brings the table to `version`, its rows still FIRST."""
    write = TableWrite(uri, SCHEMA, Overwrite())
    while (table := open_table(uri)) is not None and table.version() < version:
        write_rows(write, FIRST, ((f"grow/{table.version()}", 1),))


def block_checkpoints(uri: str) -> None:
    """What stands where the checkpoints of versions 9 to 20 belong cannot be replaced, as on a full disk."""
    for version in range(9, 21):
        (Path(uri) / "_delta_log" / f"{version:020d}.checkpoint.parquet" / "x").mkdir(parents=True)


def on_disk(uri: str) -> set[str]:
    return {str(path) for path in Path(uri).glob("**/*.parquet") if "_delta_log" not in path.parts}


def named(uri: str) -> set[str]:
    table = open_table(uri)
    assert table is not None
    return {str(Path(path)) for path in table.file_uris()}


class Faulty:
    """Stands for the commit itself: the first one lands or not, and raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: type[Exception], lands: bool) -> None:
        self.calls, self._error, self._lands = 0, error, lands
        self._real = delta_commit._commit_once
        monkeypatch.setattr(delta_commit, "_commit_once", self)

    def __call__(self, *args: object) -> None:
        self.calls += 1
        if self.calls > 1 or self._lands:
            self._real(*args)
        if self.calls == 1:
            raise self._error("the answer was lost")


@pytest.mark.parametrize("mode", MODES)
def test_a_checkpoint_that_cannot_be_written_undoes_no_commit(uri, mode):
    grow(uri, 8)
    block_checkpoints(uri)
    how, expected = MODES[mode]
    write, stands = TableWrite(uri, SCHEMA, how), FIRST
    for version in (9, 10, 11):
        stands = pa.concat_tables([stands, SECOND])
        result = write_rows(write, SECOND, ((f"run/{version}", 1),))
        assert (result.status, result.version) == ("committed", version)
        assert bag(read_table(uri)) == (bag(stands) if mode == "append" else expected)
        assert write_rows(write, SECOND, ((f"run/{version}", 1),)).status == "skipped"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("mode", MODES)
def test_a_commit_that_landed_and_raised_is_committed(uri, monkeypatch, mode, error):
    how, expected = MODES[mode]
    faulty = Faulty(monkeypatch, error, lands=True)
    result = write_rows(TableWrite(uri, SCHEMA, how), SECOND, (("run", 1),))
    table = open_table(uri)
    assert (result.status, result.version, faulty.calls) == ("committed", table.version(), 1)
    assert bag(read_table(uri)) == expected and committed(uri, ["run"]) == {"run": 1}


@pytest.mark.parametrize("mode", MODES)
def test_a_conflict_is_tried_again_and_leaves_no_file(uri, monkeypatch, mode):
    how, expected = MODES[mode]
    before, faulty = on_disk(uri), Faulty(monkeypatch, CommitFailedError, lands=False)
    assert write_rows(TableWrite(uri, SCHEMA, how), SECOND, (("run", 1),)).status == "committed"
    assert bag(read_table(uri)) == expected and faulty.calls == 2
    assert on_disk(uri) <= before | named(uri) | _delivered(uri, SECOND.num_rows)


def _delivered(uri: str, count: int) -> set[str]:
    """The file that was handed to the commit; an upsert writes others from it and leaves it to the vacuum."""
    return {path for path in on_disk(uri) - named(uri) if _text(path) == ["new"] * count}


def _text(path: str) -> list[str]:
    return pq.read_table(path)["V"].to_pylist()


@pytest.mark.parametrize("error", [DeltaError, OSError])
def test_an_upsert_that_failed_leaves_none_of_its_rewritten_files(uri, monkeypatch, error):
    Faulty(monkeypatch, error, lands=False)
    with pytest.raises(UserError, match="the answer was lost"):
        write_rows(TableWrite(uri, SCHEMA, Upsert(("K",))), SECOND, (("run", 1),))
    assert on_disk(uri) - named(uri) == _delivered(uri, SECOND.num_rows)
    assert bag(read_table(uri)) == bag(FIRST) and committed(uri, ["run"]) == {}


def test_an_upsert_in_doubt_keeps_its_files_for_the_request_that_is_under_way(uri, monkeypatch):
    faulty = Faulty(monkeypatch, OSError, lands=False)
    held: list[tuple] = []
    real, faulty._real = faulty._real, lambda *args: None
    monkeypatch.setattr(delta_commit, "_commit_once", lambda *args: held.append(args) or faulty(*args))
    monkeypatch.setattr(delta_commit, "landed", lambda *args: Outcome.UNKNOWN)
    with pytest.raises(UserError, match="the answer was lost"):
        write_rows(TableWrite(uri, SCHEMA, Upsert(("K",))), SECOND, (("run", 1),))
    real(*held[0])  # it arrives after all
    assert bag(read_table(uri)) == MODES["upsert"][1]


def greatest(table: pa.Table) -> pa.Table:
    found = table.group_by(["K", "B"]).aggregate([("V", "max")])
    return found.rename_columns({"V_max": "V"}).select(SCHEMA.names).cast(SCHEMA)


@pytest.mark.parametrize("error", ERRORS)
def test_a_merge_that_landed_and_raised_is_done(uri, monkeypatch, error):
    for start in range(8):
        append_rows(uri, rows(range(start, start + 10), "more"))
    expected = bag(greatest(read_table(uri)))
    Faulty(monkeypatch, error, lands=True)
    assert merge_files(uri, greatest, "B", 1) == 9
    assert bag(read_table(uri)) == expected and len(named(uri)) == 1


def test_a_merge_whose_checkpoint_cannot_be_written_is_done(uri):
    for start in range(7):
        append_rows(uri, rows(range(start, start + 10), "more"))
    block_checkpoints(uri)
    expected = bag(greatest(read_table(uri)))
    assert merge_files(uri, greatest, "B", 1) == 8
    assert open_table(uri).version() == 9 and bag(read_table(uri)) == expected


@pytest.mark.parametrize("error", [DeltaError, OSError])
def test_a_merge_that_failed_leaves_no_file(uri, monkeypatch, error):
    for start in range(8):
        append_rows(uri, rows(range(start, start + 10), "more"))
    before = on_disk(uri)
    Faulty(monkeypatch, error, lands=False)
    with pytest.raises(UserError, match="the answer was lost"):
        merge_files(uri, greatest, "B", 1)
    assert on_disk(uri) == before == named(uri)


def test_a_merge_in_doubt_leaves_its_files_to_the_vacuum(uri, monkeypatch):
    for start in range(8):
        append_rows(uri, rows(range(start, start + 10), "more"))
    before = on_disk(uri)
    Faulty(monkeypatch, OSError, lands=False)
    monkeypatch.setattr(delta_commit, "landed", lambda *args: Outcome.UNKNOWN)
    with pytest.raises(UserError, match="the answer was lost"):
        merge_files(uri, greatest, "B", 1)
    assert on_disk(uri) > before == named(uri)


STREAM = pa.schema(
    [pa.field("_position", pa.int64(), False), ("_enqueued_at", pa.timestamp("us", "UTC")), ("V", pa.string())]
)


def stream(uri: str) -> StreamWrite:
    return StreamWrite(uri, STREAM, "orders", epoch=take_over(uri, STREAM, (), "orders"), idle_seconds=0)


def offer(one: PositionCommitter, write: StreamWrite, low: int, high: int) -> int | None:
    places = list(range(low, high + 1))
    columns = [pa.array(places), pa.array(places, STREAM.field(1).type), pa.array(["x"] * len(places))]
    done = one.offer(write_ranges(write, [Piece("log", low, high, pa.RecordBatch.from_arrays(columns, schema=STREAM))]))
    return None if done is None else done.version


def test_a_stream_goes_on_where_no_checkpoint_can_be_written(tmp_path):
    uri = str(tmp_path / "s")
    write = stream(uri)
    block_checkpoints(uri)
    one = PositionCommitter(write)
    for i in range(14):
        assert offer(one, write, max(0, 10 * i - 3), 10 * i + 9) == 2 + i  # overlaps: cut anew, in files of its own
        assert read_table(uri)["_position"].to_pylist() and positions(uri, "orders", ["log"]) == {"log": 10 * i + 9}
    assert sorted(read_table(uri)["_position"].to_pylist()) == list(range(140))
    assert take_over(uri, STREAM, (), "orders") == 2


class FaultyPut:
    """The first entry of a stream's log that is written raises; `lands` says whether it is there then."""

    def __init__(self, monkeypatch, error, lands: bool) -> None:
        self.calls, self._error, self._lands, self._put = 0, error, lands, storage.put_new
        monkeypatch.setattr(storage, "put_new", self)

    def __call__(self, *arguments) -> None:
        self.calls += 1
        if self.calls > 1 or self._lands:
            self._put(*arguments)
        if self.calls == 1:
            raise self._error("as an answer that was lost")


@pytest.mark.parametrize("error", [OSError, FileExistsError])
def test_a_stream_commit_that_landed_and_raised_is_committed(tmp_path, monkeypatch, error):
    write = stream(str(tmp_path / "s"))
    one = PositionCommitter(write)
    assert offer(one, write, 0, 9) == 2
    faulty = FaultyPut(monkeypatch, error, lands=True)
    assert offer(one, write, 5, 19) == 3 and faulty.calls == 1 and one.waiting == []
    assert offer(one, write, 15, 24) == 4
    assert sorted(read_table(write.uri)["_position"].to_pylist()) == list(range(25))


def test_a_stream_commit_that_was_lost_is_tried_again_and_leaves_no_cut_file(tmp_path, monkeypatch):
    write = stream(str(tmp_path / "s"))
    one = PositionCommitter(write)
    assert offer(one, write, 0, 9) == 2
    faulty = FaultyPut(monkeypatch, FileExistsError, lands=False)
    assert offer(one, write, 5, 19) == 3 and faulty.calls == 2
    assert sorted(read_table(write.uri)["_position"].to_pylist()) == list(range(20))
    assert len(on_disk(write.uri) - named(write.uri)) == 1  # the file that came; its part from 10 on is in the table


def test_a_stream_that_the_storage_refuses_says_so_and_can_offer_again(tmp_path, monkeypatch):
    write = stream(str(tmp_path / "s"))
    one = PositionCommitter(write)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="the storage answered"):
        FaultyPut(patch, OSError, lands=False)
        offer(one, write, 0, 9)
    assert offer(one, write, 0, 9) == 2
    assert sorted(read_table(write.uri)["_position"].to_pylist()) == list(range(10))


@pytest.mark.parametrize("error", ERRORS)
def test_taking_over_counts_once_what_landed_and_raised(tmp_path, monkeypatch, error):
    uri = str(tmp_path / "s")
    Faulty(monkeypatch, error, lands=True)
    assert take_over(uri, STREAM, (), "orders") == 1
    assert take_over(uri, STREAM, (), "orders") == 2


def test_a_schema_change_whose_checkpoint_cannot_be_written_is_made(uri):
    grow(uri, 8)
    block_checkpoints(uri)
    wider = pa.schema([SCHEMA.field("K"), pa.field("B", pa.int64(), False), SCHEMA.field("V")])
    assert evolve_schema(uri, wider) == ["B: int32 to int64"]
    while open_table(uri).version() < 18:
        append_rows(uri, rows(range(0), ""), ((f"grow/{open_table(uri).version()}", 1),))
    assert evolve_schema(uri, wider.append(pa.field("NEW", pa.string()))) == ["NEW: added (string)"]
    assert read_table(uri).num_rows == 100


def test_a_new_column_beside_an_append_is_added_at_the_second_try(uri, monkeypatch):
    real, calls = delta_table.check_writer, []

    def appended_after(table, uri):
        calls.append(table.version())
        real(table, uri)
        if len(calls) == 1:
            append_rows(uri, SECOND)

    monkeypatch.setattr(delta_table, "check_writer", appended_after)
    assert delta_table.add_columns(uri, SCHEMA.append(pa.field("NEW", pa.string()))) == ["NEW: added (string)"]
    assert calls == [1, 2] and bag(read_table(uri).drop_columns("NEW")) == MODES["append"][1]


def test_what_the_log_says_decides(uri, monkeypatch):
    table, error = open_table(uri), OSError("x")
    plan = delta_commit.Plan([])
    version = delta_commit.try_commit(uri, table, plan, (("run", 1),))
    assert landed(uri, version, plan.attempt, error) is Outcome.LANDED
    assert landed(uri, version, "another", error) is Outcome.LOST
    assert landed(uri, version + 1, plan.attempt, error) is Outcome.LOST
    (Path(uri) / "_delta_log" / f"{version:020d}.json").write_text('{"commitInfo":{"txn')
    assert landed(uri, version, plan.attempt, error) is Outcome.UNKNOWN
    files = storage.filesystem(uri)
    monkeypatch.setattr(storage, "filesystem", lambda uri: files)
    monkeypatch.setattr(storage, "is_azure", lambda uri: True)
    assert landed(uri, version + 1, plan.attempt, error) is Outcome.UNKNOWN
