"""Readers against slow plain ones: the same records at the same places, wherever blocks and splits are cut."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.io import blocks
from transforms.io.csv_records import find_records
from transforms.io.files import Split, discover, read_split

KNOWN = ("ID", "AMOUNT", "NOTE")


@pytest.fixture(scope="module")
def small_blocks():
    """Blocks of a few bytes, so that every boundary is met in short files."""
    patch = pytest.MonkeyPatch()
    patch.setattr(blocks, "BLOCK_BYTES", 24)
    patch.setattr(blocks, "CHUNK_BYTES", 7)
    patch.setattr(blocks, "MAX_RECORD_BYTES", 60)
    yield
    patch.undo()


def read(path, cuts=()):
    file = discover(str(path))[0]
    edges = sorted({0, file.size, *(cut for cut in cuts if cut < file.size)})
    parts = [Split(file, a, b) for a, b in pairwise(edges)]
    rows, rejects = [], []
    for part in parts if file.format == "jsonl" else parts and [Split(file, 0, file.size)]:
        for parsed in read_split(part, KNOWN):
            rows += parsed.rows.to_pylist()
            rejects += parsed.rejects.to_pylist()
    return rows, rejects


# JSON lines

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(alphabet='ab:"{n\\ \u20ac\U0001f600', max_size=6),
)
nested = st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(st.sampled_from(["ID", "x"]), scalars))
names = st.sampled_from(["ID", "AMOUNT", "NOTE", "id", " note", "new", "New", "", 'q"', "\u00e9"])
spacing = st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), (",\t", "\t: ")])
good = st.builds(
    lambda pairs, mark: "{" + mark[0].join(json.dumps(k) + mark[1] + json.dumps(v) for k, v in pairs) + "}",
    st.lists(st.tuples(names, nested), max_size=4),
    spacing,
).map(str.encode)
bad = st.sampled_from(
    [
        b"{",
        b"}",
        b"{}}",
        b'{"ID":"cut',
        b"[1]",
        b"17",
        b'{"ID":"\xff"}',
        b'{"ID":"a\0b"}',
        b'{"ID":1,,}',
        b"null",
        b"{\0}",
        b'{"ID":NaN}',
        b'{"ID":-Infinity}',
        b'{"ID":"\\ud800"}',
        b'{"ID":"\\ud83d\\ude00"}',
        b'{"x":"\\uDC00"}',
        b"\t \r",
        b'{"ID":1}{"ID":2}',
        b'{"ID":1} {',
        b'{"ID":"\\x"}',
        b'{"ID":01}',
        b'{"ID":.5}',
        b'{"ID":1e3}',
        b'{"ID":1e400}',
        b"{'ID':1}",
        b'{"ID":"a\tb"}',
        b"\xef\xbb\xbf{}",
        b'{"ID":1}\r',
        b'\r{"ID":2}\r',
        b'{"ID":1}\r{"ID":2}',
        b"\x0b",
        b"",
        b'{"I\\u0044":1,"new":2}',
        b'{"ID":"' + b"x" * 70 + b'"}',
        b"y" * 90,
        b" " * 99,
    ]
)
json_files = st.lists(st.one_of(good, good, bad, st.binary(max_size=9)), max_size=9).map(b"\n".join)


def plain_json(data: bytes):
    """(position -> values or rule) of each record, by the standard library and the words of the reader's docstring."""
    found, position = {}, 0
    if data.startswith(b"\xef\xbb\xbf"):
        position, data = 3, data[3:]
    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        text = line.removesuffix(b"\r") if number < len(lines) - 1 else line
        if text.strip() or len(text) > blocks.MAX_RECORD_BYTES:
            found[position] = text, plain_record(text)
        position += len(line) + 1
    return found


def plain_record(line: bytes):
    if len(line) > blocks.MAX_RECORD_BYTES:
        return "line_too_long"
    if b"\0" in line:
        return "nul_byte"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "encoding"
    try:
        pairs = json.loads(text, object_pairs_hook=list) if text.lstrip(" \t\r")[:1] == "{" else None
        value = json.loads(text, parse_constant=lambda _: 1 / 0)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "encoding"
    except (ValueError, ZeroDivisionError):
        return "json_syntax"
    if not isinstance(value, dict):
        return "not_an_object"
    if b"1e400" in line:
        return "json_syntax"
    firsts = {}
    for key, _ in pairs:
        firsts.setdefault(key, first_of(text, pairs, key))
    columns = {}
    for key in sorted(firsts, key=lambda k: (k not in KNOWN, k)):
        clean = re.sub("[^0-9A-Z_]+", "_", key.strip().upper()).strip("_") or "UNNAMED"
        if firsts[key] is None:
            continue
        if clean in columns and clean in KNOWN:
            return "duplicate_column"
        spelt = sum(name == clean or name.startswith(f"{clean}\0") for name in columns)
        columns[f"{clean}\0{spelt + 1}" if spelt else clean] = firsts[key]
    return {name.replace("\0", "_"): value for name, value in columns.items()}


def first_of(text, pairs, key):
    """The first value of a key, with objects as objects (the pairs hook makes lists of them)."""
    only = json.loads(text, object_pairs_hook=lambda found: dict(reversed(found)))
    return only[key]


def same(text, value):
    if isinstance(value, str):
        return text == value
    if isinstance(value, float):
        return float(text) == value
    if isinstance(value, list | dict):  # a float may be written without a point
        return json.loads(text, parse_int=float) == json.loads(json.dumps(value), parse_int=float)
    return json.loads(text) == value


