"""The cross network over the features of a candidate, taught by lists."""

from __future__ import annotations

import numpy as np

from recsys.spec import RankingSpec
from recsys.tensorflow import keras, tf, tfrs


class CrossNetwork(tfrs.Model):
    """features float32 [n, c, f] -> scores [n, c]: cross layers (Wang et al. 2021, equation 1) beside a dense layer.

    The loss is the cross entropy of the softmax over a list's candidates with what was taken of them (Cao et al.
    2007, ListNet): `labels` [n, c] is 1 where taken, `known` [n, c] is 0 for places without a candidate.
    """

    def __init__(self, features: np.ndarray, spec: RankingSpec) -> None:
        super().__init__()
        self.scale = keras.layers.Normalization(axis=-1)
        self.scale.adapt(features.reshape(-1, features.shape[-1]))
        self.crosses = [tfrs.layers.dcn.Cross(projection_dim=None) for _ in range(spec.crosses)]
        self.dense = keras.layers.Dense(spec.units, "relu")
        self.drop = keras.layers.Dropout(spec.dropout, seed=spec.seed)
        self.out = keras.layers.Dense(1)
        self.task = tfrs.tasks.Ranking(loss=keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum"))
        self.score = tf.function(self.call, reduce_retracing=True)

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        shape = tf.shape(features)
        first = self.scale(tf.reshape(features, (-1, features.shape[-1])))
        crossed = first
        for cross in self.crosses:
            crossed = cross(first, crossed)
        both = tf.concat([crossed, self.dense(first)], -1)
        return tf.reshape(self.out(self.drop(both, training=training)), shape[:2])

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        scores = self(inputs["features"], training=training) - 1e9 * (1 - inputs["known"])
        labels = inputs["labels"] / tf.reduce_sum(inputs["labels"], 1, keepdims=True)
        return self.task(labels=labels, predictions=scores, compute_metrics=False)
