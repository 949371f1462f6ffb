"""Orders and lines of the last minutes: after a start, and after a gap, they are read from bronze."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from transforms.batches import as_batch
from transforms.bronze.envelope import bronze_schema, columns_for_silver
from transforms.contracts import CONTRACTS
from transforms.gold.realtime_buyers import Buyers
from transforms.io.delta import append_rows
from transforms.positions import Piece

NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)
ORDERS, LINES = "CUSTOMER_TRANSACTIONS", "CUSTOMER_TRANSACTION_ITEMS"
OWN = {
    ORDERS: {"CUSTOMER_ID": "C1", "TRANSACTION_DATE": NOON, "TRANSACTION_TYPE": "PURCHASE", "TOTAL_AMOUNT": 1},
    LINES: {"PRODUCT_ID": "P1", "QUANTITY": 1},
}


def rows(table: str, *numbers: int, at: datetime = NOON) -> pa.Table:
    """Rows of orders T1, T2 … and their lines I1, I2 …, as bronze has them."""
    made = [
        OWN[table] | {"TRANSACTION_ID": f"T{n}", "ITEM_ID": f"I{n}", "_ingested_at": at, "_source": "s", "_file": "h/0",
                      "_position": n, "_run_id": "r", "_schema_version": 1, "_quality_score": 1.0, "_month": "2010-12"}
        for n in numbers
    ]  # fmt: skip
    return pa.Table.from_pylist(made, schema=bronze_schema(CONTRACTS[table]))


def piece(table: str, low: int, high: int, *numbers: int, at: datetime = NOON) -> Piece:
    made = rows(table, *numbers, at=at).select(columns_for_silver(CONTRACTS[table]))
    return Piece(f"{table}/h/0", low, high, as_batch(made))


@pytest.fixture
def bronze(tmp_path) -> dict[str, str]:
    uris = {table: str(tmp_path / table) for table in (ORDERS, LINES)}
    for table, uri in uris.items():
        append_rows(uri, rows(table, at=NOON))
    return uris


def items(table: pa.Table) -> list[str]:
    return sorted(table["ITEM_ID"].to_pylist())


def test_lines_wait_for_their_order_and_orders_for_their_lines(bronze):
    buyers = Buyers(bronze, timedelta(minutes=15), "GB")
    assert items(buyers.attach([piece(LINES, 0, 4, 1, 2)])) == []
    assert items(buyers.attach([piece(ORDERS, 0, 2, 2, 3)])) == ["I2"]
    assert items(buyers.attach([piece(LINES, 5, 9, 3), piece(ORDERS, 3, 3)])) == ["I3"]


def test_after_a_start_what_bronze_has_of_the_last_minutes_is_told_again(bronze):
    for table in (ORDERS, LINES):
        append_rows(bronze[table], rows(table, 1, 2))
        append_rows(bronze[table], rows(table, 7, at=NOON - timedelta(hours=1)))
    append_rows(bronze[LINES], rows(LINES, 3))
    buyers = Buyers(bronze, timedelta(minutes=15), "GB")
    assert items(buyers.attach([piece(ORDERS, 8, 8)])) == []
    assert items(buyers.attach([piece(ORDERS, 9, 9, 3)])) == ["I1", "I2", "I3"]


def test_positions_that_another_worker_had_are_read_back(bronze):
    buyers = Buyers(bronze, timedelta(minutes=15), "GB")
    buyers.attach([piece(LINES, 0, 0, 1)])
    append_rows(bronze[ORDERS], rows(ORDERS, 4))
    assert items(buyers.attach([piece(LINES, 1, 1, 5)])) == []
    assert items(buyers.attach([piece(LINES, 3, 3, 4)])) == ["I4"]
