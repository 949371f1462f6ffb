"""Measures of what lists show of the catalogue: coverage, novelty, diversity, popularity bias.

Lists as in `metrics`; `popularity`: in how many users' histories each item is; `users`: how many users there are.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def coverage(lists: np.ndarray, item_count: int) -> float:
    """The share of all items that are in some list."""
    return len(np.unique(lists[lists >= 0])) / max(item_count, 1)


def novelty(lists: np.ndarray, popularity: np.ndarray, users: int) -> float:
    """The mean self-information of what is shown, -log2 P(a user has it) (Zhou et al. 2010), both counts plus 1."""
    bits = -np.log2((popularity + 1) / (users + 1))
    return float(bits[lists[lists >= 0]].mean()) if (lists >= 0).any() else 0.0


def diversity(lists: np.ndarray, taken: sp.csr_matrix) -> float:
    """1 - the mean cosine, over users, of each two items of a list as the sets of users that took them (Ziegler 2005).

    `taken`: users by items, 1 where taken. Lists with fewer than two items do not count.
    """
    columns = taken.tocsc().astype(np.float64)
    norms = np.maximum(np.sqrt(np.asarray(columns.multiply(columns).sum(0)).ravel()), 1e-12)
    unit = columns @ sp.diags(1 / norms)
    found = []
    for shown in lists:
        shown = shown[shown >= 0]
        if len(shown) > 1:
            part = unit[:, shown]
            total = np.asarray(part.sum(1)).ravel()
            own = float(part.multiply(part).sum())  # an item nobody took has no likeness to any, nor to itself
            found.append(1 - (total @ total - own) / (len(shown) * (len(shown) - 1)))
    return float(np.mean(found)) if found else 0.0


def popularity_bias(lists: np.ndarray, popularity: np.ndarray) -> float:
    """How much more popular what is shown is than what is taken: mean popularity of both, as a ratio; 1 is neutral."""
    taken = (popularity.astype(np.float64) ** 2).sum() / max(popularity.sum(), 1)
    return float(popularity[lists[lists >= 0]].mean() / taken) if (lists >= 0).any() and taken else 0.0
