"""How long an event takes to its row in bronze, and a session from its end to its row."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Lake
from pipelines.stream_config import StreamConfig
from tests.benchmarks.stream.commits import added, commits
from tests.benchmarks.stream.figures import Figure
from tests.benchmarks.stream.traffic import PARTITIONS, WARM_UP_SECONDS, send_at, streaming
from tests.event_hubs import loopback
from tests.stream_views import HUB, TABLE
from tests.streaming import count_rows, until
from transforms.contracts import contract
from transforms.io.delta import read_table


def latency(rate: float, seconds: float, root: Path) -> list[Figure]:
    """From the hub's taking an event to its row being readable in bronze, at a rate of single-row events."""
    lake = root / "lake"
    with loopback(root / "hub", {HUB: PARTITIONS}) as server, streaming(server, lake):
        first, _ = send_at(server, 100, 1)  # the stream is up when these are there
        until(lambda: count_rows(lake, TABLE) == first, 120)
        begun = time.time()
        sent, reached = send_at(server, rate, seconds + WARM_UP_SECONDS, first)
        until(lambda: count_rows(lake, TABLE) >= first + sent, 120)
        time.sleep(10)  # for the last sessions
    after = int((begun + WARM_UP_SECONDS) * 1e6)
    measured = [(c.at - c.enqueued[c.enqueued > after] / 1e6) for c in commits(lake)]
    waited = np.concatenate(measured)
    p50, p99 = np.percentile(waited, [50, 99])
    closed = closed_to_readable(lake, after)
    return [
        Figure("events/s sent", reached, f">= {rate * 0.98:.0f}"),
        Figure(f"seconds from closed to readable, p99 of {len(closed):,} sessions", np.percentile(closed, 99), "<= 10"),
        Figure("the same, the longest", float(closed.max()), "<= 10"),
        Figure("seconds from sent to readable, p50", float(p50), "<= 2"),
        Figure("seconds from sent to readable, p99", float(p99), "<= 10"),
    ]


def closed_to_readable(lake: Path, after_us: int) -> np.ndarray:
    """Seconds from the hub's taking the first event that is gap and lateness behind a session to the session's row."""
    where, config = Lake(str(lake)), StreamConfig("", "", {HUB: (TABLE,)})
    rows = read_table(where.bronze(contract(TABLE)), columns=["_file", "EVENT_DATE", "_enqueued_at"])
    open_us, waited = config.rules.longest_gap_us + int(config.lateness_seconds * 1e6), []
    clocks = {}
    for log in rows["_file"].unique().to_pylist():
        mine = rows.filter(pc.field("_file") == log).sort_by("EVENT_DATE")
        clocks[log] = (micros(mine["EVENT_DATE"]), micros(mine["_enqueued_at"]))
    for at, sessions in added(where.live_sessions, ["_log", "ended_at"]):
        for log, (events, enqueued) in clocks.items():
            mine = sessions.filter(pc.starts_with(sessions["_log"], f"{log}/"))
            closing = np.searchsorted(events, micros(mine["ended_at"]) + open_us, side="right")
            taken = enqueued[closing[closing < len(events)]]
            waited.append(at - taken[taken > after_us] / 1e6)
    return np.concatenate(waited)


def micros(times: pa.ChunkedArray) -> np.ndarray:
    """Timestamps as microseconds since 1970."""
    return times.cast(pa.timestamp("us", "UTC")).cast("int64").to_numpy()
