"""What a server tells of itself: requests by their end, how long they took, which version answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


@dataclass
class Metrics:
    """In a registry of its own, so that two servers in a process do not count for each other."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        labels = ("api", "method", "code")
        self.requests = Counter("serving_requests", "Requests by how they ended", labels, registry=self.registry)
        self.seconds = Histogram(
            "serving_request_seconds", "From the request's last byte to the answer",
            ("api", "method"), buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.version = Gauge("serving_model_version", "The version that answers", ("model",), registry=self.registry)
        self.ready = Gauge("serving_ready", "1 when every model has a version that answers", registry=self.registry)
        self.batch = Gauge("serving_batch_rows", "Mean rows of the last 1,000 batches", registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
