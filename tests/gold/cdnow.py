"""The CDNOW data of Fader, Hardie & Lee (2005): 39 weeks to fit, 39 weeks to judge by."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

_FILE = Path(__file__).parents[1] / "data" / "cdnow_sample.parquet"
_END, _WEEK = date(1997, 9, 30), 7.0


def customers() -> pl.DataFrame:
    """customer_id, x, t_x, T, mean (dollars a repeat day) and later (repeat days in weeks 40 to 78), by customer_id."""
    days = (
        pl.read_parquet(_FILE)
        .group_by("customer_id", "date")
        .agg(pl.col("dollars").cast(float).sum())
        .sort("customer_id", "date")
    )
    day, known = pl.col("date"), pl.col("date") <= _END
    first = day.min()
    repeat = known & (day > first)
    return days.group_by("customer_id", maintain_order=True).agg(
        repeat.sum().cast(float).alias("x"),
        ((day.filter(known).max() - first).dt.total_days() / _WEEK).alias("t_x"),
        ((pl.lit(_END) - first).dt.total_days() / _WEEK).alias("T"),
        pl.col("dollars").filter(repeat).mean().alias("mean"),
        (~known).sum().cast(float).alias("later"),
    )


def histories() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, t_x, T of each customer."""
    rows = customers()
    return rows["x"].to_numpy(), rows["t_x"].to_numpy(), rows["T"].to_numpy()
