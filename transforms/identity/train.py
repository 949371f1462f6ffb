"""Learns a link model from the records themselves: random pairs show what strangers do, candidates the rest."""

from __future__ import annotations

import numpy as np

from transforms.identity.block import Candidates
from transforms.identity.compare import Comparer, pack, unpack
from transforms.identity.encode import Encoded, joined
from transforms.identity.kinds import KINDS
from transforms.identity.learn import learn_model
from transforms.identity.model import LinkModel
from transforms.identity.rules import IdentityRules

_SEED = 1969


def train_model(comparer: Comparer, candidates: Candidates, rules: IdentityRules) -> LinkModel:
    """The model of these records, from a sample of the candidates that is the same in every run."""
    new, within = candidates.new, candidates.within
    fresh, size = float(new.sum()), float(len(new))
    all_pairs = max(1.0, fresh * (size - fresh) + (fresh * (fresh - 1) / 2 if within else 0.0))
    every = max(1, -(-candidates.total // rules.training_pairs))
    patterns, counts = _patterns(comparer, candidates, rules.chunk_pairs, every)
    chance = _chance(comparer, candidates, min(-(-rules.training_pairs // 4), int(all_pairs) * 2))
    rows = unpack(patterns, comparer.comparisons)
    namesakes = _namesakes(comparer.records)
    return learn_model(comparer.comparisons, rows, counts * every, chance, all_pairs, len(new), namesakes)


def _namesakes(records: Encoded) -> float:
    """The share of pairs with one full name among records that have one."""
    pair = joined([records.column("given_name").codes, records.column("surname").codes])
    counts = np.bincount(pair[pair >= 0], minlength=1).astype(float)
    return float((counts * (counts - 1)).sum() / max(1.0, counts.sum() * (counts.sum() - 1)))


def _patterns(comparer: Comparer, candidates: Candidates, size: int, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct patterns of levels among candidates, and how many have each: all that learning needs to know."""
    packed = [
        np.unique(pack(comparer.levels(left, right), comparer.comparisons), return_counts=True)
        for left, right in candidates.chunks(size, every)
    ]
    if not packed:
        return np.empty(0, np.int64), np.empty(0)
    distinct, inverse = np.unique(np.concatenate([p for p, _ in packed]), return_inverse=True)
    return distinct, np.bincount(inverse, weights=np.concatenate([c for _, c in packed]), minlength=len(distinct))


def _chance(comparer: Comparer, candidates: Candidates, pairs: int) -> dict[str, np.ndarray]:
    """How often random pairs are on each level; for equal values it is counted, not sampled."""
    new = np.flatnonzero(candidates.new)
    draw = np.random.default_rng(_SEED)
    others = np.flatnonzero(~candidates.new) if not candidates.within else np.arange(len(candidates.new))
    found = {}
    if not len(new) or not len(others):
        levels = np.empty((0, len(comparer.comparisons)), np.int8)
    else:
        left, right = draw.choice(new, pairs), draw.choice(others, pairs)
        levels = comparer.levels(left[left != right], right[left != right])
    for k, c in enumerate(comparer.comparisons):
        counts = np.bincount(levels[:, k], minlength=len(KINDS[c.kind].names)).astype(float)[1:]
        shares = counts / max(1.0, counts.sum())
        if c.kind != "area":
            exact = comparer.chance_of_same(k)
            shares[:-1] *= (1 - exact) / max(1e-12, shares[:-1].sum()) if shares[:-1].sum() else 0
            shares[-1] = exact
        found[c.name] = np.append(1.0, shares)
    return found
