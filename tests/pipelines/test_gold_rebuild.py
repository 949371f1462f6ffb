"""All tables of gold come of one rebuild, and one that died half-way is finished without writing twice."""

import json
import shutil

import pytest

from pipelines.config import GOLD
from tests.pipelines.conftest import Shop, write_lines
from transforms.errors import UserError
from transforms.io.delta import committed, open_table, overwrite_rows, read_table


def feed(shop: Shop) -> None:
    row = {
        "TRANSACTION_ID": "T1",
        "CUSTOMER_ID": "C1",
        "TRANSACTION_DATE": "2010-12-01T08:00:00Z",
        "TRANSACTION_TYPE": "PURCHASE",
        "TOTAL_AMOUNT": 5,
        "CURRENCY_CODE": "GBP",
        "TRANSACTION_STATUS": "COMPLETED",
    }
    write_lines(shop.root / "t" / "1.jsonl", [json.dumps(row).encode()])
    shop.bronze(transactions=shop.root / "t")
    shop.silver()


def test_a_rebuild_that_died_is_finished_under_its_own_number(shop):
    feed(shop)
    assert shop.gold() is not None
    names = [name for name in GOLD if name != "realtime_features"]
    versions = {name: open_table(shop.lake.gold(name)).version() for name in names}
    assert shop.gold() is None
    for name in ("service_by_month", "touchpoints"):  # as if it had died before these
        shutil.rmtree(shop.lake.gold(name))
    assert shop.gold() is None  # nothing was done to customer_360
    assert {name: open_table(shop.lake.gold(name)).version() for name in names} == versions
    assert {committed(shop.lake.gold(name), ["gold"])["gold"] for name in names} == {1}


def test_tables_of_another_release_are_named_and_made_anew_once_they_are_gone(shop):
    feed(shop)
    shop.gold()
    uri = shop.lake.gold("churn")
    rows = read_table(uri).rename_columns({"person_id": "customer_id"})
    shutil.rmtree(uri)
    overwrite_rows(uri, rows, whole_table=True)
    for _ in range(2):
        with pytest.raises(UserError, match=r"1 table of gold made by another release.*run gold.*: churn"):
            shop.gold()
    shutil.rmtree(uri)
    shop.gold()
    assert read_table(uri).column_names[0] == "person_id"
