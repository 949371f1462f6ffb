"""Messages of campaigns to customer records, and how far each one gets."""

from __future__ import annotations

import numpy as np
import polars as pl

from transforms.generator.frames import DAY, HOUR, MINUTE, SECOND
from transforms.generator.population import Population
from transforms.generator.randomness import choose

AUDIENCE_SHARE = 0.42
NEVER = np.iinfo(np.int64).max
_BOUNCED, _CLICKS, _LEAVES = 0.03, 0.28, 0.012


def draw_touches(
    rng: np.random.Generator, population: Population, campaigns: pl.DataFrame, audience: float = AUDIENCE_SHARE
) -> pl.DataFrame:
    """One row a message: record, campaign (rows), sent, delivered, opened, clicked, left (microseconds or NEVER).

    Each campaign reaches a random share of the records that exist by then, so that those it did not reach are a fair
    comparison. Nobody who has left the shop opens a message, and nobody gets one after unsubscribing.
    """
    since = population.records["since"].to_numpy()
    hit = rng.random((len(since), campaigns.height)) < audience
    record, campaign = np.nonzero(hit)
    start, end = campaigns["start"].to_numpy()[campaign], campaigns["end"].to_numpy()[campaign]
    sent = start + (rng.random(len(record)) ** 2 * np.maximum(end - start - DAY, 0)).astype(np.int64) // DAY * DAY
    sent += (choose(rng, len(record), (1, 2, 2, 1)) * 3 + 8) * HOUR + rng.integers(0, 40 * MINUTE, len(record))
    kept = since[record] <= sent
    touches = follow(rng, population, record[kept], campaign[kept], sent[kept])
    return silence(touches)


def follow(
    rng: np.random.Generator, population: Population, record: np.ndarray, campaign: np.ndarray, sent: np.ndarray
) -> pl.DataFrame:
    """What becomes of messages: each is delivered or bounces, is opened or not, clicked or not."""
    size = len(record)
    delivered = np.where(rng.random(size) < _BOUNCED, NEVER, sent + rng.integers(SECOND, MINUTE, size))
    opened = delivered + (np.minimum(rng.lognormal(4.5, 1.3, size), 7_000) * MINUTE).astype(np.int64)
    gone = opened >= population.habit("left", record)
    opens = (delivered != NEVER) & (rng.random(size) < population.habit("openness", record)) & ~gone
    clicked = opened + (rng.lognormal(0.3, 0.8, size).clip(0.1, 600) * MINUTE).astype(np.int64)
    clicks = opens & (rng.random(size) < _CLICKS) & (clicked < population.habit("left", record))
    left = opened + rng.integers(20 * SECOND, 10 * MINUTE, size)
    leaves = opens & ~clicks & (rng.random(size) < _LEAVES)
    return pl.DataFrame({
        "record": record,
        "campaign": campaign,
        "sent": sent,
        "delivered": delivered,
        "opened": np.where(opens, opened, NEVER),
        "clicked": np.where(clicks, clicked, NEVER),
        "left": np.where(leaves, left, NEVER),
    })  # fmt: skip


def silence(touches: pl.DataFrame) -> pl.DataFrame:
    """Without the messages sent to a record after it unsubscribed."""
    return touches.filter(pl.col("sent") <= pl.col("left").min().over("record"))


def clicks_that_sell(rng: np.random.Generator, touches: pl.DataFrame, campaigns: pl.DataFrame) -> pl.DataFrame:
    """The touches that cause an order, with its moment `at`: by each campaign's lift, mostly within two days."""
    clicked = touches.with_row_index("touch").filter(pl.col("clicked") != NEVER)
    lift = campaigns["lift"].to_numpy()[clicked["campaign"].to_numpy()]
    sells = rng.random(clicked.height) < lift
    delay = np.minimum(rng.exponential(0.8, clicked.height), 6.0) * DAY
    at = clicked["clicked"].to_numpy() + 3 * MINUTE + delay.astype(np.int64)
    return clicked.with_columns(at=pl.Series(at)).filter(pl.Series(sells))


def pick_campaigns(rng: np.random.Generator, campaigns: pl.DataFrame, at: np.ndarray, longest: int) -> np.ndarray:
    """For each moment a campaign that began a day before it or earlier and ended within `longest`; -1 if none did."""
    start, end = campaigns["start"].to_numpy(), campaigns["end"].to_numpy()
    fits = (start[None, :] + DAY <= at[:, None]) & (at[:, None] < end[None, :] + longest)
    counts = fits.sum(axis=1)
    wanted = (rng.random(len(at)) * counts).astype(np.int64)
    column = np.nonzero(fits)[1]
    starts = np.cumsum(counts) - counts
    found = np.full(len(at), -1)
    found[counts > 0] = column[(starts + wanted)[counts > 0]]
    return found


def steps(touches: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every step of every message: touch (row), step (0 sent … 4 unsubscribed), moment; in order of the touch."""
    times = touches.select("sent", "delivered", "opened", "clicked", "left").to_numpy()
    touch, step = np.nonzero(times != NEVER)
    return touch, step, times[touch, step]
