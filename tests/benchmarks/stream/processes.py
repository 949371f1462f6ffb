"""The processes of a stream: their ids, memory and CPU as the operating system tells them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who only measures processes need not load them
    from pipelines.supervisor import Supervisor
    from tests.event_hubs import LoopbackProcess


def processes(stream: Supervisor, server: LoopbackProcess) -> dict[str, int]:
    """Name -> id of all that run now."""
    found = {**stream.pids, "loopback": server.pid}
    for task in Path(f"/proc/{found.get('worker', 0)}/task").glob("*/children"):
        found |= {f"reader {number}": int(pid) for number, pid in enumerate(task.read_text().split())}
    return found


def cpu_seconds(pid: int) -> float:
    """What a process has used; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory of a process without what it has mapped of files, which the system takes back; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))
