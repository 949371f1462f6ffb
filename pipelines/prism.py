"""Prism, Beam's own streaming engine for one machine: found, or fetched once, and started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from apache_beam.version import __version__ as BEAM

from transforms.errors import UserError

MODULE = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"
_CACHE = Path("~/.apache_beam/cache/prism").expanduser()


@dataclass(frozen=True)
class Prism:
    """Prism as the engine of a stream; it keeps nothing, and dies without harm."""

    program: str = ""

    def beam_args(self, port: int) -> tuple[str, ...]:
        """How the pipeline reaches it."""
        return (
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{port}",
            "--environment_type=LOOPBACK",
            "--streaming",
            # Prism writes back old state of keys when it splits a slow bundle; without splitting it does not.
            "--experiments=prism_disable_sdf_split",
        )

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """Prism listening at `port`, ready for jobs.

        On every interface of the machine, without a password: Prism has options for the number of its port only, not
        for the address (`net.Listen("tcp", ":PORT")` in its `jobservices/server.go`, as of 2.77). Of Beam's Python side
        the same is true of the pool of workers that `LOOPBACK` opens. So their ports belong behind a firewall.

        Raises:
          UserError: it is not to be had, or did not start.
        """
        program = find_prism(self.program)
        process = subprocess.Popen(
            [
                str(program),
                f"--job_port={port}",
                "--serve_http=false",
                "--log_level=warn",
                "--idle_shutdown_timeout=60s",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"GOGC": "50", **os.environ},  # it has some 20 MB, and by default waits for as many more to collect
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            if listens(port):
                return process
            time.sleep(0.05)
        process.kill()
        raise UserError("Prism did not start", where=str(program), remedy=f"try `{program} --job_port={port}` by hand")

    def end(self) -> None:
        """Nothing of it is left running: all of it is in its process."""


def find_prism(given: str = "") -> Path:
    """The program: `given`, $PRISM, one on the PATH, one that was fetched before; else it is fetched.

    Raises:
      UserError: it is nowhere, and neither Go nor a download could get it.
    """
    for named in filter(None, (given, os.environ.get("PRISM", ""))):
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise UserError("this is no program", where=named, remedy="give --prism the path of Beam's prism binary")
        return Path(named)
    cached = _CACHE / f"v{BEAM}" / "prism"
    found = shutil.which("prism") or (str(cached) if cached.exists() else None)
    return Path(found) if found else _fetch(cached)


def _fetch(target: Path) -> Path:
    """By Go, if it is there, since that needs the module mirror only; else the archive of Beam's release."""
    target.parent.mkdir(parents=True, exist_ok=True)
    go = shutil.which("go")
    if go is not None:
        built = subprocess.run(
            [go, "install", MODULE], env={**os.environ, "GOBIN": str(target.parent)}, capture_output=True, text=True
        )
        if built.returncode == 0 and target.exists():
            return target
    try:
        return _download(target)
    except Exception as error:
        why = "go install failed and " if go else ""
        raise UserError(
            f"Prism, the local streaming engine, is not here; {why}the download failed ({type(error).__name__})",
            where=str(target),
            remedy=f"get it with `go install {MODULE}`, then give --prism PATH or set PRISM",
        ) from error


def _download(target: Path) -> Path:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.prism_runner import PrismJobServer

    found = PrismJobServer(PipelineOptions(["--prism_location="])).path_to_binary()
    shutil.copy2(found, target)
    return target


def listens(port: int) -> bool:
    """Whether somebody does at this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
