"""Bad files: each is answered with a reject or one clear line, in bounded memory, and the rest is read."""

import gzip
import os
import tracemalloc
import zlib
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import UserError
from transforms.io.files import SourceFile, Split, discover, header, read_split, split

KNOWN = ("ID", "AMOUNT", "NOTE")


def read(path, known=KNOWN, renames=None, parts=None):
    rows, rejects = [], []
    for part in parts or split(replace(discover(str(path))[0], renames=tuple((renames or {}).items()))):
        for parsed in read_split(part, known):
            rows += parsed.rows.to_pylist()
            rejects += parsed.rejects.to_pylist()
    return rows, rejects


def written(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["long.jsonl", "long.jsonl.gz", "long.csv", "long.csv.gz"])
def test_a_line_of_100_mb_takes_little_memory(tmp_path, name):
    packer = gzip.open if name.endswith(".gz") else open
    with packer(tmp_path / name, "wb") as file:
        file.write(b'{"ID":"1"}\n' if "json" in name else b"ID\n1\n")
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'\r\n{"ID":"2"}\n' if "json" in name else b"\r\n2\n")
    part = split(discover(str(tmp_path / name))[0], target_bytes=1 << 40)[0]
    tracemalloc.start()
    found = list(read_split(part, ("ID",)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [value for one in found for value in one.rows["ID"].to_pylist()] == ["1", "2"]
    rejects = [reject for one in found for reject in one.rejects.to_pylist()]
    place = 11 if "json" in name else 5
    assert [(r["rule"], r["_position"], r["_raw_bytes"], len(r["_raw"])) for r in rejects] == [
        ("line_too_long", place, 100 << 20, 1 << 20)
    ]
    assert peak < 90 << 20


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["jsonl", "csv"]))
def test_a_gzip_file_cut_anywhere_gives_the_records_before_the_cut(tmp_path_factory, data, kind):
    folder = tmp_path_factory.mktemp("g")
    lines = [f'{{"ID":"{i * 7919}"}}' if kind == "jsonl" else str(i * 7919) for i in range(60)]
    whole = ("" if kind == "jsonl" else "ID\n") + "\n".join(lines) + "\n"
    packed = gzip.compress(whole.encode())
    kept = data.draw(st.integers(1, len(packed) - 1))
    rows, rejects = read(written(folder, f"f.{kind}.gz", packed[:kept]), ("ID",))
    plain = zlib.decompressobj(31).decompress(packed[:kept])
    start = plain.rfind(b"\n") + 1
    if kind == "csv" and not start:
        start = 0
    assert [row["ID"] for row in rows] == [str(i * 7919) for i in range(len(rows))]
    assert len(rows) == max(plain.count(b"\n") - (kind == "csv"), 0)
    assert [(r["rule"], r["_position"], r["_raw"]) for r in rejects] == [("truncated_gzip", start, plain[start:])]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60), name=st.sampled_from(["f.jsonl.gz", "f.csv.gz", "f.parquet", "f.parquet.gz"]))
def test_garbage_is_one_reject(tmp_path_factory, data, name):
    path = written(tmp_path_factory.mktemp("x"), name, b"\1" + data)
    rows, rejects = read(path)
    expected = "truncated_file" if "parquet" in name else "truncated_gzip"
    assert not rows and [(r["rule"], r["_position"]) for r in rejects] == [(expected, 0)]


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz", "f.csv", "f.csv.gz"])
def test_a_byte_order_mark_and_windows_line_ends_leave_no_trace(tmp_path, name):
    text = b'\xef\xbb\xbf{"ID":"1"}\r\n{"ID":"2"}\r\n' if "json" in name else b"\xef\xbb\xbfID\r\n1\r\n2\r\n"
    rows, rejects = read(written(tmp_path, name, gzip.compress(text) if name.endswith(".gz") else text), ("ID",))
    assert not rejects and [row["ID"] for row in rows] == ["1", "2"]
    assert all(text[row["_position"] :].startswith(row["_raw"] + b"\r\n") for row in rows)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("ID,NOTE\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"ID,NOTE\r1,2\r3,4\r", "carriage return"),
        (b'"ID,NOTE\n1,2\n', "quote in the header"),
    ],
)
def test_a_header_that_cannot_be_used_is_one_clear_line(tmp_path, data, words):
    with pytest.raises(UserError, match=words) as caught:
        read(written(tmp_path, "f.csv", data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"ID,AMOUNT,NOTE", b"ID,AMOUNT,NOTE\r\n\r\n"])
