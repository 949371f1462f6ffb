"""The request's history as the sources in the graph read it."""

from __future__ import annotations

from typing import NamedTuple

from recsys.interactions import MOST_ITEMS
from recsys.tensorflow import tf


class Asked(NamedTuple):
    """Histories of n askers over `item_count` items, newest last; items [n, l] int32 is -1 for none.

    `seconds` int64, `weights` float32 and `ages_days` float64 are [n, l] too, `now` int64 is [n]. `flat` [n, l] is
    row * item_count + item for segment sums, -1 for none. `count`, `newest` and `oldest` float32 [n, item_count] say
    how often each item was taken and how many days ago last and first (infinite and 0 for what was not).
    """

    items: tf.Tensor
    seconds: tf.Tensor
    weights: tf.Tensor
    ages_days: tf.Tensor
    now: tf.Tensor
    flat: tf.Tensor
    count: tf.Tensor
    newest: tf.Tensor
    oldest: tf.Tensor
    item_count: int

    @property
    def known(self) -> tf.Tensor:
        return self.items >= 0

    @property
    def moments(self) -> tf.Tensor:
        """float32 [n]: at how many different times something was taken."""
        before = tf.pad(self.known[:, :-1], [[0, 0], [1, 0]])
        other = self.known & (~before | (self.seconds != tf.roll(self.seconds, 1, 1)))
        return tf.reduce_sum(tf.cast(other, tf.float32), 1)

    @property
    def places(self) -> tf.Tensor:
        """float64 [l]: how many came after; the newest has 0."""
        return tf.cast(tf.range(tf.shape(self.items)[1])[::-1], tf.float64)

    def fading(self, half_life_items: float) -> tf.Tensor:
        """float32 [l]: a half for every `half_life_items` that came after; ones for 0."""
        if not half_life_items:
            return tf.ones_like(self.places, tf.float32)
        return tf.cast(tf.constant(0.5, tf.float64) ** (self.places / half_life_items), tf.float32)

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """[n, item_count]: values [n, l] added up by item."""
        total = tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), tf.reshape(self.flat, [-1]), self._size)
        return tf.reshape(total, [-1, self.item_count])

    def once(self) -> tf.Tensor:
        """bool [n, l]: the newest row of each item."""
        place = tf.broadcast_to(tf.range(tf.shape(self.items)[1]), tf.shape(self.items))
        last = tf.math.unsorted_segment_max(tf.reshape(place, [-1]), tf.reshape(self.flat, [-1]), self._size)
        return self.known & (tf.gather(last, tf.maximum(self.flat, 0)) == place)

    @property
    def _size(self) -> tf.Tensor:
        return tf.shape(self.items, tf.int64)[0] * self.item_count


def read_history(
    items: tf.Tensor, seconds: tf.Tensor, weights: tf.Tensor, now: tf.Tensor, item_count: int, least: int
) -> Asked:
    """From codes [n, l], -1 for padding and unknown items, which leave no gap; in the order of time.

    The result is at least `least` wide and at most MOST_ITEMS, or `least`.
    """
    never = tf.constant(tf.int64.min, tf.int64)
    pad = [[0, 0], [tf.maximum(least - tf.shape(items)[1], 0), 0]]
    items, seconds = tf.pad(items, pad, constant_values=-1), tf.pad(seconds, pad)
    weights = tf.pad(weights, pad)
    order = tf.argsort(tf.where(items >= 0, seconds, never), axis=1, stable=True)
    most = max(MOST_ITEMS, least)
    items, seconds, weights = (tf.gather(one, order, batch_dims=1)[:, -most:] for one in (items, seconds, weights))
    known = items >= 0
    ages = tf.cast(tf.maximum(now[:, None] - seconds, 0), tf.float64) / 86_400.0
    row = tf.range(tf.shape(items, tf.int64)[0])[:, None] * item_count
    flat = tf.where(known, row + tf.cast(items, tf.int64), -1)
    size = tf.shape(items, tf.int64)[0] * item_count
    segments, days = tf.reshape(flat, [-1]), tf.reshape(tf.cast(ages, tf.float32), [-1])
    count = tf.math.unsorted_segment_sum(tf.ones_like(days), segments, size)
    newest = -tf.math.unsorted_segment_max(-days, segments, size)
    oldest = tf.math.unsorted_segment_max(days, segments, size)
    newest = tf.where(count > 0, newest, float("inf"))
    oldest = tf.where(count > 0, oldest, 0.0)
    count, newest, oldest = (tf.reshape(one, [-1, item_count]) for one in (count, newest, oldest))
    return Asked(items, seconds, weights, ages, now, flat, count, newest, oldest, item_count)
