"""Attribution once more, slowly: paths by hand, coalitions enumerated, walks simulated."""

from __future__ import annotations

from itertools import chain, combinations, permutations
from math import factorial
from typing import Any

import numpy as np

from transforms.gold.attribution.markov import Chain

Row = dict[str, Any]


def paths(rows: list[Row], lookback_us: int) -> list[tuple[tuple[tuple[str, int], ...], bool, int]]:
    """(((channel, time), ...), converted, value) of every path, in no order."""
    found = []
    for person in {row["person"] for row in rows}:
        mine = [row for row in rows if row["person"] == person and (row["channel"] is not None or row["conversion"])]
        mine.sort(key=lambda r: (r["at"], bool(r["conversion"]), r["channel"] is None, r["channel"] or "",
                                 (r["value_units"] or 0) if r["conversion"] else 0))  # fmt: skip
        open_path: list[Row] = []
        for row in mine:
            if open_path and row["at"] - open_path[-1]["at"] > lookback_us:
                found.append(_path(open_path, lookback_us))
                open_path = []
            open_path.append(row)
            if row["conversion"]:
                found.append(_path(open_path, lookback_us))
                open_path = []
        if open_path:
            found.append(_path(open_path, lookback_us))
    return found


def _path(rows: list[Row], lookback_us: int):  # type: ignore[no-untyped-def]
    end = rows[-1]
    near = [r for r in rows if end["at"] - r["at"] <= lookback_us and r["channel"] is not None]
    converted = bool(end["conversion"])
    return tuple((r["channel"], r["at"]) for r in near), converted, (end["value_units"] or 0) if converted else 0


def shares(touches, model: str, half_life_us: float, ends: float) -> list[float]:  # type: ignore[no-untyped-def]
    n = len(touches)
    if n == 0:
        return []
    if model == "first":
        return [1.0] + [0.0] * (n - 1)
    if model == "last":
        return [0.0] * (n - 1) + [1.0]
    if model == "linear":
        return [1 / n] * n
    if model == "position":
        return {1: [1.0], 2: [0.5, 0.5]}.get(n) or [ends] + [(1 - 2 * ends) / (n - 2)] * (n - 2) + [ends]
    weights = [2.0 ** (-(touches[-1][1] - at) / half_life_us) for _, at in touches]
    return [weight / sum(weights) for weight in weights]


def shapley(players: list[str], worth) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """By every order in which the players can come."""
    total = dict.fromkeys(players, 0.0)
    for order in permutations(players):
        for place, player in enumerate(order):
            total[player] += worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place]))
    return {player: value / factorial(len(players)) for player, value in total.items()}


def subsets(mask: int) -> list[int]:
    bits = [1 << n for n in range(mask.bit_length()) if mask >> n & 1]
    return [sum(some) for some in chain.from_iterable(combinations(bits, n) for n in range(len(bits) + 1))]


def simulate(model: Chain, walks: int, seed: int) -> tuple[float, np.ndarray]:
    """(share of walks that convert, share that converts without coming to each channel), by walking at random."""
    draw = np.random.default_rng(seed)
    moves = model.moves.toarray()
    size = len(moves)
    # A step: to a state, or out by a conversion (size), or out without one (size + 1).
    table = np.cumsum(np.column_stack([moves, model.gains[:, 0]]), axis=1)
    start = int(np.flatnonzero(model.last < 0)[0])
    state, met = np.full(walks, start), np.zeros(walks, np.int64)
    sold, sold_without = 0, np.zeros(len(model.channels), np.int64)
    while len(state):
        step = (draw.random(len(state))[:, None] >= table[state]).sum(axis=1)
        done = met[step == size]
        sold += len(done)
        sold_without += [(done >> n & 1 == 0).sum() for n in range(len(model.channels))]
        on = step < size
        state = step[on]
        met = met[on] | (1 << model.last[state])
    return sold / walks, sold_without / walks
