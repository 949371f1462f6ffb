"""Connected components of links between records, in memory."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

CLUSTERS = pa.schema(
    [pa.field("record", pa.string(), nullable=False), pa.field("cluster", pa.string(), nullable=False)]
)


def connect_records(records: pa.Array | pa.ChunkedArray, links: pa.Table) -> pa.Table:
    """Gives each record the smallest record that it is connected to, over any number of links.

    Args:
      records: record keys; one that occurs twice counts once.
      links: `left` and `right` string; a link to a record that is not among `records` is left out.

    Returns: CLUSTERS, a row for each record, ordered by record in the order of its UTF-8 bytes. Neither the order of
    rows nor that of left and right matters.
    """
    keys = pl.Series("record", records).cast(pl.String).drop_nulls().unique().sort()
    left, right = positions_of(keys, links)
    smallest = label_components(left, right, len(keys))
    table = pl.DataFrame({"record": keys, "cluster": keys.gather(smallest)}).to_arrow(
        compat_level=pl.CompatLevel.oldest()
    )
    return table.cast(CLUSTERS)


def positions_of(keys: pl.Series, links: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Where in `keys` the two ends of each link are, without links to other keys."""
    places = pl.DataFrame({"key": keys}).with_row_index("at")
    ends = pl.DataFrame(pl.from_arrow(links.select(["left", "right"])))
    for side in ("left", "right"):
        found = places.select(pl.col("key").alias(side), pl.col("at").alias(f"{side}_at"))
        ends = ends.join(found, on=side, how="inner")
    return ends["left_at"].to_numpy(), ends["right_at"].to_numpy()


def label_components(left: np.ndarray, right: np.ndarray, count: int) -> np.ndarray:
    """For each of the nodes 0 to count - 1 the smallest node that it is connected to."""
    if count == 0:
        return np.empty(0, np.int64)
    graph = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, smallest = np.unique(labels, return_index=True)  # labels are 0, 1, ...; nodes are in order
    return smallest[labels]
