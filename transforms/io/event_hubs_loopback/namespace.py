"""The hubs of one folder, and the writes of one turn of the event loop: written together, then acknowledged."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from transforms.errors import UserError
from transforms.io.event_hubs_loopback.faults import FaultPlan, Faults
from transforms.io.event_hubs_loopback.hub import Hub
from transforms.io.event_hubs_loopback.log import PartitionLog
from transforms.io.event_hubs_loopback.messages import Event

if TYPE_CHECKING:
    from transforms.io.event_hubs_loopback.links import ReaderLink

KEY_NAME = "RootManageSharedAccessKey"
_MARK, _FORMAT = "loopback.json", 1
_MOST_PARTITIONS = 1024


@dataclass(frozen=True)
class LoopbackConfig:
    """A server's settings.

    folder: what it holds survives the server; made where it is missing.
    hubs: partitions by hub name; a hub the folder has already may grow, not shrink. Empty: the folder's own.
    port: 0 takes a free one.
    key: of `RootManageSharedAccessKey`; None takes the folder's own, made at the first start.
    durable: acknowledge when the disk has it, not the operating system.
    bearer_tokens: taken as they are, in place of Azure AD's, which cannot be checked here.
    retention_seconds, retention_bytes: of a partition; None keeps everything.
    """

    folder: Path
    hubs: Mapping[str, int] = field(default_factory=dict)
    port: int = 0
    key: str | None = field(default=None, repr=False)
    durable: bool = False
    retention_seconds: float | None = None
    retention_bytes: int | None = None
    idle_timeout_ms: int = 240_000
    max_message_bytes: int = 1 << 20
    max_frame_bytes: int = 1 << 20
    bearer_tokens: tuple[str, ...] = field(default=(), repr=False)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        for name, count in self.hubs.items():
            if not name or not all(c.isalnum() or c in "._-" for c in name) or name.startswith("."):
                raise UserError(f"{name!r} is no name of a hub", remedy="use letters, digits, '.', '_' and '-'")
            if not 1 <= count <= _MOST_PARTITIONS:
                raise UserError(f"hub {name} with {count} partitions", remedy=f"give 1 to {_MOST_PARTITIONS}")
        if not 0 <= self.port < 65536:
            raise UserError(f"there is no port {self.port}", remedy="give 0 for a free one")


class Namespace:
    """Opens a folder's hubs; raises `UserError` for a folder of something else."""

    def __init__(self, config: LoopbackConfig) -> None:
        self.config = config
        self.hubs: dict[str, Hub] = {}
        self.plan = FaultPlan(config.faults)
        self.readers: dict[PartitionLog, set[ReaderLink]] = defaultdict(set)
        self.counts = {"events_in": 0, "events_out": 0, "dropped_connections": 0, "lost_acknowledgements": 0, "busy": 0}
        self._pending: dict[PartitionLog, list[Callable[[OSError | None], None]]] = {}
        self._load()
        self.keys = {KEY_NAME: config.key or self._own_key()}

    def _load(self) -> None:
        mark = self.config.folder / _MARK
        if mark.exists():
            known = json.loads(mark.read_text())
            if known.get("format") != _FORMAT:
                raise UserError(
                    f"the events are of format {known.get('format')}", where=str(mark), remedy="give a new folder"
                )
            for name, (count, created_ms) in known["hubs"].items():
                self._open(name, count, created_ms)
        for name, count in self.config.hubs.items():
            hub = self.hubs.get(name.lower())
            if hub is None:
                self._open(name, count, int(time.time() * 1000))
            elif count < len(hub.partitions):
                raise UserError(
                    f"hub {name} has {len(hub.partitions)} partitions, {count} are asked for",
                    where=str(self.config.folder),
                    remedy="a hub can grow, not shrink; give a new folder",
                )
            else:
                hub.resize(count)
        if not self.hubs:
            raise UserError("there is no hub", remedy="name one: --hub transactions:4")
        self._save()

    def _open(self, name: str, count: int, created_ms: int) -> None:
        hub = Hub.open(name, self.config.folder / "hubs" / name.lower(), count)
        hub.created_ms = created_ms
        self.hubs[name.lower()] = hub

    def _save(self) -> None:
        mark = self.config.folder / _MARK
        hubs = {hub.name: [len(hub.partitions), hub.created_ms] for hub in self.hubs.values()}
        fresh = mark.with_suffix(".new")
        fresh.write_text(json.dumps({"format": _FORMAT, "hubs": hubs}))
        os.replace(fresh, mark)

    def _own_key(self) -> str:
        path = self.config.folder / "key"
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
        return path.read_text().strip()

    def hub(self, name: str) -> Hub | None:
        return self.hubs.get(name.lower())

    def submit(
        self, partition: PartitionLog, events: Sequence[Event], done: Callable[[OSError | None], None] | None
    ) -> None:
        """Stores a batch at the end of this turn of the event loop, then calls `done` with what went wrong, or None."""
        partition.stage(events, int(time.time() * 1000))
        self.counts["events_in"] += len(events)
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._flush)
        waiting = self._pending.setdefault(partition, [])
        if done is not None:
            waiting.append(done)

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        for partition, waiting in pending.items():
            failure = None
            try:
                partition.flush(self.config.durable)
            except OSError as error:
                failure = error
            for done in waiting:
                done(failure)
        for partition in pending:
            for reader in tuple(self.readers.get(partition, ())):
                reader.pump()

    def resize(self, name: str, partition_count: int) -> list[PartitionLog]:
        """Changes a hub's number of partitions; gives those that are gone."""
        hub = self.hub(name)
        if hub is None:
            raise UserError(f"there is no hub {name!r}", remedy=f"the hubs are {', '.join(self.hubs)}")
        if not 1 <= partition_count <= _MOST_PARTITIONS:
            raise UserError(f"hub {name} with {partition_count} partitions", remedy=f"give 1 to {_MOST_PARTITIONS}")
        self._flush()
        gone = hub.partitions[partition_count:]
        hub.resize(partition_count)
        self._save()
        return gone

    def trim(self, name: str, partition: int, before: int) -> None:
        """Forgets a partition's events below the sequence number `before`."""
        hub = self.hub(name)
        if hub is None or not 0 <= partition < len(hub.partitions):
            raise UserError(f"there is no partition {name}/{partition}")
        hub.partitions[partition].trim(before)

    def retain(self) -> None:
        """Forgets what is older or larger than the retention allows."""
        config = self.config
        if config.retention_seconds is None and config.retention_bytes is None:
            return
        oldest = None if config.retention_seconds is None else int((time.time() - config.retention_seconds) * 1000)
        for hub in self.hubs.values():
            for partition in hub.partitions:
                partition.retain(oldest, config.retention_bytes)

    def close(self) -> None:
        self._flush()
        for hub in self.hubs.values():
            hub.close()
