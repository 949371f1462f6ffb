"""The run-time control: small HTTP requests with JSON on the server's own port, and a client for them.

`GET /state`; `POST /faults` (the settings, replacing the former), `/next`, `/drop`, `/trim`, `/partitions`. Each needs
the key: `Authorization: Bearer KEY`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from transforms.errors import UserError
from transforms.io.event_hubs_loopback.faults import Faults
from transforms.io.event_hubs_loopback.frames import AmqpError
from transforms.io.event_hubs_loopback.links import ReaderLink, WriterLink
from transforms.io.event_hubs_loopback.namespace import Namespace

if TYPE_CHECKING:
    from transforms.io.event_hubs_loopback.connection import Connection

_MOST_BYTES = 1 << 20


class ControlConnection(asyncio.Protocol):
    """Answers one HTTP request."""

    def __init__(self, namespace: Namespace, connections: set[Connection]) -> None:
        self._namespace, self._connections = namespace, connections
        self._buffer = b""
        self._routes: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "/state"): self._state,
            ("POST", "/faults"): self._faults,
            ("POST", "/next"): lambda given: self._namespace.plan.next(given["kinds"]),
            ("POST", "/drop"): self._drop,
            ("POST", "/trim"): lambda given: self._namespace.trim(given["hub"], given["partition"], given["before"]),
            ("POST", "/partitions"): self._partitions,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if len(self._buffer) > _MOST_BYTES:
            return self._answer(413, {"error": "too large"})
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        size = headers.get("content-length", "0")
        if size.isdigit() and len(body) < int(size):
            return
        try:
            self._answer(*self._route(lines[0], headers, body))
        except Exception as error:  # a control request must not end the server
            self._answer(500, {"error": repr(error)})

    def _route(self, request: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        method, _, rest = request.partition(" ")
        route = self._routes.get((method, rest.partition(" ")[0]))
        if route is None:
            return 404, {"error": "there is nothing here"}
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if not any(hmac.compare_digest(given.encode(), key.encode()) for key in self._namespace.keys.values()):
            return 401, {"error": "the key is missing or wrong"}
        try:
            return 200, route(json.loads(body or b"{}"))
        except (UserError, ValueError, KeyError, TypeError) as error:
            return 400, {"error": str(error)}

    def _answer(self, status: int, answer: Any) -> None:
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self._transport.close()

    def _state(self, _: dict[str, Any]) -> dict[str, Any]:
        namespace = self._namespace
        links = [link for connection in self._connections for link in connection.links()]
        return {
            "hubs": {
                hub.name: [{"first": log.first, "end": log.end} for log in hub.partitions]
                for hub in namespace.hubs.values()
            },
            "connections": len(self._connections),
            "readers": sum(isinstance(link, ReaderLink) for link in links),
            "counts": namespace.counts,
            "faults": asdict(namespace.plan.faults),
            "cpu_seconds": time.process_time(),
            "pid": os.getpid(),
        }

    def _faults(self, given: dict[str, Any]) -> None:
        self._namespace.plan.replace(Faults.of(given))

    def _drop(self, _: dict[str, Any]) -> int:
        dropped = tuple(self._connections)
        for connection in dropped:
            connection.drop()
        return len(dropped)

    def _partitions(self, given: dict[str, Any]) -> None:
        gone = self._namespace.resize(given["hub"], given["count"])
        hub = self._namespace.hub(given["hub"])
        assert hub is not None
        error = AmqpError("amqp:not-found", "The partition is gone.")
        for connection in tuple(self._connections):
            for link in connection.links():
                lost = isinstance(link, ReaderLink) and link.log in gone
                if isinstance(link, WriterLink) and link.partition is not None and link.hub is hub:
                    lost = link.partition >= len(hub.partitions)
                if lost:
                    connection.detach(link, error)


@dataclass(frozen=True)
class LoopbackControl:
    """Steers a running server; every method raises `UserError` with the server's answer when it is refused."""

    port: int
    key: str = field(repr=False)

    def state(self) -> dict[str, Any]:
        """Hubs with the first and the next sequence number of each partition, counts, connections, CPU seconds."""
        return self._ask("GET", "/state", None)

    def faults(self, faults: Faults | None = None) -> None:
        """Replaces the faults; without any, nothing goes wrong any more."""
        self._ask("POST", "/faults", asdict(faults or Faults()))

    def next(self, *kinds: str) -> None:
        """What happens to the next batches sent: "busy", "drop" (before it is stored) or "lost_ack"."""
        self._ask("POST", "/next", {"kinds": kinds})

    def drop(self) -> int:
        """Drops every connection; says how many."""
        return self._ask("POST", "/drop", {})

    def trim(self, hub: str, partition: int, before: int) -> None:
        """Forgets a partition's events below the sequence number `before`, as retention does."""
        self._ask("POST", "/trim", {"hub": hub, "partition": partition, "before": before})

    def partitions(self, hub: str, count: int) -> None:
        """Changes a hub's number of partitions."""
        self._ask("POST", "/partitions", {"hub": hub, "count": count})

    def _ask(self, method: str, path: str, given: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(
            url,
            method=method,
            data=None if given is None else json.dumps(given).encode(),
            headers={"Authorization": f"Bearer {self.key}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise UserError(json.load(error)["error"], where=path) from None
        except OSError as error:
            raise UserError(f"the loopback does not answer: {error}", where=url) from None