def test_csv_without_records_has_none(tmp_path, data):
    assert read(written(tmp_path, "f.csv", data)) == ([], [])


def test_a_letter_quote_stays_a_letter(tmp_path):
    rows, rejects = read(written(tmp_path, "f.csv", b'ID,AMOUNT,NOTE\n1,2,5" pipe\n2,3,"6"" pipe"\n3,4,7" x 8"\n'))
    assert not rejects and [row["NOTE"] for row in rows] == ['5" pipe', '6" pipe', '7" x 8"']


def test_an_open_quote_spoils_its_own_line_only(tmp_path):
    rows, rejects = read(written(tmp_path, "f.csv", b'ID,AMOUNT,NOTE\n1,2,"a\n3,4,b\n5,6,c\n'))
    assert [(r["rule"], r["_position"], r["_raw"]) for r in rejects] == [("csv_syntax", 15, b'1,2,"a')]
    assert [row["ID"] for row in rows] == ["3", "5"]


def test_reasons_do_not_tell_what_stands_in_the_row(tmp_path):
    secret = b"JaneDoe"
    lines = [
        b'{"ID":"%s',
        b'["%s"]',
        b'{"ID":"%s\xff"}',
        b'{"ID":"%s\0"}',
        b'{"ID":"%s","id":"%s"}',
        b'{"ID":"%s\\ud800"}',
    ]
    data = b"\n".join(line.replace(b"%s", secret) for line in lines)
    rejects = read(written(tmp_path, "f.jsonl", data))[1]
    table = b'ID,AMOUNT,NOTE\n%s\n%s,,\xff\n%s,\0,\n%s,1,"a\n'.replace(b"%s", secret)
    rejects += read(written(tmp_path, "f.csv", table))[1]
    assert len(rejects) == 10
    assert all("JaneDoe" not in r["reason"] + r["rule"] and secret in r["_raw"] for r in rejects)


def test_a_key_written_twice_in_two_ways_is_a_reject_only_where_a_known_column_is_meant(tmp_path):
    lines = b'{"ID":1,"id":2}\n{"id":3}\n{"ID":4,"new":5,"New":6}\n{"ID":7,"id":null}'
    rows, rejects = read(written(tmp_path, "f.jsonl", lines))
    assert [r["rule"] for r in rejects] == ["duplicate_column"]
    assert [row["ID"] for row in rows] == ["3", "4", "7"] and rows[1]["NEW"] in ("5", "6")


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl", "f.parquet"])
def test_a_renamed_column_wins_over_one_of_that_name(tmp_path, name):
    if name == "f.parquet":
        pq.write_table(pa.table({"ID": ["1"], "Net": ["5"], "AMOUNT": ["6"]}), tmp_path / name)
    else:
        text = b"ID,Net,AMOUNT\n1,5,6\n" if name == "f.csv" else b'{"ID":"1","Net":"5","AMOUNT":"6"}'
        written(tmp_path, name, text)
    rows, rejects = read(tmp_path / name, renames={"Net": "AMOUNT"})
    assert not rejects and (rows[0]["AMOUNT"], rows[0]["AMOUNT_2"]) == ("5", "6")


def test_a_damaged_row_group_is_a_reject_at_its_first_row_and_the_others_are_read(tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"ID": [str(i) * 40 for i in range(30)]}), path, row_group_size=10, use_dictionary=False)
    data = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = (
        b"\xff" * chunk.total_compressed_size
    )
    path.write_bytes(bytes(data))
    rows, rejects = read(path)
    assert [row["_position"] for row in rows] == [*range(10), *range(20, 30)]
    assert [(r["rule"], r["_position"]) for r in rejects] == [("truncated_file", 10)]


def test_parquet_splits_hold_whole_row_groups_once(tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"ID": [f"{i:0200d}" for i in range(1000)]}), path, row_group_size=50, use_dictionary=False)
    file = discover(str(path))[0]
    parts = split(file, target_bytes=50_000)
    assert 3 < len(parts) < 8
    rows, _ = read(path, parts=parts)
    assert [row["_position"] for row in rows] == list(range(1000)) and [int(row["ID"]) for row in rows] == list(
        range(1000)
    )


