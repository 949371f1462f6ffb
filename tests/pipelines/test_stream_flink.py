"""The stream on Flink, really started: its job server in a Java of its own, killed and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from pipelines import flink
from pipelines.config import Lake
from pipelines.flink import Flink
from pipelines.prism import free_port, listens
from pipelines.stream_config import StreamConfig
from pipelines.stream_status import StreamWatch
from pipelines.supervisor import Supervisor, engine_of
from tests.event_hubs import LoopbackProcess, loopback
from tests.stream_oracle import compare
from tests.stream_views import HUB, TABLE, visits_from
from tests.streaming import count_rows, stream, until
from transforms.errors import UsageError, UserError
from transforms.io.event_hubs import HubConnection, HubSender
from transforms.sessions.bucket import NO_CLOCK

ROOT = Path(__file__).parents[2]
PARTITIONS = 2
EVENTS = "Endpoint=sb://localhost/;SharedAccessKeyName=k;SharedAccessKey=cw=="
ROWS_PER_SECOND = 500  # a row is a second of the visitors' time: a session has left some seconds after it was cut
PATIENCE_SECONDS = 600  # where a machine is busy elsewhere
really = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="Flink needs Java"),
    pytest.mark.skipif(
        shutil.which("mvn") is None and not os.environ.get("FLINK_JOB_SERVER"), reason="Maven fetches the job server"
    ),
]


@dataclass
class Sender:
    """Sends page views numbered from 0 on, at a steady rate, until `enough` is set."""

    hub: LoopbackProcess
    sent: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Sender:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def _run(self) -> None:
        step, began = ROWS_PER_SECOND // 5, time.monotonic()
        with HubSender(HubConnection(self.hub.connection_string()), HUB, TABLE, "row") as sender:
            while not self.enough.is_set():
                sender.send(visits_from(self.sent, step))
                self.sent += step
                time.sleep(max(0.0, began + self.sent / ROWS_PER_SECOND - time.monotonic()))
        self.done.set()


@dataclass
class Running:
    """A supervisor at work in a thread."""

    supervisor: Supervisor
    failed: list[BaseException] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def start(self) -> Running:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except BaseException as error:
            self.failed.append(error)

    def until(self, true: Callable[[], object]) -> None:
        until(lambda: self.failed or true(), PATIENCE_SECONDS)
        assert not self.failed, self.failed

    def end(self) -> None:
        self.supervisor.stop()
        assert self._thread is not None
        self._thread.join(90)
        assert not self._thread.is_alive() and not self.failed, self.failed

    def kill(self, name: str) -> None:
        os.kill(self.supervisor.pids[name], signal.SIGKILL)


def configured(lake: Path, events: str, *beam_args: str) -> StreamConfig:
    return StreamConfig(str(lake), events, {HUB: (TABLE,)}, runner="flink", beam_args=beam_args)


def stream_through(
    kills: list[Callable[[Running], None]], hub: LoopbackProcess, config: StreamConfig, master: str = "[local]"
) -> int:
    """Streams while each of the kills is done to it, and to the end of what was sent by then; how many rows that is.

    Between two kills sessions leave, which they do because the watermark moves and the clock of the visitors' time.
    """
    watch = StreamWatch({"sessions": Lake(config.lake).live_sessions}, config.name)
    running = Running(Supervisor(config, engine_of(config, flink_master=master), back_off=(0.1,))).start()
    sender = Sender(hub).start()
    for restarts, kill in enumerate(kills, 1):
        _until_sessions_leave(running, watch)
        kill(running)
        running.until(lambda n=restarts: running.supervisor.restarts == n)
    _until_sessions_leave(running, watch)
    sender.enough.set()
    assert sender.done.wait(60)
    running.until(lambda: count_rows(config.lake, TABLE) >= sender.sent)
    running.end()
    return sender.sent


def _until_sessions_leave(running: Running, watch: StreamWatch) -> None:
    before = watch.look()["sessions"]
    running.until(lambda: watch.look()["sessions"].rows > before.rows)
    assert max(watch.look()["sessions"].clocks.values()) > max(before.clocks.values(), default=NO_CLOCK)


class TestReally:
    pytestmark = really

    def test_bronze_sessions_and_features_are_exact_through_kills_of_worker_and_job_server(self, tmp_path):
        lake = tmp_path / "lake"
        with loopback(tmp_path / "hub", {HUB: PARTITIONS}) as hub:
            config = configured(lake, hub.connection_string())
            kills = [lambda running: running.kill("worker"), lambda running: running.kill("engine")]
            sent = stream_through(kills, hub, config)
            only = ("--runner", "flink", "--hub", f"{HUB}={TABLE}", "--until-idle", "--json")
            told = json.loads(stream(hub, lake, *only, seconds=PATIENCE_SECONDS).stdout)  # the last sessions
            compared = compare(hub, lake, sent, config.lateness_seconds)
        assert compared.wrong == [] and told["restarts"] == 0 and told["sessions"] > 0
        assert compared.sessions > 100 and compared.late > 10 and compared.persons > 100

    def test_java_ends_when_who_started_it_is_killed(self, tmp_path):
        port = free_port()
        starter = subprocess.Popen(
            [sys.executable, "-c", f"from pipelines.flink import Flink; Flink().start({port}); input()"],
            stdin=subprocess.PIPE,
            cwd=ROOT,
        )
        until(lambda: listens(port))
        starter.kill()
        starter.wait()
        until(lambda: not listens(port), 10)


def test_a_master_that_is_no_address_is_refused():
    with pytest.raises(UsageError, match="HOST:PORT"):
        Flink("http://cluster:8081")


def test_without_java_there_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UserError, match="Flink needs Java, and there is none"):
        Flink().start(free_port())


@pytest.mark.parametrize(("told", "seen"), [('openjdk version "1.8.0_402"', "1"), ('java version "21.0.2"', "21")])
def test_java_of_another_version_is_refused(monkeypatch, tmp_path, told, seen):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UserError, match=f"and this is {seen}"):
        flink.find_java()


def test_a_job_server_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no Flink job server"):
        flink.find_job_server(str(tmp_path))


def test_without_maven_there_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.delenv("FLINK_JOB_SERVER", raising=False)
    monkeypatch.setattr(flink, "_CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="nor Maven to fetch it"):
        flink.find_job_server()


def test_jars_that_maven_could_not_fetch_are_not_there_afterwards(monkeypatch, tmp_path):
    maven = tmp_path / "mvn"
    maven.write_text(
        "#!/bin/sh\nfor a in $*; do case $a in -Dout*) mkdir ${a#*=}; touch ${a#*=}/one.jar;; esac; done\nexit 1\n"
    )
    maven.chmod(0o755)
    monkeypatch.delenv("FLINK_JOB_SERVER", raising=False)
    monkeypatch.setattr(flink, "_CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match="Maven could not fetch"):
        flink.find_job_server()
    assert not list((tmp_path / "cache").iterdir())


def test_flink_pauses_a_source_for_whole_seconds():
    config = configured(Path("lake"), EVENTS)
    assert (config.limits.more_seconds, config.limits.poll_seconds) == (1, 1)
    assert isinstance(engine_of(config), Flink)


def test_there_are_as_many_key_groups_as_subtasks():
    """A state that the runner leaves behind costs one map a key group."""
    config = replace(configured(Path("lake"), EVENTS), beam_args=("--parallelism=4",))
    assert {"--parallelism=4", "--max_parallelism=4"} <= set(engine_of(config).beam_args(8099))
    with pytest.raises(UsageError, match="'many' is no number"):
        engine_of(replace(config, beam_args=("--parallelism=many",)))


POOL = ("--environment_type=EXTERNAL", "--environment_config=localhost:50000")
ELSEWHERE = "203.0.113.9:8081"  # no machine has this address: it is for documentation


@pytest.mark.parametrize(
    "beam_args", [(), ("--parallelism=4",), POOL[:1], POOL[1:], (POOL[0], "--environment_config=nowhere")]
)
def test_a_flink_elsewhere_asks_for_a_pool_of_workers(beam_args):
    """A worker of this process would tell it to look at its own localhost."""
    config = replace(configured(Path("lake"), EVENTS), events="env:E", beam_args=beam_args)
    with pytest.raises(UsageError, match=r"another machine.*worker_pool_main.*--environment_type=EXTERNAL"):
        engine_of(config, flink_master=ELSEWHERE)


def test_a_pool_of_workers_that_is_named_is_handed_to_beam():
    config = replace(configured(Path("lake"), EVENTS), events="env:E", beam_args=POOL)
    args = [*engine_of(config, flink_master=ELSEWHERE).beam_args(8099), *config.beam_args]
    options = PipelineOptions(args).view_as(PortableOptions)
    assert (options.environment_type, options.environment_config) == ("EXTERNAL", "localhost:50000")


@pytest.mark.parametrize("master", ["[local]", "localhost:8081", "127.0.0.1:8081", ELSEWHERE])
def test_a_pool_of_workers_must_find_the_connection_string_itself(master):
    config = replace(configured(Path("lake"), EVENTS), beam_args=POOL)
    with pytest.raises(UsageError, match="does not reach workers of other processes") as refused:
        engine_of(config, flink_master=master)
    assert EVENTS not in str(refused.value)


@pytest.mark.parametrize("master", ["[local]", "localhost:8081", "127.0.0.1:8081", f"{socket.gethostname()}:8081"])
def test_a_flink_of_this_machine_reaches_the_worker_in_this_process(master):
    assert engine_of(configured(Path("lake"), EVENTS), flink_master=master).master == master
