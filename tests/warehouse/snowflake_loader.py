"""A load into Snowflake's stand-in, in a process of its own that can be killed behind any statement."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from datetime import datetime
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tests.warehouse.snowflake_account import StandIn
from transforms.io.warehouse import Row

_PROCESSES = get_context("spawn")  # a fork of a process that has the connector hangs


class Recorded(StandIn):
    """Hands `after` every statement of its load when it is done."""

    after: Callable[[str], None] = staticmethod(lambda statement: None)

    def run(self, statement: str) -> list[Row]:
        rows = super().run(statement)
        self.after(statement)
        return rows


def statements_of(environment: Mapping[str, str], lake: Path, at: datetime) -> list[str]:
    """Loads, and says by which statements."""
    found: list[str] = []
    os.environ.update(environment)
    with Recorded() as warehouse:
        warehouse.after = found.append
        warehouse.load(str(lake), at)
    return found


def killed_behind(environment: Mapping[str, str], lake: Path, at: datetime, number: int) -> int:
    """The exit code of a load that kill -9 meets when its statement `number` is done."""
    process = _PROCESSES.Process(target=_load_and_die, args=(dict(environment), str(lake), at, number))
    process.start()
    process.join(600)
    assert process.exitcode is not None, "the load hangs"
    return process.exitcode


def _load_and_die(environment: Mapping[str, str], lake: str, at: datetime, number: int) -> None:
    os.environ.update(environment)
    warehouse, done = Recorded(), []

    def after(statement: str) -> None:
        done.append(statement)
        if len(done) == number + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    warehouse.after = after
    warehouse.load(lake, at)


def at_once(environment: Mapping[str, str], lake: Path, at: datetime, out: Path, loaders: int = 2) -> list[dict]:
    """Starts loads of the same lake at one moment; what each said, status by table."""
    begin = _PROCESSES.Barrier(loaders)
    files = [out / f"loader{number}.json" for number in range(loaders)]
    started: list[BaseProcess] = [
        _PROCESSES.Process(target=_load, args=(dict(environment), str(lake), at, begin, str(file))) for file in files
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(600)
        assert process.exitcode == 0
    return [json.loads(file.read_text()) for file in files]


def _load(environment: Mapping[str, str], lake: str, at: datetime, begin: Barrier, out: str) -> None:
    os.environ.update(environment)
    with StandIn() as warehouse:
        begin.wait(60)
        loaded = warehouse.load(lake, at)
    Path(out).write_text(json.dumps({table.table: table.status for table in loaded}))
