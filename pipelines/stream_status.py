"""How a stream is doing, read from what its commits say: the same on every engine, and after every restart."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from transforms.io.delta_log import LogTail
from transforms.io.delta_positions import mark_app
from transforms.io.delta_table import explain, table_version

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
        self._stream = stream
        self._tails = {name: LogTail(uri, _version(uri)) for name, uri in tables.items()}
        self._progress = {name: Progress(name) for name in tables}
        self.began = time.monotonic()

    def look(self) -> dict[str, Progress]:
        """Table -> progress, up to now.

        Raises:
          Unreachable, UserError: the storage failed.
        """
        for name, tail in self._tails.items():
            try:
                for _, actions in tail.new():
                    self._progress[name] = self._with(self._progress[name], actions)
            except OSError as error:
                raise explain(error, tail.uri) from error
        return dict(self._progress)

    def _with(self, progress: Progress, actions: Iterable[Mapping[str, Any]]) -> Progress:
        info: Mapping[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
        facts = _facts(info.get("userMetadata", ""), self._stream)
        if facts is None:
            return progress
        told = {a["txn"]["appId"]: int(a["txn"]["version"]) for a in actions if "txn" in a}
        apps = {log: mark_app(self._stream, log, "clock") for log in facts["positions"]}
        clocks = {log: told[app] for log, app in apps.items() if app in told}
        made = _add(progress, facts, info["timestamp"] / 1000)
        return replace(made, clocks={**made.clocks, **clocks})


def _version(uri: str) -> int:
    version = table_version(uri)
    return -1 if version is None else version


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
