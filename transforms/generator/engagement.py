"""CUSTOMER_ENGAGEMENT_EVENTS: one row for each step a message made."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.campaigns import KINDS
from transforms.generator.frames import MINUTE, finish
from transforms.generator.places import COUNTRIES
from transforms.generator.population import DEVICES, Population
from transforms.generator.randomness import gather
from transforms.generator.touches import NEVER, steps

ACTIONS = ("SENT", "DELIVERED", "OPENED", "CLICKED", "UNSUBSCRIBED")
CLICKED = ACTIONS.index("CLICKED")


def write_engagement(
    population: Population, touches: pl.DataFrame, campaigns: pl.DataFrame, bought: np.ndarray, shard: int, end_us: int
) -> pa.Table:
    """Rows in order of time; a message's later steps repeat how long opening and clicking took, in minutes.

    Args:
      bought: touches (rows) after which the marketing tool saw a purchase.
    """
    touch, step, at = steps(touches)
    order = np.argsort(at, kind="stable")
    order = order[at[order] < end_us]
    touch, step, at = touch[order], step[order], at[order]
    row = touches[touch]
    campaign = campaigns[row["campaign"].to_numpy()]
    record = row["record"].to_numpy()
    country = population.habit("country", record)
    sold = np.isin(touch, bought) & (step == CLICKED)
    bounced = row["delivered"].to_numpy() == NEVER
    frame = pl.DataFrame({
        "ENGAGEMENT_ID": engagement_ids(shard, touch, step),
        "CUSTOMER_ID": population.customer_ids(record),
        "ENGAGEMENT_TYPE": gather(KINDS, campaign["kind"].to_numpy()),
        "ENGAGEMENT_DATE": at,
        "CAMPAIGN_ID": campaign["CAMPAIGN_ID"],
        "CAMPAIGN_NAME": campaign["CAMPAIGN_NAME"],
        "MESSAGE_SUBJECT": campaign["subject"],
        "MESSAGE_CONTENT": "Hello! " + campaign["subject"] + ". See what is new at https://shop.example",
        "ENGAGEMENT_ACTION": gather(ACTIONS, step),
        "ENGAGEMENT_STATUS": gather(("SUCCESS", "BOUNCED"), bounced.astype(np.int64)),
        "DEVICE_TYPE": gather(DEVICES, np.where(step >= 2, population.habit("device", record), -1)),
        "LOCATION_COUNTRY": gather([c.alpha3 for c in COUNTRIES], np.where(step >= 2, country, -1)),
        "TIME_TO_OPEN": minutes(row["opened"] - row["delivered"], step >= 2),
        "TIME_TO_CLICK": minutes(row["clicked"] - row["delivered"], step == CLICKED),
        "CONVERSION_RESULT": gather(("PURCHASE",), np.where(sold, 0, -1)),
    })  # fmt: skip
    return finish("CUSTOMER_ENGAGEMENT_EVENTS", frame)


def engagement_ids(shard: int, touch: np.ndarray, step: np.ndarray) -> pl.Series:
    """ENGAGEMENT_ID of a step of a message."""
    parts = pl.DataFrame({"t": pl.Series(touch).cast(pl.String).str.zfill(7), "s": step})
    return parts.select(e=pl.format(f"G{shard:05d}-{{}}-{{}}", "t", "s"))["e"]


def minutes(span: pl.Series, where: np.ndarray) -> pl.Series:
    """Whole minutes, null elsewhere."""
    return (span // MINUTE).set(pl.Series(~where), None)
