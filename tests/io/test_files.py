"""The file readers: whatever the bytes, each record comes out once, as a row or as a reject with its place."""

import csv as pycsv
import gzip
import io
import json
import string
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import UserError
from transforms.io import files
from transforms.io.files import Split, discover, read_split, split

KNOWN = ("ID", "AMOUNT", "NOTE")


def read(path, known=KNOWN, parts=None, **options):
    file = discover(str(path))[0]
    rows, rejects = [], []
    for part in parts(file) if parts else split(file):
        for parsed in read_split(part, known, **options):
            rows += parsed.rows.to_pylist()
            rejects += parsed.rejects.to_pylist()
    return rows, rejects


def records(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line.strip(b" \t\r\x0b\x0c")]


values = st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.text(max_size=8))
objects = st.dictionaries(st.sampled_from(["ID", "AMOUNT", "NOTE", "NEW", "other key"]), values, max_size=5)
good_lines = objects.map(lambda o: json.dumps(o, ensure_ascii=False).encode())
nasty_lines = st.sampled_from(
    [b"", b"  ", b"{", b'{"ID": "cut', b"[1]", b"17", b'{"ID":"\xff"}', b'{"ID":"a\x00b"}', b'{"ID":1,,}', b"null",
     b'{"ID":NaN}', b'{"ID":"\\ud800"}', b'{"ID":1}{"ID":2}', b'{"ID":"\\":"}', b"\xef\xbb\xbf{}"]
)  # fmt: skip
line_files = st.lists(st.one_of(good_lines, nasty_lines, st.binary(max_size=12)), max_size=12).map(b"\n".join)


@settings(max_examples=150, deadline=None)
@given(data=line_files, final=st.booleans())
def test_json_lines_lose_no_record(tmp_path_factory, data, final):
    path = tmp_path_factory.mktemp("j") / "f.jsonl"
    data = data + b"\n" if final else data
    path.write_bytes(data)
    rows, rejects = read(path)
    whole = data[3:] if data.startswith(b"\xef\xbb\xbf") else data
    assert len(rows) + len(rejects) == len(records(whole))
    for reject in rejects:  # each is found by its position
        assert data[reject["_position"] :].startswith(reject["_raw"])
        assert len(reject["_raw"]) == reject["_raw_bytes"]
    for row in rows:
        assert data[row["_position"] :].startswith(row["_raw"])
        assert isinstance(json.loads(row["_raw"]), dict)


@settings(max_examples=60, deadline=None)
@given(data=line_files, cuts=st.lists(st.integers(1, 200), max_size=6))
def test_json_lines_read_the_same_however_they_are_split(tmp_path_factory, data, cuts):
    path = tmp_path_factory.mktemp("j") / "f.jsonl"
    path.write_bytes(data)

    def cut(file):
        edges = sorted({0, file.size, *(c for c in cuts if c < file.size)})
        return [Split(file, a, b) for a, b in pairwise(edges)] or [Split(file, 0, 0)]

    def content(found):
        rows, rejects = found
        kept = [(r["_position"], {k: v for k, v in r.items() if v is not None}) for r in rows]
        return sorted(kept, key=lambda r: r[0]), sorted((r["_position"], r["rule"]) for r in rejects)

    assert content(read(path, parts=cut)) == content(read(path))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(objects, min_size=1, max_size=8))
