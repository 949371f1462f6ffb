"""What Event Hubs Capture kept, into bronze: each event once, whether the hub or Capture gave it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import pytest

from pipelines.__main__ import main
from pipelines.backfill import backfill
from pipelines.config import Lake, Run
from pipelines.stream_config import StreamConfig
from tests.io.test_capture import SCHEMA
from tests.pipelines.test_stream_bad_input import ONE_HUB, TABLE, views
from tests.streaming import PLACE, Sent, assert_same, bronze_rows, stream
from transforms.errors import UserError
from transforms.generator.jsonl import to_json_lines
from transforms.io.delta import open_table, read_notes, read_table

HUBS = {"behavioral": (TABLE,)}
NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


def capture(folder: Path, minute: int, first: int, bodies: list[bytes], partition: int = 0) -> Path:
    """A file with events numbered from `first`."""
    path = folder / f"shop/behavioral/{partition}/2026/01/01/08/{minute:02}/00.avro"
    path.parent.mkdir(parents=True, exist_ok=True)
    events = [
        {
            "SequenceNumber": first + number,
            "Offset": str(first + number),
            "EnqueuedTimeUtc": "1/1/2026 8:26:00 AM",
            "SystemProperties": {"content-type": "application/json", "x-opt-enqueued-time": NOW + first + number},
            "Properties": {"schema-id": TABLE},
            "Body": body,
        }
        for number, body in enumerate(bodies)
    ]
    with path.open("wb") as file:
        fastavro.writer(file, SCHEMA, events)
    return path


def bodies(first: int, count: int) -> list[bytes]:
    return to_json_lines(views(first, count)).splitlines()


def add(folder: Path, lake: Path) -> dict[str, tuple[int, int]]:
    done = backfill(StreamConfig(str(lake), f"capture:{folder}", HUBS), Run("stream"))
    return {one.table: (one.counts.accepted, one.counts.rejected) for one in done}


def places(lake: Path) -> list[tuple]:
    return list(zip(*(bronze_rows(lake, TABLE)[name].to_pylist() for name in PLACE), strict=True))


def test_files_that_overlap_and_come_again_give_each_event_once(tmp_path):
    folder, lake = tmp_path / "files", tmp_path / "lake"
    capture(folder, 0, 0, bodies(0, 40))
    capture(folder, 0, 0, bodies(500, 9), partition=1)
    assert add(folder, lake)[TABLE] == (49, 0)
    capture(folder, 1, 30, [*bodies(30, 20), b"no JSON {", *bodies(50, 9)])
    added = add(folder, lake)
    assert (added[TABLE], added["rejects"]) == ((19, 0), (0, 1))
    assert add(folder, lake).get(TABLE, (0, 0)) == (0, 0)
    expected = [("behavioral/0", n, 0) for n in range(60) if n != 50] + [("behavioral/1", n, 0) for n in range(9)]
    assert places(lake) == expected
    ids = [f"E{n}" for n in range(59)] + [f"E{n}" for n in range(500, 509)]
    assert bronze_rows(lake, TABLE)["EVENT_ID"].to_pylist() == ids
    [reject] = read_table(Lake(str(lake)).rejects).to_pylist()
    assert (reject["file"], reject["position"], reject["rule"]) == ("behavioral/0", 50, "json_syntax")


def test_what_came_before_capture_began_is_told_and_a_file_that_is_missing_stops_it(tmp_path):
    folder, lake = tmp_path / "files", tmp_path / "lake"
    capture(folder, 0, 100, bodies(100, 20))
    between = capture(folder, 1, 120, bodies(120, 20))
    content = between.read_bytes()
    capture(folder, 2, 140, bodies(140, 20))
    between.unlink()
    with pytest.raises(Exception, match="positions 120 to 139 of behavioral/0 are in no file"):
        add(folder, lake)
    assert [position for _, position, _ in places(lake)] == list(range(100, 120))
    between.write_bytes(content)
    assert add(folder, lake)[TABLE] == (40, 0)
    uri = Lake(str(lake)).tables["bronze/customer360/behavioral"]
    notes = [json.loads(note.text) for note in read_notes(open_table(uri), uri, -1) if note.text]
    assert [facts["gaps"] for facts in notes if "gaps" in facts] == [{"behavioral/0": [[0, 99]]}]


def test_hubs_without_files_are_said(tmp_path):
    capture(tmp_path / "files", 0, 0, bodies(0, 2))
    config = StreamConfig(str(tmp_path / "lake"), f"capture:{tmp_path / 'files'}", {"clicks": (TABLE,)})
    with pytest.raises(UserError, match="no files of the hubs clicks"):
        backfill(config, Run("stream"))


def test_the_command_says_what_it_added(tmp_path, monkeypatch, capsys):
    capture(tmp_path / "files", 0, 0, [*bodies(0, 30), b"{}"])
    arguments = ["stream", "--events", f"capture:{tmp_path / 'files'}", "--lake", str(tmp_path / "lake"), *ONE_HUB]
    monkeypatch.setattr(sys, "argv", ["c360", *arguments, "--json"])
    main()
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["rejected"]) == (30, 1)


@pytest.mark.slow
def test_a_stream_goes_on_behind_what_was_captured(prism, tmp_path, start_loopback):
    sent, folder, lake = Sent(start_loopback({"behavioral": 1}), "behavioral", 1), tmp_path / "files", tmp_path / "lake"
    sent.send(views(0, 150), "row").flush()
    capture(folder, 0, 0, bodies(0, 100))
    assert add(folder, lake)[TABLE] == (100, 0)
    stream(sent.server, lake, *ONE_HUB, "--until-idle")
    capture(folder, 1, 100, bodies(100, 20))
    assert add(folder, lake).get(TABLE, (0, 0)) == (0, 0)  # the hub gave them
    assert_same(bronze_rows(lake, TABLE), sent.expected)
