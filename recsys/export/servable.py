"""Request in, items with score, source and reason out: the chain as one module with signatures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recsys.candidates.source import NEVER
from recsys.chain import Chain
from recsys.export.catalogue import Catalogue
from recsys.export.history import Asked, read_history
from recsys.export.merge import Merge, Merged
from recsys.export.rules import Rules, Wishes
from recsys.export.sources import Kept, in_graph
from recsys.interactions import Log
from recsys.reasons import reason
from recsys.retrieval.train import FittedTowers
from recsys.tensorflow import tf

_HISTORY = {
    "history_items": tf.TensorSpec([None, None], tf.string, "history_items"),
    "history_seconds": tf.TensorSpec([None, None], tf.int64, "history_seconds"),
    "now": tf.TensorSpec([None], tf.int64, "now"),
}
_RULES = {
    "history_weights": tf.TensorSpec([None, None], tf.float32, "history_weights"),
    "allow": tf.TensorSpec([None, None], tf.string, "allow"),
    "deny": tf.TensorSpec([None, None], tf.string, "deny"),
    "price_from": tf.TensorSpec([None], tf.float32, "price_from"),
    "price_to": tf.TensorSpec([None], tf.float32, "price_to"),
    "new_only": tf.TensorSpec([None], tf.bool, "new_only"),
    "category_cap": tf.TensorSpec([None], tf.int32, "category_cap"),
    "diversity": tf.TensorSpec([None], tf.float32, "diversity"),
}


@dataclass(frozen=True)
class ServableSpec:
    """`k`: how long the lists are that a request gets."""

    k: int = 20

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}; a list has at least 1 item")


class Servable(tf.Module):
    """The signatures of a chain.

    `serving_default`: history_items string [n, l], oldest first, "" for padding, unknown ids are passed over;
    history_seconds int64 [n, l] since 1970; now int64 [n], 0 for the moment the model was made or the newest of the
    history. Out: items string [n, k], "" where there are fewer; scores float32 [n, k], the chance that each is taken;
    sources and reasons string [n, k].
    `with_rules`: the same with history_weights float32 [n, l] (purchase 1, cart 0.5, view 0.2), allow and deny string
    [n, a], price_from, price_to float32 [n], new_only bool [n], category_cap int32 [n] and diversity float32 [n].
    `candidates`: what the sources offer before the ranker, in the order of the fused ranks.
    """

    def __init__(self, chain: Chain, log: Log, catalogue: Catalogue, spec: ServableSpec = ServableSpec()) -> None:
        super().__init__()
        kept: Kept = {}
        ids = log.item_ids.to_list()
        self.ids = tf.constant([*ids, ""])
        codes = tf.lookup.KeyValueTensorInitializer(tf.constant(ids), tf.range(len(ids)))
        self.codes = tf.lookup.StaticHashTable(codes, -1)
        self.latest = int(log.seconds.max(initial=0))
        self.sources = [in_graph(scorer, kept) for scorer in chain.scorers.values()]
        names = [*chain.scorers]
        self.names = tf.constant([*names, ""])
        self.reasons = tf.constant([[reason(name, known) for name in names] + [""] for known in (False, True)])
        self.merge = Merge(chain.times, max(chain.spec.candidates, spec.k), chain.repeats, kept)
        towers = next((one.items for one in chain.scorers.values() if isinstance(one, FittedTowers)), None)
        self.rules = Rules(catalogue, np.zeros((len(ids), 1)) if towers is None else towers, kept)
        self.ranker = None if chain.ranker is None else chain.ranker.model.score
        self.chance = None if chain.ranker is None else chain.ranker.chance
        self.learnt = [] if chain.ranker is None else chain.ranker.model.variables
        self.arrays = [variable for _, variable in kept.values()]
        self.least = max(
            [one.spec.history_items for one in chain.scorers.values() if isinstance(one, FittedTowers)] + [1]
        )
        self.k = min(spec.k, self.merge.size)

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        asked = {"serving_default": self._default, "with_rules": self._with_rules, "candidates": self._candidates}
        return {name: made.get_concrete_function() for name, made in asked.items()}

    @tf.function(input_signature=[*_HISTORY.values()])
    def _default(self, history_items: tf.Tensor, history_seconds: tf.Tensor, now: tf.Tensor) -> dict[str, tf.Tensor]:
        ones = tf.ones_like(history_seconds, tf.float32)
        return self._answer(self._asked(history_items, history_seconds, ones, now), None)

    @tf.function(input_signature=[*_HISTORY.values(), *_RULES.values()])
    def _with_rules(
        self, history_items: tf.Tensor, history_seconds: tf.Tensor, now: tf.Tensor, history_weights: tf.Tensor,
        allow: tf.Tensor, deny: tf.Tensor, price_from: tf.Tensor, price_to: tf.Tensor, new_only: tf.Tensor,
        category_cap: tf.Tensor, diversity: tf.Tensor,
    ) -> dict[str, tf.Tensor]:  # fmt: skip
        numbers = {"history_weights": history_weights, "price_from": price_from, "price_to": price_to}
        for name, value in (numbers | {"diversity": diversity}).items():
            tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(value)), [f"{name} has a value that is no number"])
        sane = tf.reduce_all((diversity >= 0) & (diversity <= 1))
        tf.debugging.Assert(sane, ["diversity must be from 0 to 1"])
        asked = self._asked(history_items, history_seconds, history_weights, now)
        listed = tf.reduce_any(allow != "", 1)
        wishes = Wishes(
            self.codes.lookup(allow), listed, self.codes.lookup(deny), price_from, price_to, new_only, category_cap,
            diversity,
        )  # fmt: skip
        return self._answer(asked, wishes)

    @tf.function(input_signature=[*_HISTORY.values()])
    def _candidates(self, history_items: tf.Tensor, history_seconds: tf.Tensor, now: tf.Tensor) -> dict[str, tf.Tensor]:
        ones = tf.ones_like(history_seconds, tf.float32)
        asked = self._asked(history_items, history_seconds, ones, now)
        pool = self._pool(asked, None)
        return self._told(asked, pool, pool.fused, tf.where(pool.items >= 0, tf.range(self.merge.size), -1))

    def _asked(self, items: tf.Tensor, seconds: tf.Tensor, weights: tf.Tensor, now: tf.Tensor) -> Asked:
        same = tf.reduce_all(tf.shape(items) == tf.shape(seconds)) & tf.reduce_all(tf.shape(items) == tf.shape(weights))
        tf.debugging.Assert(same, ["history_items, history_seconds and history_weights must have one shape"])
        code = self.codes.lookup(items)
        newest = tf.reduce_max(tf.where(code >= 0, seconds, 0), 1)
        moment = tf.where(now > 0, now, tf.maximum(newest, self.latest))
        return read_history(code, seconds, weights, moment, self.ids.shape[0] - 1, self.least)

    def _pool(self, asked: Asked, wishes: Wishes | None) -> Merged:
        return self.merge(asked, [source(asked) for source in self.sources], self.rules.allowed(asked, wishes))

    def _answer(self, asked: Asked, wishes: Wishes | None) -> dict[str, tf.Tensor]:
        pool = self._pool(asked, wishes)
        if self.ranker is None or self.chance is None:
            return self._told(asked, pool, pool.fused, self.rules.pick(pool.items, pool.fused, wishes, self.k))
        scores = self.ranker(pool.features)
        shares = tf.nn.log_softmax(tf.where(pool.items >= 0, scores, float(NEVER)), 1)
        chances = tf.sigmoid(self.chance.slope * shares + self.chance.offset)
        return self._told(asked, pool, chances, self.rules.pick(pool.items, scores, wishes, self.k))

    def _told(self, asked: Asked, pool: Merged, scores: tf.Tensor, places: tf.Tensor) -> dict[str, tf.Tensor]:
        at = tf.maximum(places, 0)
        items, scores, sources = (tf.gather(one, at, batch_dims=1) for one in (pool.items, scores, pool.sources))
        none = places < 0
        sources = tf.where(none, len(self.sources), sources)
        words = tf.gather(self.reasons, tf.cast(tf.reduce_any(asked.known, 1), tf.int32))
        return {
            "items": tf.gather(self.ids, tf.where(none, self.ids.shape[0] - 1, items)),
            "scores": tf.where(none, 0.0, scores),
            "sources": tf.gather(self.names, sources),
            "reasons": tf.gather(words, sources, batch_dims=1),
        }
