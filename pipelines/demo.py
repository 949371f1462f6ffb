"""The demo's raw files: real orders as they are, and the other tables made up around them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.dataset import folder_of
from transforms.contracts import CONTRACTS
from transforms.errors import UserError
from transforms.generator.dataset import write_around_orders
from transforms.generator.retail import load_online_retail, map_online_retail
from transforms.generator.spec import GeneratorSpec

ORDERS = Path(__file__).parents[1] / "tests" / "data" / "online_retail_2009_2010.parquet"
_DONE = "made.json"


def make_input(folder: Path, orders: Path | None = None) -> str:
    """Writes one folder a table below `folder`, once; a finished folder is left as it is. Says what is there."""
    marker = folder / _DONE
    if marker.exists():
        rows = json.loads(marker.read_text())
    else:
        rows = _write(folder, orders or ORDERS)
        marker.write_text(json.dumps(rows))
    real = rows["CUSTOMER_TRANSACTION_ITEMS"]
    made = sum(rows.values()) - real - rows["CUSTOMER_TRANSACTIONS"]
    return (
        f"{real:,} real order lines of {rows['CUSTOMER_TRANSACTIONS']:,} invoices (Online Retail II, CC BY 4.0),"
        f" {made:,} rows of {len(rows) - 2} tables made up around them"
    )


def _write(folder: Path, orders: Path) -> dict[str, int]:
    if not orders.exists():
        raise UserError(
            "the orders are not there", where=str(orders), remedy="run in the project's folder, or give --orders FILE"
        )
    tables = map_online_retail(load_online_retail(str(orders)))
    rows = {}
    for name, table in tables.items():
        rows[name] = _write_parquet(folder / folder_of(CONTRACTS[name]), table)
    made = write_around_orders(
        tables["CUSTOMER_TRANSACTIONS"], tables["CUSTOMER_TRANSACTION_ITEMS"], GeneratorSpec(), str(folder)
    )
    return rows | made


def _write_parquet(folder: Path, table: pa.Table) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "part-00000.parquet", compression="zstd")
    return int(table.num_rows)
