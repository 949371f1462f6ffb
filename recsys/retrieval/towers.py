"""The towers: an item by id and words, a person by the last items, weighted by position, age and signal."""

from __future__ import annotations

import numpy as np

from recsys.spec import RetrievalSpec
from recsys.tensorflow import keras, tf, tfrs

AGE_BUCKETS = 16  # by powers of two of hours: up to an hour, 2, 4, ... about two years


class ItemTower(keras.Model):
    """Codes [n] -> unit vectors [n, dimension].

    An item is its own vector plus the mean vector of its words; one that nobody took is found by its words.
    """

    def __init__(self, item_count: int, words: np.ndarray, spec: RetrievalSpec) -> None:
        super().__init__()
        small = keras.initializers.RandomNormal(stddev=0.05, seed=spec.seed)
        self.ids = keras.layers.Embedding(item_count, spec.dimension, embeddings_initializer=small)
        self.words = tf.constant(words, tf.int32)  # [items, words of one]: codes from 1, 0 for none
        count = int(words.max(initial=0)) + 1
        self.vectors = keras.layers.Embedding(count, spec.dimension, embeddings_initializer=small)

    def raw(self, items: tf.Tensor) -> tf.Tensor:
        """[..., dimension], not of length 1."""
        made = self.ids(items)
        if self.words.shape[1]:
            words = tf.gather(self.words, items)
            known = tf.cast(words > 0, tf.float32)[..., None]
            made += tf.reduce_sum(self.vectors(words) * known, -2) / tf.maximum(tf.reduce_sum(known, -2), 1.0)
        return made

    def call(self, items: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(self.raw(items), -1)


class UserTower(keras.Model):
    """A history -> unit vectors [n, dimension].

    Inputs: items int32 [n, L], newest last, -1 for none; ages_hours float32 [n, L]; weights float32 [n, L].
    """

    def __init__(self, items: ItemTower, spec: RetrievalSpec) -> None:
        super().__init__()
        self.items = items
        ramp = keras.initializers.Constant(-0.15 * np.arange(spec.history_items)[::-1])
        self.by_place = self.add_weight("by_place", (spec.history_items,), initializer=ramp)
        self.by_age = self.add_weight("by_age", (AGE_BUCKETS,), initializer="zeros")
        self.drop = keras.layers.Dropout(spec.dropout, seed=spec.seed)
        self.mix = keras.Sequential(
            [
                keras.layers.Dense(2 * spec.dimension, "relu"),
                keras.layers.Dropout(spec.dropout, seed=spec.seed),
                keras.layers.Dense(spec.dimension),
            ]
        )

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        known = inputs["items"] >= 0
        bucket = tf.cast(tf.math.log(1 + inputs["ages_hours"]) / np.log(2.0), tf.int32)
        logit = self.by_place + tf.gather(self.by_age, tf.clip_by_value(bucket, 0, AGE_BUCKETS - 1))
        weight = tf.exp(logit) * inputs["weights"] * tf.cast(known, tf.float32)
        vectors = self.drop(self.items.raw(tf.maximum(inputs["items"], 0)), training=training)
        taste = tf.reduce_sum(vectors * weight[..., None], 1) / (tf.reduce_sum(weight, 1, keepdims=True) + 1e-6)
        ever = tf.cast(known, tf.float32)
        count = tf.reduce_sum(ever, 1, keepdims=True)
        habit = tf.reduce_sum(vectors * ever[..., None], 1) / tf.maximum(count, 1.0)
        gap = tf.math.log1p(inputs["ages_hours"][:, -1:])
        mixed = self.mix(tf.concat([taste, habit, tf.math.log1p(count), gap], -1), training=training)
        return tf.math.l2_normalize(taste + mixed, -1)


class TwoTowers(tfrs.Model):
    """The softmax over the items of a batch, corrected for how often each is in it (log-Q; Yi et al. 2019, eq. 3)."""

    def __init__(self, item_count: int, words: np.ndarray, probability: np.ndarray, spec: RetrievalSpec) -> None:
        super().__init__()
        self.item_tower = ItemTower(item_count, words, spec)
        self.user_tower = UserTower(self.item_tower, spec)
        self.probability = tf.constant(probability, tf.float32)
        self.over_all = item_count <= spec.all_items
        self.task = tfrs.tasks.Retrieval(temperature=spec.temperature, remove_accidental_hits=True)
        shape = (None, spec.history_items)
        kinds = {"items": tf.int32, "ages_hours": tf.float32, "weights": tf.float32}
        signature = {name: tf.TensorSpec(shape, kind, name) for name, kind in kinds.items()}
        self.embed_users = tf.function(self.user_tower.call, input_signature=[signature])

    def compute_loss(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        items = features["item"]
        if self.over_all:
            every = self.item_tower(tf.range(self.probability.shape[0]))
            logits = tf.matmul(self.user_tower(features, training=training), every, transpose_b=True)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(items, logits / self.task._temperature)
            return tf.reduce_sum(loss * features["weight"])
        return self.task(
            self.user_tower(features, training=training),
            self.item_tower(items),
            sample_weight=features["weight"],
            candidate_ids=items,
            candidate_sampling_probability=tf.gather(self.probability, items),
            compute_metrics=False,
            compute_batch_metrics=False,
        )