def test_parquet_in_gzip_and_dictionaries_are_read_plain(tmp_path):
    table = pa.table({"ID": pa.array(["a", "b", "a"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "f.parquet")
    packed = written(tmp_path, "g.parquet.gz", gzip.compress((tmp_path / "f.parquet").read_bytes()))
    for path in (tmp_path / "f.parquet", packed):
        batches = [one.rows for part in split(discover(str(path))[0]) for one in read_split(part, KNOWN)]
        assert batches[0].schema.field("ID").type == pa.string()
        assert [value for batch in batches for value in batch["ID"].to_pylist()] == ["a", "b", "a"]


def test_header_tells_the_columns_where_a_file_has_any(tmp_path):
    written(tmp_path, "a.csv", b"\nID;A name\n")
    written(tmp_path, "b.jsonl", b'{"ID":1}')
    pq.write_table(pa.table({"ID": [1]}), tmp_path / "c.parquet")
    written(tmp_path, "d.parquet", b"no")
    seen = [header(file) for file in discover(str(tmp_path))]
    assert seen[0] == ["ID", "A name"] and seen[1] == ["ID"] and seen[2].names == ["ID"] and seen[3] is None


def test_a_folder_may_mix_formats_and_is_read_in_the_order_of_names(tmp_path):
    (tmp_path / "sub").mkdir()
    written(tmp_path, "b.csv", b"ID\n2\n")
    written(tmp_path / "sub", "c.tsv.gz", gzip.compress(b"ID\tNOTE\n3\tx\n"))
    written(tmp_path, "a.ndjson", b'{"ID":"1"}')
    files = discover(str(tmp_path))
    assert [(os.path.basename(f.path), f.format, f.compression) for f in files] == [
        ("a.ndjson", "jsonl", "none"),
        ("b.csv", "csv", "none"),
        ("c.tsv.gz", "csv", "gzip"),
    ]
    assert [row["ID"] for f in files for row in read(tmp_path, parts=split(f))[0]] == ["1", "2", "3"]
    assert discover(str(tmp_path / "**" / "*.tsv.gz")) == files[2:]


def test_a_hidden_file_is_read_if_it_is_named(tmp_path):
    assert read(written(tmp_path, "_export.jsonl", b'{"ID":"1"}'))[0][0]["ID"] == "1"


def test_a_file_that_went_away_is_one_clear_line(tmp_path):
    gone = SourceFile(str(tmp_path / "gone.jsonl"), 5, "", "jsonl")
    with pytest.raises(UserError, match="cannot be read any more"):
        list(read_split(Split(gone, 0, 5), KNOWN))


def test_an_unknown_format_and_an_empty_folder_are_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="there are no files"):
        discover(str(tmp_path))
    with pytest.raises(UserError, match=r"no format.*use jsonl, csv or parquet"):
        discover(str(tmp_path), "xml")


@pytest.mark.parametrize("line", [b"sep=;\r\n", b'"sep=;"\n', b"SEP=;\n"])
def test_the_delimiter_may_stand_in_a_line_of_its_own(tmp_path, line):
    data = b"\xef\xbb\xbf" + line + b"ID;NOTE\r\n1;a,b,c\r\n"
    rows, rejects = read(written(tmp_path, "f.csv", data))
    assert [(row["ID"], row["NOTE"], row["_position"]) for row in rows] == [("1", "a,b,c", data.index(b"1;"))]
    assert not rejects


def test_text_that_is_called_gzip_is_read_as_text(tmp_path):
    assert read(written(tmp_path, "f.csv.gz", b"ID\n1\n"))[0][0]["ID"] == "1"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [("f.csv", b"PK\x03\x04\x14\0", "workbook"), ("f.xlsx", b"PK\x03\x04", "CSV UTF-8"), ("f.md", b"#", "'folder/")],
)
def test_what_is_no_table_is_one_clear_line(tmp_path, name, data, words):
    written(tmp_path, name, data)
    with pytest.raises(UserError, match=words):
        header(discover(str(tmp_path))[0])


def test_two_keys_of_one_name_that_nobody_declared_lose_no_value(tmp_path):
    lines = b'{"ID":"1","a b":"x","a_b":"y"}\n{"ID":"2","a_b":"z"}\n{"ID":"3","A_B":"u","a b":"v"}\n'
    rows, rejects = read(written(tmp_path, "f.jsonl", lines))
    assert not rejects
    values = [{row[name] for name in row if name.startswith("A_B")} - {None} for row in rows]
    assert values == [{"x", "y"}, {"z"}, {"u", "v"}]
    assert rows[1]["A_B"] == "z"
