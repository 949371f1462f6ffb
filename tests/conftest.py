"""Stand-ins: Azurite for Azure Blob (for the tests marked `azurite`), the loopback for Event Hubs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from transforms.errors import UserError
from transforms.io.event_hubs_loopback.process import LoopbackProcess

AZURITE = "azurite@3.37.0"
ACCOUNT = "devstoreaccount1"
# The development key that Azurite's documentation publishes; it opens nothing else.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Azurite:
    """A running Azurite with one empty container; the AZURE_STORAGE_* environment points at it during the test."""

    account: str
    key: str
    endpoint: str
    container: str

    @property
    def connection_string(self) -> str:
        parts = {"DefaultEndpointsProtocol": "http", "AccountName": self.account, "AccountKey": self.key}
        return "".join(f"{name}={value};" for name, value in {**parts, "BlobEndpoint": self.endpoint}.items())


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory) -> Iterator[str]:
    """The endpoint of a server of our own on a free loopback port."""
    program, port = _program(), _free_port()
    folder = tmp_path_factory.mktemp("azurite")
    flags = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent"]
    flags += ["--disableTelemetry", "--skipApiVersionCheck"]
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen([program, *flags], stdout=log, stderr=log)
    try:
        _wait(port, server, folder / "log.txt")
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def azurite(azurite_server, monkeypatch) -> Azurite:
    """A fresh container, and the environment that reaches it."""
    from azure.storage.blob import BlobServiceClient

    found = Azurite(ACCOUNT, KEY, azurite_server, f"lake{uuid.uuid4().hex[:12]}")
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", found.account)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", found.key)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", found.endpoint)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", found.connection_string)
    with BlobServiceClient.from_connection_string(found.connection_string) as client:
        client.create_container(found.container)
    return found


def _program() -> str:
    home = os.environ.get("AZURITE_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "customer360-azurite"
    places = [Path(home) / "node_modules/.bin"] if home else []
    places.append(cache / "node_modules/.bin")
    for path in [None, *map(str, places)]:
        if program := shutil.which("azurite-blob", path=path):
            return program
    if shutil.which("npm") is None:
        pytest.skip("npm not found")
    subprocess.run(
        ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(cache), AZURITE],
        check=True,
        timeout=600,
    )
    return str(cache / "node_modules/.bin/azurite-blob")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(port: int, server: subprocess.Popen, log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise RuntimeError(f"azurite ended with {server.returncode}: {log.read_text()[-500:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("azurite did not open its port within 30 s")


@pytest.fixture
def start_loopback(tmp_path) -> Iterator[Callable[..., LoopbackProcess]]:
    """`start_loopback({"events": 2})` starts an Event Hubs stand-in in its own process; the test's end stops it."""
    from tests.event_hubs import loopback  # the client's import is for those who need it

    started: list[LoopbackProcess] = []

    def start(hubs: dict[str, int] | None = None, folder: Path | None = None, **settings: object) -> LoopbackProcess:
        started.append(loopback(folder or tmp_path / f"events{len(started)}", hubs, **settings))
        return started[-1].start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def prism() -> str:
    """Prism's program, fetched by Go where it is not there yet."""
    from pipelines.prism import find_prism  # Beam's import is for those who need it

    try:
        return str(find_prism())
    except UserError:
        if shutil.which("go") is None:
            pytest.skip("neither prism nor go found")
        raise


@pytest.fixture
def free_port() -> int:
    return _free_port()
