"""The process that runs one stream's pipeline; it may be killed at any moment and started again."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from pipelines.config import Run
from pipelines.console import user_cause
from pipelines.stream import StreamConfig, build, own
from transforms.io.delta_stream import rest

DONE, FAILED, RESTART = 0, 1, 3  # exit codes: ended in order; a person must do something; start again
_ENDED = {PipelineState.DONE, PipelineState.FAILED, PipelineState.CANCELLED}


def main() -> None:
    """Reads a `StreamConfig` from the standard input, runs it, and exits with DONE, FAILED or RESTART."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    config = StreamConfig.from_json(sys.stdin.readline())
    try:
        _exit(run_stream(config))
    except Exception as error:
        cause = user_cause(error)
        print(f"stopped: {cause or repr(error)}", file=sys.stderr, flush=True)
        _exit(FAILED if cause else RESTART)


def run_stream(config: StreamConfig) -> int:
    """Runs until the pipeline ends, or a signal says so."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run = Run("stream")
    writes = own(config, run)
    root = beam.Pipeline(options=PipelineOptions(list(config.beam_args)))
    build(root, config, run, writes)
    result = root.run()
    while not stop.wait(0.2) and result.state not in _ENDED:
        pass
    if stop.is_set():
        rest(timeout_seconds=20)  # a commit in progress is finished; bronze knows where to go on
        return DONE
    return DONE if result.state == PipelineState.DONE else RESTART


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Beam's worker threads would wait for an engine that may be gone


if __name__ == "__main__":
    main()
