"""The versions of a model on disk: the newest that can be loaded answers, until a newer one is ready to."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from recsys.export.write import WARM_UP, versions
from recsys.serve.errors import invalid, not_found
from recsys.tensorflow import tf

LOG = logging.getLogger(__name__)
LOADING, AVAILABLE, UNLOADING, END = 20, 30, 40, 50  # states of get_model_status.proto
LATEST = 0  # OpenVINO Model Server and its client write it for the newest; no version of ours has it


@dataclass
class Version:
    """A loaded SavedModel, and how many requests it is answering."""

    number: int
    signatures: dict[str, Any]
    definitions: dict[str, meta_graph_pb2.SignatureDef]
    loaded: Any
    busy: int = 0

    @classmethod
    def load(cls, path: Path) -> Version:
        """Reads a version and asks it what its warm-up file says, as TensorFlow Serving does."""
        loaded = tf.saved_model.load(str(path))
        graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]
        shown = {name: one for name, one in graph.signature_def.items() if name != "__saved_model_init_op"}
        version = cls(int(path.name), dict(loaded.signatures), shown, loaded)
        if (path / WARM_UP).is_file():
            for record in tf.data.TFRecordDataset(str(path / WARM_UP)):
                request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
                inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
                version.run(request.model_spec.signature_name or "serving_default", inputs)
        return version

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        kinds = {name: one.dtype for name, one in self.definitions[signature].inputs.items()}
        given = {name: tf.constant(value, kinds[name]) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self.signatures[signature](**given).items()}


@dataclass
class Model:
    """A name and a folder of versions. `states`: of each version seen, its state and what went wrong with it."""

    name: str
    folder: Path
    states: dict[int, tuple[int, str]] = field(default_factory=dict)
    current: Version | None = None
    broken: dict[int, int] = field(default_factory=dict)  # version -> when it was written, so that it is tried again
    lock: threading.Condition = field(default_factory=threading.Condition)

    def refresh(self) -> None:
        """Loads the newest version if it is another; the old one answers until then, and then ends what it began."""
        wanted = max(versions(self.folder), default=None)
        if wanted is None or (self.current and self.current.number == wanted):
            return  # an empty folder takes nothing away
        path = self.folder / str(wanted)
        written = _written(path)
        if self.broken.get(wanted) == written:
            return
        self.states[wanted] = (LOADING, "")
        try:
            version = Version.load(path)
        except Exception as error:  # whatever is wrong with it, the old one goes on
            self.broken[wanted] = written
            self.states[wanted] = (END, str(error).splitlines()[0][:500] if str(error) else type(error).__name__)
            LOG.error("model %s: version %d cannot be loaded: %s", self.name, wanted, self.states[wanted][1])
            return
        with self.lock:
            old, self.current = self.current, version
            self.states[wanted] = (AVAILABLE, "")
        LOG.info("model %s: version %d answers", self.name, wanted)
        if old is not None:
            self._let_go(old)

    def _let_go(self, old: Version) -> None:
        with self.lock:
            self.states[old.number] = (UNLOADING, "")
            self.lock.wait_for(lambda: old.busy == 0)
            self.states[old.number] = (END, "")

    def take(self, number: int | None = None) -> Version:
        """The version that answers, to be given back with `give`. Raises: ServingError: there is none."""
        with self.lock:
            if self.current is None or number not in (None, LATEST, self.current.number):
                which = f"Latest({self.name})" if number is None else f"Specific({self.name}, {number})"
                raise not_found(f"Servable not found for request: {which}")
            self.current.busy += 1
            return self.current

    def give(self, version: Version) -> None:
        with self.lock:
            version.busy -= 1
            if not version.busy:
                self.lock.notify_all()


class Models:
    """Models by name, looked after by a thread of their own."""

    def __init__(self, folders: dict[str, Path], poll_seconds: float = 1.0) -> None:
        self.models = {name: Model(name, Path(folder)) for name, folder in folders.items()}
        self.poll_seconds = poll_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)

    def start(self) -> None:
        for model in self.models.values():
            model.refresh()
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)

    def _watch(self) -> None:
        while not self._over.wait(self.poll_seconds):
            for model in self.models.values():
                try:
                    model.refresh()
                except OSError as error:  # the disk is away for a moment
                    LOG.error("model %s: %s", model.name, error)

    def __getitem__(self, name: str) -> Model:
        if not name:
            raise invalid("ModelSpec has no name specified.")
        if name not in self.models:
            raise not_found(f"Servable not found for request: Latest({name})")
        return self.models[name]

    @property
    def ready(self) -> bool:
        return all(model.current is not None for model in self.models.values())


def _written(path: Path) -> int:
    try:
        return max(one.stat().st_mtime_ns for one in [path, *path.iterdir()])
    except OSError:
        return 0
