"""What the lake knows of who is who, as aggregates: no key, no name, no value."""

from __future__ import annotations

from itertools import pairwise
from math import log2
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.config import Lake
from transforms.identity.rules import IdentityRules
from transforms.io.delta import open_table, read_table

_OLDEST = pl.CompatLevel.oldest()
_BANDS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1.0)
_LARGEST = _BORDERLINE = 10


def gather(lake: Lake) -> dict[str, Any]:
    """`identity` (totals), `identity_scores`, `identity_sizes`, `identity_largest`, `identity_borderline`.

    Today is the latest moment at which identities changed.
    """
    if open_table(lake.identity_map) is None or open_table(lake.identity_events) is None:
        return {}
    map = pl.DataFrame(read_table(lake.identity_map, columns=("record", "person_id")))
    events = pl.DataFrame(read_table(lake.identity_events, columns=("kind", "at", "previous_person_id")))
    today = events.filter(pl.col("at") == pl.col("at").max())
    sizes = map.group_by("person_id").agg(pl.len().alias("records"))
    merged = today.filter(pl.col("kind") == "merged")["previous_person_id"].n_unique()
    totals = {"records": map.height, "persons": sizes.height, "merged_today": merged}
    totals |= {f"{kind}_today": today.filter(pl.col("kind") == kind).height for kind in ("created", "joined", "split")}
    by_size = sizes.group_by("records").agg(pl.len().alias("persons")).sort("records")
    found = {"identity": totals, "identity_sizes": by_size}
    columns = ("left", "right", "probability", "kind", "same_person", "evidence")
    if open_table(lake.identity_links) is not None:
        links = pl.DataFrame(read_table(lake.identity_links, columns=columns))
        found |= _of_links(links) | {"identity_largest": _largest(sizes, map, links)}
    return {name: v.to_arrow(compat_level=_OLDEST) if isinstance(v, pl.DataFrame) else v for name, v in found.items()}


def _largest(sizes: pl.DataFrame, map: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """The largest persons by rank: records, links between them, how many of these prove, the weakest probability."""
    rows = sizes.sort("records", "person_id", descending=[True, False]).head(_LARGEST).with_row_index("rank", 1)
    records = map.join(rows, on="person_id").select(left="record", rank="rank")
    held = links.filter("same_person").join(records, on="left").group_by("rank").agg(
        pl.len().alias("links"),
        (pl.col("kind") == "deterministic").sum().alias("proven"),
        pl.col("probability").min().alias("weakest"),
    )  # fmt: skip
    found = rows.join(held, on="rank", how="left").sort("rank")
    return found.select("rank", "records", pl.col("links", "proven").fill_null(0), "weakest")


def _of_links(links: pl.DataFrame) -> dict[str, Any]:
    scores = [
        {"low": low, "high": high, "pairs": part.height, "one_person": int(part["same_person"].sum())}
        for low, high in pairwise(_BANDS)
        for part in [links.filter((pl.col("probability") > low) & (pl.col("probability") <= high))]
    ]
    bits = (pl.col("probability") / (1 - pl.col("probability"))).log(2)
    limit = IdentityRules().match_probability
    far = (bits - log2(limit / (1 - limit))).abs()
    borderline = links.drop_nulls("evidence").sort(far, "left", "right").head(_BORDERLINE).sort("probability")
    return {
        "identity_scores": pa.Table.from_pylist(scores),
        "identity_borderline": borderline.select("probability", "same_person", "evidence"),
    }
