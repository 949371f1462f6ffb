"""Teaches the towers, stops when the validation says so, and scores histories with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from recsys.evaluate.compare import judge
from recsys.evaluate.splits import Split
from recsys.interactions import Histories, Log
from recsys.retrieval.towers import TwoTowers
from recsys.spec import RetrievalSpec
from recsys.tensorflow import keras, tf


@dataclass(frozen=True)
class TwoTower:
    """The source `two towers`; `words`: of each item of the log, see `ItemTower`, none when empty.

    `validation`: a split whose `train` is learnt from; the epoch with the best NDCG on its held-out part is kept.
    """

    spec: RetrievalSpec = field(default_factory=RetrievalSpec)
    words: np.ndarray | None = None
    validation: Split | None = None
    name: str = "two towers"

    def fit(self, log: Log) -> FittedTowers:
        """Learns from a log; `spec.epochs` is how long, at most that with a validation."""
        spec = self.spec
        keras.utils.set_random_seed(spec.seed)
        words = np.zeros((len(log.item_ids), 0), np.int32) if self.words is None else self.words
        counts = np.bincount(log.items, minlength=len(log.item_ids))
        model = TwoTowers(len(counts), words, (counts + 1) / (counts.sum() + len(counts)), spec)
        model.compile(optimizer=keras.optimizers.Adam(spec.learning_rate))
        batches = _batches(log, spec)
        best: tuple[float, int, list[np.ndarray]] | None = None
        curve: list[float] = []
        for epoch in range(1, spec.epochs + 1):
            model.fit(batches, epochs=1, verbose=0)
            if self.validation is None:
                continue
            curve.append(float(judge(self.name, FittedTowers.of(model, spec), self.validation).values["ndcg"].mean()))
            if best is None or curve[-1] > best[0]:
                best = curve[-1], epoch, model.get_weights()
            elif epoch - best[1] >= spec.patience:
                break
        if best:
            model.set_weights(best[2])
        return FittedTowers.of(model, spec, best[1] if best else spec.epochs, tuple(curve))

    def for_epochs(self, epochs: int) -> TwoTower:
        """The same without a validation, for the number of epochs that one found."""
        return replace(self, spec=replace(self.spec, epochs=epochs), validation=None)


@dataclass(frozen=True)
class FittedTowers:
    """`items`: the vectors of all items; `curve`: NDCG of the validation after each epoch; `epochs`: those kept."""

    model: TwoTowers
    items: np.ndarray
    spec: RetrievalSpec
    epochs: int = 0
    curve: tuple[float, ...] = ()

    @classmethod
    def of(cls, model: TwoTowers, spec: RetrievalSpec, epochs: int = 0, curve: tuple[float, ...] = ()) -> FittedTowers:
        vectors = model.item_tower(tf.range(model.probability.shape[0])).numpy()
        return cls(model, vectors, spec, epochs, curve)

    def score(self, histories: Histories) -> np.ndarray:
        return self.model.embed_users(tower_inputs(histories, self.spec)).numpy() @ self.items.T


def tower_inputs(histories: Histories, spec: RetrievalSpec) -> dict[str, tf.Tensor]:
    """What the user tower takes, newest last."""
    near = histories.places < spec.history_items
    row, column = histories.owners[near], spec.history_items - 1 - histories.places[near]
    shape = (len(histories), spec.history_items)
    items, ages, weights = np.full(shape, -1, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    items[row, column] = histories.items[near]
    ages[row, column] = histories.ages_days[near] * 24
    weights[row, column] = histories.weights[near]
    return {"items": tf.constant(items), "ages_hours": tf.constant(ages), "weights": tf.constant(weights)}


def _batches(log: Log, spec: RetrievalSpec) -> tf.data.Dataset:
    """Shuffled examples whose histories are gathered from the log batch by batch; without a history none is made."""
    starts = log.starts[log.users]
    rows = np.flatnonzero(log.cutoffs > starts)
    begin, end = tf.constant(starts, tf.int64), tf.constant(log.cutoffs, tf.int64)
    items, seconds, weights = tf.constant(log.items), tf.constant(log.seconds), tf.constant(log.weights)
    back = tf.range(-spec.history_items, 0, dtype=tf.int64)

    def gather(row: tf.Tensor) -> dict[str, tf.Tensor]:
        at = tf.gather(end, row)[:, None] + back
        known = at >= tf.gather(begin, row)[:, None]
        at = tf.where(known, at, 0)
        ages = tf.cast(tf.gather(seconds, row)[:, None] - tf.gather(seconds, at), tf.float32) / 3600.0
        return {
            "item": tf.gather(items, row),
            "weight": tf.gather(weights, row),
            "items": tf.where(known, tf.gather(items, at), -1),
            "ages_hours": tf.where(known, ages, 0.0),
            "weights": tf.where(known, tf.gather(weights, at), 0.0),
        }

    data = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows), seed=spec.seed)
    data = data.batch(spec.batch, drop_remainder=len(rows) >= spec.batch)
    return data.take(spec.epoch_batches).map(gather).prefetch(2)  # every epoch draws others
