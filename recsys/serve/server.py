"""A model server in process: models, batches, both APIs; started, ready, stopped without losing a request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recsys.serve.batches import Batcher, BatchRules
from recsys.serve.grpc_api import grpc_server
from recsys.serve.metrics import Metrics
from recsys.serve.predict import Predictor
from recsys.serve.rest_api import RestServer
from recsys.serve.versions import Models
from transforms.errors import UserError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeSpec:
    """Where it listens, port 0 for a free one, and how it runs; by default only this machine is listened to."""

    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int = 8501
    poll_seconds: float = 1.0
    grace_seconds: float = 20.0
    batches: BatchRules = field(default_factory=BatchRules)

    def __post_init__(self) -> None:
        for name in ("grpc_port", "rest_port"):
            if not 0 <= getattr(self, name) <= 65_535:
                raise ValueError(f"{name} is {getattr(self, name)}; a port is from 0 to 65535")
        if self.poll_seconds <= 0:
            raise ValueError(f"poll_seconds is {self.poll_seconds}; it must be above 0")


class ModelServer:
    """Serves the newest version of each model; `models`: folder by name."""

    def __init__(self, models: Mapping[str, Path], spec: ServeSpec = ServeSpec()) -> None:
        self.spec = spec
        self.models = Models(dict(models), spec.poll_seconds)
        self.batcher, self.metrics = Batcher(spec.batches), Metrics()
        self._stopping = threading.Event()
        self.predictor = Predictor(self.models, self.batcher, self.metrics)
        self.grpc = grpc_server(self.predictor)
        self.grpc_port = self._bind_grpc()
        try:
            address = (spec.host, spec.rest_port)
            self.rest = RestServer(address, self.predictor, lambda: self.ready, self._metrics_text)
        except OSError as error:
            raise UserError(
                str(error.strerror), f"{spec.host}:{spec.rest_port}", "choose another --rest-port"
            ) from None
        self.rest_port = int(self.rest.server_address[1])

    def _bind_grpc(self) -> int:
        place = f"{self.spec.host}:{self.spec.grpc_port}"
        try:
            port = self.grpc.add_insecure_port(place)
        except RuntimeError:
            port = 0
        if not port:
            raise UserError("the port cannot be used", place, "choose another --grpc-port or --host")
        return port

    @property
    def ready(self) -> bool:
        return self.models.ready and not self._stopping.is_set()

    def start(self) -> None:
        """Listens from the first moment, not ready until the models are; then looks for new versions."""
        self.batcher.start()
        self.grpc.start()
        threading.Thread(target=self.rest.serve_forever, args=(0.1,), name="rest", daemon=True).start()
        self.models.start()

    def stop(self) -> None:
        """Is not ready any more, answers what has come, and ends."""
        self._stopping.set()
        over = self.grpc.stop(self.spec.grace_seconds)
        self.rest.shutdown()
        self.rest.drain(self.spec.grace_seconds)
        over.wait()
        self.batcher.stop()
        self.rest.server_close()
        self.models.stop()

    def _metrics_text(self) -> bytes:
        metrics, sizes = self.metrics, list(self.batcher.sizes)
        metrics.ready.set(self.ready)
        metrics.batch.set(sum(sizes) / len(sizes) if sizes else 0)
        for name, model in self.models.models.items():
            metrics.version.labels(name).set(model.current.number if model.current else 0)
        return metrics.text()
