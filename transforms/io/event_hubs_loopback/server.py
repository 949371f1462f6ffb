"""The server: a locked folder, a port on 127.0.0.1, and what time brings."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from transforms.errors import UserError
from transforms.io.event_hubs_loopback.connection import Connection
from transforms.io.event_hubs_loopback.namespace import KEY_NAME, LoopbackConfig, Namespace

_TICK_SECONDS = 0.5
_RETAIN_TICKS = 2
_OWN = {"loopback.json", "loopback.new", "lock", "key", "hubs"}


@dataclass(frozen=True)
class Serving:
    """A server that listens."""

    port: int
    namespace: Namespace

    @property
    def key(self) -> str:
        return self.namespace.keys[KEY_NAME]

    @property
    def connection_string(self) -> str:
        return connection_string(self.port, self.key)


def connection_string(port: int, key: str, hub: str | None = None) -> str:
    """What the client takes; TLS is off, as with Microsoft's own emulator."""
    text = f"Endpoint=sb://localhost:{port};SharedAccessKeyName={KEY_NAME};SharedAccessKey={key};"
    return text + "UseDevelopmentEmulator=true" + (f";EntityPath={hub}" if hub else "")


@asynccontextmanager
async def serve(config: LoopbackConfig) -> AsyncIterator[Serving]:
    """Serves while the context lasts; raises `UserError` where folder or port cannot be had."""
    lock = _lock(config.folder)
    try:
        namespace = Namespace(config)
        connections: set[Connection] = set()
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: Connection(namespace, connections), "127.0.0.1", config.port)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "in use" if error.errno == errno.EADDRINUSE else "not for this user"
            raise UserError(f"port {config.port} is {why}", remedy="give another with --port, or 0 for any") from None
        timer = loop.create_task(_keep_time(namespace, connections))
        try:
            yield Serving(server.sockets[0].getsockname()[1], namespace)
        finally:
            timer.cancel()
            server.close()
            for connection in tuple(connections):
                connection.close()
            await asyncio.sleep(0)  # lets the last frames out
            namespace.close()
    finally:
        os.close(lock)


async def _keep_time(namespace: Namespace, connections: set[Connection]) -> None:
    ticks = 0
    while True:
        await asyncio.sleep(_TICK_SECONDS)
        ticks += 1
        now = time.monotonic()
        for connection in tuple(connections):
            connection.tick(now)
        if ticks % _RETAIN_TICKS == 0:
            namespace.retain()


def _lock(folder: Path) -> int:
    """Makes the folder this server's; raises `UserError` where it is another's."""
    if folder.exists() and not folder.is_dir():
        raise UserError("this is no folder", where=str(folder), remedy="give another with --folder")
    if folder.is_dir():
        strange = {path.name for path in folder.iterdir()} - _OWN
        if strange:
            remedy = "give an empty or a new one with --folder"
            raise UserError("the folder holds something else", where=str(folder), remedy=remedy)
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise UserError("another server uses the folder", where=str(folder), remedy="stop it or give another") from None
    return lock
