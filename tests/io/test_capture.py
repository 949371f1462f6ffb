"""Files in the schema that Event Hubs Capture documents, written by fastavro and read back."""

from datetime import UTC, datetime

import apache_beam as beam
import fastavro
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from transforms.errors import UserError
from transforms.io import capture_files
from transforms.io.capture import ReadCapture
from transforms.io.capture_files import find_files, is_capture, read_file
from transforms.io.event_hubs_client import EVENTS
from transforms.positions import advance

SCHEMA = {
    "type": "record",
    "name": "EventData",
    "namespace": "Microsoft.ServiceBus.Messaging",
    "fields": [
        {"name": "SequenceNumber", "type": "long"},
        {"name": "Offset", "type": "string"},
        {"name": "EnqueuedTimeUtc", "type": "string"},
        {"name": "SystemProperties", "type": {"type": "map", "values": ["long", "double", "string", "bytes"]}},
        {"name": "Properties", "type": {"type": "map", "values": ["long", "double", "string", "bytes", "null"]}},
        {"name": "Body", "type": ["null", "bytes"]},
    ],
}


def event(number: int, exact: bool = True) -> dict:
    system = {"content-type": "application/json"} | ({"x-opt-enqueued-time": 1_291_191_960_123} if exact else {})
    return {
        "SequenceNumber": number,
        "Offset": str(number * 100),
        "EnqueuedTimeUtc": "12/1/2010 8:26:00 AM",
        "SystemProperties": system,
        "Properties": {"schema-id": "CUSTOMERS/1"} if exact else {},
        "Body": b"%d" % number if number % 10 else None,
    }


def write(root, hub, partition, minute, events, layout="shop/{h}/{p}/2010/12/01/08/{m:02}/00.avro"):
    path = root / layout.format(h=hub, p=partition, m=minute)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        fastavro.writer(file, SCHEMA, events, codec="deflate")
    return path


@pytest.fixture
def container(tmp_path):
    for minute in range(3):
        write(tmp_path, "orders", 0, minute, [event(i) for i in range(100 * minute, 100 * minute + 100)])
    write(tmp_path, "orders", 0, 3, [])
    write(tmp_path, "orders", 11, 0, [event(i, exact=False) for i in range(7, 20)])
    write(tmp_path, "clicks", 0, 0, [event(1)])
    return tmp_path


def test_files_tell_their_hub_and_partition_and_give_the_events(container):
    files = find_files(f"capture:{container}", ["orders"])
    assert [file.log for file in files] == ["orders/0"] * 4 + ["orders/11"]
    pieces = [piece for file in files for piece in read_file(file)]
    step = advance(-1, [piece for piece in pieces if piece.log == "orders/0"])
    assert step.cursor == 299 and not step.held
    rows = [row for piece, _ in step.accepted for row in piece.rows.to_pylist()]
    assert [row["body"] for row in rows] == [b"%d" % i if i % 10 else b"" for i in range(300)]
    assert {row["schema_id"] for row in rows} == {"CUSTOMERS/1"}
    assert {row["content_type"] for row in rows} == {"application/json"}
    assert {row["enqueued_at"] for row in rows} == {datetime(2010, 12, 1, 8, 26, 0, 123000, UTC)}
    [other] = [piece for piece in pieces if piece.log == "orders/11"]
    assert (other.low, other.high, other.rows.schema) == (7, 19, EVENTS)
    assert other.rows["enqueued_at"][0].as_py() == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert other.rows["schema_id"].null_count == 13


def test_large_files_are_read_in_pieces_that_follow_each_other(container, monkeypatch):
    monkeypatch.setattr(capture_files, "PIECE_EVENTS", 30)
    pieces = list(read_file(find_files(str(container), ["orders"])[1], start=115))
    assert [(piece.low, piece.high) for piece in pieces] == [(115, 144), (145, 174), (175, 199)]


def test_a_pipeline_reads_what_the_stream_would_have(container):
    starts = {"orders/0": 250, "orders/11": 0, "clicks/0": 0}

    def check(pieces):
        found = {(piece.log, row["sequence_number"]) for piece in pieces for row in piece.rows.to_pylist()}
        wanted = {("orders/0", i) for i in range(250, 300)} | {("orders/11", i) for i in range(7, 20)}
        assert found == wanted | {("clicks/0", 1)}

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | ReadCapture(f"capture:{container}", start=starts.__getitem__), check)


def test_another_layout_is_named(tmp_path):
    write(tmp_path, "orders", 3, 0, [event(1)], "{h}/y2010/{p}-{m}.avro")
    [file] = find_files(str(tmp_path), layout="{EventHub}/y{Year}/{PartitionId}-{Minute}")
    assert file.log == "orders/3"
    with pytest.raises(UserError, match=r"no file's name fits"):
        find_files(str(tmp_path))
    with pytest.raises(UserError, match=r"must hold .PartitionId. once"):
        find_files(str(tmp_path), layout="{EventHub}/x")


def test_what_is_wrong_with_the_folder_or_a_file_is_one_line(container, tmp_path):
    for url, said in ((f"{tmp_path}/nowhere", "cannot be listed"), (str(tmp_path / "empty"), "no Avro files")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=said):
            find_files(url)
    path = container / "shop/orders/0/2010/12/01/08/01/00.avro"
    sound = path.read_bytes()
    for damaged in (sound[: len(sound) // 2], b"no Avro at all", b"", sound[:-40] + b"\0" * 40):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="the file is damaged"):
            list(read_file(find_files(str(container), ["orders"])[1]))


def test_capture_urls_are_told_from_connections():
    assert is_capture("capture:abfss://events@shop.dfs.core.windows.net/x") and not is_capture("sb://x")
