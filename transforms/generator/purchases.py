"""Made-up orders: who buys when, in which channel, and because of which message."""

from __future__ import annotations

import numpy as np
import polars as pl

from transforms.generator.clock import draw_moments
from transforms.generator.frames import DAY
from transforms.generator.population import CHANNELS, Population
from transforms.generator.randomness import choose

GUEST_SHARE = 0.04
RETURNED_SHARE, EXCHANGED_SHARE = 0.07, 0.06
STATUSES = ("COMPLETED", "FAILED", "CANCELLED", "PENDING")
TYPES = ("PURCHASE", "RETURN", "REFUND", "EXCHANGE")


def draw_purchases(rng: np.random.Generator, population: Population, causes: pl.DataFrame, end_us: int) -> pl.DataFrame:
    """One row a purchase in order of time: record, at, channel (index), status (index), touch (row, or -1).

    Organic purchases follow each person's rate between `active_from` and `left`; `causes` (record, touch, at) adds
    the purchases that messages cause, none of them after the person left.
    """
    who, at = draw_moments(
        rng, population.habit("active_from"), population.habit("left"), population.habit("rate"),
        population.habit("hours"),
    )  # fmt: skip
    record = population.record_at(rng, who, at)
    still = causes["at"].to_numpy() < np.minimum(population.habit("left", causes["record"].to_numpy()), end_us)
    caused = causes.filter(pl.Series(still))
    frame = pl.concat([
        pl.DataFrame({"record": record, "at": at, "touch": np.full(len(at), -1)}),
        caused.select("record", "at", pl.col("touch").cast(pl.Int64)),
    ], how="vertical_relaxed").sort("at", "record", maintain_order=True)  # fmt: skip
    size, touch = frame.height, frame["touch"].to_numpy()
    record = frame["record"].to_numpy()
    habit = population.habit("channel", record)
    channel = np.where(rng.random(size) < 0.7, habit, choose(rng, size, (0.5, 0.25, 0.18, 0.07)))
    channel = np.where((touch >= 0) & (channel == CHANNELS.index("POS")), 0, channel)
    guest = (rng.random(size) < GUEST_SHARE) & (touch < 0)
    status = np.where(touch >= 0, 0, choose(rng, size, (0.965, 0.012, 0.013, 0.01)))
    return frame.with_columns(
        record=pl.Series(np.where(guest, -1, record)), buyer=pl.Series(record), channel=pl.Series(channel),
        status=pl.Series(status),
    )  # fmt: skip


def draw_returns(
    rng: np.random.Generator, population: Population, purchases: pl.DataFrame, end_us: int
) -> pl.DataFrame:
    """One row a return: of (row of `purchases`), at, kind (index into TYPES); days to weeks later, in order of `of`."""
    completed = (purchases["status"] == 0).to_numpy()
    of = np.flatnonzero(completed & (rng.random(purchases.height) < RETURNED_SHARE))
    at = purchases["at"].to_numpy()[of] + ((rng.gamma(2.0, 4.0, len(of)) + 1) * DAY).astype(np.int64)
    known = at < np.minimum(population.habit("left", purchases["buyer"].to_numpy()[of]), end_us)
    kind = 1 + choose(rng, len(of), (1 - EXCHANGED_SHARE - 0.1, 0.1, EXCHANGED_SHARE))
    return pl.DataFrame({"of": of, "at": at, "kind": kind}).filter(pl.Series(known))
