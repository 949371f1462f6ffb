"""Visits to the web site and the app: those that end in an order, those that a message led to, and the rest."""

from __future__ import annotations

import numpy as np
import polars as pl

from transforms.generator.clock import draw_moments
from transforms.generator.frames import HOUR, SECOND
from transforms.generator.orders import Orders
from transforms.generator.population import Population
from transforms.generator.randomness import choose
from transforms.generator.touches import NEVER

# Two visits of one customer record begin at least this far apart, and none lasts as long as this minus half an hour:
# a gap of 30 minutes cuts the events into exactly these visits.
APART = 4 * HOUR
ANONYMOUS_SHARE = 0.35
SOURCES = ("DIRECT", "ORGANIC_SEARCH", "PAID_SEARCH", "SOCIAL", "REFERRAL", "EMAIL", "SMS", "PUSH", "IN_APP")
_SOURCE_SHARES = (0.35, 0.3, 0.15, 0.12, 0.08)
_SOURCE_OF_KIND = np.array([5, 6, 7, 3, 8])


def draw_sessions(
    rng: np.random.Generator,
    population: Population,
    orders: Orders,
    touches: pl.DataFrame,
    campaigns: pl.DataFrame,
    per_order: float,
) -> pl.DataFrame:
    """One row a visit: record (-1 for a guest), visitor (the record behind it), at, order, campaign, source.

    `at` is the order's moment for a visit with an order (it ends just before), else the moment the visit begins.
    `order` and `campaign` are rows, or -1. `per_order`: mean number of visits without an order for each order.
    """
    who, when = draw_moments(
        rng, population.habit("active_from"), population.habit("left"),
        population.habit("rate") * per_order + 1.0, population.habit("hours"),
    )  # fmt: skip
    bought = orders.frame.with_row_index("order").filter(pl.col("sold") & (pl.col("channel") != "POS"))
    clicked = touches.filter(pl.col("clicked") != NEVER)
    browsing = pl.DataFrame({"record": population.record_at(rng, who, when), "at": when})
    visits = pl.concat([
        bought.select("record", "at", pl.col("order").cast(pl.Int64), "campaign", rank=pl.lit(0)),
        clicked.select("record", pl.col("clicked") + 3 * SECOND, pl.lit(-1, pl.Int64).alias("order"), "campaign",
                       rank=pl.lit(1)).rename({"clicked": "at"}),
        browsing.select("record", "at", pl.lit(-1, pl.Int64).alias("order"), pl.lit(-1, pl.Int64).alias("campaign"),
                        rank=pl.lit(2)),
    ], how="vertical_relaxed").sort("record", "at", "rank", maintain_order=True)  # fmt: skip
    visits = _apart(visits)
    anonymous = pl.Series(rng.random(visits.height) < ANONYMOUS_SHARE) & (visits["rank"] == 2)
    kinds = campaigns["kind"].to_numpy()
    campaign = visits["campaign"].to_numpy()
    source = np.where(
        campaign >= 0, _SOURCE_OF_KIND[kinds[np.maximum(campaign, 0)]], choose(rng, len(campaign), _SOURCE_SHARES)
    )
    return visits.select(
        "at", "order", "campaign", visitor="record",
        record=pl.when(anonymous).then(-1).otherwise(pl.col("record")), source=pl.Series(source),
    )  # fmt: skip


def _apart(visits: pl.DataFrame) -> pl.DataFrame:
    """Without the visits too near another one of the record; of two, the one with an order stays."""
    sells = pl.col("order") >= 0
    sale = pl.when(sells).then("at")
    visits = visits.with_columns(
        before=pl.col("at").shift(1).over("record"),
        sale_before=sale.shift(1).forward_fill().over("record"),
        sale_after=sale.shift(-1).backward_fill().over("record"),
    )
    free_before = (pl.col("at") - pl.col("before") >= APART).fill_null(True)
    sale_free = (pl.col("at") - pl.col("sale_before") >= APART).fill_null(True)
    free_after = (pl.col("sale_after") - pl.col("at") >= APART).fill_null(True)
    keep = (sells & sale_free) | (~sells & free_before & free_after) | (pl.col("record") < 0)
    return visits.filter(keep).drop("before", "sale_before", "sale_after")
