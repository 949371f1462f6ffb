"""The Event Hubs stand-in in its own process, for any test that needs a hub."""

from __future__ import annotations

from pathlib import Path

from transforms.io.event_hubs_loopback.faults import Faults
from transforms.io.event_hubs_loopback.namespace import LoopbackConfig
from transforms.io.event_hubs_loopback.process import LoopbackProcess

__all__ = ["Faults", "LoopbackConfig", "LoopbackProcess", "loopback"]


def loopback(folder: Path, hubs: dict[str, int] | None = None, **settings: object) -> LoopbackProcess:
    """A server on `folder`, not started: `with loopback(tmp_path / "events") as hub: hub.connection_string("h")`."""
    return LoopbackProcess(LoopbackConfig(folder, hubs or {"events": 2}, **settings))  # type: ignore[arg-type]
