"""What the `stream` command says of a stream, and what it does not let on its command line."""

import pytest
from typer.testing import CliRunner

from pipelines import live
from pipelines.__main__ import app
from pipelines.config import Lake
from pipelines.live import Live
from pipelines.stream_config import StreamConfig
from tests.event_hubs import send
from transforms.bronze.envelope import bronze_schema
from transforms.contracts import contract
from transforms.io.delta_positions import take_over

TABLE = contract("CUSTOMER_BEHAVIORAL_EVENTS")


@pytest.fixture(params=[60, 100])
def shown(request, tmp_path, start_loopback, monkeypatch):
    """A stream started again on a lake that has so many of the 100 events that the hub still keeps."""
    server = start_loopback({"behavioral": 1})
    send(server, [b"{}"] * 100, "behavioral", partition_id="0")
    config = StreamConfig(str(tmp_path / "lake"), server.connection_string(), {"behavioral": (TABLE.name,)})
    bronze = (Lake(config.lake).bronze(TABLE), bronze_schema(TABLE, TABLE.arrow), TABLE.partition_by, config.name)
    take_over(*bronze, begin={"behavioral/0": request.param})
    monkeypatch.setattr(live, "_STUCK_SECONDS", 0.01)
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(live, "_BACKLOG_SECONDS", 0.0)
    made = Live(config, quiet=True)
    yield made, 100 - request.param
    made.close()


def test_what_an_earlier_run_committed_does_not_wait_and_nobody_is_stuck_for_it(shown):
    watched, waiting = shown
    said = [watched.tick() for _ in range(3)]
    assert watched.backlog == waiting
    assert any("events wait" in words for words in said) == (waiting > 0)


@pytest.mark.parametrize("key", ["SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0", "SharedAccessSignature=c2VjcmV0"])
def test_a_secret_on_the_command_line_is_refused_and_not_shown(key, tmp_path):
    given = ["stream", "--events", f"Endpoint=sb://localhost:1/;{key}", "--lake", str(tmp_path / "lake")]
    done = CliRunner().invoke(app, given)
    said = f"{done.output} {done.exception}"
    assert done.exit_code != 0 and "env:NAME or file:PATH" in said and "c2VjcmV0" not in said
