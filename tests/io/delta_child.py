"""Child processes for the crash and concurrency tests: they write, and may be killed at a named place."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import os
import signal
import threading
import time
from typing import Any

import pyarrow as pa

from transforms.io.delta_commit import CommitResult, TableWrite
from transforms.io.delta_rows import write_rows

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.io.delta_child"])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def die_at(place: str, moment: str, nth: int = 1) -> None:
    """Patches `module:Class.function` so that its n-th call ends in SIGKILL before, after, or some seconds into it."""
    module_name, path = place.split(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real, calls = getattr(owner, name), [0]

    @functools.wraps(real)
    def patched(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        mine = calls[0] == nth  # another thread may count on meanwhile
        if mine and moment == "before":
            die()
        if mine and moment not in ("before", "after"):
            threading.Timer(float(moment), die).start()
        result = real(*args, **kwargs)
        if mine and moment == "after":
            die()
        return result

    setattr(owner, name, patched)


def killed_write(place: str, moment: str, nth: int, write: TableWrite, rows: pa.Table, transactions: tuple) -> int:
    """Writes in a child that dies at `place`; gives the exit code, -9 for killed."""
    child = CONTEXT.Process(target=_write_and_die, args=(_azure(), place, moment, nth, write, rows, transactions))
    child.start()
    child.join(60)
    return child.exitcode


def _azure() -> dict[str, str]:
    """The credentials: a child forks from a server that may be older than they are."""
    return {name: value for name, value in os.environ.items() if name.startswith("AZURE_")}


def _write_and_die(
    azure: dict[str, str], place: str, moment: str, nth: int, write: TableWrite, rows: pa.Table, transactions: tuple
) -> None:
    os.environ.update(azure)
    die_at(place, moment, nth)
    write_rows(write, rows, transactions)
    if moment not in ("before", "after"):
        time.sleep(1)  # until the timer fires


def write_many(
    azure: dict[str, str], number: int, work: list[tuple[TableWrite, pa.Table, tuple]], gate: Any, results: Any
) -> None:
    os.environ.update(azure)
    gate.wait(60)
    done: list[CommitResult | str] = []
    for write, rows, transactions in work:
        try:
            done.append(write_rows(write, rows, transactions))
        except Exception as error:
            done.append(repr(error))
    results.put((number, done))


def at_once(works: list[list[tuple[TableWrite, pa.Table, tuple]]]) -> list[list[Any]]:
    """Runs each list of writes in a process of its own, all started together; what each write returned or raised."""
    gate, results = CONTEXT.Barrier(len(works)), CONTEXT.Queue()
    children = [
        CONTEXT.Process(target=write_many, args=(_azure(), i, work, gate, results)) for i, work in enumerate(works)
    ]
    for child in children:
        child.start()
    done = dict(results.get(timeout=120) for _ in children)
    for child in children:
        child.join(30)
    return [done[i] for i in range(len(works))]
