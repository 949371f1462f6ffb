"""Teaches the network which candidates people took, and says whether it is better than the sources alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recsys.candidates.source import NEVER, best
from recsys.evaluate.metrics import Targets, ndcg
from recsys.ranking.chance import Chance, fit_chance
from recsys.ranking.features import Pool
from recsys.ranking.network import CrossNetwork
from recsys.spec import RankingSpec
from recsys.tensorflow import keras, tf

K = 10
_STEPS = 20  # an epoch has at least so many, of smaller batches where lists are few


@dataclass(frozen=True)
class Ranker:
    """`curve`: NDCG of the lists kept for validation after each epoch; `epochs`: those kept; `chance`: what makes
    chances of scores, fitted to those lists."""

    model: CrossNetwork
    epochs: int = 0
    curve: tuple[float, ...] = ()
    chance: Chance = field(default_factory=Chance)

    def scores(self, pool: Pool) -> np.ndarray:
        """float32 [n, c]: of each candidate, NEVER where there is none."""
        parts = np.array_split(pool.features, max(1, len(pool.features) // 4_096))
        scores = np.concatenate([self.model.score(tf.constant(part)).numpy() for part in parts])
        return np.where(pool.items >= 0, scores, NEVER)

    def order(self, pool: Pool, k: int = K) -> tuple[np.ndarray, np.ndarray]:
        """(codes [n, k] best first, -1 where there are fewer; the place in the pool of each)."""
        places = best(self.scores(pool), k)
        return np.where(places >= 0, np.take_along_axis(pool.items, np.maximum(places, 0), 1), -1), places


def train_ranker(pool: Pool, targets: Targets, spec: RankingSpec, held: np.ndarray) -> Ranker:
    """Learns from the lists where something was taken; `held`: mask of those kept to say when to stop."""
    keras.utils.set_random_seed(spec.seed)
    labels = targets.hits(pool.items).astype(np.float32)
    use = np.flatnonzero(labels.any(1) & ~held)
    model = CrossNetwork(pool.features[use], spec)
    model.compile(optimizer=keras.optimizers.Adam(spec.learning_rate))
    columns = {"features": pool.features, "labels": labels, "known": (pool.items >= 0).astype(np.float32)}
    rows = tf.data.Dataset.from_tensor_slices({name: values[use] for name, values in columns.items()})
    batch = int(np.clip(len(use) // _STEPS, 8, spec.batch))
    rows = rows.shuffle(len(use), seed=spec.seed).batch(batch).prefetch(2)
    shown = pool.part(held)
    hits = Targets.of(*_pairs(targets, held), int(held.sum()))
    kept: tuple[float, int, list[np.ndarray]] | None = None
    curve = []
    for epoch in range(1, spec.epochs + 1):
        model.fit(rows, epochs=1, verbose=0)
        lists, _ = Ranker(model).order(shown)
        curve.append(float(ndcg(hits.hits(lists), hits.counts).mean()))
        if kept is None or curve[-1] > kept[0]:
            kept = curve[-1], epoch, model.get_weights()
        elif epoch - kept[1] >= spec.patience:
            break
    assert kept is not None
    model.set_weights(kept[2])
    chance = fit_chance(Ranker(model).scores(shown), shown.items >= 0, hits.hits(shown.items))
    return Ranker(model, kept[1], tuple(curve), chance)


def _pairs(targets: Targets, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(place among the masked users, item) of the targets of a part of the users."""
    owners = np.repeat(np.arange(len(mask)), targets.counts)
    some = mask[owners]
    return (np.cumsum(mask) - 1)[owners[some]], targets.items[some]
