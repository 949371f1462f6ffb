"""What Beam's boot program does for a Python worker, in Python: `--environment_type=PROCESS` without Docker or Go.

The engine starts the command of `--environment_config={"command": "..."}` with `--id` and `--provision_endpoint`; that
command is a script of one line, `exec python -m pipelines.boot "$@"`. The package must be installed where it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2 as artifacts,
)
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
)
from google.protobuf import json_format, text_format

_WORKER = "apache_beam.runners.worker.sdk_worker_main"


def main() -> None:
    """Asks the engine what the worker needs, fetches the job's files, and becomes the worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    given, _ = parser.parse_known_args()
    who = [("worker_id", given.id)]
    provision = beam_provision_api_pb2_grpc.ProvisionServiceStub(grpc.insecure_channel(given.provision_endpoint))
    info = provision.GetProvisionInfo(beam_provision_api_pb2.GetProvisionInfoRequest(), metadata=who).info
    folder = tempfile.mkdtemp(prefix=f"beam-worker-{given.id}-")
    _stage(info, Path(folder) / "staged", who)
    os.environ.update(_environment(info, given.id, folder))
    os.execv(sys.executable, [sys.executable, "-m", _WORKER])


def _environment(info: beam_provision_api_pb2.ProvisionInfo, worker: str, folder: str) -> dict[str, str]:
    said = {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "SEMI_PERSISTENT_DIRECTORY": folder,
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        said["STATUS_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.status_endpoint)
    return said


def _stage(info: beam_provision_api_pb2.ProvisionInfo, folder: Path, who: list[tuple[str, str]]) -> None:
    """The files that were submitted with the job, such as the list of the submitter's libraries."""
    folder.mkdir(parents=True)
    if not info.dependencies:
        return
    channel = grpc.insecure_channel(info.artifact_endpoint.url)
    stub = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
    wanted = artifacts.ResolveArtifactsRequest(artifacts=info.dependencies)
    for artifact in stub.ResolveArtifacts(wanted, metadata=who).replacements:
        role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
        with (folder / Path(role.staged_name).name).open("wb") as file:
            for part in stub.GetArtifact(artifacts.GetArtifactRequest(artifact=artifact), metadata=who):
                file.write(part.data)


if __name__ == "__main__":
    main()
