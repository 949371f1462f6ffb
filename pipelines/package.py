"""The command `package`: the next Beam job of a command as one jar, for whoever runs it on a cluster."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners import runner
from apache_beam.runners.portability.abstract_job_service import AbstractJobServiceServicer, UberJarBeamJob
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner

from pipelines.console import Output
from pipelines.jars import RUNNERS, find_job_jar
from pipelines.options import handing_over
from transforms.errors import UsageError

_WORKERS = (
    "say where the Python workers are, such as --environment_type=EXTERNAL --environment_config=localhost:50000 "
    "(a pool beside each worker of the cluster) or --environment_type=PROCESS"
)


class HandedOver(Exception):
    """A jar was written; what the command would do after the job is left for its next run."""


def package(base: Path, out: Path, command: Callable[[], object]) -> bool:
    """Runs `command` until it starts a Beam pipeline, which becomes the jar `out`; whether there was one.

    A command finds in the lake what is done already. So it is packaged and its jar run, again and again, until
    nothing is left: then it has done what comes after its jobs as well.
    """

    def deliver(options: PipelineOptions) -> runner.PipelineRunner:
        if options.view_as(PortableOptions).environment_type is None:
            raise UsageError("nobody would run the Python of this job", "--environment_type", _WORKERS)
        return _JarRunner(base, out)

    with handing_over(deliver):
        try:
            command()
        except HandedOver:
            return True
    return False


class _JarRunner(PortableRunner):
    """Writes a pipeline into a copy of a jar instead of running it."""

    def __init__(self, base: Path, out: Path) -> None:
        super().__init__()
        self._base, self._out = base, out

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> runner.PipelineResult:
        write_jar(self._base, self._out, pipeline, options)
        raise HandedOver


def write_jar(base: Path, out: Path, pipeline: beam.Pipeline, options: PipelineOptions) -> None:
    """The jar appears whole or not at all."""
    proto = PortableRunner().get_proto_pipeline(pipeline, options)
    service = _JobService(str(base))
    handle = JobServiceHandle(service, options, retain_unknown_options=True)
    prepared = handle.prepare(proto)
    handle.stage(proto, prepared.artifact_staging_endpoint.url, prepared.staging_session_token)
    job = service._jobs[prepared.preparation_id]
    job._stop_artifact_service()  # closes the jar
    out.parent.mkdir(parents=True, exist_ok=True)
    whole = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.move(job._jar, whole)
    os.replace(whole, out)


class _JobService(AbstractJobServiceServicer):
    """Takes a job's pipeline and files as a job server would, and submits nothing."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base

    def create_beam_job(self, preparation_id, job_name, pipeline, options):  # type: ignore[no-untyped-def]
        return UberJarBeamJob(self._base, preparation_id, job_name, pipeline, options)


def run_package(
    runner: str, out: str, base: str, arguments: Sequence[str], app: Callable[..., object], as_json: bool
) -> None:
    """The command `package`."""
    if runner not in RUNNERS:
        raise UsageError(f"there is no jar for {runner!r}", "--runner", f"give {' or '.join(RUNNERS)}")
    if not arguments:
        raise UsageError("package which command?", remedy="name it at the end: package --out job.jar gold --lake lake")
    if arguments[0] not in ("bronze", "silver", "gold", "resolve"):
        raise UsageError(f"{arguments[0]} has no Beam job", remedy="package bronze, silver, gold or resolve")
    told, target = Output(as_json), Path(out)
    jar = find_job_jar(runner, base)
    # Without a storage level, Beam's Spark runner says that no runner was specified.
    own = ["--storage_level=MEMORY_ONLY"] if runner == "spark" else []
    words = io.StringIO()  # what the command says itself, where it comes to its end
    with redirect_stdout(words):
        written = package(jar, target, lambda: app([*arguments, *own], standalone_mode=False))
    command = " ".join(arguments)
    if written:
        told.say(f"package: the next job of `{command}` is in {target} ({target.stat().st_size / 1e6:.0f} MB)")
    else:
        told.say(f"package: nothing is left of `{command}`")
    told.facts |= {"jar": str(target) if written else None, "command": command}
    told.close()
