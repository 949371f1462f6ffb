"""What commits say about themselves: the `userMetadata` of a Delta commit, written and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from deltalake import DeltaTable

from transforms.io import storage

_READERS = 16  # a log entry is one small object: on Azure the waiting adds up
_LATEST = (1, 8, 64)


@dataclass(frozen=True)
class Note:
    """The note of one commit."""

    version: int
    committed_at: datetime
    text: str


def read_notes(table: DeltaTable, uri: str, after: int) -> list[Note]:
    """The notes of the versions after `after` up to the one `table` is at, oldest first.

    Reads one log entry a version and nothing else. Commits without a note and expired log entries are left out.
    (`DeltaTable.history` numbers versions wrongly when another commit lands meanwhile.)
    """
    return list(_notes(uri, range(after + 1, table.version() + 1)))


def last_note(table: DeltaTable, uri: str) -> Note | None:
    """The newest note in the log of `table`, None if no commit has one."""
    end = table.version() + 1
    for many in chain(_LATEST, (end,)):
        if found := list(_notes(uri, range(max(0, end - many), end))):
            return found[-1]
    return None


def _notes(uri: str, versions: range) -> Iterator[Note]:
    files = storage.filesystem(uri)
    with ThreadPoolExecutor(max(1, min(_READERS, len(versions)))) as pool:
        yield from (note for note in pool.map(lambda version: _note(files, version), versions) if note)


def _note(files: Any, version: int) -> Note | None:
    try:
        info = commit_info(files, version)
    except FileNotFoundError:
        return None
    if text := info.get("userMetadata"):
        return Note(version, datetime.fromtimestamp(info["timestamp"] / 1000, UTC), text)
    return None


def commit_info(files: Any, version: int) -> dict[str, Any]:
    """What the commit of `version` says about itself, empty if nothing; FileNotFoundError if the log has no entry."""
    for line in _lines(files, version):
        if line.startswith(b'{"commitInfo"'):
            return dict(json.loads(line)["commitInfo"])
    return {}


def read_entry(files: Any, version: int) -> list[dict[str, Any]]:
    """All actions of the commit of `version`; FileNotFoundError if the log has no entry."""
    return [json.loads(line) for line in _lines(files, version) if line.strip()]


def entry_name(version: int) -> str:
    """The file of a log entry, below its table."""
    return f"_delta_log/{version:020d}.json"


def _lines(files: Any, version: int) -> list[bytes]:
    with files.open_input_stream(entry_name(version)) as stream:
        return stream.read().split(b"\n")  # type: ignore[no-any-return]
