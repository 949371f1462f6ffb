"""The removal effect: how many conversions would be lost if a channel led nowhere, exactly, by linear algebra.

Source: Anderl, Becker, von Wangenheim and Schumann, "Mapping the customer journey: Lessons learned from graph-based
online attribution modeling", International Journal of Research in Marketing 33(3), 2016. There the walks are
simulated; here the absorbing chain is solved (Kemeny and Snell, Finite Markov Chains, 1960, chapter 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from scipy import sparse
from scipy.sparse.linalg import splu


@dataclass(frozen=True)
class Chain:
    """An absorbing chain of order k; state 0 is the start.

    Attributes:
      moves: from state to state, probabilities; what lacks to 1 in a row ends there.
      gains: state by (conversion, value): what an end there brings on average per visit.
      last: state -> the channel met last (number), -1 for the start.
      channels: their names, sorted.
    """

    moves: sparse.csr_array
    gains: np.ndarray
    last: np.ndarray
    channels: tuple[str, ...]


def build_chain(steps: pa.Table, order: int) -> Chain:
    """The chain whose state is the last `order` channels, from `chain.count_steps`."""
    names = [f"before_{n}" for n in range(order, 0, -1)]
    rows = pl.DataFrame(pl.from_arrow(steps))
    rows = (
        rows.group_by(*names, "next", "converted")
        .agg(pl.col("paths", "value_units").sum())
        .sort(*names, "next", "converted")
    )
    walked = rows.filter(pl.col("next").is_not_null())
    targets = walked.select(*(pl.col(b).alias(a) for a, b in zip(names, [*names[1:], "next"], strict=True)))
    states = pl.concat([rows.select(names), targets]).unique().sort(names, nulls_last=False).with_row_index("state")
    channels = tuple(rows["next"].drop_nulls().unique().sort().to_list())
    number = {name: place for place, name in enumerate(channels)}
    source = _find(rows.select(names), states, names)
    total = np.bincount(source, rows["paths"].to_numpy(), minlength=states.height)
    moved = _find(walked.select(names), states, names)
    target = _find(targets, states, names)
    chances = walked["paths"].to_numpy() / total[moved]
    moves = sparse.csr_array((chances, (moved, target)), shape=(states.height, states.height))
    sold = rows.filter(pl.col("converted"))
    at = _find(sold.select(names), states, names)
    gains = np.zeros((states.height, 2))
    np.add.at(gains[:, 0], at, sold["paths"].to_numpy() / total[at])
    np.add.at(gains[:, 1], at, sold["value_units"].to_numpy() / total[at])
    last = np.array([-1 if name is None else number[name] for name in states[names[-1]].to_list()])
    return Chain(moves, gains, last, channels)


def removal_effects(chain: Chain) -> np.ndarray:
    """Channel by (conversions, value): the share of what the chain brings that is lost without the channel, 0 to 1.

    A walk that comes to a removed channel ends without a conversion.
    """
    if not chain.channels:
        return np.zeros((0, 2))
    everything = _expected(chain, np.arange(len(chain.last)))
    without = np.array(
        [_expected(chain, np.flatnonzero(chain.last != number)) for number in range(len(chain.channels))]
    )
    return np.divide(
        everything - without,
        everything,
        out=np.zeros_like(without),
        where=np.broadcast_to(everything > 0, without.shape),
    )


def _expected(chain: Chain, kept: np.ndarray) -> np.ndarray:
    """What a walk from the start brings on average if it ends at every state that is not kept."""
    moves = chain.moves[kept][:, kept]
    system = sparse.csc_array(sparse.eye_array(len(kept)) - moves)
    return np.asarray(splu(system).solve(chain.gains[kept])[0])


def _find(wanted: pl.DataFrame, states: pl.DataFrame, names: list[str]) -> np.ndarray:
    found = wanted.join(states, on=names, how="left", nulls_equal=True, maintain_order="left")
    return found["state"].to_numpy().astype(np.int64)
