"""What a campaign's spend brought: credit beside MARKETING_CAMPAIGNS.SPENT_AMOUNT."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.gold.frames import money

CAMPAIGN_COLUMNS = ("CAMPAIGN_ID", "CAMPAIGN_NAME", "CAMPAIGN_TYPE", "SPENT_AMOUNT")
CAMPAIGN_RETURNS: pa.Schema = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("campaign_name", pa.string()),  # null: credited, but not in MARKETING_CAMPAIGNS
        pa.field("campaign_type", pa.string()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("conversions", pa.float64(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("spent_amount", pa.decimal128(18, 2)),
        pa.field("return_on_spend", pa.float64()),  # (value - spent) / spent; null where nothing is known to be spent
        pa.field("spent_per_conversion", pa.float64()),
    ]
)


def campaign_returns(attribution: pa.Table, campaigns: pa.Table) -> pa.Table:
    """One row a campaign and model; schema CAMPAIGN_RETURNS, ordered by both.

    A campaign of MARKETING_CAMPAIGNS without any credit has 0 under each model. Spend is taken to be in the currency
    of the values. One that spent nothing, or whose spend is not known, has no return.

    Args:
      attribution: ATTRIBUTION by campaign; labels in brackets are no campaigns and left out.
      campaigns: silver MARKETING_CAMPAIGNS with CAMPAIGN_COLUMNS.
    """
    credit = pl.DataFrame(pl.from_arrow(attribution)).filter(~pl.col("channel").str.starts_with("("))
    credit = credit.select(pl.col("channel").alias("campaign_id"), "model", "conversions", "value")
    told = pl.DataFrame(pl.from_arrow(campaigns.select(CAMPAIGN_COLUMNS))).rename(str.lower)
    models = pl.DataFrame(pl.from_arrow(attribution)).select("model").unique()
    every = pl.concat(
        [told.select("campaign_id").join(models, how="cross"), credit.select("campaign_id", "model")]
    ).unique()
    rows = every.join(credit, on=["campaign_id", "model"], how="left").join(told, on="campaign_id", how="left")
    rows = rows.with_columns(pl.col("conversions", "value").fill_null(0.0)).sort("campaign_id", "model")
    spent = rows["spent_amount"].cast(pl.Float64).fill_null(0.0).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.where(spent > 0, (rows["value"].to_numpy() - spent) / spent, np.nan)
        each = np.where(
            (spent > 0) & (rows["conversions"].to_numpy() > 0), spent / rows["conversions"].to_numpy(), np.nan
        )
    table = rows.with_columns(
        pl.Series("return_on_spend", returns).fill_nan(None),
        pl.Series("spent_per_conversion", each).fill_nan(None),
        pl.col("spent_amount").cast(pl.Decimal(18, 2)).to_physical().cast(pl.Int64),
    ).to_arrow()  # fmt: skip
    columns = [
        money(table[f.name]) if f.name == "spent_amount" else table[f.name].cast(f.type) for f in CAMPAIGN_RETURNS
    ]
    return pa.Table.from_arrays(columns, schema=CAMPAIGN_RETURNS)
