"""What is in made-up orders and what goes back, with money that adds up."""

from __future__ import annotations

import numpy as np
import polars as pl

from transforms.generator.catalogue import COLOURS, SIZES, Catalogue
from transforms.generator.population import Population
from transforms.generator.purchases import TYPES
from transforms.generator.randomness import choose, gather, within

_REDUCTIONS = np.array([0, 5, 10, 20, 30])
TASTE_SHARE = 0.8
EXCHANGE = TYPES.index("EXCHANGE")


def draw_lines(
    rng: np.random.Generator, population: Population, catalogue: Catalogue, purchases: pl.DataFrame
) -> pl.DataFrame:
    """One row a product line, in order of the purchase: purchase (row), product (row), quantity, cents (unit price),
    percent and reduction (cents), total (cents), rating, size, colour."""
    counts = 1 + np.minimum(rng.poisson(1.7, purchases.height), 12)
    purchase = np.repeat(np.arange(purchases.height), counts)
    size = len(purchase)
    taste = population.drawn_taste(rng, purchases["buyer"].to_numpy()[purchase])
    elsewhere = choose(rng, size, catalogue.popularity)
    product = catalogue.draw(rng, np.where(rng.random(size) < TASTE_SHARE, taste, elsewhere))
    quantity = np.minimum(rng.geometric(0.65, size), 50)
    cents = catalogue.products["cents"].to_numpy()[product]
    percent = _REDUCTIONS[choose(rng, size, (0.84, 0.04, 0.06, 0.04, 0.02))]
    reduction = quantity * cents * percent // 100
    sized = catalogue.products["sized"].to_numpy()[product]
    coloured = rng.random(size) < 0.4
    return pl.DataFrame({
        "purchase": purchase,
        "product": product,
        "quantity": quantity,
        "cents": cents,
        "percent": percent,
        "reduction": reduction,
        "total": quantity * cents - reduction,
        "rating": pl.Series(np.clip(rng.binomial(5, 0.82, size), 1, 5)).set(pl.Series(rng.random(size) > 0.2), None),
        "size": gather(SIZES, np.where(sized, choose(rng, size, (1, 3, 4, 3, 1)), -1)),
        "colour": gather(COLOURS, np.where(coloured, rng.integers(0, len(COLOURS), size), -1)),
    })  # fmt: skip


def draw_returned_lines(rng: np.random.Generator, lines: pl.DataFrame, returns: pl.DataFrame) -> pl.DataFrame:
    """The lines of returns, in order of `returns`: columns of `draw_lines` without purchase, and return_row, sign.

    Some lines of the purchase go back whole, at the price paid; reduced goods cannot be returned. An exchange has
    each line twice, once back (sign -1) and once out again (sign 1).
    """
    first = np.searchsorted(lines["purchase"].to_numpy(), returns["of"].to_numpy())
    counts = np.searchsorted(lines["purchase"].to_numpy(), returns["of"].to_numpy(), side="right") - first
    row = np.repeat(first, counts) + within(counts)
    return_row = np.repeat(np.arange(returns.height), counts)
    kept = (lines["percent"].to_numpy()[row] == 0) & (rng.random(len(row)) < 0.6)
    row, return_row = row[kept], return_row[kept]
    back = (
        lines[row]
        .drop("purchase")
        .with_columns(return_row=pl.Series(return_row), sign=pl.lit(-1, pl.Int64), rating=pl.lit(None, pl.Int64))
    )
    swapped = pl.Series(returns["kind"].to_numpy()[return_row] == EXCHANGE)
    again = back.filter(swapped).with_columns(sign=-pl.col("sign"))
    return pl.concat([back, again]).sort("return_row", "sign", maintain_order=True)
