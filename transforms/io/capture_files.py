"""Files of Event Hubs Capture (Avro) to events; no Beam."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.fs as pafs

from transforms.errors import UserError
from transforms.io import storage
from transforms.io.event_hubs_client import EVENTS, SCHEMA_ID
from transforms.positions import Piece

DEFAULT_LAYOUT = "{Namespace}/{EventHub}/{PartitionId}/{Year}/{Month}/{Day}/{Hour}/{Minute}/{Second}"
PIECE_EVENTS = 20_000
PIECE_BYTES = 32 << 20
_PARTS = ("Namespace", "EventHub", "PartitionId", "Year", "Month", "Day", "Hour", "Minute", "Second")


@dataclass(frozen=True)
class CaptureFile:
    """One file: its place below `root`, and the hub and partition that its name tells."""

    root: str
    path: str
    hub: str
    partition: str

    @property
    def log(self) -> str:
        """ "<hub>/<partition>"."""
        return f"{self.hub}/{self.partition}"


def is_capture(url: str) -> bool:
    """Whether `--events` names a folder of Capture: `capture:FOLDER`, FOLDER local or on Azure."""
    return url.startswith("capture:")


def find_files(url: str, hubs: Sequence[str] = (), layout: str = DEFAULT_LAYOUT) -> list[CaptureFile]:
    """The files of a Capture container, in the order of time within each partition.

    Args:
      url: the folder above the first part of `layout`, with or without `capture:` before it.
      hubs: the hubs wanted; none means all.
      layout: Capture's file name format.

    Raises:
      UserError: the layout names no hub or partition, nothing is there, or no file's name fits the layout.
    """
    pattern = _pattern(layout)
    root = url.removeprefix("capture:")
    try:
        listed = storage.filesystem(root).get_file_info(pafs.FileSelector("", recursive=True))
    except OSError as error:
        raise UserError(f"the folder cannot be listed ({type(error).__name__})", root, "check the path") from None
    names = sorted(info.path for info in listed if info.is_file and info.path.endswith(".avro"))
    fits = [(name, match) for name in names if (match := pattern.search(name))]
    if not fits:
        what = "no file's name fits Capture's format" if names else "there are no Avro files"
        raise UserError(what, root, f"give the folder above {layout}.avro")
    files = [CaptureFile(root, name, match["EventHub"], match["PartitionId"]) for name, match in fits]
    return [file for file in files if not hubs or file.hub in hubs]


def _pattern(layout: str) -> re.Pattern[str]:
    for part in ("EventHub", "PartitionId"):
        if layout.count(f"{{{part}}}") != 1:
            raise UserError(f"the layout must hold {{{part}}} once", layout, f"for example {DEFAULT_LAYOUT}")
    escaped = re.escape(layout)
    for part in _PARTS:
        escaped = escaped.replace(re.escape(f"{{{part}}}"), rf"(?P<{part}>[^/]+?)", 1)
    return re.compile(rf"(?:^|/){escaped}\.avro$")


def read_file(file: CaptureFile, start: int = 0) -> Iterator[Piece]:
    """The file's events from the sequence number `start` on, schema EVENTS, in pieces that follow each other.

    A file that Capture wrote for a time without events gives none.

    Raises:
      UserError: the file is damaged or not Capture's. What was read before has been given.
    """
    try:
        with storage.filesystem(file.root).open_input_stream(file.path) as source:
            held: list[dict[str, Any]] = []
            size = 0
            records: Iterator[Any] = iter(fastavro.reader(source))
            for record in records:
                if record["SequenceNumber"] < start:
                    continue
                held.append(record)
                size += len(record["Body"] or b"")
                if len(held) == PIECE_EVENTS or size >= PIECE_BYTES:
                    yield _piece(file, held)
                    held, size = [], 0
            if held:
                yield _piece(file, held)
    except (ValueError, EOFError, KeyError, TypeError, IndexError, AttributeError, OSError) as error:
        raise UserError(
            f"the file is damaged, or Capture did not write it ({type(error).__name__})",
            f"{file.root}/{file.path}",
            "restore it, or move it away: its events are then missing",
        ) from None


def _piece(file: CaptureFile, records: list[dict[str, Any]]) -> Piece:
    columns = [
        [record["SequenceNumber"] for record in records],
        [_enqueued(record) for record in records],
        [_text(record["Properties"].get(SCHEMA_ID)) for record in records],
        [_text(record["SystemProperties"].get("content-type")) for record in records],
        [record["Body"] or b"" for record in records],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, EVENTS, strict=True)]
    low, high = records[0]["SequenceNumber"], records[-1]["SequenceNumber"]
    return Piece(file.log, low, high, pa.RecordBatch.from_arrays(arrays, schema=EVENTS))


def _enqueued(record: dict[str, Any]) -> datetime:
    """In milliseconds where the file has them; the column of its own has whole seconds, as "12/1/2010 8:26:00 AM"."""
    exact = record["SystemProperties"].get("x-opt-enqueued-time")
    if isinstance(exact, int):
        return datetime.fromtimestamp(exact / 1000, UTC)
    text = record["EnqueuedTimeUtc"]
    try:
        return datetime.strptime(text, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
