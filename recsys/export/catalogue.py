"""What the business rules know of each item: its category, its price and whether it can be had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Catalogue:
    """A row an item, in the order of the log's codes. `categories`: codes, -1 unknown; `prices`: NaN unknown."""

    categories: np.ndarray
    prices: np.ndarray
    in_stock: np.ndarray

    @classmethod
    def of(cls, item_ids: pl.Series, items: pl.DataFrame | None = None) -> Catalogue:
        """From columns item and, where there are any, category, price and in_stock; what is not told can be had.

        Of two rows of one item the last counts.
        """
        ids = pl.DataFrame({"item": item_ids.cast(pl.String)})
        kinds = {"category": pl.String, "price": pl.Float32, "in_stock": pl.Boolean}
        told = pl.DataFrame(schema={"item": pl.String}) if items is None else items
        missing = [pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in told.columns]
        told = told.with_columns(missing).select("item", *(pl.col(name).cast(kind) for name, kind in kinds.items()))
        rows = ids.join(told.unique("item", keep="last"), on="item", how="left", maintain_order="left")
        named = rows["category"].drop_nulls().unique().sort()
        codes = rows["category"].cast(pl.Enum(named)).to_physical().cast(pl.Int32).fill_null(-1)
        return cls(
            codes.to_numpy().astype(np.int32),
            rows["price"].fill_null(float("nan")).to_numpy().astype(np.float32),
            rows["in_stock"].fill_null(True).to_numpy().astype(bool),
        )
