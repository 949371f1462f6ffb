"""The run table is what the commits say: each once, whoever records them, and no others."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from pipelines import runs as module
from pipelines.config import Lake, Run
from pipelines.notes import RunNote, UnbalancedCounts
from pipelines.runs import record_commits, table_runs
from transforms.contracts import CONTRACTS
from transforms.counts import Counts
from transforms.io.delta import CommitResult, append_rows, open_table, read_table

CONTRACT = CONTRACTS["CUSTOMERS"]
RUN = Run("bronze")


def commit(lake: Lake, run: Run, rows: int, silent: bool = False) -> None:
    note = None if silent else RunNote(run, CONTRACT.name, (f"{rows}@x",), Counts(rows, rows), ("CITY",))
    append_rows(lake.bronze(CONTRACT), pa.table({"CUSTOMER_ID": [f"C{i}" for i in range(rows)]}), note=note)


def rows_of(lake: Lake) -> list[dict]:
    return sorted(read_table(lake.runs).to_pylist(), key=lambda row: row["output_version"])


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"))


def test_each_run_once_however_often_it_is_recorded(lake):
    record_commits(lake)
    assert open_table(lake.runs) is None
    first, second = Run("bronze"), Run("replay")
    commit(lake, first, 3)
    commit(lake, second, 1)
    commit(lake, second, 2)
    for _ in range(3):
        record_commits(lake)
    assert [(r["run_id"], r["command"], r["read"], r["inputs"], r["output_version"]) for r in rows_of(lake)] == [
        (first.run_id, "bronze", 3, ["3@x"], 1),
        (second.run_id, "replay", 3, ["1@x", "2@x"], 3),
    ]
    assert [(t.table, t.counts) for t in table_runs(lake, second)] == [(CONTRACT.name, Counts(3, 3))]
    changes = [(r["column"], r["change"], r["version"]) for r in read_table(lake.schemas).to_pylist()]
    assert sorted(changes) == [("CITY", "missing", 1), ("CUSTOMER_ID", "declared", 1)]


def test_many_at_once_record_each_once(lake):
    made = [Run("bronze") for _ in range(6)]
    for run in made:
        commit(lake, run, 1)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: record_commits(lake), range(4)))
    assert [row["run_id"] for row in rows_of(lake)] == [run.run_id for run in made]
    assert read_table(lake.schemas).num_rows == 2


def test_only_new_log_entries_are_read_also_where_commits_say_nothing(lake, monkeypatch):
    monkeypatch.setattr(module, "_SILENT", 5)
    commit(lake, RUN, 1)
    record_commits(lake)
    asked, real = [], module.read_notes
    monkeypatch.setattr(module, "read_notes", lambda *args: asked.append(args[2]) or real(*args))
    for _ in range(12):  # as a stream that keeps its own account
        commit(lake, RUN, 1, silent=True)
        record_commits(lake)
    assert asked == [1] * 5 + [6] * 5 + [11] * 2
    assert sum(row["read"] for row in rows_of(lake)) == 1


def test_a_table_made_anew_is_told_anew(lake):
    commit(lake, Run("bronze"), 3)
    commit(lake, Run("bronze"), 4)
    record_commits(lake)
    shutil.rmtree(lake.bronze(CONTRACT))
    commit(lake, Run("bronze"), 5)
    record_commits(lake)
    assert sorted(row["read"] for row in read_table(lake.runs).to_pylist()) == [3, 4, 5]


def test_a_note_comes_back_as_it_was_and_others_are_none():
    note = RunNote(RUN, "T", ("ä@1",), Counts(5, 3, 1, 1, 1), ("CITY",))
    assert RunNote.parse(note(CommitResult("t", "committed", 7, rows=3))) == note
    stale = RunNote.parse(note(CommitResult("t", "committed", 7, rows=3, stale=2)))
    assert stale.counts == Counts(5, 1, 1, 3, 1)
    for text in ("the same rows, written again", "[]", "{}", '{"form":"another"}'):
        assert RunNote.parse(text) is None


@pytest.mark.parametrize(("counts", "rows"), [(Counts(5, 3, 1, 0), 3), (Counts(3, 3), 2), (Counts(3, 3), 4)])
def test_rows_lost_or_made_up_stop_the_commit(counts, rows):
    with pytest.raises(UnbalancedCounts):
        RunNote(RUN, "T", (), counts)(CommitResult("t", "committed", 1, rows=rows))
