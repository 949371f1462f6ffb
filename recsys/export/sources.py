"""Every scorer of the chain once more, as TensorFlow says it: what it learnt is in variables of the SavedModel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.candidates.als import FittedAls
from recsys.candidates.content import FittedContent
from recsys.candidates.ease import FittedEase
from recsys.candidates.item_knn import Neighbours
from recsys.candidates.own import FittedDue, FittedOwn
from recsys.candidates.popularity import FittedPopularity, Trend
from recsys.export.history import Asked
from recsys.retrieval.train import FittedTowers
from recsys.tensorflow import tf

Kept = dict[int, Any]  # variables by the identity of the array, so that two sources share one


def constant(values: np.ndarray, kept: Kept) -> tf.Variable:
    """An array of the model: a variable, for a graph may not hold 2 GB; arrays with the same content are kept once."""
    for have, variable in kept.values():
        if have is values or (
            have.shape == values.shape and have.dtype == values.dtype and np.array_equal(have, values)
        ):
            return variable
    kept[id(values)] = values, tf.Variable(values, trainable=False)
    return kept[id(values)][1]


class _Ease(tf.Module):
    def __init__(self, scorer: FittedEase, kept: Kept) -> None:
        super().__init__()
        self.weights, self.kept = constant(scorer.weights, kept), constant(scorer.kept.astype(np.int32), kept)
        self.half_life = scorer.half_life_items

    def __call__(self, asked: Asked) -> tf.Tensor:
        width = self.weights.shape[0]
        places = tf.tensor_scatter_nd_update(tf.fill([asked.item_count], width), self.kept[:, None], tf.range(width))
        place = tf.gather(places, tf.maximum(asked.items, 0))
        values = tf.broadcast_to(asked.fading(self.half_life), tf.shape(asked.items))
        used = (asked.known if self.half_life else asked.once()) & (place < width)
        at = tf.where(used)
        index = tf.stack([at[:, 0], tf.cast(tf.boolean_mask(place, used), tf.int64)], 1)
        shape = [tf.shape(asked.items, tf.int64)[0], width]
        taken = tf.SparseTensor(index, tf.boolean_mask(values, used), shape)
        scores = tf.sparse.sparse_dense_matmul(taken, self.weights)
        return tf.gather(tf.pad(scores, [[0, 0], [0, 1]]), places, axis=1)


class _Als(tf.Module):
    def __init__(self, scorer: FittedAls, kept: Kept) -> None:
        super().__init__()
        self.vectors = constant(scorer.items, kept)
        gram = scorer.items.T @ scorer.items + scorer.l2 * np.eye(scorer.items.shape[1], dtype=np.float32)
        self.gram, self.alpha = constant(gram.astype(np.float32), kept), scorer.alpha

    def __call__(self, asked: Asked) -> tf.Tensor:
        used = tf.cast(asked.once(), tf.float32)[..., None]
        some = tf.gather(self.vectors, tf.maximum(asked.items, 0)) * used
        left = self.gram + self.alpha * tf.matmul(some, some, transpose_a=True)
        right = (1 + self.alpha) * tf.reduce_sum(some, 1)
        person = tf.linalg.solve(left, right[..., None])[..., 0]
        return tf.matmul(person, self.vectors, transpose_b=True)


class _Neighbours(tf.Module):
    def __init__(self, scorer: Neighbours, kept: Kept) -> None:
        super().__init__()
        columns, values = _padded(scorer.weights)
        self.columns, self.values = constant(columns, kept), constant(values, kept)
        self.half_life = scorer.half_life_items

    def __call__(self, asked: Asked) -> tf.Tensor:
        used = asked.known if self.half_life else asked.once()
        factor = tf.where(used, asked.fading(self.half_life), 0.0)[..., None]
        code = tf.maximum(asked.items, 0)
        row = tf.where(used, asked.flat - tf.cast(code, tf.int64), -asked.item_count)[..., None]
        target = row + tf.cast(tf.gather(self.columns, code), tf.int64)  # below 0 is dropped
        values = tf.reshape(tf.gather(self.values, code) * factor, [-1])
        size = tf.shape(asked.items, tf.int64)[0] * asked.item_count
        total = tf.math.unsorted_segment_sum(values, tf.reshape(target, [-1]), size)
        return tf.reshape(total, [-1, asked.item_count])


class _Content(tf.Module):
    def __init__(self, scorer: FittedContent, kept: Kept) -> None:
        super().__init__()
        found = scorer.vectors.tocoo()
        order = np.lexsort((found.col, found.row))
        self.index = constant(np.stack([found.row, found.col], 1)[order].astype(np.int64), kept)
        self.values = constant(found.data[order].astype(np.float32), kept)
        self.shape, self.half_life = found.shape, scorer.half_life_items

    def __call__(self, asked: Asked) -> tf.Tensor:
        words = tf.SparseTensor(self.index, self.values, self.shape)
        taken = asked.spread(tf.where(asked.known, asked.fading(self.half_life), 0.0))
        taste = tf.sparse.sparse_dense_matmul(words, tf.transpose(taken), adjoint_a=True)
        return tf.transpose(tf.sparse.sparse_dense_matmul(words, taste))


class _Same(tf.Module):
    def __init__(self, users: np.ndarray, kept: Kept) -> None:
        super().__init__()
        self.users = constant(users, kept)

    def __call__(self, asked: Asked) -> tf.Tensor:
        return tf.tile(self.users[None], [tf.shape(asked.items)[0], 1])


class _Trend(tf.Module):
    def __init__(self, scorer: Trend, kept: Kept) -> None:
        super().__init__()
        self.sums = constant(scorer.sums, kept)
        self.first, self.step, self.decay = scorer.first, scorer.step, float(scorer.decay)

    def __call__(self, asked: Asked) -> tf.Tensor:
        at = tf.maximum(tf.math.floordiv(asked.now - self.first, self.step), 0)
        row = tf.minimum(at, tf.shape(self.sums, tf.int64)[0] - 1)
        return tf.gather(self.sums, row) * tf.pow(tf.constant(self.decay), tf.cast(at - row, tf.float32))[:, None]


class _Own(tf.Module):
    def __init__(self, scorer: FittedOwn, kept: Kept) -> None:
        super().__init__()
        self.tie = constant(scorer.tie.astype(np.float32), kept)

    def __call__(self, asked: Asked) -> tf.Tensor:
        return tf.where(asked.count > 0, asked.count, -1.0) + self.tie * 1e-3


class _Due(tf.Module):
    def __init__(self, scorer: FittedDue, kept: Kept) -> None:
        super().__init__()
        self.gaps, self.prior = constant(scorer.gap_days, kept), scorer.prior_gaps

    def __call__(self, asked: Asked) -> tf.Tensor:
        own = asked.oldest - asked.newest + self.prior * self.gaps
        due = asked.newest / tf.maximum(own / (asked.count - 1 + self.prior), 0.1)
        due = tf.maximum(due, 0.05)
        return tf.where(asked.count > 0, asked.count * due * tf.exp(1 - due), 0.0)


class _Towers(tf.Module):
    def __init__(self, scorer: FittedTowers, kept: Kept) -> None:
        super().__init__()
        self.users, self.learnt = scorer.model.embed_users, scorer.model.user_tower.variables
        self.vectors, self.length = constant(scorer.items, kept), scorer.spec.history_items

    def __call__(self, asked: Asked) -> tf.Tensor:
        near = slice(-self.length, None)
        known = asked.known[:, near]
        inputs = {
            "items": asked.items[:, near],
            "ages_hours": tf.where(known, tf.cast(asked.ages_days[:, near] * 24, tf.float32), 0.0),
            "weights": tf.where(known, asked.weights[:, near], 0.0),
        }
        shaped = {name: tf.ensure_shape(value, (None, self.length)) for name, value in inputs.items()}
        return tf.matmul(self.users(shaped), self.vectors, transpose_b=True)


_MODULES: dict[type, Callable[[Any, Kept], tf.Module]] = {
    FittedAls: _Als,
    FittedContent: _Content,
    FittedDue: _Due,
    FittedEase: _Ease,
    FittedOwn: _Own,
    FittedPopularity: lambda scorer, kept: _Same(scorer.users, kept),
    FittedTowers: _Towers,
    Neighbours: _Neighbours,
    Trend: _Trend,
}


def in_graph(scorer: Any, kept: Kept) -> tf.Module:
    """A module that scores `Asked` as the scorer does histories: float32 [n, items]."""
    return _MODULES[type(scorer)](scorer, kept)


def _padded(rows: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """(columns, values) [rows, longest], 0 where a row is shorter."""
    lengths = np.diff(rows.indptr)
    columns = np.zeros((rows.shape[0], max(int(lengths.max(initial=0)), 1)), np.int32)
    values = np.zeros(columns.shape, np.float32)
    row = np.repeat(np.arange(rows.shape[0]), lengths)
    place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], lengths)
    columns[row, place], values[row, place] = rows.indices, rows.data
    return columns, values
