"""The log written by hand: what Delta's own reader makes of it, who wins a race, and what it sees of others."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from transforms.io import storage
from transforms.io.delta import append_rows, evolve_schema, read_table
from transforms.io.delta_commit import Plan, try_commit
from transforms.io.delta_files import DataFile, TableFiles
from transforms.io.delta_landed import new_attempt
from transforms.io.delta_log import LogTail, TableLog, sum_up
from transforms.io.delta_table import create_table, existing_table

SCHEMA = pa.schema(
    [
        pa.field("K", pa.int64()),
        pa.field("TEXT", pa.string()),
        pa.field("AT", pa.timestamp("us", "UTC")),
        pa.field("PLACE", pa.string()),
        pa.field("DAY", pa.date32()),
    ]
)
ODD = ["a b", "ä/ö", "50%", "x=1&y", "#?", "", None, "O'Neill+", "[a]", "😀"]
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def files(uri: str, rows: pa.Table, by: tuple[str, ...] = ("PLACE", "DAY")) -> list[DataFile]:
    out = TableFiles(storage.filesystem(uri), rows.schema, by, 1 << 20)
    out.add(rows)
    return out.take()


def odd_rows(first: int = 0) -> pa.Table:
    count = len(ODD)
    columns = [
        list(range(first, first + count)),
        ODD,
        [NOON + timedelta(hours=n) for n in range(count)],
        ODD,
        [(NOON + timedelta(days=n % 3)).date() for n in range(count)],
    ]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), SCHEMA)


def entries(uri: str, version: int) -> list[dict]:
    text = (Path(uri) / f"_delta_log/{version:020d}.json").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def uri(tmp_path) -> str:
    create_table(str(tmp_path / "t"), SCHEMA, ("PLACE", "DAY"))
    return str(tmp_path / "t")


def test_an_entry_says_what_deltalake_would_have_said(uri):
    rows = odd_rows()
    written = files(uri, rows)
    log = TableLog(uri)
    assert log.append(written, [("a/b", 7), ("c", 0)], "note", new_attempt()) == 1
    try_commit(uri, existing_table(uri), Plan(written), [("a/b", 8), ("c", 1)], "note")
    ours, theirs = entries(uri, 1), entries(uri, 2)

    def told(actions: list[dict], kind: str) -> list[dict]:
        found = [{name: value for name, value in a[kind].items() if value is not None} for a in actions if kind in a]
        return sorted(found, key=lambda action: json.dumps(action, sort_keys=True))

    assert told(ours, "add") == told(theirs, "add")
    assert [t["appId"] for t in told(ours, "txn")] == [t["appId"] for t in told(theirs, "txn")]
    assert ours[0]["commitInfo"]["userMetadata"] == theirs[0]["commitInfo"]["userMetadata"] == "note"
    assert existing_table(uri, 1).transaction_version("a/b") == 7
    assert existing_table(uri, 1).transaction_version("c") == 0


def test_rows_are_read_back_by_every_reader(uri):
    rows = odd_rows()
    TableLog(uri).append(files(uri, rows), [], "", new_attempt())
    expected = [row | {"PLACE": row["PLACE"] or None} for row in rows.to_pylist()]  # Delta's own rule
    assert sorted(read_table(uri).to_pylist(), key=lambda row: row["K"]) == expected
    theirs = pa.table(DeltaTable(uri).to_pyarrow_table()).select(SCHEMA.names)
    assert sorted(theirs.to_pylist(), key=lambda row: row["K"]) == expected
    found = read_table(uri, where=(("K", ">=", 4), ("DAY", "=", NOON.date())))
    assert sorted(found["K"].to_pylist()) == [6, 9]


def test_one_of_many_that_append_at_once_wins_each_version(uri):
    won: list[tuple[int, int]] = []

    def work(number: int) -> None:
        log, tries = TableLog(uri), 0
        while tries < 10:
            log.refresh()
            at = log.transaction_version("turns") or 0
            try:
                won.append((log.append([], [("turns", at + 1)], "", new_attempt()), number))
                tries += 1
            except CommitFailedError:
                continue

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(version for version, _ in won) == list(range(1, 41))
    assert existing_table(uri).transaction_version("turns") == 40  # none was lost: each counted on from the last


def test_it_sees_what_others_did_also_a_change_of_the_schema(uri):
    log = TableLog(uri)
    append_rows(uri, odd_rows(), (("batch", 3),), partition_by=("PLACE", "DAY"))
    with pytest.raises(CommitFailedError):
        log.append([], [("mine", 1)], "", new_attempt())
    log.refresh()
    assert log.transaction_version("batch") == 3 and log.transaction_version("mine") is None
    assert log.append([], [("mine", 1)], "", new_attempt()) == 2
    evolve_schema(uri, pa.schema([*SCHEMA, pa.field("NEW", pa.string())]))
    log.refresh()
    assert "NEW" in [field.name for field in log.table.schema().fields]
    assert log.transaction_version("mine") == 1 and log.transaction_version("batch") == 3
    assert log.append([], [("mine", 2)], "", new_attempt()) == 4


def test_a_tail_reads_each_entry_once_also_of_a_table_that_is_not_there_yet(tmp_path):
    uri = str(tmp_path / "later")
    tail = LogTail(uri, -1)
    assert list(tail.new()) == []
    create_table(uri, SCHEMA, ())
    append_rows(uri, odd_rows())
    assert [version for version, _ in tail.new()] == [0, 1]
    assert list(tail.new()) == [] and tail.version == 1


def test_a_checkpoint_is_written_when_there_is_enough_to_sum_up(uri):
    log = TableLog(uri)
    for number in range(12):
        log.append(files(uri, odd_rows(100 * number)), [("s", number)], "", new_attempt())
    assert not (Path(uri) / "_delta_log/_last_checkpoint").exists()
    assert not sum_up(uri, least=20)
    assert sum_up(uri, least=10) and not sum_up(uri, least=10)
    for version in range(12):
        (Path(uri) / f"_delta_log/{version:020d}.json").unlink()
    assert read_table(uri).num_rows == 12 * len(ODD) and existing_table(uri).transaction_version("s") == 11
    log.refresh()
    assert log.append([], [("s", 12)], "", new_attempt()) == 13
