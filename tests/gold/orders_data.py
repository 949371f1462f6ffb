"""Order histories for tests: real ones, and customers by the story of the BG/NBD."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from transforms.gold.value.ledger import ORDERS, Ledger, open_ledger

_RETAIL = Path(__file__).parents[1] / "data" / "online_retail_2009_2010.parquet"


def online_retail() -> Ledger:
    """The ledger of Online Retail II, first year."""
    rows = pl.read_parquet(_RETAIL).drop_nulls("Customer ID")
    orders = rows.select(
        pl.col("Customer ID").cast(pl.Int64).cast(pl.String).alias("customer"),
        pl.col("InvoiceDate").str.to_datetime(time_unit="us").dt.replace_time_zone("UTC").alias("at"),
        (pl.col("Quantity") * pl.col("Price") * 100).round().cast(pl.Int64).alias("amount_cents"),
        pl.col("Invoice").alias("order_id"),
        pl.lit(None, pl.String).alias("currency"),
    )  # fmt: skip
    return open_ledger(orders.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ORDERS))


def planted_orders(customers: int, days: int, seed: int = 5) -> pl.DataFrame:
    """Orders (columns of ORDERS) of customers who come in the first two thirds, buy at their rate and stop."""
    random = np.random.default_rng(seed)
    start = datetime(2021, 1, 1, tzinfo=UTC)
    rate, stop = random.gamma(1.0, 1 / 40.0, customers), random.beta(0.8, 3.0, customers)
    mean = random.gamma(4.0, 1.0, customers) * 1000 + 500
    now = random.uniform(0, days * 2 / 3, customers)
    here, parts = np.arange(customers), []
    while len(here):
        amount = random.gamma(5.0, mean[here] / 5.0)
        parts.append(pl.DataFrame({"owner": here, "day": now[here], "amount": amount}))
        here = here[random.random(len(here)) >= stop[here]]
        now[here] += random.exponential(1.0, len(here)) / rate[here]
        here = here[now[here] < days]
    rows = pl.concat(parts).with_row_index("order")
    return rows.select(
        (pl.lit("c") + pl.col("owner").cast(pl.String).str.zfill(7)).alias("customer"),
        (pl.lit(start) + pl.duration(seconds=(pl.col("day") * 86_400).cast(pl.Int64))).alias("at"),
        pl.col("amount").round().cast(pl.Int64).alias("amount_cents"),
        pl.col("order").cast(pl.String).alias("order_id"),
        pl.lit(None, pl.String).alias("currency"),
    )


def planted(customers: int, days: int, seed: int = 5) -> Ledger:
    """The ledger of `planted_orders`."""
    orders = planted_orders(customers, days, seed)
    return open_ledger(orders.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ORDERS))


def planted_seasonal(customers: int, days: int, seed: int = 5) -> Ledger:
    """The ledger of `planted_orders` of which half are left in summer and all in the middle of November."""
    orders = planted_orders(customers, days, seed)
    day = orders["at"].dt.epoch("d").to_numpy()
    kept = 0.45 + 0.55 * np.exp(4 * (np.cos(2 * np.pi * (day - 320) / 365.25) - 1))
    orders = orders.filter(pl.Series(np.random.default_rng(seed).random(len(day)) < kept))
    return open_ledger(orders.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ORDERS))
