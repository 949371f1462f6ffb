"""What campaigns change: buyers among those reached beside buyers among the others, with a confidence interval.

Sources: Wilson, "Probable inference, the law of succession, and statistical inference", 1927; Newcombe, "Interval
estimation for the difference between independent proportions", Statistics in Medicine 17, 1998, method 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold.engagement.messages import read_messages
from transforms.gold.frames import ID, frame, money, until
from transforms.gold.orders import COMPLETED, PURCHASE

AFTER_DAYS = 7  # after a campaign's end in which a purchase counts
_Z95 = 1.959963984540054
INPUTS: Mapping[str, tuple[str, ...]] = {
    "CUSTOMERS": (ID, "REGISTRATION_DATE"),
    "CUSTOMER_TRANSACTIONS": (ID, "TRANSACTION_DATE", "TRANSACTION_TYPE", "TRANSACTION_STATUS"),
}
CAMPAIGN_COLUMNS = ("CAMPAIGN_ID", "CAMPAIGN_NAME", "CAMPAIGN_TYPE", "START_DATE", "END_DATE", "SPENT_AMOUNT")
EFFECT_COUNTS: pa.Schema = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        *(
            pa.field(name, pa.int64(), nullable=False)
            for name in ("reached", "reached_buyers", "others", "other_buyers")
        ),
    ]
)
EFFECTS: pa.Schema = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("campaign_name", pa.string()),
        pa.field("campaign_type", pa.string()),
        pa.field("spent_amount", pa.decimal128(18, 2)),  # null: not known
        pa.field("reached_customers", pa.int64(), nullable=False),
        pa.field("reached_buyers", pa.int64(), nullable=False),
        pa.field("other_customers", pa.int64(), nullable=False),
        pa.field("other_buyers", pa.int64(), nullable=False),
        *(pa.field(f"{who}_{what}", pa.float64()) for who in ("reached", "other") for what in ("rate", "low", "high")),
        *(pa.field(f"uplift{what}", pa.float64()) for what in ("", "_low", "_high")),  # difference of the rates, 95 %
        pa.field("extra_buyers", pa.float64()),  # uplift times reached
        pa.field("spent_per_extra_buyer", pa.float64()),  # null where there is none, or no spend
    ]
)


def count_effects(bucket: Mapping[str, pa.Table], campaigns: pa.Table, as_of: datetime) -> pa.Table:
    """Customers of a bucket by campaign, reached or not, and who of them bought; schema EFFECT_COUNTS.

    A customer registered by the campaign's start is reached if a message of it was delivered to them. Buyers have a
    completed purchase from START_DATE to AFTER_DAYS after END_DATE, for both groups alike. This is a fair comparison
    where a campaign picks whom it reaches at random; where it picks its best customers, it tells that too.
    """
    people = frame(bucket.get("CUSTOMERS"), CONTRACTS["CUSTOMERS"].arrow, INPUTS["CUSTOMERS"]).drop_nulls(ID)
    name = "CUSTOMER_TRANSACTIONS"
    orders = until(frame(bucket.get(name), CONTRACTS[name].arrow, INPUTS[name]), "TRANSACTION_DATE", as_of)
    bought = orders.filter(COMPLETED & PURCHASE).drop_nulls(ID).select(ID, "TRANSACTION_DATE")
    messages = read_messages(bucket, as_of).filter("delivered").select(ID, "campaign").unique()
    rows = []
    for campaign in pl.DataFrame(pl.from_arrow(campaigns.select(CAMPAIGN_COLUMNS))).sort("CAMPAIGN_ID").to_dicts():
        begins, ends = campaign["START_DATE"], campaign["END_DATE"]
        if begins is None or ends is None:
            continue
        first = datetime.combine(begins, time.min, UTC)
        last = datetime.combine(ends, time.min, UTC) + timedelta(days=AFTER_DAYS + 1)
        there = people.filter(pl.col("REGISTRATION_DATE") <= begins).select(ID)
        buyers = bought.filter(pl.col("TRANSACTION_DATE").is_between(first, last, closed="left")).select(ID).unique()
        hit = messages.filter(pl.col("campaign") == campaign["CAMPAIGN_ID"]).select(ID)
        reached = there.join(hit, on=ID, how="semi")
        others = there.join(hit, on=ID, how="anti")
        counts = [reached.height, reached.join(buyers, on=ID, how="semi").height,
                  others.height, others.join(buyers, on=ID, how="semi").height]  # fmt: skip
        rows.append([campaign["CAMPAIGN_ID"], *counts])
    return pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * 5, schema=EFFECT_COUNTS)


def merge_effects(parts: Iterable[pa.Table]) -> pa.Table:
    """The counts of all customers; neither order nor grouping matters."""
    tables = [part.cast(EFFECT_COUNTS) for part in parts] or [EFFECT_COUNTS.empty_table()]
    rows = pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))
    return rows.group_by("campaign_id").agg(pl.all().sum()).sort("campaign_id").to_arrow().cast(EFFECT_COUNTS)


def measure_effects(counts: pa.Table, campaigns: pa.Table) -> pa.Table:
    """Rates, uplift and their 95 % intervals by campaign; schema EFFECTS, ordered by campaign_id."""
    told = pl.DataFrame(pl.from_arrow(campaigns.select(CAMPAIGN_COLUMNS))).rename(str.lower)
    rows = pl.DataFrame(pl.from_arrow(counts)).join(told, on="campaign_id", how="left").sort("campaign_id")
    x, n, y, m = (rows[name].to_numpy() for name in ("reached_buyers", "reached", "other_buyers", "others"))
    (p, p_low, p_high), (q, q_low, q_high) = wilson(x, n), wilson(y, m)
    low, high = newcombe(x, n, y, m)
    spent = rows["spent_amount"].cast(pl.Float64).to_numpy().astype(float)
    extra = (p - q) * n
    with np.errstate(divide="ignore", invalid="ignore"):
        per_buyer = np.where(extra > 0, spent / extra, np.nan)
    floats = {"reached_rate": p, "reached_low": p_low, "reached_high": p_high, "other_rate": q, "other_low": q_low,
              "other_high": q_high, "uplift": p - q, "uplift_low": low, "uplift_high": high, "extra_buyers": extra,
              "spent_per_extra_buyer": per_buyer}  # fmt: skip
    table = rows.with_columns(pl.Series(name, values).fill_nan(None) for name, values in floats.items())
    plain = table.rename({"reached": "reached_customers", "others": "other_customers"}).to_arrow()
    columns = [
        money(_cents(plain[f.name])) if f.name == "spent_amount" else plain[f.name].cast(f.type) for f in EFFECTS
    ]
    return pa.Table.from_arrays(columns, schema=EFFECTS)


def wilson(successes: np.ndarray, trials: np.ndarray, z: float = _Z95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(share, low, high) of the Wilson score interval; NaN without trials."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = successes / trials
        centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
        half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
        low, high = np.where(successes == 0, 0.0, centre - half), np.where(successes == trials, 1.0, centre + half)
    unknown = trials == 0
    return share, np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def newcombe(
    x: np.ndarray, n: np.ndarray, y: np.ndarray, m: np.ndarray, z: float = _Z95
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the difference x/n - y/m, from the two Wilson intervals; NaN without trials."""
    (p, p_low, p_high), (q, q_low, q_high) = wilson(x, n, z), wilson(y, m, z)
    low = p - q - np.sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = p - q + np.sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return low, high


def _cents(amount: pa.ChunkedArray) -> pa.ChunkedArray:
    return pl.Series(amount).cast(pl.Decimal(18, 2)).to_physical().cast(pl.Int64).to_arrow().cast(pa.int64())
