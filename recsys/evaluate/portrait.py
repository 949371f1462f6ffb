"""A model and every baseline looked at from all sides: on the whole, by group, for strangers, for rare items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.candidates.source import Scorer, user_matrix
from recsys.evaluate.bootstrap import Estimate, difference, estimate
from recsys.evaluate.compare import GROUPS, Result, measure, rank, winner
from recsys.evaluate.metrics import Targets, accuracy
from recsys.evaluate.splits import Split
from recsys.interactions import Histories

Lists = Callable[[Histories, int], np.ndarray]  # codes [n, k], best first, -1 where there are fewer
KNOWN_ITEMS = (0, 1, 3)
RARE_USERS = 5
_FEWEST = 5  # users of a group that is told of


def lists_of(scorer: Scorer, repeats: bool) -> Lists:
    """How a scorer alone makes lists."""
    return lambda histories, k: rank(scorer.score, histories, k, repeats)


@dataclass(frozen=True)
class Portrait:
    """Tables as rows; the model is the last of `results`.

    `overall`: every measure of every model, with the interval of NDCG. `against`: what the model's NDCG and recall are
    above each baseline's, the same people drawn for both. `groups`: by length of history and by segment. `strangers`:
    the same people as if only their newest 0, 1 or 3 items were known. `rare`: what was taken of items that at most
    RARE_USERS people had, and of those that nobody had.
    """

    k: int
    results: Sequence[Result]
    overall: list[dict[str, object]] = field(default_factory=list)
    against: list[dict[str, object]] = field(default_factory=list)
    groups: list[dict[str, object]] = field(default_factory=list)
    strangers: list[dict[str, object]] = field(default_factory=list)
    rare: list[dict[str, object]] = field(default_factory=list)

    @property
    def best(self) -> Result:
        return winner(self.results)


def portray(models: Mapping[str, Lists], split: Split, k: int = 10, segments: Mapping[str, str] = {}) -> Portrait:
    """Judges models by what was held out; the last is the one that is compared with all others.

    Args:
      segments: of user ids, as far as they are known.
    """
    results = [measure(name, lists(split.histories, k), split) for name, lists in models.items()]
    masks = group_masks(split, segments)
    return Portrait(
        k, results, [result.row(k) for result in results], against(results, k),
        [_row(one.name, group, one, mask, k) for group, mask in masks.items() for one in results],
        [row for name, lists in models.items() for row in _strangers(name, lists, split, k)],
        [row for result in results for row in _rare(result, split, k)],
    )  # fmt: skip


def against(results: Sequence[Result], k: int) -> list[dict[str, object]]:
    """The last result beside each other: differences of the means with 95 % intervals (paired bootstrap)."""
    mine, rows = results[-1], []
    for other in results[:-1]:
        row: dict[str, object] = {"model": mine.name, "against": other.name}
        for name in ("ndcg", "recall"):
            found = difference(mine.values[name], other.values[name])
            row |= {f"{name}@{k} more": round(found.mean, 4), f"{name} 95 %": _interval(found)}
        rows.append(row)
    return rows


def group_masks(split: Split, segments: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Which lists are of which group: by length of history, and by segment where it has so many."""
    sizes = np.diff(split.histories.offsets)
    masks = {label: (sizes >= low) & (sizes <= high) for label, low, high in GROUPS}
    if segments:
        names = split.train.user_ids.gather(split.users).cast(str).to_list()
        own = np.array([segments.get(name) or "" for name in names])
        masks |= {f"segment {name}": own == name for name in sorted(set(own.tolist()) - {""})}
    return {label: mask for label, mask in masks.items() if mask.sum() >= _FEWEST}


def _row(model: str, group: str, result: Result, mask: np.ndarray, k: int) -> dict[str, object]:
    return {"model": model, "group": group} | _told({n: v[mask] for n, v in result.values.items()}, k)


def _strangers(name: str, lists: Lists, split: Split, k: int) -> list[dict[str, object]]:
    """The same people, as if so much of their histories were known; what they had in truth is not asked for."""
    rows = []
    for known in KNOWN_ITEMS:
        values = accuracy(lists(split.histories.newest(known), k), split.targets)
        rows.append({"model": name, "known": known} | _told(values, k))
    return rows


def _rare(result: Result, split: Split, k: int) -> list[dict[str, object]]:
    users = np.asarray(user_matrix(split.train).sum(0)).ravel()
    rows = []
    for label, most in (("new items", 0), (f"items of at most {RARE_USERS} people", RARE_USERS)):
        owners, targets = rare_targets(split.targets, users, most)
        if len(owners) >= _FEWEST:
            values = accuracy(result.lists[owners], targets)
            rows.append({"model": result.name, "items": label} | _told(values, k))
    return rows


def rare_targets(targets: Targets, users: np.ndarray, most: int) -> tuple[np.ndarray, Targets]:
    """(places of the lists with such a target, those targets): items that at most `most` users had."""
    kept = users[targets.items] <= most
    owners = np.repeat(np.arange(len(targets.counts)), targets.counts)[kept]
    places, owner = np.unique(owners, return_inverse=True)
    return places, Targets.of(owner, targets.items[kept], len(places))


def _told(values: Mapping[str, np.ndarray], k: int) -> dict[str, object]:
    row: dict[str, object] = {"people": len(next(iter(values.values())))}
    for name in ("recall", "ndcg"):
        found = estimate(values[name])
        row |= {f"{name}@{k}": round(found.mean, 4), f"{name} 95 %": _interval(found)}
    return row


def _interval(found: Estimate) -> str:
    return f"{found.low:.4f} to {found.high:.4f}"
