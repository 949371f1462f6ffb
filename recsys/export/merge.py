"""Candidates of all sources merged, and the features of each: `recsys.ranking.features` as TensorFlow says it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys.candidates.source import NEVER
from recsys.export.history import Asked
from recsys.export.sources import Kept, constant
from recsys.ranking.features import RANK_OFFSET, ItemTimes
from recsys.tensorflow import tf

_NO_DAYS = 3_650.0  # how long ago it was that never was


class Merged(NamedTuple):
    """As `ranking.features.Pool`."""

    items: tf.Tensor
    features: tf.Tensor
    sources: tf.Tensor
    fused: tf.Tensor


class Merge(tf.Module):
    """The `size` candidates that the sources together rank highest; without `repeats` nothing of the history."""

    def __init__(self, times: ItemTimes, size: int, repeats: bool, kept: Kept) -> None:
        super().__init__()
        self.keys, self.starts = constant(times.keys, kept), constant(times.starts[:-1].astype(np.int64), kept)
        self.first, self.users = constant(times.first, kept), constant(np.log1p(times.users).astype(np.float32), kept)
        self.again = constant(times.again, kept)
        self.size, self.repeats = min(size, len(times.first)), repeats

    def __call__(self, asked: Asked, scores: list[tf.Tensor], allowed: tf.Tensor) -> Merged:
        """`scores`: [n, items] of each source; `allowed` bool [n, items]: what may be shown."""
        every = tf.stack(scores)
        may = (allowed if self.repeats else allowed & (asked.count == 0))[None]
        values, top = tf.math.top_k(tf.where((every > 0) & may, every, float(NEVER)), self.size)
        offered = values > float(NEVER) / 2
        source, row, _ = (
            tf.reshape(one, [-1]) for one in tf.meshgrid(*map(tf.range, tf.unstack(tf.shape(top))), indexing="ij")
        )
        index = tf.stack([source, row, tf.reshape(top, [-1])], 1)
        place = np.arange(self.size)
        rank = tf.where(offered, (1 / np.log2(place + 2)).astype(np.float32), 0.0)
        ranks = tf.scatter_nd(index, tf.reshape(rank, [-1]), tf.shape(every))
        flat = tf.where(tf.reshape(offered, [-1]), row * asked.item_count + tf.reshape(top, [-1]), -1)
        gain = tf.broadcast_to((1 / (RANK_OFFSET + place)).astype(np.float32), tf.shape(rank))
        count = tf.shape(every)[1] * asked.item_count
        total = tf.reshape(tf.math.unsorted_segment_sum(tf.reshape(gain, [-1]), flat, count), tf.shape(every)[1:])
        fused, items = tf.math.top_k(total, self.size)
        code = tf.where(fused > 0, items, 0)
        each = tf.tile(code[None], [len(scores), 1, 1])
        by_source, mine = tf.gather(ranks, each, batch_dims=2), tf.gather(every, each, batch_dims=2)
        columns = []
        for number in range(len(scores)):
            score = tf.cast(mine[number], tf.float64)
            spread = tf.math.reduce_std(score, 1, keepdims=True) + 1e-6
            standard = (score - tf.reduce_mean(score, 1, keepdims=True)) / spread
            columns += [by_source[number], tf.cast(standard, tf.float32)]
        features = tf.stack([*columns, *self._pairs(asked, code)], 2)
        return Merged(tf.where(fused > 0, items, -1), features, tf.argmax(by_source, 0, tf.int32), fused)

    def _pairs(self, asked: Asked, code: tf.Tensor) -> list[tf.Tensor]:
        """PAIR_FEATURES."""
        own = tf.gather(asked.count, code, batch_dims=1)
        age = tf.minimum(tf.gather(asked.newest, code, batch_dims=1), _NO_DAYS)
        length = tf.reduce_sum(tf.cast(asked.known, tf.float32), 1, keepdims=True)
        gap = tf.cast(asked.now - asked.seconds[:, -1], tf.float64) / 86_400.0
        gap = tf.maximum(tf.where(asked.known[:, -1], gap, _NO_DAYS), 0.0)
        since_first, since_last = self._days(code, asked.now[:, None])
        wide = tf.ones_like(own)
        last = (own > 0) & (age == tf.cast(gap, tf.float32)[:, None])
        return [
            tf.math.log1p(own), tf.math.log1p(age), own / tf.maximum(length, 1.0),
            own / tf.maximum(asked.moments[:, None], 1.0), tf.cast(last, tf.float32),
            tf.gather(self.users, code), tf.gather(self.again, code),
            since_first, since_last, tf.math.log1p(length) * wide,
            tf.cast(tf.math.log1p(gap), tf.float32)[:, None] * wide,
        ]  # fmt: skip

    def _days(self, code: tf.Tensor, now: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """log(1 + days) since each item was first taken, and last before now; see `ItemTimes.days`."""
        wanted = tf.bitwise.left_shift(tf.cast(code, tf.int64), tf.constant(34, tf.int64)) | tf.maximum(now, 0)
        at = tf.searchsorted(self.keys, tf.reshape(wanted, [-1]), out_type=tf.int64) - 1
        at = tf.reshape(at, tf.shape(code))
        before = at >= tf.gather(self.starts, code)
        times = tf.gather(self.keys, tf.maximum(at, 0)) & tf.constant((1 << 34) - 1, tf.int64)
        last = tf.where(before, times, now)
        first = tf.where(before, now - tf.gather(self.first, code), 0)
        since = (tf.cast(tf.maximum(one, 0), tf.float64) / 86_400.0 for one in (first, now - last))
        since_first, since_last = (tf.cast(tf.math.log1p(one), tf.float32) for one in since)
        return since_first, since_last
