"""Beam options: which engine runs a batch, and how much one bucket holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner

from transforms.errors import UsageError

_IN_PROCESS = ("", "directrunner", "fnapirunner", "in-process")
ROWS_PER_BUCKET = 250_000
_Delivery = Callable[[PipelineOptions], PipelineRunner]
_DELIVERY: ContextVar[_Delivery | None] = ContextVar("delivery", default=None)


@contextmanager
def handing_over(deliver: _Delivery) -> Iterator[None]:
    """Inside, pipelines go to the runner that `deliver` makes for their options, whatever engine was asked for."""
    token = _DELIVERY.set(deliver)
    try:
        yield
    finally:
        _DELIVERY.reset(token)


@dataclass(frozen=True)
class Engine:
    """The Beam runner of a run.

    Attributes:
      runner: empty for the in-process runner, else a Beam runner's name ("FlinkRunner", "SparkRunner", ...).
      beam_args: options handed to Beam as they are.
    """

    runner: str = ""
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [a for a in self.beam_args if not a.startswith("--direct_")]
        if self.in_process and unknown:
            raise UsageError(f"there is no option {unknown[0]}", remedy="see --help; Beam's options go with --runner")
        several = [a for a in self.beam_args if a.startswith("--direct_num_workers") and not a.endswith(("=1", "s"))]
        if self.in_process and several:
            # Measured: with two workers the in-process runner lost rows, and was slower on Arrow batches.
            raise UsageError(f"the in-process runner takes one worker, not {several[0]}", remedy="leave the option out")

    @property
    def in_process(self) -> bool:
        return _DELIVERY.get() is None and self.runner.lower() in _IN_PROCESS

    def pipeline(self) -> beam.Pipeline:
        """A pipeline on this engine. "DirectRunner" means the in-process runner and never one that Beam picks."""
        deliver = _DELIVERY.get()
        if deliver is not None:
            options = PipelineOptions(list(self.beam_args))
            return beam.Pipeline(runner=deliver(options), options=options)
        if self.in_process:
            return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(list(self.beam_args)))
        try:
            return beam.Pipeline(options=PipelineOptions([f"--runner={self.runner}", *self.beam_args]))
        except (ValueError, ImportError) as error:
            what = f"there is no Beam runner {self.runner!r} here ({str(error).splitlines()[0]})"
            raise UsageError(what, remedy="leave --runner out, or give FlinkRunner, SparkRunner ...") from None


def buckets_for(rows: int) -> int:
    """How many hash buckets keep one bucket small enough for memory, whatever the number of rows."""
    return max(1, min(4096, -(-rows // ROWS_PER_BUCKET)))
