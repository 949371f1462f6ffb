"""What a table's Delta log and files say of its commits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config import Lake
from tests.stream_views import TABLE
from transforms.contracts import contract


@dataclass(frozen=True)
class Commit:
    """One commit with rows: when it was readable, and when the hub took its events (microseconds)."""

    at: float
    enqueued: np.ndarray


def commits(lake: Path) -> list[Commit]:
    """The commits of bronze that added rows, oldest first."""
    found = added(Lake(str(lake)).bronze(contract(TABLE)), ["_enqueued_at"])
    return [Commit(at, rows["_enqueued_at"].cast("int64").to_numpy()) for at, rows in found]


def added(uri: str, columns: list[str]) -> Iterator[tuple[float, pa.Table]]:
    """The commits that added rows, oldest first: when each was readable, and its rows."""
    table = Path(uri)
    for path in sorted((table / "_delta_log").glob("*.json")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        files = [table / unquote(line["add"]["path"]) for line in lines if "add" in line]
        if files:
            read = [pq.ParquetFile(file).read(columns=columns) for file in files]
            yield path.stat().st_mtime, pa.concat_tables(read)


@dataclass(frozen=True)
class Landed:
    """One commit of a stream: how long it took, from its turn to its log entry, and how old its newest event was."""

    rows: int
    took_seconds: float
    lag_seconds: float | None


class LogWatch:
    """Follows the log of one local table; `version` and `files` are those of the table as last looked at."""

    def __init__(self, uri: str) -> None:
        self._log = Path(uri) / "_delta_log"
        self.version, self.files = -1, 0

    def look(self) -> list[Landed]:
        """The stream's commits since the last look; those of upkeep change `version` and `files` only."""
        found = []
        while (path := self._log / f"{self.version + 1:020d}.json").exists():
            landed, entries = path.stat().st_mtime, [json.loads(line) for line in path.read_text().splitlines()]
            self.version += 1
            self.files += sum("add" in entry for entry in entries) - sum("remove" in entry for entry in entries)
            facts = _facts(entries)
            if "began_us" in facts:
                lag = landed - facts["newest_us"] / 1e6 if "newest_us" in facts else None
                found.append(Landed(facts["rows"], landed - facts["began_us"] / 1e6, lag))
        return found


def _facts(entries: list[dict]) -> dict:
    texts = [entry["commitInfo"].get("userMetadata", "{}") for entry in entries if "commitInfo" in entry]
    return json.loads(texts[0]) if texts and texts[0].startswith("{") else {}
