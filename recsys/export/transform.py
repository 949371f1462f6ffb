"""The transform graph of TF Transform inside a SavedModel: raw columns in, the features that training saw out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recsys.preprocessing.columns import RAW
from recsys.tensorflow import tf

import tensorflow_transform as tft  # isort: skip  # after the environment is set

_SPECS = [
    tf.TensorSpec([None], tf.string, "item"),
    tf.TensorSpec([None], tf.string, "name"),
    tf.TensorSpec([None], tf.string, "category"),
    tf.TensorSpec([None], tf.string, "channel"),
    tf.TensorSpec([None], tf.string, "device"),
    tf.TensorSpec([None], tf.int64, "hour"),
    tf.TensorSpec([None], tf.float32, "price"),
    tf.TensorSpec([None, None], tf.string, "history_items"),
    tf.TensorSpec([None, None], tf.int64, "history_age_seconds"),
]


class Transform(tf.Module):
    """`features`: columns of RAW, histories padded with "" at the end -> features [n], lists [n, l] padded with -1."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.layer = tft.TFTransformOutput(str(path)).transform_features_layer()

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        return {"transform": self.features.get_concrete_function()}

    @tf.function(input_signature=_SPECS)
    def features(
        self, item: tf.Tensor, name: tf.Tensor, category: tf.Tensor, channel: tf.Tensor, device: tf.Tensor,
        hour: tf.Tensor, price: tf.Tensor, history_items: tf.Tensor, history_age_seconds: tf.Tensor,
    ) -> dict[str, tf.Tensor]:  # fmt: skip
        columns = (item, name, category, channel, device, hour, price, history_items, history_age_seconds)
        raw = dict(zip(RAW.names, columns, strict=True))
        known = tf.where(raw["history_items"] != "")
        for name in ("history_items", "history_age_seconds"):
            shape = tf.shape(raw[name], tf.int64)
            raw[name] = tf.SparseTensor(known, tf.gather_nd(raw[name], known), shape)
        return {name: _dense(value) for name, value in self.layer(raw).items()}


def _dense(value: tf.Tensor | tf.SparseTensor | tf.RaggedTensor) -> tf.Tensor:
    if isinstance(value, tf.RaggedTensor):
        return value.to_tensor(-1)
    return tf.sparse.to_dense(value, default_value=-1) if isinstance(value, tf.SparseTensor) else value
