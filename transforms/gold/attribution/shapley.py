"""The Shapley value of channels, exactly: what each adds on average to all coalitions of the others.

Both games are solved through their dividends (Harsanyi, 1959): a coalition's own part, shared equally by its members.
Source: Shapley, "A value for n-person games", 1953; for attribution Zhao, Mahboobi and Bagheri, "Shapley value methods
for attribution modeling in online advertising", 2018. Subset sums by the fast zeta transform (Yates, 1937).
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.gold.attribution.chain import SEPARATOR

MOST_CHANNELS = 20  # of `shapley_of_rates`: 2**20 coalitions are 8 MB a table


def channels_of(sets: pa.Table) -> tuple[str, ...]:
    """The channels that occur in `chain.count_sets`, sorted."""
    return tuple(sorted({name for key in sets["channels"].to_pylist() if key for name in key.split(SEPARATOR)}))


def shapley_of_counts(sets: pa.Table) -> np.ndarray:
    """Channel by (conversions, value) for the game "what the paths within the coalition brought".

    In this game every set of channels shares what its own paths brought equally among its members, which is its
    Shapley value for any number of channels. Paths without a touch are left out.
    """
    channels = channels_of(sets)
    number = {name: place for place, name in enumerate(channels)}
    result = np.zeros((len(channels), 2))
    for row in sets.to_pylist():  # a few thousand sets, in their order
        members = [number[name] for name in row["channels"].split(SEPARATOR)] if row["channels"] else []
        for place in members:
            result[place] += (row["conversions"] / len(members), row["value_units"] / len(members))
    return result


def shapley_of_rates(sets: pa.Table) -> np.ndarray | None:
    """Channel by (conversions, value) for the game "what all paths had brought, had they met the coalition alone".

    A path then brings what paths with just the channels that are left to it bring on average (where there is no such
    path: paths with some of them; with none left: nothing). So it compares with paths that did not convert: a channel
    that changes nothing gets nothing, however often it is met, one that goes with fewer conversions less than nothing.

    A set U adds its dividend d(U) to each path that met all of it, so a channel's value is the sum over the sets with
    it of d(U) * paths / size. Returns None beyond MOST_CHANNELS.
    """
    channels = channels_of(sets)
    if len(channels) > MOST_CHANNELS:
        return None
    size = len(channels)
    touched = pl.DataFrame(pl.from_arrow(sets)).filter(pl.col("channels") != "")
    bit = {name: 1 << place for place, name in enumerate(channels)}
    masks = np.array([sum(bit[name] for name in key.split(SEPARATOR)) for key in touched["channels"]], dtype=np.int64)
    own = np.zeros((3, 1 << size))
    own[:, masks] = [touched[name].to_numpy() for name in ("conversions", "value_units", "paths")]
    pooled = subset_sums(own, size)
    counts = np.where(own[2] > 0, own, pooled)
    rates = np.divide(counts[:2], counts[2], out=np.zeros_like(counts[:2]), where=counts[2] > 0)
    dividends = subset_sums(rates, size, -1.0)
    met = subset_sums(own[2, ::-1], size)[::-1]  # paths with all channels of a set
    coalitions = np.arange(1 << size)
    shared = dividends * met / np.maximum(np.bitwise_count(coalitions), 1)
    return np.array([shared[:, coalitions >> place & 1 == 1].sum(axis=1) for place in range(size)]).reshape(size, 2)


def subset_sums(values: np.ndarray, size: int, sign: float = 1.0) -> np.ndarray:
    """For each set (a bit mask, last axis) the sum over all its subsets; with `sign` -1 the inverse, the dividends."""
    result = values.copy()
    for place in range(size):
        halves = result.reshape(*result.shape[:-1], -1, 2, 1 << place)
        halves[..., 1, :] += sign * halves[..., 0, :]
    return result
