"""How a stream is doing, read from what its commits say: the same on every engine, and after every restart."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from transforms.io.delta_notes import read_notes
from transforms.io.delta_positions import marks_of
from transforms.io.delta_table import open_table

_GAPS = 100  # so many are remembered


@dataclass(frozen=True)
class Progress:
    """What one table's stream has done since it was looked at first.

    Attributes:
      rows: rows committed.
      commits: how many commits they came in.
      positions: log -> last committed position.
      lag_seconds: from the hub's taking the newest committed event to its commit; None before the first.
      late_seconds: the same of the oldest event in that commit.
      clocks: log -> how far its sessions' clock is (event time, microseconds since 1970); of tables of sessions only.
      gaps: (log, first position, last position) of events that the hub dropped before they were read; the newest few.
    """

    table: str
    rows: int = 0
    commits: int = 0
    dropped: int = 0
    lost: int = 0
    positions: Mapping[str, int] = field(default_factory=dict)
    lag_seconds: float | None = None
    late_seconds: float | None = None
    newest_us: int | None = None
    gaps: tuple[tuple[str, int, int], ...] = ()
    clocks: Mapping[str, int] = field(default_factory=dict)


class StreamWatch:
    """Follows the logs of a stream's tables; each `look` reads the new entries and no others."""

    def __init__(self, tables: Mapping[str, str], stream: str) -> None:
        self._tables, self._stream = dict(tables), stream
        self._seen = {name: self._version(uri) for name, uri in self._tables.items()}
        self._progress = {name: Progress(name) for name in self._tables}
        self.began = time.monotonic()

    def look(self) -> dict[str, Progress]:
        """Table -> progress, up to now."""
        for name, uri in self._tables.items():
            table = open_table(uri)
            if table is None or table.version() <= self._seen[name]:
                continue
            told: dict[str, None] = {}
            for note in read_notes(table, uri, self._seen[name]):
                facts = _facts(note.text, self._stream)
                if facts is not None:
                    self._progress[name] = _add(self._progress[name], facts, note.committed_at.timestamp())
                    told |= dict.fromkeys(facts["positions"])
            if told:
                clocks = marks_of(uri, self._stream, told, "clock")
                self._progress[name] = replace(self._progress[name], clocks=self._progress[name].clocks | clocks)
            self._seen[name] = table.version()
        return dict(self._progress)

    @staticmethod
    def _version(uri: str) -> int:
        table = open_table(uri)
        return -1 if table is None else table.version()


def _facts(text: str, stream: str) -> dict | None:  # type: ignore[type-arg]
    try:
        facts = json.loads(text)
    except ValueError:
        return None
    return facts if isinstance(facts, dict) and facts.get("stream") == stream and "rows" in facts else None


def _add(before: Progress, facts: dict, at: float) -> Progress:  # type: ignore[type-arg]
    newest, oldest = facts.get("newest_us"), facts.get("oldest_us")
    gaps = [(log, low, high) for log, several in facts.get("gaps", {}).items() for low, high in several]
    return Progress(
        before.table,
        before.rows + facts["rows"],
        before.commits + 1,
        before.dropped + facts["dropped"],
        before.lost + sum(high - low + 1 for _, low, high in gaps),
        {**before.positions, **facts["positions"]},
        before.lag_seconds if newest is None else at - newest / 1e6,
        before.late_seconds if oldest is None else at - oldest / 1e6,
        before.newest_us if newest is None else max(newest, before.newest_us or newest),
        (*before.gaps, *gaps)[-_GAPS:],
        before.clocks,
    )


def total(progress: Iterable[Progress]) -> int:
    """Rows over all tables."""
    return sum(table.rows for table in progress)
