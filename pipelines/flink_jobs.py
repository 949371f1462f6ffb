"""Jobs that lie on a Flink cluster, by its REST."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

_OVER = {"FINISHED", "FAILED", "CANCELED", "CANCELLING"}
_SECONDS = 10


def cancel_jobs(master: str, name: str) -> int:
    """Cancels the jobs of this name at HOST:PORT that are not over; how many there were.

    A job whose workers are not ours goes on when we end, and keeps the slots that the next one needs. Where the
    cluster does not answer it is left to others to say so; a job that is left is fenced by its successor.
    """
    try:
        found = _ask(master, "/jobs/overview")["jobs"]
        left = [job["jid"] for job in found if job["name"] == name and job["state"] not in _OVER]
        for number in left:
            _ask(master, f"/jobs/{number}?mode=cancel", "PATCH")
    except (OSError, ValueError, KeyError):
        return 0
    return len(left)


def _ask(master: str, path: str, method: str = "GET") -> Any:
    request = urllib.request.Request(f"http://{master}{path}", method=method)
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        return json.loads(answer.read() or b"{}")
