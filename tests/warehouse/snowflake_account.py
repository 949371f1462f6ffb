"""An account of Snowflake's stand-in, the line to it that can be cut, and the warehouse as the tests open it."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.homes import fakesnow
from transforms.io.snowflake import Snowflake
from transforms.io.warehouse import Warehouse
from transforms.warehouse.ddl import POLICY, Migration, tables

PROGRAM = Path(__file__).parents[1] / "fakesnow_server.py"
VIEWS = ("CUSTOMER_360.V_CUSTOMER", "CUSTOMER_360.V_TRANSACTION_THEN", "CUSTOMER_360.V_CUSTOMER_VALUE")
VIEWS += ("CUSTOMER_360.V_COHORT", "CUSTOMER_BEHAVIOR.V_FUNNEL", "CUSTOMER_BEHAVIOR.V_ATTRIBUTION")
VIEWS += ("RECOMMENDATIONS.DIM_CONTENT", "RECOMMENDATIONS.V_RECOMMENDATION_PERFORMANCE")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


class StandIn(Snowflake):
    """Without the policies, which fakesnow does not know."""

    def migrate(self, migration: Migration) -> None:
        for statement in migration.statements:
            if not POLICY.match(statement):
                self.run(statement)


@dataclass(frozen=True)
class Account:
    """A running stand-in with the empty database DW."""

    port: int
    server: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """What reaches it."""
        known = {"SNOWFLAKE_ACCOUNT": "fake", "SNOWFLAKE_USER": "u", "SNOWFLAKE_DATABASE": "DW"}
        known |= {"SNOWFLAKE_PASSWORD": "p", "SNOWFLAKE_HOST": "127.0.0.1", "SNOWFLAKE_PROTOCOL": "http"}
        return known | {"SNOWFLAKE_PORT": str(self.port)}

    def connection(self, folder: Path, **changes: object) -> str:
        """The address by a connections file in `folder`, for $SNOWFLAKE_HOME; no time is lost between attempts."""
        said = {"account": "fake", "user": "u", "database": "DW", "password": "p", "host": "127.0.0.1"}
        said |= {"protocol": "http", "port": self.port, "retry_backoff_cap_ms": 50, "retry_backoff_base_ms": 10}
        lines = [f"{name} = {value!r}" for name, value in (said | changes).items()]
        path = folder / "connections.toml"
        path.write_text("\n".join(["[fake]", *lines, ""]).replace("'", '"'))
        path.chmod(0o600)
        return "fake"

    def warehouse(self, runs: bool) -> None:
        """Resumes or suspends the account's only warehouse."""
        address = f"http://127.0.0.1:{self.port}/stand-in/warehouse?runs={'yes' if runs else 'no'}"
        urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=60).close()


@contextmanager
def account(port: int) -> Iterator[Account]:
    """A fresh one at a port of this machine."""
    import snowflake.connector as connector

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen([fakesnow(), PROGRAM, str(port)], env=environment)
    reach = {"account": "fake", "user": "u", "password": "p", "host": "127.0.0.1", "port": port, "protocol": "http"}
    try:
        for _ in range(120):
            try:
                with connector.connect(**reach, login_timeout=10) as session:
                    session.cursor().execute("CREATE DATABASE IF NOT EXISTS DW")
                break
            except connector.Error:
                assert server.poll() is None, "the stand-in has ended"
                time.sleep(1)
        yield Account(port, server)
    finally:
        server.kill()  # it keeps nothing, and would wait for sessions that died
        server.wait()


def contents(warehouse: Warehouse, names: Iterable[str]) -> dict[str, list[tuple]]:
    """All rows of tables and views, in one order."""
    found = {}
    for name in names:
        query = f"SELECT {_columns(name)} FROM {name}"
        rows = [tuple(map(_plain, row.values())) for row in warehouse.query(query).to_pylist()]
        found[name] = sorted(rows, key=repr)
    return found


def _columns(name: str) -> str:
    """Of a table, its times as text: the stand-in cannot hand out a time that is null."""
    if name in VIEWS:
        return "*"
    columns = {c.name: c.type.sql().startswith("TIMESTAMP") for c in tables()[name].columns}
    return ", ".join(f"CAST({column} AS VARCHAR) AS {column}" if at else column for column, at in columns.items())


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) and value == int(value) else value


class Line:
    """A line to a port that passes bytes on both ways, and breaks when told to.

    Attributes:
      upload_bytes: of an upload this many pass, then its connection is reset; None for all.
      mends_after: so many uploads are cut.
      is_cut: every connection is reset, and none made.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.upload_bytes: int | None = None
        self.mends_after = 1_000
        self.is_cut = False
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self.is_cut:
                self._reset(near)
                continue
            far = socket.create_connection(("127.0.0.1", self._to))
            for one, other, up in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass, args=(one, other, up), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, up: bool) -> None:
        uploaded: int | None = None
        try:
            while data := one.recv(65536):
                if up and data.startswith(b"PUT "):
                    uploaded = 0
                if uploaded is not None:
                    uploaded += len(data)
                limit = self.upload_bytes if self.cuts < self.mends_after else None
                if self.is_cut or (uploaded is not None and limit is not None and uploaded > limit):
                    self._reset(one, other)
                    return
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _reset(self, *ends: socket.socket) -> None:
        self.cuts += 1
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.close()
