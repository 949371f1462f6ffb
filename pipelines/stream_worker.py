"""The process that runs one stream's pipeline; it may be killed at any moment and started again."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from pipelines.config import Run
from pipelines.console import user_cause
from pipelines.memory import give_back_for_ever
from pipelines.stream import build, own
from pipelines.stream_config import StreamConfig
from transforms.errors import Unreachable, UserError
from transforms.io.delta_committer import rest, waiting_rows
from transforms.io.delta_log import sum_up
from transforms.io.delta_positions import Fenced, OwnerWatch
from transforms.levels import levels

# Exit codes: ended in order; a person must do something; start again; start again until a service answers.
DONE, FAILED, RESTART, UNREACHABLE = 0, 1, 3, 4
_OWNER_SECONDS = 10.0  # how soon a stream that has nothing to commit learns that another one took over
_TELL_SECONDS = 2.0
_SUM_UP_SECONDS = 30.0
_ENDED = {PipelineState.DONE, PipelineState.FAILED, PipelineState.CANCELLED}


def main() -> None:
    """Reads a `StreamConfig` from the standard input, runs it, and exits with DONE, FAILED, RESTART or UNREACHABLE."""
    heard = _Heard()
    logging.getLogger().addHandler(heard)
    config = StreamConfig.from_json(sys.stdin.readline())
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_follow_parent, daemon=True).start()
    threading.Thread(target=_tell_levels, daemon=True).start()
    give_back_for_ever()
    try:
        code = run_stream(config, stop)
    except Exception as error:
        cause = user_cause(error)
        heard.stopped = heard.stopped or (str(cause) if cause else heard.foreign or _foreign(error))
        code = RESTART if cause is None else UNREACHABLE if isinstance(cause, Unreachable) else FAILED
    if code != DONE:
        print(f"stopped: {heard.stopped or heard.foreign or 'the engine ended the job'}", file=sys.stderr)
    _exit(heard.judged if code == RESTART else code)


class _Heard(logging.Handler):
    """Listens to Beam's log for what ended the job; only text comes back from the engine.

    Attributes:
      stopped: the words of an error of ours.
      foreign: class and place of another one; its text may hold what is personal, or a key.
      judged: the exit code that follows from it.
    """

    _OURS = re.compile(r"^transforms\.[\w.]*?(\w+): (.*?)(?: \[while running '[^']*'\])?$", re.MULTILINE)

    # The last frame of a traceback, the lines of source that belong to it, and the error's class.
    _RAISED = re.compile(r'^  File "(.*)", line (\d+).*\n(?:    .*\n)*([A-Za-z_][\w.]*)(?::|$)', re.MULTILINE)

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.stopped, self.foreign, self.judged = "", "", RESTART

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        raised = self._RAISED.search(message) if "Error processing instruction" in message else None
        if raised and not self.foreign:
            self.foreign = _words(raised[3], raised[1], raised[2])
        for name, text in self._OURS.findall(message):
            if not self.stopped and name == Unreachable.__name__:
                self.judged = UNREACHABLE
            self.stopped = self.stopped or re.sub(r" \[while running '.*?'\]", "", text)
            if name == Fenced.__name__:
                self.judged = FAILED


def _foreign(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return _words(type(error).__name__, frames[-1].filename, frames[-1].lineno) if frames else type(error).__name__


def _words(kind: str, path: str, line: object) -> str:
    return f"{kind.rpartition('.')[2]} in {'/'.join(path.split('/')[-3:])}:{line}"


def _follow_parent() -> None:
    """Ends this process with the one that started it: the standard input closes when that one dies."""
    sys.stdin.read()
    os._exit(RESTART)


def _tell_levels() -> None:
    """Says every few seconds, a line of JSON each time, how much this process holds."""
    while True:
        time.sleep(_TELL_SECONDS)
        print(json.dumps(levels()), flush=True)


def run_stream(config: StreamConfig, stop: threading.Event) -> int:
    """Runs until the pipeline ends, or `stop` is set."""
    run = Run("stream")
    writes = own(config, run)
    root = beam.Pipeline(options=PipelineOptions(list(config.beam_args)))
    build(root, config, run, writes)
    result = root.run()
    threading.Thread(target=_sum_up, args=({write.uri for write in writes.values()},), daemon=True).start()
    owned = OwnerWatch((write.uri, write.stream, write.epoch) for write in writes.values())
    looked = time.monotonic()
    while not stop.wait(0.2) and result.state not in _ENDED:
        if time.monotonic() - looked >= _OWNER_SECONDS:
            owned.check()
            looked = time.monotonic()
    if stop.is_set():
        rest(timeout_seconds=20)  # a commit in progress is finished; bronze knows where to go on
        return DONE
    # An engine that lost a range would leave those behind it waiting: reading again from bronze brings all of them.
    return DONE if result.state == PipelineState.DONE and not waiting_rows() else RESTART


def _sum_up(tables: Iterable[str]) -> None:
    """Checkpoints for readers, beside the commits, which do without."""
    while True:
        time.sleep(_SUM_UP_SECONDS)
        for uri in sorted(tables):
            try:
                sum_up(uri)
            except UserError as error:
                logging.getLogger(__name__).warning("no checkpoint: %s", error)


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Beam's worker threads would wait for an engine that may be gone


if __name__ == "__main__":
    main()
