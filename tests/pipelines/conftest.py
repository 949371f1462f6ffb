"""A small made-up retailer and ways to run the layers over it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import bronze, gold, silver
from pipelines.bronze import TableInput
from pipelines.config import Lake, Run
from pipelines.replay import replay
from transforms.contracts import CONTRACTS, contract
from transforms.io.delta import open_table, read_table

WHEN = datetime(2011, 1, 1, tzinfo=UTC)


def transaction(number: int, **changes):
    row = {
        "TRANSACTION_ID": f"T{number}",
        "CUSTOMER_ID": f"C{number % 5}",
        "CHANNEL": "POS",
        "TRANSACTION_DATE": f"2010-{number % 12 + 1:02d}-03T10:00:00Z",
        "TRANSACTION_TYPE": "PURCHASE",
        "TOTAL_AMOUNT": 10.25 + number,
        "CURRENCY_CODE": "GBP",
        "TRANSACTION_STATUS": "COMPLETED",
    }
    return row | changes


def customer(number: int, **changes):
    row = {
        "CUSTOMER_ID": f"C{number}",
        "FIRST_NAME": "ADA",
        "LAST_NAME": "Lovelace",
        "EMAIL_ADDRESS": f" Ada{number}@Example.COM ",
        "PHONE_NUMBER": "020 7946 0018",
        "COUNTRY_CODE": "United Kingdom",
        "REGISTRATION_DATE": "2009-01-01",
    }
    return row | changes


def item(number: int, **changes):
    row = {
        "ITEM_ID": f"I{number}",
        "TRANSACTION_ID": f"T{number}",
        "PRODUCT_ID": f"P{number % 3}",
        "QUANTITY": 2,
        "UNIT_PRICE": 3.5,
        "TOTAL_PRICE": 7.0,
        "ITEM_STATUS": "SOLD",
    }
    return row | changes


def write_lines(path: Path, rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + (b"\n" if lines else b""))
    return path


class Shop:
    """One lake and what is fed into it; `at` is the time of the next run."""

    def __init__(self, root: Path) -> None:
        self.root, self.lake, self.at = root, Lake(str(root / "lake")), WHEN

    def run(self, command: str) -> Run:
        return Run(command, started_at=self.at)

    def bronze(self, **folders):
        """bronze(transactions="folder or file", ...)"""
        inputs = [TableInput(contract(name), str(place)) for name, place in folders.items()]
        return bronze.ingest(self.lake, self.run("bronze"), inputs)

    def silver(self, **options):
        return silver.refine(self.lake, self.run("silver"), **options)

    def replay(self):
        return replay(self.lake, self.run("replay"))

    def gold(self):
        return gold.assemble(self.lake, self.run("gold"))

    def rows(self, layer: str, name: str) -> list[dict]:
        uri = getattr(self.lake, layer)(contract(name))
        return sorted(read_table(uri).to_pylist(), key=str) if open_table(uri) else []

    def rejects(self) -> list[dict]:
        return sorted(read_table(self.lake.rejects).to_pylist(), key=lambda r: (r["file"], r["position"]))

    def everything(self) -> dict[str, list[dict]]:
        """All of silver and gold."""
        tables = {name: self.rows("silver", name) for name in CONTRACTS}
        uri = self.lake.gold("customer_360")
        tables["customer_360"] = sorted(read_table(uri).to_pylist(), key=str) if open_table(uri) else []
        return tables


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def make_shop(tmp_path):
    numbers = iter(range(1000))
    return lambda: Shop(tmp_path / f"shop{next(numbers)}")


def table_of(rows, name: str) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=CONTRACTS[name].arrow)
