"""Every scorer beside every other on the same split: measures, intervals, and by group of users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.candidates.als import ImplicitAls
from recsys.candidates.ease import Ease
from recsys.candidates.item_knn import ItemKnn
from recsys.candidates.own import OwnMostFrequent
from recsys.candidates.popularity import Popularity
from recsys.candidates.source import Scorer, Source, best, user_matrix, without_taken
from recsys.evaluate.bootstrap import Estimate, estimate
from recsys.evaluate.catalogue import coverage, diversity, novelty, popularity_bias
from recsys.evaluate.metrics import accuracy
from recsys.evaluate.splits import Split
from recsys.interactions import Histories

_CELLS = 20_000_000  # scores held at once
# Histories of so many rows, for the measures by group; cold users have few.
GROUPS = (("1 to 5 items", 1, 5), ("6 to 20 items", 6, 20), ("21 to 100 items", 21, 100), ("over 100", 101, 1 << 40))


def baselines(repeats: bool) -> list[Source]:
    """What a model has to beat; "own most frequent" has nothing to say where only new items count."""
    found: list[Source] = [Popularity(), ItemKnn(), Ease(), Ease(half_life_items=30.0, name="recency EASE")]
    return [*found, ImplicitAls(), *([OwnMostFrequent()] if repeats else [])]


@dataclass(frozen=True)
class Result:
    """The lists of a scorer on a split and how good they are; `values`: recall, ndcg and map of each user."""

    name: str
    lists: np.ndarray
    values: dict[str, np.ndarray]
    catalogue: dict[str, float]
    groups: dict[str, dict[str, float]] = field(default_factory=dict)

    def estimates(self) -> dict[str, Estimate]:
        return {name: estimate(values) for name, values in self.values.items()}

    def row(self, k: int) -> dict[str, object]:
        """A line of the table: means, the interval of NDCG, and what the lists show of the catalogue."""
        found = self.estimates()
        line: dict[str, object] = {"model": self.name}
        line |= {f"{name}@{k}": round(one.mean, 4) for name, one in found.items()}
        line[f"ndcg@{k} 95 %"] = f"{found['ndcg'].low:.4f} to {found['ndcg'].high:.4f}"
        return line | {name: round(value, 4) for name, value in self.catalogue.items()}


def rank(score: Callable[[Histories], np.ndarray], histories: Histories, k: int, repeats: bool) -> np.ndarray:
    """The k best items of each history, [histories, k]; without `repeats` none that is in the history."""
    parts = []
    for _, part in histories.batches(max(1, _CELLS // max(histories.item_count, 1))):
        scores = score(part)
        parts.append(best(scores if repeats else without_taken(scores, part), k))
    return np.concatenate(parts) if parts else np.zeros((0, k), np.int64)


def judge(name: str, scorer: Scorer, split: Split, k: int = 10) -> Result:
    """What a scorer's lists are worth on a split; all items are ranked."""
    return measure(name, rank(scorer.score, split.histories, k, split.repeats), split)


def measure(name: str, lists: np.ndarray, split: Split) -> Result:
    """What lists are worth on a split."""
    taken = user_matrix(split.train)
    popularity = np.asarray(taken.sum(0)).ravel()
    catalogue = {
        "coverage": coverage(lists, len(popularity)),
        "novelty": novelty(lists, popularity, taken.shape[0]),
        "diversity": diversity(lists, taken),
        "popularity_bias": popularity_bias(lists, popularity),
    }
    values = accuracy(lists, split.targets)
    sizes = np.diff(split.histories.offsets)
    groups = {
        label: {"users": int(some.sum())} | {key: float(value[some].mean()) for key, value in values.items()}
        for label, low, high in GROUPS
        if (some := (sizes >= low) & (sizes <= high)).any()
    }
    return Result(name, lists, values, catalogue, groups)


def compare(sources: Sequence[Source], split: Split, k: int = 10) -> list[Result]:
    """Each source learnt from what the split lets it learn from, and judged by the rest."""
    return [judge(source.name, source.fit(split.train), split, k) for source in sources]


def winner(results: Sequence[Result]) -> Result:
    """By NDCG, the earlier one of two that are alike."""
    return max(results, key=lambda result: float(result.values["ndcg"].mean()))
