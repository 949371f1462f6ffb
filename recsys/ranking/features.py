"""The candidates of all sources merged, and what is known of each pair of asker and candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.candidates.source import NEVER, Scorer, best, without_taken
from recsys.interactions import Histories, Log

RANK_OFFSET = 60  # of reciprocal rank fusion (Cormack et al. 2009)
PAIR_FEATURES = (
    "own_times",
    "own_age",
    "own_share",
    "own_rate",
    "own_last",
    "item_users",
    "item_again",
    "item_age",
    "item_unsold",
    "asker_items",
    "asker_gap",
)


@dataclass(frozen=True)
class Pool:
    """`items` [n, c]: codes, -1 for none, in the order of the fused ranks. `features` [n, c, f] float32.

    `sources` [n, c]: the place, in the order of the scorers, of the source that ranks the item highest.
    `fused` [n, c]: the sum of the reciprocal ranks.
    """

    items: np.ndarray
    features: np.ndarray
    sources: np.ndarray
    fused: np.ndarray

    def part(self, rows: np.ndarray) -> Pool:
        return Pool(self.items[rows], self.features[rows], self.sources[rows], self.fused[rows])


@dataclass(frozen=True)
class ItemTimes:
    """When items were taken, to know at any moment how new an item is and how long unsold; seconds, sorted by item.

    `users`: how many took each; `again`: which share of them in several baskets, drawn to the mean where few did.
    """

    starts: np.ndarray
    keys: np.ndarray
    first: np.ndarray
    users: np.ndarray
    again: np.ndarray

    @classmethod
    def of(cls, log: Log) -> ItemTimes:
        size = len(log.item_ids)
        keys = np.unique(log.items.astype(np.int64) << 34 | log.seconds)  # seconds fit until the year 2514
        items = keys >> 34
        starts = np.searchsorted(items, np.arange(size + 1))
        first = np.full(size, np.iinfo(np.int64).max)
        np.minimum.at(first, log.items, log.seconds)
        order = np.lexsort((log.baskets, log.items, log.users))
        pair = (log.users.astype(np.int64) * size + log.items)[order]
        new = np.append(True, pair[1:] != pair[:-1])[: len(pair)]
        other = ~new & np.append(False, np.diff(log.baskets[order]) != 0)[: len(pair)]  # another basket of the pair
        several = np.bincount(np.cumsum(new)[other] - 1, minlength=int(new.sum())) > 0
        item = pair[new] % size
        users, again = np.bincount(item, minlength=size), np.bincount(item, several, size)
        share = again.sum() / max(users.sum(), 1)
        return cls(starts, keys, first, users, ((again + 5 * share) / (users + 5)).astype(np.float32))

    def days(self, items: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(days since an item was first taken, days since it was last taken before now); both 0 or more, new is 0."""
        at = np.searchsorted(self.keys, items.astype(np.int64) << 34 | np.maximum(now, 0)) - 1
        before = at >= self.starts[items]
        last = np.where(before, self.keys[np.maximum(at, 0)] & ((1 << 34) - 1), now)
        age = np.where(before, now - self.first[items], 0)
        return np.maximum(age, 0) / 86_400.0, np.maximum(now - last, 0) / 86_400.0


def feature_names(sources: Sequence[str]) -> list[str]:
    return [*(f"{name} {kind}" for name in sources for kind in ("rank", "score")), *PAIR_FEATURES]


def gather(
    histories: Histories, scorers: Mapping[str, Scorer], times: ItemTimes, size: int, repeats: bool, batch: int = 512
) -> Pool:
    """The `size` candidates of each asker that the sources together rank highest, with their features.

    Without `repeats` nothing of the history is among them. Scores are compared within an asker's candidates.
    """
    parts = [_gather(part, scorers, times, size, repeats) for _, part in histories.batches(batch)]
    return Pool(*(np.concatenate([getattr(p, name) for p in parts]) for name in Pool.__dataclass_fields__))


def _gather(histories: Histories, scorers: Mapping[str, Scorer], times: ItemTimes, size: int, repeats: bool) -> Pool:
    size = min(size, histories.item_count)
    fused = np.zeros((len(histories), histories.item_count), np.float32)
    ranks, scores = [], []
    for scorer in scorers.values():
        score = scorer.score(histories).astype(np.float32)
        offered = np.where(score > 0, score, NEVER)
        top = best(offered if repeats else without_taken(offered, histories), size)
        rank = np.zeros_like(fused)
        row, place = np.nonzero(top >= 0)
        rank[row, top[row, place]] = 1 / np.log2(place + 2)
        fused[row, top[row, place]] += (1 / (RANK_OFFSET + place)).astype(np.float32)
        ranks.append(rank)
        scores.append(score)
    items = best(np.where(fused > 0, fused, NEVER), size)
    code = np.maximum(items, 0)
    by_source = [np.take_along_axis(values, code, 1) for values in ranks]
    columns = []
    for rank, score in zip(by_source, scores, strict=True):
        mine = np.take_along_axis(score, code, 1).astype(np.float64)  # of almost equal ones, too
        columns += [rank, (mine - mine.mean(1, keepdims=True)) / (mine.std(1, keepdims=True) + 1e-6)]
    features = np.stack([*columns, *_pair_features(histories, code, times)], 2).astype(np.float32)
    return Pool(items, features, np.argmax(np.stack(by_source), 0), np.take_along_axis(fused, code, 1))


def _pair_features(histories: Histories, items: np.ndarray, times: ItemTimes) -> list[np.ndarray]:
    """PAIR_FEATURES; times in log(1 + days).

    own_rate: of the moments at which the asker took something, at how many it was this; own_last: was it at the last?
    """
    shape = (len(histories), histories.item_count)
    count, age = np.zeros(shape, np.float32), np.full(shape, 3_650, np.float32)
    np.add.at(count, (histories.owners, histories.items), 1)
    np.minimum.at(age, (histories.owners, histories.items), histories.ages_days.astype(np.float32))
    own, own_age = np.take_along_axis(count, items, 1), np.take_along_axis(age, items, 1)
    length = np.maximum(np.diff(histories.offsets), 0)[:, None]
    newest = histories.offsets[1:] - 1
    gap = np.where(length[:, 0] > 0, (histories.now - histories.seconds[newest]) / 86_400, 3_650) if len(
        histories.seconds
    ) else np.full(len(histories), 3_650.0)  # fmt: skip
    gap = np.maximum(gap, 0)[:, None]
    owners, seconds = histories.owners, histories.seconds
    other = np.append(True, (owners[1:] != owners[:-1]) | (seconds[1:] != seconds[:-1]))[: len(owners)]
    moments = np.bincount(owners, other, len(histories))[:, None]
    since_first, since_last = times.days(items, np.broadcast_to(histories.now[:, None], items.shape))
    wide = np.ones_like(own)
    return [
        np.log1p(own), np.log1p(own_age), own / np.maximum(length, 1), own / np.maximum(moments, 1),
        (own > 0) & (own_age == gap.astype(np.float32)), np.log1p(times.users[items]), times.again[items],
        np.log1p(since_first), np.log1p(since_last), np.log1p(length) * wide, np.log1p(gap) * wide,
    ]  # fmt: skip
