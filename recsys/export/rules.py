"""The shop's say: what may be shown at all, and how many of a kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys.candidates.source import NEVER
from recsys.export.catalogue import Catalogue
from recsys.export.history import Asked
from recsys.export.sources import Kept, constant
from recsys.tensorflow import tf


class Wishes(NamedTuple):
    """Of each request: allow, deny codes [n, a], -1 for none; price_from, price_to, 0 for open; new_only;
    category_cap, 0 for none; diversity from 0 (by score alone) to 1."""

    allow: tf.Tensor
    any_allowed: tf.Tensor
    deny: tf.Tensor
    price_from: tf.Tensor
    price_to: tf.Tensor
    new_only: tf.Tensor
    category_cap: tf.Tensor
    diversity: tf.Tensor


class Rules(tf.Module):
    """`vectors` [items, d], of length 1 or 0: what is like what, for diversity."""

    def __init__(self, catalogue: Catalogue, vectors: np.ndarray, kept: Kept) -> None:
        super().__init__()
        self.in_stock = constant(catalogue.in_stock, kept)
        self.prices = constant(catalogue.prices, kept)
        self.categories = constant(catalogue.categories, kept)
        self.vectors = constant(vectors.astype(np.float32), kept)

    def allowed(self, asked: Asked, wishes: Wishes | None) -> tf.Tensor:
        """bool [n, items]. An item of unknown price is in no price band."""
        stocked = tf.broadcast_to(self.in_stock, tf.shape(asked.count))
        if wishes is None:
            return stocked
        low, high = wishes.price_from[:, None], wishes.price_to[:, None]
        priced = ((low <= 0) | (self.prices >= low)) & ((high <= 0) | (self.prices <= high))
        listed = ~wishes.any_allowed[:, None] | _among(wishes.allow, asked.item_count)
        new = ~wishes.new_only[:, None] | (asked.count == 0)
        return stocked & priced & listed & new & ~_among(wishes.deny, asked.item_count)

    def pick(self, items: tf.Tensor, scores: tf.Tensor, wishes: Wishes | None, k: int) -> tf.Tensor:
        """Places [n, k] of the candidates to show, -1 where there are no more.

        One after the other, with diversity d the one with the largest (1 - d) * score - d * likeness to the most like
        of those before it, where scores of a list go from 0 to 1; none of a category that has its number.
        """
        shown = tf.where(items >= 0, scores, float(NEVER))
        if wishes is None:
            return _best(shown, k)
        greedy = tf.reduce_any(wishes.diversity > 0) | tf.reduce_any(wishes.category_cap > 0)
        return tf.cond(greedy, lambda: self._greedy(items, shown, wishes, k), lambda: _best(shown, k))

    def _greedy(self, items: tf.Tensor, shown: tf.Tensor, wishes: Wishes, k: int) -> tf.Tensor:
        code, there = tf.maximum(items, 0), items >= 0
        category, vectors = tf.gather(self.categories, code), tf.gather(self.vectors, code)
        like = tf.matmul(vectors, vectors, transpose_b=True)
        lowest = tf.reduce_min(tf.where(there, shown, tf.float32.max), 1, keepdims=True)
        worth = (shown - lowest) / (tf.reduce_max(shown, 1, keepdims=True) - lowest + 1e-9)
        share, cap = wishes.diversity[:, None], wishes.category_cap[:, None]
        near, used = tf.zeros_like(shown), tf.zeros_like(code)
        places = []
        for _ in range(k):
            open_ = there & ((cap <= 0) | (category < 0) | (used < cap))
            value = tf.where(open_, (1 - share) * worth - share * near, float(NEVER))
            place = tf.argmax(value, 1, tf.int32)
            found = tf.gather(open_, place, batch_dims=1)
            places.append(tf.where(found, place, -1))
            there &= ~(tf.one_hot(place, tf.shape(code)[1], True, False))
            near = tf.maximum(near, tf.gather(like, place, batch_dims=1))
            used += tf.cast(category == tf.gather(category, place, batch_dims=1)[:, None], tf.int32)
        return tf.stack(places, 1)


def _best(shown: tf.Tensor, k: int) -> tf.Tensor:
    values, places = tf.math.top_k(shown, k)
    return tf.where(values > float(NEVER) / 2, places, -1)


def _among(codes: tf.Tensor, item_count: int) -> tf.Tensor:
    """bool [n, items]: which are in a list of codes [n, a], -1 for none."""
    row = tf.range(tf.shape(codes)[0])[:, None] * item_count
    flat = tf.where(codes >= 0, row + codes, -1)
    ones = tf.ones_like(flat)
    count = tf.math.unsorted_segment_sum(
        tf.reshape(ones, [-1]), tf.reshape(flat, [-1]), tf.shape(codes)[0] * item_count
    )
    return tf.reshape(count, [-1, item_count]) > 0
