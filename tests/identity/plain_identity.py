"""Slow plain versions of what `transforms.identity` does, to compare with."""

from __future__ import annotations

import pyarrow as pa


class UnionFind:
    """The textbook's, with the smallest member as the name of a set."""

    def __init__(self, items):
        self.parent = {item: item for item in items}

    def find(self, item):
        while self.parent[item] != item:
            item = self.parent[item]
        return item

    def join(self, one, other):
        low, high = sorted((self.find(one), self.find(other)))
        self.parent[high] = low


def plain_clusters(records, links) -> dict[str, str]:
    """record -> smallest record connected to it."""
    sets = UnionFind(records)
    for left, right in links:
        if left in sets.parent and right in sets.parent:
            sets.join(left, right)
    return {record: sets.find(record) for record in records}


def link_table(links) -> pa.Table:
    left, right = zip(*links, strict=True) if links else ((), ())
    return pa.table({"left": pa.array(left, pa.string()), "right": pa.array(right, pa.string())})


def as_dict(clusters: pa.Table) -> dict[str, str]:
    return dict(zip(clusters["record"].to_pylist(), clusters["cluster"].to_pylist(), strict=True))
