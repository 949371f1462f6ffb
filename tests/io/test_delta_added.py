"""What a table gained after a version, told from its log."""

import pyarrow as pa
import pytest

from transforms.io.delta import NotAppendOnly, append_rows, maintain, rows_added, table_version, upsert_rows


def rows(*numbers):
    return pa.table({"N": pa.array(numbers, pa.int64()), "K": pa.array([f"K{n}" for n in numbers], pa.string())})


@pytest.fixture
def uri(tmp_path):
    append_rows(str(tmp_path / "t"), rows(1, 2, 3))
    append_rows(str(tmp_path / "t"), rows(4))
    return str(tmp_path / "t")


def added(uri, since):
    return rows_added(uri, since, table_version(uri), "N")


def test_rows_are_those_after_the_version(uri):
    since = table_version(uri)
    assert added(uri, since).rows == 0 and added(uri, since).overlap is None
    append_rows(uri, rows(5, 6))
    append_rows(uri, rows(7))
    assert added(uri, since).rows == 3 and added(uri, since + 1).rows == 1


@pytest.mark.parametrize(("new", "overlap"), [((5, 9), None), ((4, 9), (("N", ">=", 4),)), ((2,), (("N", ">=", 2),))])
def test_an_overlap_is_told_when_earlier_rows_are_not_below(uri, new, overlap):
    since = table_version(uri)
    append_rows(uri, rows(*new))
    assert added(uri, since).overlap == overlap


def test_compaction_is_seen_through_until_its_files_are_gone(uri):
    since = table_version(uri)
    append_rows(uri, rows(5, 6))
    maintain(uri)
    assert added(uri, since).rows == 2
    maintain(uri, retention_hours=0, force=True)
    with pytest.raises(NotAppendOnly, match="vacuumed"):
        added(uri, since)


def test_rows_written_again_have_no_answer(uri):
    since = table_version(uri)
    upsert_rows(uri, rows(4), ["K"])
    with pytest.raises(NotAppendOnly, match="rewritten"):
        added(uri, since)
