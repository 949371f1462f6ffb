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
from tests.event_hubs import LoopbackProcess, loopback, producer, send_batch
from transforms.contracts import contract
from transforms.errors import UsageError, UserError
from transforms.io.delta import open_table, read_table

ROOT = Path(__file__).parents[2]
TABLE = "CUSTOMER_TRANSACTIONS"
HUB, PARTITIONS = "transactions", 2
EVENTS = "Endpoint=sb://localhost/;SharedAccessKeyName=k;SharedAccessKey=cw=="
ROWS, ROWS_PER_SECOND = 20_000, 1_000
really = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="Flink needs Java"),
    pytest.mark.skipif(
        shutil.which("mvn") is None and not os.environ.get("FLINK_JOB_SERVER"), reason="Maven fetches the job server"
    ),
]


def body(partition: int, number: int) -> str:
    return json.dumps(
        {
            "TRANSACTION_ID": f"T{partition}-{number}",
            "CUSTOMER_ID": f"C{number % 5}",
            "CHANNEL": "POS",
            "TRANSACTION_DATE": "2010-01-03T10:00:00Z",
            "TRANSACTION_TYPE": "PURCHASE",
            "TOTAL_AMOUNT": 10.25,
        }
    )


@dataclass
class Sender:
    """Sends each partition the numbers from 0 on, at a steady rate, until `enough` is set and `least` are sent."""

    hub: LoopbackProcess
    least: int = ROWS
    sent: int = 0
    enough: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Sender:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def _run(self) -> None:
        step, began = ROWS_PER_SECOND // 10, time.monotonic()
        with producer(self.hub, HUB) as client:
            while self.sent < self.least or not self.enough.is_set():
                for partition in range(PARTITIONS):
                    first = self.sent // PARTITIONS
                    bodies = [body(partition, number) for number in range(first, first + step // PARTITIONS)]
                    send_batch(client, bodies, partition_id=str(partition))
                self.sent += step
                time.sleep(max(0.0, began + self.sent / ROWS_PER_SECOND - time.monotonic()))
        self.done.set()


@dataclass
class Running:
    """A supervisor at work in a thread."""

    supervisor: Supervisor
    thread: threading.Thread
    failed: list[BaseException]

    def end(self) -> None:
        self.supervisor.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


def configured(lake: Path, events: str) -> StreamConfig:
    return StreamConfig(str(lake), events, {HUB: (TABLE,)}, runner="flink")


def run(hub: LoopbackProcess, lake: Path) -> Running:
    config = configured(lake, hub.connection_string())
    supervisor, failed = Supervisor(config, engine_of(config)), list[BaseException]()

    def work() -> None:
        try:
            supervisor.run()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return Running(supervisor, thread, failed)


def bronze(lake: Path) -> str:
    return Lake(str(lake)).bronze(contract(TABLE))


def committed(lake: Path) -> int:
    table = open_table(bronze(lake))
    return 0 if table is None else sum(table.get_add_actions(flatten=True)["num_records"].to_pylist())


def until(true: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"did not come true within {seconds} s"
        time.sleep(0.1)


def assert_exact(lake: Path, rows: int) -> None:
    """Each place of the log is in bronze once, with the row that was sent there."""
    found = read_table(bronze(lake), columns=["_file", "_position", "TRANSACTION_ID"]).to_pylist()
    places = sorted((row["_file"], row["_position"], row["TRANSACTION_ID"]) for row in found)
    sent = [(f"{HUB}/{p}", n, f"T{p}-{n}") for p in range(PARTITIONS) for n in range(rows // PARTITIONS)]
    assert places == sent


class TestReally:
    pytestmark = really

    def test_each_event_is_in_bronze_once_through_kills_and_restarts(self, tmp_path):
        lake = tmp_path / "lake"
        with loopback(tmp_path / "hub", {HUB: PARTITIONS}) as hub:
            running = run(hub, lake)
            watch = StreamWatch({TABLE: bronze(lake)}, "events")
            until(lambda: open_table(bronze(lake)) is not None and len(running.supervisor.pids) == 2)
            sender = Sender(hub).start()  # until the end: what is committed is so because the watermark moves
            until(lambda: watch.look()[TABLE].commits >= 3)
            for name, restarts in (("worker", 1), ("engine", 2)):
                os.kill(running.supervisor.pids[name], signal.SIGKILL)
                until(lambda n=restarts: running.supervisor.restarts == n)
                before = committed(lake)
                until(lambda n=before: committed(lake) > n)
            sender.enough.set()
            assert sender.done.wait(60)
            until(lambda: committed(lake) >= sender.sent)
            running.end()
        assert not running.failed
        assert_exact(lake, sender.sent)

    def test_the_command_ends_when_nothing_is_left(self, tmp_path):
        lake = tmp_path / "lake"
        with loopback(tmp_path / "hub", {HUB: PARTITIONS}) as hub:
            sender = Sender(hub, 1_000)
            sender.enough.set()
            assert sender.start().done.wait(30)
            command = [sys.executable, "-m", "pipelines", "stream", "--lake", str(lake), "--runner", "flink"]
            done = subprocess.run(
                [*command, "--hub", f"{HUB}={TABLE}", "--until-idle", "--json"],
                env={**os.environ, "C360_EVENTS": hub.connection_string()},
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=180,
            )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == 1_000
        assert_exact(lake, 1_000)

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
    assert engine_of(config) == Flink()


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
    assert engine_of(configured(Path("lake"), EVENTS), flink_master=master) == Flink(master)
