"""Connected components in rounds, for links that no single worker holds.

Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii (2014), Connected Components in MapReduce and Beyond, SoCC:
alternating large stars (each node hands its larger neighbours to its smallest one) and small stars (each node hands its
smaller neighbours to the smallest), the links become stars around the smallest node of each component. Both are one
step here: every node learns its lowest neighbour, then every link is hooked to the lowest of one of its ends.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.identity.components import label_components

# `low` < `high` by their UTF-8 bytes.
LINKS = pa.schema([pa.field("low", pa.string(), nullable=False), pa.field("high", pa.string(), nullable=False)])
# What some links say of a node: its lowest neighbour or itself, how many links, and whether it is no part of a star.
LOWEST = pa.schema(
    [
        pa.field("node", pa.string(), nullable=False),
        pa.field("lowest", pa.string(), nullable=False),  # of itself and its neighbours
        pa.field("parent", pa.string()),  # the lowest of its lower neighbours
        pa.field("last_parent", pa.string()),  # the highest of them
        pa.field("children", pa.int64(), nullable=False),
        pa.field("links", pa.int64(), nullable=False),
    ]
)
_OLDEST = pl.CompatLevel.oldest()


def order_links(links: pa.Table) -> pa.Table:
    """`left` and `right` string -> LINKS: each pair once, the lower end first, no record with itself."""
    ends = pl.DataFrame(pl.from_arrow(links.select(["left", "right"]))).drop_nulls()
    ordered = ends.select(low=pl.min_horizontal("left", "right"), high=pl.max_horizontal("left", "right"))
    return _links(ordered.filter(pl.col("low") != pl.col("high")).unique())


def contract_links(links: pa.Table) -> pa.Table:
    """LINKS -> LINKS that connect the same records by stars around the smallest; at most one link a record."""
    frame = pl.DataFrame(pl.from_arrow(links))
    keys = pl.concat([frame["low"], frame["high"].alias("low")]).unique().sort()
    low, high = (keys.search_sorted(frame[side]).to_numpy() for side in ("low", "high"))
    smallest = keys.gather(label_components(low, high, len(keys)))
    return _links(pl.DataFrame({"low": smallest, "high": keys}).filter(pl.col("low") != pl.col("high")))


def find_lowest(links: pa.Table) -> pa.Table:
    """LINKS -> LOWEST of the nodes in them; of some of a node's links only, see `merge_lowest`."""
    frame = pl.DataFrame(pl.from_arrow(links))
    below = frame.select(node="high", lowest="low", parent="low", last_parent="low", children=pl.lit(0))
    above = frame.select(
        node="low",
        lowest="low",
        parent=pl.lit(None, pl.String),
        last_parent=pl.lit(None, pl.String),
        children=pl.lit(1),
    )
    return _merged(pl.concat([below, above]).with_columns(links=pl.lit(1)))


def merge_lowest(parts: pa.Table) -> pa.Table:
    """LOWEST of some links each -> LOWEST of all of them, one row a node."""
    return _merged(pl.DataFrame(pl.from_arrow(parts)))


def _merged(parts: pl.DataFrame) -> pa.Table:
    table = parts.group_by("node").agg(
        pl.col("lowest").min(),
        pl.col("parent").min(),
        pl.col("last_parent").max(),
        pl.col("children").sum(),
        pl.col("links").sum(),
    )
    return table.to_arrow(compat_level=_OLDEST).cast(LOWEST)


def count_unsettled(lowest: pa.Table) -> int:
    """How many nodes have two parents, or a parent and children; none: every component is a star."""
    frame = pl.DataFrame(pl.from_arrow(lowest))
    two = pl.col("parent") != pl.col("last_parent")
    return frame.filter(pl.col("parent").is_not_null() & (two | (pl.col("children") > 0))).height


def hook_high(links: pa.Table, lowest: pa.Table) -> pa.Table:
    """A large star: the higher end of each link is hooked to the lowest that the lower end knows.

    Args:
      lowest: LOWEST of all nodes that are the lower end of a link.
    """
    return _links(_with_lowest(links, lowest, "low").select(low="lowest", high="high").unique())


def hook_low(links: pa.Table, lowest: pa.Table) -> pa.Table:
    """A small star: the lower end of each link, and the higher end too, are hooked to the lowest of the higher end.

    Args:
      lowest: LOWEST of all nodes that are the higher end of a link.
    """
    known = _with_lowest(links, lowest, "high")
    hooked = [known.select(low="lowest", high="low"), known.select(low="lowest", high="high")]
    return _links(pl.concat(hooked).filter(pl.col("low") != pl.col("high")).unique())


def _with_lowest(links: pa.Table, lowest: pa.Table, side: str) -> pl.DataFrame:
    found = pl.DataFrame(pl.from_arrow(lowest.select(["node", "lowest"])))
    return pl.DataFrame(pl.from_arrow(links)).join(found, left_on=side, right_on="node", how="inner")


def _links(frame: pl.DataFrame) -> pa.Table:
    return frame.select("low", "high").to_arrow(compat_level=_OLDEST).cast(LINKS)
