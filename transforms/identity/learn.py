"""Learns a link model without labels, by expectation and maximisation over counts of agreement patterns."""

from __future__ import annotations

import numpy as np

from transforms.identity.kinds import KINDS
from transforms.identity.model import CLASSES, SAME, LinkModel, agreeing
from transforms.identity.rules import Comparison

_ROUNDS, _TOLERANCE = 60, 1e-4
_PRIOR_PAIRS = 20.0  # what was declared counts as much as so many pairs
_START = (0.7, 0.3, 0.1, 0.03, 0.03)  # classes but the last, as multiples of the expected number of matches


def learn_model(
    comparisons: tuple[Comparison, ...],
    patterns: np.ndarray,
    counts: np.ndarray,
    chance: dict[str, np.ndarray],
    all_pairs: float,
    records: int,
) -> LinkModel:
    """The model that makes the candidates' agreement patterns likely (Dempster, Laird and Rubin 1977).

    Pairs that are no candidates are taken for strangers, so that shares are of all pairs, and what strangers do is not
    learned from candidates, who agree on what they were brought together by.

    Args:
      patterns: a row for each distinct pattern: the level on each comparison.
      counts: how many candidate pairs have it.
      chance: name -> share of each level among all pairs, whoever they are.
      all_pairs: how many pairs of records there are.
    """
    everyone = {c.name: _smoothed(chance[c.name], all_pairs) for c in comparisons}
    agree = {c.name: np.array(KINDS[c.kind].start) for c in comparisons}
    expected = min(records / 4, all_pairs / 4)
    classes = np.array([share * expected / all_pairs for share in _START])
    model = LinkModel(comparisons, agree, everyone, np.append(classes, 1 - classes.sum()))
    for _ in range(_ROUNDS):
        after = posterior(model, patterns)
        better = _maximise(model, patterns, counts, after, everyone, all_pairs)
        moved = max(float(np.abs(better.agree[n] - model.agree[n]).max()) for n in agree)
        model = better
        if moved < _TOLERANCE:
            break
    return model


def posterior(model: LinkModel, patterns: np.ndarray) -> np.ndarray:
    """The probability of each class for each pattern: patterns by classes."""
    logs = np.log(model.classes) + sum(table[patterns[:, k]] for k, table in enumerate(model.tables()))
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _maximise(
    model: LinkModel, patterns: np.ndarray, counts: np.ndarray, after: np.ndarray,
    everyone: dict[str, np.ndarray], all_pairs: float,
) -> LinkModel:  # fmt: skip
    weight = after * counts[:, None]
    classes = weight.sum(axis=0) + 0.5
    classes[-1] = all_pairs - classes[:-1].sum()
    agree, chance = {}, {}
    for k, c in enumerate(model.comparisons):
        start = np.array(KINDS[c.kind].start)
        share = np.array([agreeing(c, *key) for key in CLASSES])
        # Of pairs in a class between, how many agree as the same do: what they would by this rule.
        table_a, table_u = model.agree[c.name], model.chance[c.name]
        level = patterns[:, k]
        part = share * table_a[level][:, None]
        part = part / (part + (1 - share) * table_u[level][:, None])
        found = np.bincount(level, weights=(weight * part).sum(axis=1), minlength=len(start))
        found = found[1:] + _PRIOR_PAIRS * start[1:] / start[1:].sum()
        agree[c.name] = np.append(1.0, found / found.sum())
        chance[c.name] = _strangers(everyone[c.name], agree[c.name], share, classes / all_pairs, all_pairs)
    return LinkModel(model.comparisons, agree, chance, classes / all_pairs)


def _strangers(
    everyone: np.ndarray, agree: np.ndarray, share: np.ndarray, classes: np.ndarray, all_pairs: float
) -> np.ndarray:
    """What strangers do: what all pairs do, less what those do who agree because they are one person or at home."""
    alike = float((share * classes).sum())
    left = (everyone[1:] - alike * agree[1:]) / max(1e-9, 1 - alike)
    left = np.maximum(left, np.minimum(everyone[1:], 1e-6 + 0.5 / all_pairs))
    return np.append(1.0, left / left.sum())


def _smoothed(chance: np.ndarray, all_pairs: float) -> np.ndarray:
    found = chance[1:] + 0.5 / min(all_pairs, 5e6)
    return np.append(1.0, found / found.sum())


def match_probability(after: np.ndarray) -> np.ndarray:
    """The probability that it is one person, of posteriors by class."""
    return after[:, SAME].sum(axis=1)
