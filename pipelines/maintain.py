"""Maintenance: small files joined, old files removed, checkpoints written, for every table of the lake."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.config import Lake
from pipelines.gold import CUSTOMER_360
from transforms.contracts import CONTRACTS
from transforms.io.delta import open_table


def tables(lake: Lake) -> Iterator[tuple[str, str]]:
    """(name, address) of each table the lake has."""
    known = [(f"bronze/{c.path}", lake.bronze(c)) for c in CONTRACTS.values()]
    known += [(f"silver/{c.path}", lake.silver(c)) for c in CONTRACTS.values()]
    known += [(f"gold/{CUSTOMER_360}", lake.gold(CUSTOMER_360))]
    known += [
        (f"ops/{name}", getattr(lake, name)) for name in ("rejects", "runs", "schemas", "profiles", "drift")
    ]
    for name, uri in known:
        if open_table(uri) is not None:
            yield name, uri
