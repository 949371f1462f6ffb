"""Flink as a cluster of one JobManager and two TaskManagers, and Spark with a local master, really started."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.flink import find_java
from pipelines.jars import RUNNERS, find_job_jar
from pipelines.prism import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = Path("~/.apache_beam/cache/engines").expanduser()
_OPEN = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.util", "java.util.concurrent"),
    *("java.util.concurrent.atomic", "java.util.concurrent.locks", "java.time", "java.text", "java.net", "java.io"),
    *("java.nio", "sun.nio.ch", "sun.net.util", "sun.security.action", "sun.util.calendar"),
)
JAVA = [
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPEN),
    "-XX:+UseSerialGC",
    "-Dpekko.remote.classic.startup-timeout=120s",  # not the 10 s that Flink cannot be told to change
]
_WAIT = 300


def jars(engine: str) -> Path:
    """The engine's own jars, fetched once by Maven."""
    pom = HERE / f"{engine}.xml"
    folder = CACHE / f"{engine}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
        command = ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={scratch}"]
        subprocess.run(command, check=True, timeout=900)
        os.replace(scratch, folder)
    return folder


def fetch() -> None:
    """The jars of both engines, and the bases of `package`."""
    for engine in RUNNERS:
        jars(engine)
        find_job_jar(engine)


def boot_script(folder: Path) -> Path:
    """What an engine starts for a Python worker of ours."""
    script = folder / "boot"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m pipelines.boot "$@"\n')
    script.chmod(0o755)
    return script


@dataclass
class FlinkCluster:
    """Its REST endpoint, the folder that it takes jars from, and its processes: the JobManager, then TaskManagers."""

    port: int
    jars: Path
    commands: list[list[str]]
    log: Path
    processes: list[subprocess.Popen] = field(default_factory=list)

    def start(self, number: int) -> None:
        """The process of that number, again where it has ended."""
        with self.log.open("ab") as log:
            started = subprocess.Popen(self.commands[number], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes[number : number + 1] = [started]

    def replace(self, number: int) -> None:
        """Kills a process at once, and starts another in its place."""
        self.processes[number].kill()
        self.processes[number].wait()
        self.start(number)

    def get(self, path: str, method: str = "GET", body: object = None, seconds: float = 60) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return json.load(answer)

    def run(self, jar: str, seconds: float = 500) -> dict:
        """As Data Factory does: starts a jar that lies in `jars`, looks at it until it has ended, gives the job."""
        started = self.get(
            f"/jars/{jar}/run", "POST", {"entryClass": "org.apache.beam.runners.flink.FlinkPipelineRunner"}, 300
        )
        deadline = time.monotonic() + seconds
        while True:
            job = self.get(f"/jobs/{started['jobid']}")
            if job["state"] in ("FINISHED", "FAILED", "CANCELED"):
                return job
            assert time.monotonic() < deadline, f"{job['state']} after {seconds} s"
            time.sleep(1)

    def why(self, job: dict) -> str:
        found = self.get(f"/jobs/{job['jid']}/exceptions?maxExceptions=1")
        return str(found.get("exceptionHistory", found))[:4000]


@contextmanager
def flink_cluster(folder: Path, given: Mapping[str, object] | None = None) -> Iterator[FlinkCluster]:
    """One JobManager and two TaskManagers of a slot each, ended at the end; `given` are more settings of Flink's."""
    classes, rest, rpc = f"{jars('flink')}/*", free_port(), free_port()
    (folder / "conf").mkdir(parents=True)
    uploads = folder / "uploads"
    settings = {
        **{"jobmanager.rpc.address": "localhost", "jobmanager.rpc.port": rpc, "jobmanager.bind-host": "localhost"},
        **{"rest.address": "localhost", "rest.bind-address": "localhost", "rest.port": rest},
        **{"taskmanager.host": "localhost", "taskmanager.bind-host": "localhost", "taskmanager.rpc.port": '"0"'},
        **{"taskmanager.numberOfTaskSlots": 1, "web.upload.dir": uploads, "io.tmp.dirs": folder / "tmp"},
        **{"jobmanager.memory.heap.size": "400m", "jobmanager.memory.off-heap.size": "128m"},
        **{"jobmanager.memory.jvm-metaspace.size": "256m", "jobmanager.memory.jvm-overhead.min": "64m"},
        # Python pipes a bundle at a time; this is small data.
        "restart-strategy.type": "none",
        # On a machine that is busy elsewhere all takes longer.
        **{"pekko.ask.timeout": "120 s", "pekko.tcp.timeout": "60 s"},
        **{"client.timeout": "300 s", "web.timeout": 300_000},
        "execution.batch-shuffle-mode": "ALL_EXCHANGES_BLOCKING",
    }
    for name, memory in {"task.heap": "400m", "task.off-heap": "32m", "managed": "128m"}.items():
        settings[f"taskmanager.memory.{name}.size"] = memory
    settings |= {"taskmanager.memory.network.min": "64m", "taskmanager.memory.network.max": "64m"}
    settings |= {"taskmanager.memory.framework.heap.size": "64m", "taskmanager.memory.framework.off-heap.size": "64m"}
    settings |= {"taskmanager.cpu.cores": 1.0, "taskmanager.memory.jvm-metaspace.size": "256m"}
    settings |= {"taskmanager.memory.jvm-overhead.min": "64m", "taskmanager.memory.jvm-overhead.max": "64m"}
    settings |= dict(given or {})
    (folder / "conf/config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    (folder / "tmp").mkdir()
    java = [find_java(), *JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes]
    conf = ["--configDir", str(folder / "conf")]
    runtime = "org.apache.flink.runtime"
    manager = [*java[:1], "-Xmx400m", *java[1:], f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint", *conf]
    worker = [*java[:1], "-Xmx464m", *java[1:], f"{runtime}.taskexecutor.TaskManagerRunner", *conf]
    commands = [[*manager, "--executionMode", "cluster"]]
    commands += [[*worker, "-D", f"taskmanager.resource-id=tm{number}"] for number in (1, 2)]
    cluster = FlinkCluster(rest, uploads / "flink-web-upload", commands, folder / "log.txt")
    try:
        for number in range(len(commands)):
            cluster.start(number)  # one after the other: together they would only take the machine from each other
            _until_up(cluster, number)
        cluster.jars.mkdir(parents=True, exist_ok=True)
        yield cluster
    finally:
        for process in cluster.processes:
            process.terminate()
        for process in cluster.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until_up(cluster: FlinkCluster, managers: int) -> None:
    deadline = time.monotonic() + _WAIT
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in cluster.processes), cluster.log.read_text()[-3000:]
        try:
            if cluster.get("/overview")["taskmanagers"] == managers:
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError(cluster.log.read_text()[-3000:])


def spark_submit(jar: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """spark-submit of a jar to a local master of two threads, as a cluster's client would."""
    command = [find_java(), *JAVA, "-Xmx1200m", "-cp", f"{jars('spark')}/*", "org.apache.spark.deploy.SparkSubmit"]
    command += ["--master", "local[2]", "--conf", "spark.ui.enabled=false"]
    command += ["--conf", "spark.driver.bindAddress=127.0.0.1", "--conf", "spark.driver.host=127.0.0.1"]
    command += ["--conf", f"spark.local.dir={folder}"]
    command += ["--class", "org.apache.beam.runners.spark.SparkPipelineRunner", str(jar)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def missing() -> str:
    """What a machine lacks for these engines; empty if nothing."""
    return ", ".join(program for program in ("java", "mvn") if shutil.which(program) is None)
