"""Touchpoints whose causes are known: the answer sheet for attribution, where the last touch is not the cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.randomness import stream
from transforms.gold.attribution.touchpoints import TOUCHPOINTS, VALUE_UNITS

_DAY_US = 86_400_000_000
_START_US = 14_610 * _DAY_US  # 2010-01-01


@dataclass(frozen=True)
class PlantedChannel:
    """`reach`: the share of persons who meet it; `lift`: the probability that meeting it alone makes one buy; `day`: of
    30, about when it is met."""

    name: str
    reach: float
    lift: float
    day: float

    def __post_init__(self) -> None:
        if not (0 <= self.reach <= 1 and 0 <= self.lift < 1 and 0 <= self.day <= 30):
            raise ValueError(f"reach and lift are shares, day is 0 to 30: {self}")


# Two causes early on, and two channels that are met late by buyers and others alike.
CLOSERS = (
    PlantedChannel("DISPLAY", 0.25, 0.4, 3),
    PlantedChannel("EMAIL", 0.25, 0.25, 11),
    PlantedChannel("COUPON_SITE", 0.25, 0.0, 20),
    PlantedChannel("BRAND_SEARCH", 0.3, 0.0, 27),
)


def plant_touchpoints(
    seed: int, persons: int, channels: tuple[PlantedChannel, ...] = CLOSERS, base: float = 0.005
) -> pa.Table:
    """Touchpoints of persons who buy by chance (`base`) or because of a channel they met; schema TOUCHPOINTS.

    Each channel is met or not independently of the others, so that what a channel causes is `caused_conversions`.
    """
    rng = stream(seed, "touchpoints")
    met = rng.random((persons, len(channels))) < [c.reach for c in channels]
    fails = np.where(met, 1 - np.array([c.lift for c in channels]), 1.0).prod(axis=1) * (1 - base)
    buys = np.flatnonzero(rng.random(persons) >= fails)
    who, which = np.nonzero(met)
    day = np.array([c.day for c in channels])[which] + rng.random(len(who)) * 3
    at = _START_US + (day * _DAY_US).astype(np.int64)
    touched = _rows(who, at, np.array([c.name for c in channels], dtype=object)[which], False, 0)
    bought_at = _START_US + ((31 + rng.random(len(buys))) * _DAY_US).astype(np.int64)
    worth = rng.integers(500, 20_000, len(buys)) * (VALUE_UNITS // 100)
    bought = _rows(buys, bought_at, np.full(len(buys), None, dtype=object), True, worth)
    rows = pl.concat([touched, bought]).sort("time", "person")
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(TOUCHPOINTS)


def caused_conversions(
    persons: int, channels: tuple[PlantedChannel, ...] = CLOSERS, base: float = 0.005
) -> dict[str, float]:
    """How many conversions would be lost on average without each channel."""
    fails = np.array([1 - c.reach * c.lift for c in channels])
    lost = [persons * (1 - base) * (fails.prod() / own - fails.prod()) for own in fails]
    return {channel.name: float(count) for channel, count in zip(channels, lost, strict=True)}


def _rows(
    who: np.ndarray, at: np.ndarray, channel: np.ndarray, converted: bool, units: np.ndarray | int
) -> pl.DataFrame:
    size = len(who)
    return pl.DataFrame(
        {
            "person": pl.Series(who).cast(pl.String).str.zfill(7),
            "channel": pl.Series(channel.tolist(), dtype=pl.String),
            "time": pl.Series(at).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "conversion": pl.Series([converted], dtype=pl.Boolean).new_from_index(0, size),
            "value_units": pl.Series(np.broadcast_to(units, size).astype(np.int64)),
        }
    )
