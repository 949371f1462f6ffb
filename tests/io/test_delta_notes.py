"""A commit's note is in the same log entry as its rows, and is found again by version."""

import pyarrow as pa
import pytest

from transforms.io.delta import append_rows, last_note, maintain, open_table, read_notes, read_table

ROW = pa.table({"K": [1]})


def test_notes_are_read_after_a_version_and_others_are_left_out(tmp_path):
    uri = str(tmp_path / "t")
    for number in range(25):  # beyond two checkpoints
        said = (lambda done, n=number: f"{n} in {done.version} with {done.rows}") if number % 3 == 0 else None
        append_rows(uri, ROW, ((f"n/{number}", 1),), note=said)
    table = open_table(uri)
    expected = [(n + 1, f"{n} in {n + 1} with 1") for n in range(0, 25, 3)]  # version 0 makes the table
    assert [(note.version, note.text) for note in read_notes(table, uri, -1)] == expected
    assert [note.version for note in read_notes(table, uri, 19)] == [22, 25]
    append_rows(uri, ROW)
    assert last_note(open_table(uri), uri).version == 25
    assert read_notes(table, uri, 25) == []  # as of the handle, whatever came since


def test_the_last_note_is_found_behind_any_number_of_silent_commits(tmp_path):
    uri = str(tmp_path / "t")
    assert last_note(append_and_open(uri, None), uri) is None
    append_rows(uri, ROW, note=lambda done: "here")
    for _ in range(12):
        append_rows(uri, ROW)
    maintain(uri)
    assert last_note(open_table(uri), uri).text == "here"


def append_and_open(uri, note):
    append_rows(uri, ROW, note=note)
    return open_table(uri)


def test_a_note_that_raises_stops_the_commit_and_a_skipped_one_is_not_asked(tmp_path):
    uri = str(tmp_path / "t")

    def refuse(done):
        raise ValueError("no")

    append_rows(uri, ROW, (("a", 1),))
    with pytest.raises(ValueError, match="no"):
        append_rows(uri, ROW, (("b", 1),), note=refuse)
    assert append_rows(uri, ROW, (("a", 1),), note=refuse).status == "skipped"
    assert read_table(uri).num_rows == 1
