"""The command `events`: a stand-in for Azure Event Hubs on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from pipelines.console import Output
from transforms.errors import UsageError
from transforms.io.event_hubs_loopback.faults import Faults
from transforms.io.event_hubs_loopback.namespace import LoopbackConfig
from transforms.io.event_hubs_loopback.process import run_until_signal
from transforms.io.event_hubs_loopback.server import Serving

KEY_VARIABLE = "C360_EVENTS_KEY"


def run_events(config: LoopbackConfig, as_json: bool) -> None:
    """Serves until SIGTERM or Ctrl-C and says where; with `as_json` in one object as soon as it listens."""
    out = Output(as_json)
    served: list[Serving] = []

    def ready(serving: Serving) -> None:
        served.append(serving)
        _say(serving, config.folder, out)
        out.close()

    asyncio.run(run_until_signal(config, ready))
    if not as_json and served:
        counts = served[0].namespace.counts
        out.say(f"events: stopped; {counts['events_in']:,} events came in, {counts['events_out']:,} went out")


def _say(serving: Serving, folder: Path, out: Output) -> None:
    hubs = {hub.name: len(hub.partitions) for hub in serving.namespace.hubs.values()}
    out.say(f"events: a stand-in for Azure Event Hubs, not the service, on 127.0.0.1:{serving.port}", port=serving.port)
    out.say("hubs: " + ", ".join(f"{name} ({count} partitions)" for name, count in hubs.items()), hubs=hubs)
    out.say(f"folder: {folder}; what was acknowledged survives a kill", folder=str(folder))
    out.say(f"connection string: {serving.connection_string}", connection_string=serving.connection_string)
    out.say("stop it with Ctrl-C", stand_in=True)


def hubs_of(given: Iterable[str]) -> dict[str, int]:
    """{"transactions": 4} of ["transactions:4"]; raises `UsageError`."""
    hubs: dict[str, int] = {}
    for text in given:
        name, _, count = text.partition(":")
        if not name or not (count or "1").isdigit() or name.lower() in map(str.lower, hubs):
            remedy = "write --hub NAME:PARTITIONS, each name once"
            raise UsageError(f"--hub {text} names no hub and its partitions", remedy=remedy)
        hubs[name] = int(count or 1)
    return hubs


def faults_of(given: Iterable[str]) -> Faults:
    """The faults of ["drop_every=1000", "seed=7"]; raises `UsageError` or `UserError`."""
    faults: dict[str, object] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            faults[name] = float(value) if "." in value else int(value)
        except ValueError:
            raise UsageError(f"--fault {text} is no number", remedy="write --fault drop_every=1000") from None
    return Faults.of(faults)


def key_of(path: str | None) -> str | None:
    """The key in a file, or in the environment; None lets the folder have its own. Raises `UsageError`, without it."""
    if path is None:
        key, where = os.environ.get(KEY_VARIABLE), f"${KEY_VARIABLE}"
    else:
        key, where = Path(path).read_text().strip(), path
    if key is not None and (len(key) < 8 or not key.isascii() or any(c in key for c in "; \t\n\"'")):
        raise UsageError("this is no key", where=where, remedy="take 8 or more letters and digits")
    return key
