"""Flink for the stream: Beam's job server for it found, or fetched once by Maven, and started."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from pipelines.flink_jobs import cancel_jobs
from pipelines.prism import listens
from transforms.errors import UsageError, UserError

POM = Path(__file__).parents[1] / "templates" / "flink" / "pom.xml"
_CACHE = Path("~/.apache_beam/cache/flink").expanduser()
_DRIVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_JAVA = (11, 17)  # what Flink 1.19 runs on
_START_SECONDS = 180  # where a machine is busy elsewhere; else it takes 5
# Flink and Beam look into the classes of Java itself, which Java 17 allows by name only.
_OPEN = (
    *(
        "java.lang",
        "java.lang.invoke",
        "java.lang.reflect",
        "java.io",
        "java.net",
        "java.nio",
        "java.text",
        "java.time",
    ),
    *("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch"),
)


# With a heap three quarters full it ends, rather than collect garbage ever longer; the supervisor then starts it anew.
_FULL_HEAP = (
    *("-XX:+UseParallelGC", "-XX:GCTimeLimit=10", "-XX:GCHeapFreeLimit=25"),
    *("-XX:+UseGCOverheadLimit", "-XX:+ExitOnOutOfMemoryError"),
)


@dataclass(frozen=True)
class Flink:
    """A job server on this machine, in front of a Flink of its own (`[local]`) or of a cluster.

    No checkpoints, no restarts by Flink, and never a restore: a job begins where bronze ends. From a checkpoint older
    than bronze Flink would only read again what bronze drops; from a newer one it would leave a gap for ever. So the
    supervisor starts job server, job and worker anew, as it does with Prism.

    The source is the same splittable DoFn as elsewhere, with pauses of whole seconds. The other shape that was tried,
    ticks into a keyed reader, has no watermark, so windows and sessions would need a second implementation; what spoke
    for it, small checkpoints, does not matter without checkpoints. What remains: until apache/beam#39191 each pause
    leaves a state in Flink's heap, one map for each key group. With the default of 128 groups that was 130 KB a pause,
    with one group for each subtask 8 KB: 30 MB an hour for each partition. When the heap is full, Java ends and is
    started again, 10 to 20 s without commits; a newer job server does not need that.

    Attributes:
      master: HOST:PORT of a cluster's REST address, or [local].
      jars: the job server: one jar, or a folder of jars; by default what Maven fetches from `templates/flink/pom.xml`.
      parallelism: of every step, and the number of key groups.
      heap_megabytes: of the job server's Java; with `[local]` that is all of Flink.
      job: what the job is called on a cluster; one that is there under that name is cancelled.
    """

    master: str = "[local]"
    jars: str = ""
    parallelism: int = 2
    heap_megabytes: int = 1024
    job: str = "c360-stream"

    def __post_init__(self) -> None:
        if self.master != "[local]" and not re.fullmatch(r"[^\s\[\]/]+:\d+", self.master):
            raise UsageError(f"{self.master!r} is no Flink", "--flink-master", "give HOST:PORT of its REST address")

    def beam_args(self, port: int) -> tuple[str, ...]:
        """How the pipeline reaches it; options of the user come after these and win."""
        return (
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{port}",
            "--environment_type=LOOPBACK",
            "--streaming",
            f"--job_name={self.job}",
            "--max_bundle_time_mills=200",  # a watermark moves when its bundle ends; by default that is a second
            "--number_of_execution_retries=0",
            f"--parallelism={self.parallelism}",
            f"--max_parallelism={self.parallelism}",
        )

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """The job server at `port`, ready for jobs; it ends when this process does.

        Raises:
          UserError: no Java, no job server and no Maven to fetch it, or it did not start.
        """
        java, jars = find_java(), find_job_server(self.jars)
        self.end()  # of an earlier life that was killed
        classes = str(jars / "*" if jars.is_dir() else jars)
        process = subprocess.Popen(
            [
                java,
                *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPEN),
                f"-Xmx{self.heap_megabytes}m",
                *_FULL_HEAP,
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
                *("-cp", classes, _DRIVER),
                *("--job-host=localhost", f"--job-port={port}", "--artifact-port=0", "--expansion-port=0"),
                f"--flink-master={self.master}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        words: deque[str] = deque(maxlen=20)
        threading.Thread(target=_listen, args=(process, words), daemon=True).start()
        end_with_us(process)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if listens(port):
                return process
            time.sleep(0.1)
        process.kill()
        process.wait()
        why = next((word for word in words if word), "no word")
        raise UserError(f"Flink's job server did not start: {why}", str(jars), f"try {_DRIVER} by hand")

    def end(self) -> None:
        """Nothing of it is left running; a Flink of the job server's own ends with it."""
        if self.master != "[local]":
            cancel_jobs(self.master, self.job)


