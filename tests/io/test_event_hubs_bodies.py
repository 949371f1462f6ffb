"""Bodies of events against a plain reader that takes one event after the other; no event is lost."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.contracts import contract
from transforms.io.event_hubs_bodies import ARROW, JSON, JSON_LINES, REJECTED_EVENTS, by_table, decode
from transforms.io.event_hubs_client import EVENTS

TABLE = "CUSTOMER_ENGAGEMENT_EVENTS"
NAMES = contract(TABLE).names
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def events(*bodies: bytes | tuple[bytes, str | None] | tuple[bytes, str | None, str | None]) -> pa.RecordBatch:
    """Events with sequence numbers 100, 107, 114, …, a second each."""
    full = [(*given_, None, None)[:3] if isinstance(given_, tuple) else (given_, None, None) for given_ in bodies]
    rows = [
        {"sequence_number": 100 + 7 * i, "enqueued_at": NOW + timedelta(seconds=i), "body": body}
        | {"content_type": kind, "schema_id": schema}
        for i, (body, kind, schema) in enumerate(full)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=EVENTS)


def stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def found(decoded) -> list[tuple[int, int, dict]]:
    """(position, row, the values that are there)"""
    plain = decoded.rows.to_pylist()
    return [
        (r["_position"], r["_row"], {k: v for k, v in r.items() if not k.startswith("_") and v is not None})
        for r in plain
    ]


def refused(decoded) -> list[tuple[int, int, str]]:
    return [(r["_position"], r["_row"], r["rule"]) for r in decoded.rejects.to_pylist()]


values = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
records = st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=4)
garbage = st.sampled_from([b"{", b"7", b'"text"', b'{"a":}', b"\xff\xfe", b'{"ENGAGEMENT_ID": "\0"}', b"<xml/>"])


@st.composite
def bodies(draw):
    """(event, the records in it in order; None for one that is no record)"""
    form = draw(st.sampled_from(["row", "pretty", "lines", "array", "arrow", "bad"]))
    rows = draw(st.lists(records, min_size=1, max_size=4))
    text = [json.dumps(row, ensure_ascii=draw(st.booleans())).encode() for row in rows]
    if form == "row":
        return (text[0], draw(st.sampled_from([None, JSON, "application/octet-stream"]))), rows[:1]
    if form == "pretty":
        return (json.dumps(rows[0], indent=1).encode(), draw(st.sampled_from([None, JSON]))), rows[:1]
    if form == "array":
        return (json.dumps(rows, indent=draw(st.sampled_from([None, 1]))).encode(), JSON), rows
    if form == "arrow":
        return (stream(pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in NAMES]))), ARROW), rows
    if form == "bad":
        return (draw(garbage), JSON), [None]
    mixed = [
        draw(st.one_of(st.just((line, row)), garbage.map(lambda b: (b, None))))
        for line, row in zip(text, rows, strict=True)
    ]
    end = draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
    return (end.join(line for line, _ in mixed) + draw(st.sampled_from([b"", end])), JSON_LINES), [
        row for _, row in mixed
    ]


@settings(deadline=None)
@given(st.lists(bodies(), max_size=8))
def test_every_record_comes_out_once_where_it_stood(given_):
    batch = events(*(body for body, _ in given_))
    decoded = decode(batch, TABLE)
    expected = [(100 + 7 * i, j, row) for i, (_, rows) in enumerate(given_) for j, row in enumerate(rows)]
    assert found(decoded) == [(at, j, row) for at, j, row in expected if row is not None]
    assert [(at, j) for at, j, _ in refused(decoded)] == [(at, j) for at, j, row in expected if row is None]
    assert decoded.rejects.schema == REJECTED_EVENTS and decoded.empty == 0
    times = {100 + 7 * i: NOW + timedelta(seconds=i) for i in range(len(given_))}
    for part in (decoded.rows, decoded.rejects):
        assert part["_enqueued_at"].to_pylist() == [times[at] for at in part["_position"].to_pylist()]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_no_event_is_lost_whatever_its_bytes(given_):
    decoded = decode(events(*given_), TABLE)
    seen = {at for at, _, _ in found(decoded)} | {at for at, _, _ in refused(decoded)}
    assert len(seen) + decoded.empty == len(given_)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_a_damaged_arrow_stream_is_a_reject_or_rows_and_never_a_crash(place, byte, cut):
    sound = bytearray(stream(pa.table({"ENGAGEMENT_ID": ["a", "bb", None], "CAMPAIGN_ID": [1, 2, 3]})))
    place %= len(sound)
    sound[place] = byte
    decoded = decode(events((bytes(sound[:place] if cut else sound), ARROW)), TABLE)
    assert decoded.rows.num_rows + decoded.rejects.num_rows + decoded.empty >= 1


def test_bytes_that_are_kept_are_the_ones_that_came():
    lines = [b'{"ENGAGEMENT_ID": "1", "TIME_TO_OPEN": 1.1}', b'{"ENGAGEMENT_ID": 2 }', b"nonsense"]
    decoded = decode(events((b"\r\n".join(lines), JSON_LINES), b"\xef\xbb\xbf" + lines[0]), TABLE)
    assert decoded.rows["_raw"].to_pylist() == [lines[0], lines[1], lines[0]]
    assert decoded.rows["TIME_TO_OPEN"].to_pylist() == ["1.1", None, "1.1"]
    assert decoded.rejects["_raw"].to_pylist() == [b"nonsense"]


@pytest.mark.parametrize(
    ("body", "kind", "schema", "rule"),
    [
        (b"", None, None, "empty_event"),
        (b" \n ", JSON, TABLE, "empty_event"),
        (b"", ARROW, TABLE, "empty_event"),
        (b'{"ENGAGEMENT_ID": "1"}', ARROW, TABLE, "not_arrow"),
        (stream(pa.table({"ENGAGEMENT_ID": ["1"]})), JSON, TABLE, "not_json"),
        (stream(pa.table({"something": ["1"]})), ARROW, TABLE, "another_table"),
        (b'{"ENGAGEMENT_ID": "1"}', JSON, "CUSTOMERS/3", "another_table"),
        (b'{"ENGAGEMENT_ID": "1"}', JSON, "nobody knows", "another_table"),
        (b"[]", JSON, TABLE, "not_an_object"),
        (b'[{"ENGAGEMENT_ID": "1"},]', JSON, TABLE, "json_syntax"),
        (b'[{"ENGAGEMENT_ID": "1"} 7]', JSON, TABLE, "json_syntax"),
        (b"[" * 100_000, JSON, TABLE, "json_syntax"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_a_reject_with_its_bytes(body, kind, schema, rule):
    decoded = decode(events((body, kind, schema), b'{"ENGAGEMENT_ID": "sound"}'), TABLE)
    [reject] = decoded.rejects.to_pylist()
    assert (reject["_position"], reject["_row"], reject["_raw_bytes"]) == (100, 0, len(reject["_raw"]))
    assert found(decoded) == [(107, 0, {"ENGAGEMENT_ID": "sound"})]
    assert reject["rule"] in (rule, "nul_byte") and "sound" not in reject["reason"]
    assert body.strip() in (reject["_raw"], b"") or reject["_raw"] == body


def test_schema_ids_may_carry_a_version_and_any_spelling():
    ids = [None, TABLE, f"{TABLE}/2", TABLE.lower(), "engagement"]
    known = [contract(i).name for i in ids if i and "/" not in i]
    assert set(known) == {TABLE}
    assert decode(events(*((b'{"ENGAGEMENT_ID": "1"}', JSON, i) for i in ids)), TABLE).rows.num_rows == len(ids)


def test_an_arrow_stream_without_rows_is_counted():
    decoded = decode(events(stream(pa.table({"ENGAGEMENT_ID": pa.array([], pa.string())}))), TABLE)
    assert (decoded.rows.num_rows, decoded.rejects.num_rows, decoded.empty) == (0, 0, 1)


def test_a_column_of_two_types_becomes_text_and_keeps_its_value():
    typed = pa.table(
        {
            "ENGAGEMENT_ID": pa.array(["1"]).dictionary_encode(),
            "ENGAGEMENT_DATE": pa.array([NOW], pa.timestamp("us", tz="UTC")),
            "TIME_TO_OPEN": pa.array([7], pa.int64()),
        }
    )
    decoded = decode(events(stream(typed), b'{"ENGAGEMENT_ID": "2", "TIME_TO_OPEN": "many"}'), TABLE)
    assert [row["TIME_TO_OPEN"] for _, _, row in found(decoded)] == ["7", "many"]
    import polars as pl

    from transforms.bronze.cells import cast_cells  # what bronze makes of the text

    [at, _] = cast_cells(pl.Series(pl.from_arrow(decoded.rows["ENGAGEMENT_DATE"])), pa.timestamp("us", tz="UTC")).values
    assert at == NOW
    assert decode(events(stream(typed)), TABLE).rows.schema.field("TIME_TO_OPEN").type == pa.int64()


def test_a_mixed_hub_is_taken_apart_and_unknown_tables_are_rejects():
    row = b'{"ENGAGEMENT_ID": "1"}'
    batch = events((row, JSON, TABLE), (row, JSON, "CUSTOMERS"), row, (row, JSON, "elsewhere/1"), (row, JSON, TABLE))
    tables, lost = by_table(batch, TABLE, [TABLE, "CUSTOMERS"])
    assert {t: b["sequence_number"].to_pylist() for t, b in tables.items()} == {
        TABLE: [100, 114, 128],
        "CUSTOMERS": [107],
    }
    assert [(r["_position"], r["rule"], r["_raw"]) for r in lost.to_pylist()] == [(121, "unknown_schema", row)]
    tables, lost = by_table(batch, None, [TABLE])
    assert list(tables) == [TABLE] and lost["_position"].to_pylist() == [107, 114, 121]
    assert by_table(batch.slice(0, 0), TABLE, [TABLE])[0] == {}
