"""Versions of a model on disk as TensorFlow Serving watches them: FOLDER/NUMBER, whole from the moment it is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from recsys.export.servable import Servable
from recsys.tensorflow import tf
from transforms.errors import UserError

WARM_UP = "assets.extra/tf_serving_warmup_requests"
Request = tuple[str, Mapping[str, np.ndarray]]  # signature, inputs


def versions(folder: str | Path) -> list[int]:
    """The versions in a folder, oldest first; what has another name than a number is none."""
    path = Path(folder)
    return sorted(int(one.name) for one in path.iterdir() if one.name.isdigit()) if path.is_dir() else []


def write_version(
    servable: Servable, folder: str | Path, version: int | None = None, extras: Mapping[str, str] = {}
) -> Path:
    """Writes FOLDER/VERSION (by default the next) under another name and renames it; `extras`: text by path in it.

    Raises:
      UserError: the version is there already.
    """
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    number = version if version is not None else max(versions(home), default=0) + 1
    target, draft = home / str(number), home / f".{number}.{os.getpid()}.writing"
    if target.exists():
        raise UserError(f"version {number} is there already", str(home), "give a higher one, or none for the next")
    try:
        tf.saved_model.save(servable, str(draft), signatures=servable.signatures())
        _write_warm_up(draft, home.name, warm_up(servable))
        for name, text in extras.items():
            (draft / name).write_text(text)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def warm_up(servable: Servable) -> list[Request]:
    """A request of each signature, for one and for eight histories: known, unknown and empty ones."""
    known = servable.ids.numpy()[:3]
    made: list[Request] = []
    for rows in (1, 8):
        items = np.full((rows, 4), b"", object)
        items[0, : len(known)] = known
        plain = {
            "history_items": items,
            "history_seconds": np.full((rows, 4), servable.latest),
            "now": np.zeros(rows, int),
        }
        none = np.full((rows, 1), b"", object)
        zero, yes = np.zeros(rows, np.float32), np.ones((rows, 4), np.float32)
        rules = {"history_weights": yes, "allow": none, "deny": none, "price_from": zero, "price_to": zero,
                 "new_only": np.zeros(rows, bool), "category_cap": np.full(rows, 3, np.int32),
                 "diversity": zero + np.float32(0.2)}  # fmt: skip
        made += [("serving_default", plain), ("with_rules", plain | rules), ("candidates", plain)]
    return made


def predict_request(model: str, signature: str, inputs: Mapping[str, np.ndarray]) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def _write_warm_up(draft: Path, model: str, requests: Sequence[Request]) -> None:
    path = draft / WARM_UP
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as file:
        for signature, inputs in requests:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(predict_request(model, signature, inputs))
            file.write(log.SerializeToString())
