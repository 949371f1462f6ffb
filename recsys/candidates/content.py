"""What is like what the person took by its words, so that an item nobody took can be found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys.interactions import Histories, Log


@dataclass(frozen=True)
class Content:
    """Cosine of TF-IDF of words. `words`: columns item (id) and text; items without text have no score."""

    words: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"item": pl.String, "text": pl.String}))
    half_life_items: float = 10.0
    name: str = "content"

    def fit(self, log: Log) -> FittedContent:
        code = pl.DataFrame({"item": log.item_ids.cast(pl.String), "code": np.arange(len(log.item_ids))})
        split = pl.col("text").str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]{2,}")
        tokens = self.words.drop_nulls().join(code, on="item").select("code", split.list.unique().alias("word"))
        tokens = tokens.explode("word").drop_nulls().unique()
        common = tokens.group_by("word").len().filter(pl.col("len") > 1).sort("word").with_row_index("column")
        tokens = tokens.join(common, on="word").sort("code", "column")
        rarity = np.log(len(log.item_ids) / tokens["len"].to_numpy())
        made = sp.csr_matrix(
            (rarity.astype(np.float32), (tokens["code"].to_numpy(), tokens["column"].to_numpy())),
            shape=(len(log.item_ids), common.height),
        )
        norms = np.sqrt(np.asarray(made.multiply(made).sum(1)).ravel())
        return FittedContent(
            sp.diags(1 / np.maximum(norms, 1e-9)).tocsr().astype(np.float32) @ made, self.half_life_items
        )


@dataclass(frozen=True)
class FittedContent:
    """`vectors`: items by words, of length 1 or 0."""

    vectors: sp.csr_matrix
    half_life_items: float

    def score(self, histories: Histories) -> np.ndarray:
        taste = histories.matrix(0.5 ** (histories.places / self.half_life_items)) @ self.vectors
        return (taste @ self.vectors.T).toarray()
