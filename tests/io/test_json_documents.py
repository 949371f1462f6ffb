"""JSON documents against Python's own reader: every record once, at its place, however the bytes arrive."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.io.files import discover, header, read_split, split
from transforms.io.json_documents import as_lines, document_depth

texts = st.text(st.sampled_from('ab"\\{}[],: \n\u00e9'), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
records = st.lists(st.dictionaries(texts, values, max_size=3), max_size=5)
indents = st.sampled_from([None, 0, 2])


def chunks(data, size):
    return (data[i : i + size] for i in range(0, len(data), size))


@settings(max_examples=300, deadline=None)
@given(records, indents, st.integers(1, 40), st.booleans(), st.booleans())
def test_each_record_of_a_document_is_a_line_at_its_place(rows, indent, size, array, ascii_only):
    if array:
        text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    else:
        text = "\r\n".join(json.dumps(row, indent=2, ensure_ascii=ascii_only) for row in rows)
    data = text.encode()
    flat = b"".join(as_lines(chunks(data, size), 1 if array else 0))
    assert len(flat) == len(data)
    lines = [line for line in flat.split(b"\n") if line]
    assert [json.loads(line) for line in lines] == rows
    for line in lines:
        assert json.loads(data[flat.index(line) :].decode()[: len(line.decode())]) == json.loads(line)


@pytest.mark.parametrize(
    ("head", "depth"),
    [
        (b"[", 1), (b"\xef\xbb\xbf \n[{", 1), (b'{\r\n "a"', 0), (b"{ \n}", 0),
        (b'{"a":1}\n', None), (b"", None), (b"{", None), (b"no", None),
    ],
)  # fmt: skip
def test_a_document_is_told_by_its_first_bytes(head, depth):
    assert document_depth(head) == depth


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_document_is_read_whole_and_what_is_no_record_is_refused(tmp_path, name):
    data = b'\xef\xbb\xbf[{"ID": 1, "X": {"a": [1,\n 2]}},\n 7, {"ID": "2"}, {"ID": 3'
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    (file,) = discover(str(tmp_path))
    (part,) = split(file, target_bytes=4)
    assert header(file) == ["ID", "X"]
    found = list(read_split(part, ("ID",)))
    rows = [row for one in found for row in one.rows.to_pylist()]
    assert [(row["ID"], row["_position"]) for row in rows] == [("1", 4), ("2", data.index(b'{"ID": "2"}'))]
    rejects = [(r["rule"], r["_position"]) for one in found for r in one.rejects.to_pylist()]
    assert rejects == [("not_an_object", data.index(b"7")), ("json_syntax", data.index(b'{"ID": 3'))]
