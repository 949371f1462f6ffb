"""Jobs that an earlier life left on a cluster: cancelled by name, and nobody else's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipelines.flink import Flink
from pipelines.flink_jobs import cancel_jobs
from pipelines.prism import free_port

JOBS = [("a", "mine", "RUNNING"), ("b", "mine", "FAILED"), ("c", "other", "RUNNING"), ("d", "mine", "CREATED")]


class _Rest(BaseHTTPRequestHandler):
    """As Flink 1.19 answers."""

    cancelled: list[str]

    def do_GET(self) -> None:
        assert self.path == "/jobs/overview"
        self._answer(200, {"jobs": [dict(zip(("jid", "name", "state"), job, strict=True)) for job in JOBS]})

    def do_PATCH(self) -> None:
        type(self).cancelled.append(self.path)
        self._answer(202, {})

    def _answer(self, code: int, body: object) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def rest() -> Iterator[str]:
    _Rest.cancelled = []
    server = HTTPServer(("127.0.0.1", 0), _Rest)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_jobs_of_the_name_that_are_not_over_are_cancelled(rest):
    assert cancel_jobs(rest, "mine") == 2
    assert _Rest.cancelled == ["/jobs/a?mode=cancel", "/jobs/d?mode=cancel"]


def test_an_engine_that_ends_leaves_no_job_on_its_cluster(rest):
    Flink(rest, job="other").end()
    assert _Rest.cancelled == ["/jobs/c?mode=cancel"]


def test_a_cluster_that_does_not_answer_holds_nobody_up():
    assert cancel_jobs(f"127.0.0.1:{free_port()}", "mine") == 0
