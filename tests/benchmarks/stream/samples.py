"""What a stream holds and how fast it commits, looked at every few seconds: a row of a CSV file each time."""

from __future__ import annotations

import csv
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipelines.config import Lake
from pipelines.supervisor import Supervisor
from tests.benchmarks.stream.commits import LogWatch
from tests.benchmarks.stream.processes import cpu_seconds, processes, resident_mb
from tests.event_hubs import LoopbackProcess
from tests.stream_views import TABLE
from transforms.contracts import contract

EVERY_SECONDS = 10.0
_SAY_SECONDS = 60.0


def tables_of(lake: Path) -> dict[str, str]:
    """Name in the file -> where the table is."""
    where = Lake(str(lake))
    return {
        "bronze": where.bronze(contract(TABLE)),
        "sessions": where.live_sessions,
        "features": where.realtime_features,
    }


@dataclass
class Sampler:
    """Writes a row at once each time, so that a run that is broken off leaves what it saw.

    Columns: `seconds` since the first sample, `load` of the machine, `restarts` of the stream, `state_rows` of open
    sessions; for each process `NAME_mb` resident and `NAME_cores` used; for each table `NAME_version`, `NAME_files`,
    `NAME_rows` committed since the last sample, and the medians of `NAME_commit_seconds` (from the committer's turn to
    the log entry) and `NAME_lag_seconds` (from the hub's taking a commit's newest event to the log entry). The
    supervisor's process is this one, with the sampler in it.
    """

    stream: Supervisor
    server: LoopbackProcess
    lake: Path
    path: Path
    say: Callable[[str], None]
    every_seconds: float = EVERY_SECONDS
    _cpu: dict[str, tuple[int, float]] = field(default_factory=dict)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Samples for the time of the block; what goes wrong in it is raised at its end."""
        over, errors = threading.Event(), list[Exception]()

        def run() -> None:
            try:
                self._run(over)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run, name="sampler")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if errors:
            raise errors[0]

    def _run(self, over: threading.Event) -> None:
        self._watches = {name: LogWatch(uri) for name, uri in tables_of(self.lake).items()}
        self._sample(0.0)  # what is before the first row is in no row
        begun = self._looked = time.monotonic()
        said, writer = begun, None
        with self.path.open("w", newline="") as file:
            while not over.wait(max(0.0, self._looked + self.every_seconds - time.monotonic())):
                now = time.monotonic()
                row = {"seconds": round(now - begun, 1), **self._sample(now - self._looked)}
                self._looked = now
                if writer is None:
                    writer = csv.DictWriter(file, list(row), restval="", extrasaction="ignore")
                    writer.writeheader()
                writer.writerow(row)
                file.flush()
                if now - said >= _SAY_SECONDS:
                    said = now
                    self.say(_words(row))

    def _sample(self, passed: float) -> dict[str, float | str]:
        state = sum(self.stream.levels.get("sessions/state_rows", {}).values())
        row: dict[str, float | str] = {
            "load": os.getloadavg()[0],
            "restarts": self.stream.restarts,
            "state_rows": state,
        }
        for name, pid in {**processes(self.stream, self.server), "supervisor": os.getpid()}.items():
            used, (before, used_before) = cpu_seconds(pid), self._cpu.get(name, (0, 0.0))
            row[f"{name}_mb"] = round(resident_mb(pid), 2)
            row[f"{name}_cores"] = round((used - used_before) / passed, 3) if passed and before == pid else ""
            self._cpu[name] = pid, used
        for name, watch in self._watches.items():
            landed = watch.look()
            row |= {f"{name}_version": watch.version, f"{name}_files": watch.files}
            row[f"{name}_rows"] = sum(commit.rows for commit in landed)
            row[f"{name}_commit_seconds"] = _median([commit.took_seconds for commit in landed])
            row[f"{name}_lag_seconds"] = _median([c.lag_seconds for c in landed if c.lag_seconds is not None])
        return row


def _median(values: list[float]) -> float | str:
    return round(float(np.median(values)), 5) if values else ""


def _words(row: dict[str, float | str]) -> str:
    sizes = ", ".join(f"{name[:-3]} {size:.0f}" for name, size in row.items() if name.endswith("_mb") and size != "")
    commit, lag = row["bronze_commit_seconds"], row["bronze_lag_seconds"]
    made = f"version {row['bronze_version']} of {row['bronze_files']} files, commit {commit} s, lag {lag} s"
    return f"{row['seconds']:>7} s  MB: {sizes}; bronze: {made}; load {row['load']:.1f}"