def test_json_values_are_the_text_json_gives_them(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("j") / "f.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, rejects = read(path)
    assert not rejects

    def text(value):
        return value if isinstance(value, str | None) else json.dumps(value)

    for row, got in zip(rows, found, strict=True):
        for key in ("ID", "AMOUNT", "NOTE", "NEW"):
            assert got.get(key) == text(row.get(key)), key
        assert got.get("OTHER_KEY") == text(row.get("other key"))


def test_rules_say_what_is_wrong_with_a_line(tmp_path):
    path = tmp_path / "f.jsonl"
    lines = [b'{"ID":"1"}', b'{"ID":"cut', b"[1]", b'{"ID":"\xff"}', b'{"ID":"a\x00b"}']
    path.write_bytes(b"\n".join(lines))
    rows, rejects = read(path)
    assert [row["ID"] for row in rows] == ["1"]
    assert [r["rule"] for r in rejects] == ["json_syntax", "not_an_object", "encoding", "nul_byte"]


def test_keys_in_another_case_are_the_known_columns(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"id": 1, "Amount": 2.50, "note": {"a": [1, 2]}}\n{"ID": 3}\n')
    rows, _ = read(path)
    assert {row["ID"] or row.get("ID_2") for row in rows} == {"1", "3"}
    assert rows[0]["AMOUNT"] == "2.5" and json.loads(rows[0]["NOTE"]) == {"a": [1, 2]}


def test_a_line_of_100_mb_is_a_reject_and_the_rest_is_read(tmp_path):
    path = tmp_path / "f.jsonl"
    with path.open("wb") as file:
        file.write(b'{"ID":"1"}\n{"ID":"')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"ID":"2"}\n')
    rows, rejects = read(path, parts=lambda f: [Split(f, 0, f.size)])
    assert [row["ID"] for row in rows] == ["1", "2"]
    assert [(r["rule"], r["_position"], r["_raw_bytes"]) for r in rejects] == [("line_too_long", 11, 104857600 + 9)]
    assert len(rejects[0]["_raw"]) == 1 << 20
    assert read(path)[0] == rows  # also when the long line crosses splits


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_cut_gzip_file_gives_the_rows_before_the_cut(tmp_path, kind):
    body = [f'{{"ID":"{i}","NOTE":"{"n" * (i % 50)}"}}' for i in range(5000)]
    if kind == "csv":
        body = ["ID,NOTE", *(f"{i},{'n' * (i % 50)}" for i in range(5000))]
    packed = gzip.compress("\n".join(body).encode())
    path = tmp_path / f"f.{kind}.gz"
    path.write_bytes(packed[: len(packed) // 2])
    rows, rejects = read(path)
    assert [row["ID"] for row in rows] == [str(i) for i in range(len(rows))] and len(rows) > 100
    assert [r["rule"] for r in rejects] == ["truncated_gzip"]


def test_what_is_no_gzip_is_one_reject(tmp_path):
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(b"\0\1 this is no gzip")
    rows, rejects = read(path)
    assert not rows and [r["rule"] for r in rejects] == ["truncated_gzip"]


def test_gzip_of_several_members_is_read_whole(tmp_path):
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"ID":"1"}\n') + gzip.compress(b'{"ID":"2"}\n'))
    assert [row["ID"] for row in read(path)[0]] == ["1", "2"]


cells = st.text(alphabet=string.ascii_letters + ' ,";\n\r€é', max_size=8)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(cells, cells, cells), max_size=10), delimiter=st.sampled_from(",;\t|"))
def test_csv_reads_what_the_standard_library_wrote(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.mktemp("c") / "f.csv"
    out = io.StringIO(newline="")
    writer = pycsv.writer(out, delimiter=delimiter, quoting=pycsv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(KNOWN)
    writer.writerows(rows)
    path.write_bytes(out.getvalue().encode())
    found, rejects = read(path)
    assert not rejects
    assert [tuple(row[name] for name in KNOWN) for row in found] == rows


def test_csv_rows_with_too_few_or_too_many_cells_are_rejects(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(b"\xef\xbb\xbfID,AMOUNT,NOTE\r\n1,2,a\r\n2,3\r\n3,4,b,c\r\n4,,\xff\r\n5,6,\r\n")
    rows, rejects = read(path)
    assert [(row["ID"], row["AMOUNT"], row["NOTE"]) for row in rows] == [("1", "2", "a"), ("5", "6", None)]
    assert [r["rule"] for r in rejects] == ["column_count", "column_count", "encoding"]
    data = path.read_bytes()
    assert all(data[r["_position"] :].startswith(r["_raw"]) for r in rejects)


@pytest.mark.parametrize("name", ["f.jsonl", "f.csv"])
def test_an_empty_file_has_no_rows_and_no_rejects(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert read(tmp_path / name) == ([], [])


def test_a_missing_folder_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        discover(str(tmp_path / "nowhere"))


def test_an_unknown_ending_asks_for_the_format(tmp_path):
    (tmp_path / "f.dat").write_text("x")
    with pytest.raises(UserError, match="--format"):
        discover(str(tmp_path / "f.dat"))


def test_parquet_keeps_types_and_row_numbers(tmp_path):
    table = pa.table({"id": [1, 2, 3], "amount": [1.5, None, 2.5], "extra": ["a", "b", None]})
    pq.write_table(table, tmp_path / "f.parquet", row_group_size=2)
    rows, rejects = read(tmp_path / "f.parquet")
    assert not rejects
    assert [(r["ID"], r["AMOUNT"], r["EXTRA"], r["_position"]) for r in rows] == [
        (1, 1.5, "a", 0),
        (2, None, "b", 1),
        (3, 2.5, None, 2),
    ]


def test_what_is_no_parquet_is_one_reject(tmp_path):
    (tmp_path / "f.parquet").write_bytes(b"PAR1 not really")
    rows, rejects = read(tmp_path / "f.parquet")
    assert not rows and [r["rule"] for r in rejects] == ["truncated_file"]


def test_the_fingerprint_follows_the_content_not_the_time(tmp_path):
    import os

    path = tmp_path / "f.jsonl"
    path.write_text('{"ID":"1"}\n')
    first, stat = discover(str(path))[0], path.stat()
    path.write_text('{"ID":"2"}\n')
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert discover(str(path))[0].fingerprint != first.fingerprint


def test_hidden_files_are_passed_over(tmp_path):
    for name in ("a.jsonl", "_SUCCESS", ".b.jsonl"):
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "0.json").write_text("{}\n")
    assert [f.path for f in discover(str(tmp_path))] == [str(tmp_path / "a.jsonl")]


def test_splits_cover_a_file_once(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text("".join(f'{{"ID":"{i}"}}\n' for i in range(1000)))
    parts = files.split(discover(str(path))[0], target_bytes=997)
    assert len(parts) > 10
    rows, _ = read(path, parts=lambda f: parts)
    assert [row["ID"] for row in rows] == [str(i) for i in range(1000)]
