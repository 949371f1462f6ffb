"""Learns a link model without labels, by expectation and maximisation over counts of agreement patterns."""

from __future__ import annotations

import numpy as np

from transforms.identity.kinds import KINDS
from transforms.identity.model import CLASSES, STRANGER, LinkModel, agreeing
from transforms.identity.rules import Comparison

_ROUNDS, _TOLERANCE = 60, 1e-4
_PRIOR_PAIRS = 20.0  # what was declared counts as much as so many pairs
_PRIOR_SHARED = 50.0
PRIOR_STRANGERS = 300.0
_OFTEN, _MORE = 0.95, 2.0  # namesakes and twins may be more frequent than was declared, yet not the rule
_START = (0.7, 0.3, 0.1, 0.03, 0.03)  # classes but the last, as multiples of the expected number of matches


def learn_model(
    comparisons: tuple[Comparison, ...],
    patterns: np.ndarray,
    counts: np.ndarray,
    chance: dict[str, np.ndarray],
    all_pairs: float,
    records: int,
    namesakes: float = 0.0,
) -> LinkModel:
    """The model that makes the candidates' agreement patterns likely (Dempster, Laird and Rubin 1977).

    Pairs that are no candidates are taken for strangers, so that shares are of all pairs, and what strangers do is not
    learned from candidates, who agree on what they were brought together by.

    Args:
      patterns: a row for each distinct pattern: the level on each comparison.
      counts: how many candidate pairs have it.
      chance: name -> share of each level among all pairs, whoever they are.
      all_pairs: how many pairs of records there are.
      namesakes: share of all pairs that have the same given name and the same surname. Names go together, and so it is
        more than their two shares let expect; strangers of one full name are not taken for one person.
    """
    everyone = {c.name: _smoothed(c, chance[c.name], all_pairs) for c in comparisons}
    agree = {c.name: np.array(KINDS[c.kind].agree) for c in comparisons}
    expected = max(min(records / 4, all_pairs / 8), 1e-3)
    classes = np.array([share * expected / all_pairs for share in _START])
    shared = {c.name: c.shared for c in comparisons}
    model = LinkModel(comparisons, agree, everyone, shared, np.append(classes, 1 - classes.sum()))
    full = _same_full_name(comparisons, patterns)
    excess = 1.0
    for _ in range(_ROUNDS):
        after = posterior(model, patterns, np.log(excess) * full)
        known = float((after[:, ~STRANGER].sum(axis=1) * counts)[full].sum()) / all_pairs
        excess = _excess(model, namesakes - known)
        better = _maximise(model, patterns, counts, after, everyone, all_pairs)
        moved = max(float(np.abs(better.agree[n] - model.agree[n]).max()) for n in agree) if agree else 0.0
        model = better
        if moved < _TOLERANCE:
            break
    return model


def _same_full_name(comparisons: tuple[Comparison, ...], patterns: np.ndarray) -> np.ndarray:
    full = np.zeros(len(patterns), bool)
    names = [c.name for c in comparisons]
    if {"given_name", "surname"} <= set(names):
        at = [names.index(name) for name in ("given_name", "surname")]
        full = np.logical_and(*(patterns[:, k] == len(KINDS[comparisons[k].kind].levels) for k in at))
    return full


def _excess(model: LinkModel, strangers: float) -> float:
    """How many times more often strangers share a full name than their names' shares let expect."""
    if not {"given_name", "surname"} <= model.chance.keys():
        return 1.0
    return max(1.0, strangers / (model.chance["given_name"][-1] * model.chance["surname"][-1]))


def posterior(model: LinkModel, patterns: np.ndarray, strangers: np.ndarray) -> np.ndarray:
    """The probability of each class for each pattern: patterns by classes.

    Args:
      strangers: what is added to the log-likelihood of strangers for each pattern.
    """
    logs = (
        strangers[:, None] * STRANGER
        + np.log(model.classes)
        + sum((table[patterns[:, k]] for k, table in enumerate(model.tables())), np.zeros((len(patterns), 1)))
    )
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _maximise(
    model: LinkModel, patterns: np.ndarray, counts: np.ndarray, after: np.ndarray,
    everyone: dict[str, np.ndarray], all_pairs: float,
) -> LinkModel:  # fmt: skip
    weight = after * counts[:, None]
    classes = weight.sum(axis=0) + min(0.5, all_pairs / 100)
    classes[-1] = max(all_pairs - classes[:-1].sum(), all_pairs / 100)
    agree, chance, shared = {}, {}, {}
    for k, c in enumerate(model.comparisons):
        start = np.array(KINDS[c.kind].agree)
        share = np.array([agreeing(c, *key, model.shared[c.name]) for key in CLASSES])
        # Of pairs in a class between, how many agree as the same do: what they would by this rule.
        table_a, table_u = model.agree[c.name], model.chance[c.name]
        level = patterns[:, k]
        part = share * table_a[level][:, None]
        part = part / (part + (1 - share) * table_u[level][:, None])
        shared[c.name] = _shared(c, weight[level > 0], part[level > 0])
        found = np.bincount(level, weights=(weight * part).sum(axis=1), minlength=len(start))
        found = found[1:] + _PRIOR_PAIRS * start[1:] / start[1:].sum()
        agree[c.name] = np.append(1.0, found / found.sum())
        chance[c.name] = _strangers(everyone[c.name], agree[c.name], share, classes / all_pairs, all_pairs)
    return LinkModel(model.comparisons, agree, chance, shared, classes / all_pairs)


def _shared(comparison: Comparison, weight: np.ndarray, part: np.ndarray) -> float:
    """How often relatives, or two homes, agree as one does; what was declared as seldom stays seldom."""
    if not comparison.shared:
        return 0.0
    between = [k for k, key in enumerate(CLASSES) if 0 < agreeing(comparison, *key, 0.5) < 1]
    agreed = float((weight * part)[:, between].sum()) + _PRIOR_SHARED * comparison.shared
    found = agreed / (float(weight[:, between].sum()) + _PRIOR_SHARED)
    return min(found, _OFTEN, _MORE * comparison.shared)


def _strangers(
    everyone: np.ndarray, agree: np.ndarray, share: np.ndarray, classes: np.ndarray, all_pairs: float
) -> np.ndarray:
    """What strangers do: what all pairs do, less what those do who agree because they are one person or at home."""
    alike = float((share * classes).sum())
    left = (everyone[1:] - alike * agree[1:]) / max(1e-9, 1 - alike)
    left = np.maximum(left, np.minimum(everyone[1:], 1e-6 + 0.5 / all_pairs))
    return np.append(1.0, left / left.sum())


def _smoothed(comparison: Comparison, chance: np.ndarray, all_pairs: float) -> np.ndarray:
    """What was seen of strangers, and of a few more pairs as they are elsewhere."""
    seen, start = min(all_pairs, 5e6), np.array(KINDS[comparison.kind].chance[1:])
    found = np.maximum((chance[1:] * seen + PRIOR_STRANGERS * start) / (seen + PRIOR_STRANGERS), 1e-7)
    return np.append(1.0, found / found.sum())
