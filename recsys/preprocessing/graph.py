"""`preprocessing_fn`: what the transform graph makes of raw columns, in training and in the served model alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from recsys.preprocessing.columns import RAW
from recsys.tensorflow import tf

import tensorflow_transform as tft  # isort: skip  # after the environment is set

_KINDS = {pa.string(): tf.string, pa.int64(): tf.int64, pa.float32(): tf.float32}
Features = dict[str, tf.Tensor]


@dataclass(frozen=True)
class GraphSpec:
    """`buckets`: of prices and of ages, by quantile. `words`: the most frequent one- and two-word terms of names kept.

    `oov`: how many codes words and ids share that were not seen often enough.
    """

    buckets: int = 10
    words: int = 5_000
    least_word_count: int = 2
    oov: int = 1

    def __post_init__(self) -> None:
        for name in ("buckets", "words", "least_word_count", "oov"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


def raw_spec() -> dict[str, tf.io.FixedLenFeature | tf.io.VarLenFeature]:
    """RAW as TensorFlow's feature spec."""
    return {
        field.name: tf.io.VarLenFeature(_KINDS[field.type.value_type])
        if pa.types.is_list(field.type)
        else tf.io.FixedLenFeature([], _KINDS[field.type])
        for field in RAW
    }


def preprocessing_fn(spec: GraphSpec) -> Callable[[Features], Features]:
    """Columns of RAW -> features.

    item, category, channel, device: int64 codes, out of vocabulary in `oov` buckets after the known ones; history_items
    (sparse): codes by the vocabulary of item; name_terms (sparse): codes of one- and two-word terms. price_z, age_z:
    log(1 + value) to mean 0 and variance 1; price_band, age_band: quantile buckets; age is that of the newest history
    row, in hours, 0 where there is no history (has_history says so); hour_sin, hour_cos: the hour on a circle.
    """

    def transform(raw: Features) -> Features:
        made: Features = {}
        items = tft.vocabulary(raw["item"], vocab_filename="item")
        made["item"] = tft.apply_vocabulary(raw["item"], items, num_oov_buckets=spec.oov)
        made["history_items"] = tft.apply_vocabulary(raw["history_items"], items, num_oov_buckets=spec.oov)
        for name in ("category", "channel", "device"):
            made[name] = tft.compute_and_apply_vocabulary(raw[name], vocab_filename=name, num_oov_buckets=spec.oov)
        words = tf.compat.v1.strings.split(tf.strings.lower(raw["name"]), result_type="SparseTensor")
        made["name_terms"] = tft.compute_and_apply_vocabulary(
            tft.ngrams(words, (1, 2), " "), top_k=spec.words, frequency_threshold=spec.least_word_count,
            vocab_filename="terms", num_oov_buckets=spec.oov,
        )  # fmt: skip
        for name, value in (("price", raw["price"]), ("age", _newest_age_hours(raw))):
            logged = tf.math.log1p(tf.maximum(value, 0.0))
            made[f"{name}_z"] = tft.scale_to_z_score(logged)
            made[f"{name}_band"] = tft.bucketize(logged, spec.buckets)
        made["has_history"] = tf.cast(_newest(raw) < tf.int64.max, tf.int64)
        angle = tf.cast(raw["hour"], tf.float32) * (2 * 3.141592653589793 / 24)
        made["hour_sin"], made["hour_cos"] = tf.sin(angle), tf.cos(angle)
        return made

    return transform


def _newest_age_hours(raw: Features) -> tf.Tensor:
    newest = _newest(raw)
    return tf.where(newest < tf.int64.max, tf.cast(newest, tf.float32) / 3_600.0, 0.0)


def _newest(raw: Features) -> tf.Tensor:
    """int64 [n]: how many seconds ago the newest history row was; the largest number where there is none."""
    ages = tf.sparse.to_dense(raw["history_age_seconds"], default_value=tf.int64.max)
    return tf.reduce_min(tf.pad(ages, [[0, 0], [0, 1]], constant_values=tf.int64.max), 1)
