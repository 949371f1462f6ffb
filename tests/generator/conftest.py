"""Generated shards, made once for all tests here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from transforms.generator.around import build_around_real_orders
from transforms.generator.retail import customer_countries, load_online_retail, map_online_retail
from transforms.generator.retailer import build_shard
from transforms.generator.shard import Shard
from transforms.generator.spec import GeneratorSpec

REAL_LINES = Path(__file__).parents[1] / "data" / "online_retail_2009_2010.parquet"


@dataclass(frozen=True)
class World:
    """All tables, and the truth, as Polars frames by name; `shard` has them as Arrow."""

    shard: Shard
    tables: dict[str, pl.DataFrame]
    truth: dict[str, pl.DataFrame]


def frames(tables: dict[str, pa.Table]) -> dict[str, pl.DataFrame]:
    return {name: pl.DataFrame(pl.from_arrow(table)) for name, table in tables.items()}


@pytest.fixture(scope="session")
def spec() -> GeneratorSpec:
    return GeneratorSpec(seed=11, customers=2_500)


@pytest.fixture(scope="session")
def made_up(spec: GeneratorSpec) -> World:
    shard = build_shard(spec, 0)
    return World(shard, frames(shard.tables), frames(shard.truth))


@pytest.fixture(scope="session")
def lines() -> pa.Table:
    return load_online_retail(REAL_LINES)


@pytest.fixture(scope="session")
def real(lines: pa.Table) -> World:
    mapped = map_online_retail(lines)
    orders, items = mapped["CUSTOMER_TRANSACTIONS"], mapped["CUSTOMER_TRANSACTION_ITEMS"]
    made = build_around_real_orders(orders, items, GeneratorSpec(), customer_countries(lines))
    shard = Shard({**mapped, **made.tables}, made.truth)
    return World(shard, frames(shard.tables), frames(shard.truth))


@pytest.fixture(scope="session", params=["made_up", "real"])
def world(request: pytest.FixtureRequest) -> World:
    return request.getfixturevalue(request.param)
