"""The demo's raw files: real orders as they are, and the other tables made up around them."""

from __future__ import annotations

import json
from pathlib import Path

from transforms.errors import UserError
from transforms.generator.dataset import write_real_dataset
from transforms.generator.retail import load_online_retail
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
    return write_real_dataset(load_online_retail(orders), GeneratorSpec(), folder)
