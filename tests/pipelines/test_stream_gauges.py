"""What is said of a stream at work: by the lake's commits, and by the worker of itself."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import pytest

from pipelines.config import Lake
from pipelines.live import Live
from pipelines.stream_config import StreamConfig
from pipelines.stream_gauges import served
from pipelines.supervisor import Supervisor
from tests.pipelines.test_stream import scraped
from transforms.io.delta_committer import committer
from transforms.io.delta_positions import take_over
from transforms.io.delta_ranges import Range, StreamWrite
from transforms.sessions.bucket import NO_CLOCK
from transforms.sessions.live import LATE_EVENTS, LIVE_SESSIONS, STEP

CLOCKS = {
    "behavioral/0/0": datetime(2010, 1, 4, 12, tzinfo=UTC),
    "behavioral/0/1": datetime(2010, 1, 4, 12, tzinfo=UTC),
    "behavioral/1/0": datetime(2010, 1, 3, 10, 20, 30, tzinfo=UTC),
}
SAID = {
    "sessions/state_rows": {"behavioral/0/0": 12.0, "behavioral/0/1": 30.0},
    "sessions/state_bytes": {"behavioral/0/0": 4_000.0},
    "features/touches_in_memory": {"0": 7.0},
    "features/touches_on_disk": {"0": 9.0},
    "event_hubs/backlog_events": {"behavioral/0": 5.0},
}


@pytest.fixture
def config(tmp_path, monkeypatch) -> StreamConfig:
    monkeypatch.setattr(Live, "_behind", lambda _: 0)  # there is no hub to ask
    events = "Endpoint=sb://localhost/;SharedAccessKeyName=k;SharedAccessKey=cw=="
    return StreamConfig(str(tmp_path), events, {"behavioral": ("CUSTOMER_BEHAVIORAL_EVENTS",)})


def micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000


def commit(config: StreamConfig, clocks: dict[str, datetime | None], late: int, high: int) -> None:
    """A step of each bucket, `late` rows that came too late before the first one; no files, as only the log is read."""
    lake = Lake(config.lake)
    aside = StreamWrite(lake.late, LATE_EVENTS, config.name, (), position="position", arrived="", contiguous=False)
    write = StreamWrite(lake.live_sessions, LIVE_SESSIONS, config.name, (), position=STEP.name, arrived="", first=aside)
    ranges = [
        Range(log, high, high, rows=1, marks=(("safe", 0), ("clock", micros(clock) if clock else NO_CLOCK)))
        for log, clock in clocks.items()
    ]
    before = Range(ranges[0].log, high, high, rows=late)
    ranges[0] = Range(**{**vars(ranges[0]), "before": (before,) if late else ()})
    for each in (write, aside):
        take_over(each.uri, each.schema, (), each.stream)
    committer(write).offer(ranges)


def test_the_watermark_is_the_clock_of_the_partition_that_is_behind(config):
    live = Live(config, quiet=True)
    live.look(0.0)
    assert live.watermark is None and "watermark" not in live.line()
    commit(config, {**CLOCKS, "behavioral/2/0": None}, late=0, high=0)  # that one has seen one visitor only
    live.look(1.0)
    assert live.watermark == CLOCKS["behavioral/1/0"]
    assert "watermark 2010-01-03 10:20:30Z" in live.line()
    moved = datetime(2010, 1, 4, 11, tzinfo=UTC)
    commit(config, {"behavioral/1/0": moved}, late=0, high=1)
    live.look(2.0)
    assert live.watermark == moved


def test_late_rows_are_told(config):
    live = Live(config, quiet=True)
    commit(config, CLOCKS, late=3, high=0)
    live.look(0.0)
    assert " 3 late, 0 rejected" in live.line()


def test_prometheus_has_watermark_late_and_the_size_of_the_state(config, free_port):
    commit(config, CLOCKS, late=0, high=0)
    with served(free_port) as gauges:
        live = Live(config, quiet=True, gauges=gauges, supervisor=Supervisor(config))
        live.supervisor.levels = SAID
        commit(config, {"behavioral/1/0": CLOCKS["behavioral/1/0"]}, late=2, high=1)
        live.look(0.0)
        found = scraped(free_port)
        assert found["c360_stream_late"] == 2
        assert found["c360_stream_watermark"] == CLOCKS["behavioral/1/0"].timestamp()
        assert found['c360_stream_sessions_state_rows{part="behavioral/0/1"}'] == 30
        assert found['c360_stream_sessions_state_bytes{part="behavioral/0/0"}'] == 4_000
        assert found['c360_stream_features_touches_in_memory{part="0"}'] == 7
        assert found['c360_stream_features_touches_on_disk{part="0"}'] == 9
        assert found['c360_stream_event_hubs_backlog_events{part="behavioral/0"}'] == 5
        live.supervisor.levels = {}  # a new worker, which has said nothing yet
        live.look(1.0)
        assert not [name for name in scraped(free_port) if name.startswith("c360_stream_sessions_state")]


def test_the_supervisor_hears_what_the_worker_says_of_itself(config, monkeypatch, tmp_path):
    fake = tmp_path / "python"
    fake.write_text(
        f"#!/bin/sh\nread _; sleep 0.5; echo 'some library talks'; echo '{json.dumps(SAID)}'; echo '[1]'; sleep 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    engine = type("NoEngine", (), {"beam_args": lambda self, port: ()})()
    supervisor = Supervisor(config, engine)
    supervisor._worker = worker = supervisor._start_worker(1)
    worker.wait(10)
    assert supervisor.levels == SAID