@settings(max_examples=400, deadline=None)
@given(data=json_files, cuts=st.lists(st.integers(1, 120), max_size=4))
def test_json_records_are_those_of_the_plain_reader(tmp_path_factory, small_blocks, data, cuts):
    path = tmp_path_factory.mktemp("j") / "f.jsonl"
    path.write_bytes(data)
    rows, rejects = read(path, cuts)
    expected = plain_json(data)
    assert sorted(r["_position"] for r in rows + rejects) == sorted(expected)
    for reject in rejects:
        raw, outcome = expected[reject["_position"]]
        assert (reject["rule"], reject["_raw"], reject["_raw_bytes"]) == (outcome, raw, len(raw))
    for row in rows:
        raw, values = expected[row.pop("_position")]
        assert row.pop("_raw") == raw
        got = {key: text for key, text in row.items() if text is not None}
        assert not isinstance(values, str) and got.keys() == values.keys()
        assert all(same(got[key], value) for key, value in values.items())


def test_a_file_whose_keys_are_data_makes_a_bounded_number_of_columns(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text("".join(f'{{"ID":"{i}","k{i}":1}}\n' for i in range(700)))
    rows, rejects = read(path)
    assert [row["ID"] for row in rows] == [str(i) for i in range(700)] and not rejects
    assert len(rows[0]) < 600 and rows[-1]["_raw"] == b'{"ID":"699","k699":1}'


# CSV


def plain_csv(data: bytes, delimiter: int, limit: int):
    """Records by a machine that looks at one byte after another: [(start, end, cells or None)]."""
    records, start = [], 0
    while start < len(data):
        at, cells, done = start, [], False
        while not done:
            quoted, closed, cell = data[at : at + 1] == b'"', True, b""
            if quoted:
                at, closed = at + 1, False
                while at < len(data) and not closed:
                    if data[at : at + 2] == b'""':
                        cell, at = cell + b'"', at + 2
                    elif data[at] == 34:
                        closed, at = True, at + 1
                    else:
                        cell, at = cell + data[at : at + 1], at + 1
            rest = at
            while at < len(data) and data[at] not in (delimiter, 10):
                at += 1
            done = at == len(data) or data[at] == 10
            tail = data[rest:at].removesuffix(b"\r") if at < len(data) and data[at] == 10 else data[rest:at]
            cells.append(cell + tail if quoted or tail else None)
            if not closed:
                cells = None
                break
            if not done:
                at += 1
        end = at - (at < len(data) and at > start and data[at - 1] == 13)
        if cells is None or end - start > limit:
            at = data.find(b"\n", start)
            at = at if at >= 0 else len(data)
            end, cells = at - (at < len(data) and at > start and data[at - 1] == 13), None
        records.append((start, end, cells))
        start = at + 1
    return records


csv_text = st.text(alphabet='aa,"\n\r;\u20ac ', max_size=60)
csv_pieces = st.sampled_from([b'"', b",", b"\n", b"a", b'""', b"\r\n", b"\xff", b"\0"])
csv_bytes = st.one_of(csv_text.map(str.encode), st.lists(csv_pieces).map(b"".join))


@settings(max_examples=600, deadline=None)
@given(data=csv_bytes)
def test_csv_records_and_cells_are_those_of_the_machine(data):
    found = find_records(data, b",", True, 40)
    expected = plain_csv(data, ord(","), 40)
    assert list(zip(found.starts.tolist(), found.ends.tolist(), strict=True)) == [
        (s, e) for s, e, c in expected if c is not None
    ]
    assert list(found.unclosed) == [(s, e) for s, e, cells in expected if cells is None]
    whole = [cells for _, _, cells in expected if cells is not None]
    assert found.counts.tolist() == [len(cells) for cells in whole]
    for i, cells in enumerate(whole):
        if all(is_text(cell) for cell in cells):
            got = [column[0].as_py() for column in found.columns(np.array([i]), len(cells))]
            assert got == [None if cell is None else cell.decode() for cell in cells]


def is_text(cell):
    try:
        return cell is None or cell.decode() is not None
    except UnicodeDecodeError:
        return False


@settings(max_examples=400, deadline=None)
@given(data=csv_bytes)
def test_csv_files_lose_no_record_and_each_is_found_at_its_place(tmp_path_factory, small_blocks, data):
    path = tmp_path_factory.mktemp("c") / "f.csv"
    header = b"ID,AMOUNT,NOTE\n"
    path.write_bytes(header + data)
    rows, rejects = read(path)
    expected = {}
    for start, end, cells in plain_csv(data, ord(","), blocks.MAX_RECORD_BYTES):
        raw = data[start:end]
        if cells is not None and len(cells) == 1 and not raw.strip():
            continue
        rule = None
        if cells is None:
            rule = "line_too_long" if end - start > blocks.MAX_RECORD_BYTES else "csv_syntax"
        elif b"\0" in raw:
            rule = "nul_byte"
        elif not is_text(raw):
            rule = "encoding"
        elif len(cells) != 3:
            rule = "column_count"
        expected[len(header) + start] = raw, rule or tuple(c if c is None else c.decode() for c in cells)
    got = {r["_position"]: (r["_raw"], r["rule"]) for r in rejects}
    got |= {r["_position"]: (r["_raw"], (r["ID"], r["AMOUNT"], r["NOTE"])) for r in rows}
    assert len(rows) + len(rejects) == len(expected) and got == expected
