"""A Delta table's log, followed entry by entry and appended to: what a commit costs does not grow with the table.

`deltalake` lists the log's folder several times a commit and writes a checkpoint of all files every few: with 3,000
entries a commit takes 55 ms instead of 7, and a stream writes as many in an hour. The protocol asks for neither: an
entry is a file with the next number that must not be there yet (Delta transaction protocol, "Delta Log Entries"), and
checkpoints are for readers, whenever somebody finds the time (`sum_up`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from transforms.io import storage
from transforms.io.delta_files import DataFile
from transforms.io.delta_landed import ATTEMPT, Outcome, landed
from transforms.io.delta_notes import entry_name, read_entry
from transforms.io.delta_table import existing_table, explain

Transactions = Sequence[tuple[str, int]]
_ENGINE = "c360"


class LogTail:
    """The entries behind a version, each read once, by its number; nothing is listed.

    Attributes:
      uri: of the table.
      version: of the newest entry that was read.
    """

    def __init__(self, uri: str, version: int) -> None:
        self.uri, self.version = uri, version
        self._files = storage.filesystem(uri)

    def new(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """(version, actions) of what came since the last look.

        Raises:
          OSError: the storage failed.
        """
        while (actions := self._entry(self.version + 1)) is not None:
            self.version += 1
            yield self.version, actions

    def _entry(self, version: int) -> list[dict[str, Any]] | None:
        try:
            return read_entry(self._files, version)
        except FileNotFoundError:
            return None


class TableLog:
    """One handle for what a table's transactions say and for appending to it; anything between the two is a conflict.

    Not thread-safe.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._open()

    def _open(self) -> None:
        self.table: DeltaTable = existing_table(self._uri)
        self._tail = LogTail(self._uri, int(self.table.version()))
        self._newer: dict[str, int] = {}

    @property
    def version(self) -> int:
        return self._tail.version

    def refresh(self) -> None:
        """Takes up what others committed.

        Raises:
          UserError: the storage failed.
        """
        try:
            for _, actions in self._tail.new():
                for action in actions:
                    if "metaData" in action or "protocol" in action:
                        return self._open()
                    if told := action.get("txn"):
                        self._newer[told["appId"]] = told["version"]
        except (OSError, ValueError) as error:
            raise explain(error if isinstance(error, OSError) else DeltaError(str(error)), self._uri) from error
        return None

    def transaction_version(self, app_id: str) -> int | None:
        """The newest committed version of an application id."""
        if app_id not in self._newer:
            found = self.table.transaction_version(app_id)
            if found is None:
                return None
            self._newer[app_id] = found
        return self._newer[app_id]

    def append(self, files: Sequence[DataFile], transactions: Transactions, note: str, attempt: str) -> int:
        """Commits files and transactions as the next version, and gives it.

        Raises:
          CommitFailedError: another commit came in between.
          OSError: the storage failed; the entry may be there all the same, see `landed`.
        """
        version = self._tail.version + 1
        lines = _lines(files, transactions, note, attempt)
        try:
            storage.put_new(self._uri, entry_name(version), lines)
        except FileExistsError as error:
            if landed(self._uri, version, attempt, error) is not Outcome.LANDED:
                raise CommitFailedError(f"version {version} was committed by another one") from error
        except OSError as error:
            if landed(self._uri, version, attempt, error) is not Outcome.LANDED:
                raise
        self._tail.version = version
        self._newer.update(transactions)
        return version


def sum_up(uri: str, least: int = 100) -> bool:
    """Writes a checkpoint for readers when there are `least` entries since the last one, and drops expired entries."""
    table = existing_table(uri)
    try:
        with storage.filesystem(uri).open_input_stream("_delta_log/_last_checkpoint") as stream:
            last = int(json.loads(stream.read())["version"])
    except (FileNotFoundError, ValueError, KeyError):
        last = -1
    if table.version() - last < least:
        return False
    try:
        table.create_checkpoint()
        table.cleanup_metadata()
    except (DeltaError, OSError) as error:
        raise explain(error, uri) from error
    return True


def _lines(files: Sequence[DataFile], transactions: Transactions, note: str, attempt: str) -> bytes:
    now = int(time.time() * 1000)
    info = {
        "timestamp": now,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append"},
        "isBlindAppend": True,
        "engineInfo": _ENGINE,
        ATTEMPT: attempt,
        **({"userMetadata": note} if note else {}),
    }
    actions: list[Mapping[str, Any]] = [{"commitInfo": info}]
    actions += [{"txn": {"appId": app, "version": at, "lastUpdated": now}} for app, at in transactions]
    actions += [{"add": _add(file)} for file in files]
    return "\n".join(json.dumps(action) for action in actions).encode()


def _add(file: DataFile) -> Mapping[str, Any]:
    return {
        "path": quote(file.path, safe="/=:@!$&'()*+,;-._~"),
        "partitionValues": dict(file.partition),
        "size": file.size,
        "modificationTime": file.modified_ms,
        "dataChange": True,
        "stats": file.statistics,
    }
