"""The shape of the stream's pipeline, without an engine."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from pipelines.config import Run
from pipelines.stream import build, own
from pipelines.stream_config import StreamConfig, default_hubs


def test_no_step_that_works_is_without_outputs(tmp_path, start_loopback):
    """Prism waits for such a step's bundles in a loop that takes a core; see `Ends`."""
    hubs = default_hubs()
    server = start_loopback(dict.fromkeys(hubs, 1))
    config = StreamConfig(str(tmp_path / "lake"), server.connection_string(), hubs)
    pipeline, run = beam.Pipeline(), Run("stream")
    build(pipeline, config, run, own(config, run))
    steps = _steps(pipeline.to_runner_api())
    read = {collection for step in steps for collection in step.inputs.values()}
    last = {step.unique_name for step in steps if not read & set(step.outputs.values())}
    assert len(last) > 3
    assert {name for name in last if not name.endswith("/Behind")} <= _BESIDE


# Outputs beside others of the same step; they do no more than hand rows on.
_BESIDE = {"SessionsOf/Sessionize/Late", "SessionsOf/Sessionize/Rejected"}


def _steps(made: beam_runner_api_pb2.Pipeline) -> list[beam_runner_api_pb2.PTransform]:
    """Those that runners execute: ParDos and groupings, not what they are parts of."""
    group = common_urns.primitives.GROUP_BY_KEY.urn
    steps = made.components.transforms.values()
    return [step for step in steps if step.spec.urn == group or (not step.subtransforms and step.inputs)]
