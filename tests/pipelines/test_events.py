"""`python -m pipelines events` as a user meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.eventhub import EventData, EventHubProducerClient

from pipelines.events import faults_of, hubs_of, key_of
from tests.pipelines.test_cli import c360
from transforms.errors import UserError

ROOT = Path(__file__).parents[2]


@contextmanager
def running(*arguments: object, stop: int = signal.SIGTERM) -> Iterator[list[str]]:
    """The first lines of a running server; after the block, what it said when it was stopped."""
    command = [sys.executable, "-m", "pipelines", "events", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stderr is not None
        lines = [server.stdout.readline()]
        while lines[-1] and "{" not in lines[0] and "Ctrl-C" not in lines[-1]:
            lines.append(server.stdout.readline())
        try:
            yield lines
        finally:
            server.send_signal(stop)
            lines += [server.stdout.read(), server.stderr.read()]
            assert server.wait(10) == 0, lines


def send(connection_string: str, hub: str) -> None:
    with EventHubProducerClient.from_connection_string(connection_string, eventhub_name=hub, retry_total=0) as client:
        client.send_event(EventData("x"))


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_says_what_it_is_and_takes_events(tmp_path, stop):
    with running("--hub", "transactions:4", "--folder", tmp_path / "e", "--port", 0, stop=stop) as lines:
        said = "".join(lines)
        assert "stand-in" in said and "not the service" in said and "transactions (4 partitions)" in said
        string = next(line for line in lines if line.startswith("connection string: ")).split(": ", 1)[1].strip()
        send(string, "transactions")
    assert "stopped; 1 events came in" in "".join(lines) and "Traceback" not in "".join(lines)


def test_json_and_a_key_from_the_environment_and_one_line_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("C360_EVENTS_KEY", "of-the-environment")
    with running("--hub", "a:2", "--hub", "b", "--folder", tmp_path / "e", "--port", 0, "--json") as lines:
        facts = json.loads(lines[0])
        assert facts["hubs"] == {"a": 2, "b": 1} and facts["stand_in"] is True
        assert "SharedAccessKey=of-the-environment;" in facts["connection_string"]
        send(facts["connection_string"], "b")
        assert "another server" in c360("events", "--folder", tmp_path / "e", "--port", 0, code=1)
        port = str(facts["port"])
        assert "in use" in c360("events", "--hub", "a", "--folder", tmp_path / "f", "--port", port, code=1)
    assert not (tmp_path / "e" / "key").exists()
    assert "there is no hub" in c360("events", "--folder", tmp_path / "new", "--port", 0, code=1)
    assert "something else" in c360("events", "--folder", ROOT / "tests", "--port", 0, code=1)
    assert "no fault" in c360("events", "--hub", "a", "--folder", tmp_path / "g", "--fault", "burn=1", code=1)


@pytest.mark.parametrize("text", ["", ":4", "a:x", "a:-1", "a:1.5"])
def test_a_hub_is_a_name_and_a_number(text):
    with pytest.raises(UserError, match="NAME:PARTITIONS"):
        hubs_of([text])
    with pytest.raises(UserError):
        hubs_of(["a:1", "A:2"])
    assert hubs_of(["a:3", "b"]) == {"a": 3, "b": 1}


def test_faults_are_numbers():
    assert faults_of(["drop_every=10", "delay_seconds=0.5", "seed=3"]).delay_seconds == 0.5
    for text in ("drop_every", "drop_every=x", "nothing=1", "drop_every=-1"):
        with pytest.raises(UserError):
            faults_of([text])


def test_a_bad_key_is_refused_and_not_shown(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("a bad;key\n")
    with pytest.raises(UserError) as caught:
        key_of(str(tmp_path / "key"))
    assert "bad;key" not in str(caught.value)
    (tmp_path / "key").write_text("a-good-key\n")
    assert key_of(str(tmp_path / "key")) == "a-good-key"
    monkeypatch.delenv("C360_EVENTS_KEY", raising=False)
    assert key_of(None) is None