def check_reach(master: str, beam_args: Sequence[str], events: str) -> None:
    """That the workers can be reached from where Flink runs, and can read where the events are.

    A worker of this process (`LOOPBACK`) has its address at localhost, which is somewhere else for a TaskManager of
    another machine; and a pool of workers does not inherit what this process was told.

    Raises:
      UsageError: Flink is elsewhere, and no pool of workers is named; or the pool would not get the connection string.
    """
    is_here = master == "[local]" or _is_here(master.rpartition(":")[0])
    given = PipelineOptions(list(beam_args)).view_as(PortableOptions)
    pool = given.environment_type == "EXTERNAL" and re.fullmatch(r"\S+:\d+", given.environment_config or "")
    if pool and not events.startswith(("env:", "file:", "sb://")):
        remedy = "give env:NAME or file:PATH, and have that there beside each pool of workers"
        raise UsageError("a connection string does not reach workers of other processes", "--events", remedy)
    if not pool and not is_here:
        what = f"the Flink at {master} is on another machine and cannot reach workers of this one"
        remedy = (
            "run `python -m apache_beam.runners.worker.worker_pool_main --service_port 50000` beside each TaskManager,"
            " and give --environment_type=EXTERNAL --environment_config=localhost:50000"
        )
        raise UsageError(what, "--flink-master", remedy)


def _is_here(host: str) -> bool:
    """Whether a host is this machine; the address of one that nobody knows is not."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(_binds(str(address)) for address in addresses)


def _binds(address: str) -> bool:
    """Only an address of this machine can be listened at."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def parallelism(beam_args: Sequence[str]) -> int:
    """What the user's options for Beam say, or 2."""
    given = [argument.partition("=")[2] for argument in beam_args if argument.startswith("--parallelism=")]
    if given and not (given[-1].isdigit() and int(given[-1])):
        raise UsageError(f"{given[-1]!r} is no number of subtasks", "--parallelism", "give --parallelism=2 or more")
    return int(given[-1]) if given else 2


def find_java() -> str:
    """Java of a version that Flink runs on, from $JAVA_HOME or the PATH.

    Raises:
      UserError: there is none.
    """
    home = os.environ.get("JAVA_HOME", "")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    remedy = f"install Java {_JAVA[-1]} and set JAVA_HOME to it, or leave --runner out"
    if java is None:
        raise UserError("Flink needs Java, and there is none", home or "PATH", remedy)
    told = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or not _JAVA[0] <= int(version[1]) <= _JAVA[-1]:
        found = version[1] if version else told.strip().partition("\n")[0]
        raise UserError(f"Flink needs Java {' to '.join(map(str, _JAVA))}, and this is {found}", java, remedy)
    return java


def find_job_server(given: str = "") -> Path:
    """A jar or a folder of jars: `given`, $FLINK_JOB_SERVER, what was fetched before; else it is fetched.

    Raises:
      UserError: it is nowhere, and Maven is not there or could not get it.
    """
    for named in filter(None, (given, os.environ.get("FLINK_JOB_SERVER", ""))):
        path = Path(named)
        if not (path.suffix == ".jar" and path.is_file()) and not any(path.glob("*.jar")):
            remedy = "give --flink-job-server Beam's jar, or a folder of its jars"
            raise UserError("there is no Flink job server", where=named, remedy=remedy)
        return path.absolute()
    if not POM.exists():
        remedy = "give --flink-job-server Beam's beam-runners-flink-1.19-job-server jar"
        raise UserError("which job server Flink needs is said in a file that is not here", str(POM), remedy)
    cached = _CACHE / hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    return cached if cached.exists() else _fetch(cached)


def _fetch(target: Path) -> Path:
    """By Maven, into a folder that gets its name when it is whole."""
    maven = shutil.which("mvn")
    if maven is None:
        remedy = "install Maven, or give --flink-job-server Beam's beam-runners-flink-1.19-job-server jar"
        raise UserError("Beam's job server for Flink is not here, nor Maven to fetch it", str(target), remedy)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        whole = Path(scratch) / "jars"
        command = [maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={whole}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            errors = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
            why = errors[0].removeprefix("[ERROR] ") if errors else f"exit {done.returncode}"
            remedy = f"run `{' '.join(command[:-1])}` to see more"
            raise UserError(f"Maven could not fetch Beam's job server for Flink: {why}", str(POM), remedy)
        try:
            whole.rename(target)
        except OSError:  # somebody else was faster
            if not target.exists():
                raise
    return target


def end_with_us(process: subprocess.Popen[bytes]) -> None:
    """Has `process` killed when this process ends, in whatever way: Java would go on, and hold its port and memory."""
    guard = subprocess.Popen(["sh", "-c", f"read _; kill -9 {process.pid} 2>/dev/null"], stdin=subprocess.PIPE)

    def released() -> None:
        process.wait()
        guard.kill()  # its number may be somebody else's soon
        guard.wait()

    threading.Thread(target=released, daemon=True).start()


def _listen(process: subprocess.Popen[bytes], words: deque[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        words.append(line.decode(errors="replace").rstrip())
