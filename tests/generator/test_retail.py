"""Online Retail II as contract tables: no line and no penny is lost."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from transforms.errors import UserError
from transforms.generator.categories import CATEGORIES, FEES, OTHER, categorise
from transforms.generator.retail import CHANNELS, COLUMNS, customer_countries, load_online_retail, map_online_retail

ROW = {"Invoice": "500001", "StockCode": "A1", "Description": "RED MUG", "Quantity": 2,
       "InvoiceDate": "2010-07-01 09:00:00", "Price": 1.25, "Customer ID": 13085.0, "Country": "EIRE"}  # fmt: skip


def mapped(*changes: dict[str, object]) -> tuple[list[dict], list[dict]]:
    names = [*COLUMNS]
    rows = [{**ROW, **change} for change in changes]
    table = pa.table({name: [row[name] for row in rows] for name in names})
    made = map_online_retail(table)
    return made["CUSTOMER_TRANSACTIONS"].to_pylist(), made["CUSTOMER_TRANSACTION_ITEMS"].to_pylist()


def test_no_line_is_lost_and_items_keep_the_order_of_the_lines(real, lines):
    items, source = real.tables["CUSTOMER_TRANSACTION_ITEMS"], pl.DataFrame(pl.from_arrow(lines))
    assert items.height == source.height == 525_461
    assert items["ITEM_ID"].n_unique() == items.height
    assert (items["TRANSACTION_ID"] == source["Invoice"]).all()
    assert (items["QUANTITY"] == source["Quantity"]).all()
    assert (items["PRODUCT_ID"] == source["StockCode"]).all()
    assert items["PRODUCT_NAME"].eq_missing(source["Description"]).all()
    orders = real.tables["CUSTOMER_TRANSACTIONS"]
    assert orders["TRANSACTION_ID"].to_list() == source["Invoice"].unique(maintain_order=True).to_list()


def test_money_is_that_of_the_lines_counted_by_hand(real, lines):
    by_hand: dict[str, Decimal] = defaultdict(Decimal)
    columns = lines.select(["Invoice", "Quantity", "Price"]).to_pydict()
    for invoice, quantity, price in zip(*columns.values(), strict=True):
        by_hand[invoice] += (quantity * Decimal(str(price))).quantize(Decimal("0.01"))
    orders = real.tables["CUSTOMER_TRANSACTIONS"]
    totals = dict(zip(orders["TRANSACTION_ID"], orders["TOTAL_AMOUNT"], strict=True))
    wrong = [invoice for invoice, total in by_hand.items() if abs(totals[invoice] - total) > Decimal("0.01")]
    assert wrong == [] and len(by_hand) == len(totals) == 28_816
    assert abs(sum(totals.values()) - sum(by_hand.values())) < Decimal("0.05")
    items = real.tables["CUSTOMER_TRANSACTION_ITEMS"]
    assert items["TOTAL_PRICE"].sum() == orders["TOTAL_AMOUNT"].sum()


def test_cancellations_are_returns_and_bad_debt_is_a_refund(real, lines):
    source = pl.DataFrame(pl.from_arrow(lines))
    cancelled = source.filter(pl.col("Invoice").str.starts_with("C"))
    items, orders = real.tables["CUSTOMER_TRANSACTION_ITEMS"], real.tables["CUSTOMER_TRANSACTIONS"]
    returned = items.join(orders.filter(pl.col("TRANSACTION_TYPE") == "RETURN"), on="TRANSACTION_ID")
    assert returned.height == cancelled.height == 10_206
    assert (returned["ITEM_STATUS"] == "RETURNED").all()
    assert returned["QUANTITY"].sum() == cancelled["Quantity"].sum() < 0
    refunds = orders.filter(pl.col("TRANSACTION_TYPE") == "REFUND")
    assert sorted(refunds["TOTAL_AMOUNT"]) == [Decimal("-53594.36"), Decimal("-44031.79"), Decimal("-38925.87")]
    assert (orders.filter(~pl.col("TRANSACTION_ID").str.contains("^[CA]"))["TRANSACTION_TYPE"] == "PURCHASE").all()


def test_customers_are_text_and_guests_stay_guests(real, lines):
    known = lines["Customer ID"].drop_null().unique()
    orders = real.tables["CUSTOMER_TRANSACTIONS"]
    assert set(orders["CUSTOMER_ID"].drop_nulls()) == {str(int(number)) for number in known.to_pylist()}
    guests = orders.filter(pl.col("CUSTOMER_ID").is_null())["TRANSACTION_ID"]
    inside = pl.DataFrame(pl.from_arrow(lines)).filter(pl.col("Invoice").is_in(guests.implode()))
    assert inside["Customer ID"].is_null().all()
    assert inside.height == 107_927


def test_uk_time_becomes_utc_in_summer_in_winter_and_when_clocks_change():
    orders, _ = mapped(
        {"Invoice": "1", "InvoiceDate": "2010-07-01 09:00:00"},
        {"Invoice": "2", "InvoiceDate": "2010-01-01 09:00:00"},
        {"Invoice": "3", "InvoiceDate": "2010-03-28 01:30:00"},  # skipped by the clocks
        {"Invoice": "4", "InvoiceDate": "2010-10-31 01:30:00"},  # happens twice
    )
    assert [order["TRANSACTION_DATE"] for order in orders] == [
        datetime(2010, 7, 1, 8, tzinfo=UTC),
        datetime(2010, 1, 1, 9, tzinfo=UTC),
        datetime(2010, 3, 28, 1, 30, tzinfo=UTC),
        datetime(2010, 10, 31, 0, 30, tzinfo=UTC),
    ]


def test_an_invoice_is_one_transaction_at_its_earliest_line():
    orders, items = mapped({"InvoiceDate": "2010-07-01 09:01:00"}, {"Invoice": "500002"}, {"Price": 0.1, "Quantity": 3})
    assert [(o["TRANSACTION_ID"], o["TOTAL_AMOUNT"]) for o in orders] == [
        ("500001", Decimal("2.80")), ("500002", Decimal("2.50"))]  # fmt: skip
    assert orders[0]["TRANSACTION_DATE"] == datetime(2010, 7, 1, 8, tzinfo=UTC)
    assert [item["ITEM_ID"] for item in items] == ["500001-1", "500002-1", "500001-2"]


def test_attributes_the_source_lacks_depend_on_the_invoice_alone(real, lines):
    some = lines.slice(100_000, 20_000)
    alone = pl.DataFrame(pl.from_arrow(map_online_retail(some)["CUSTOMER_TRANSACTIONS"]))
    columns = ["TRANSACTION_ID", "CHANNEL", "PAYMENT_METHOD", "CARD_TYPE", "STORE_ID", "CASHIER_ID", "TERMINAL_ID"]
    whole = real.tables["CUSTOMER_TRANSACTIONS"].select(columns)
    assert alone.select(columns).join(whole, on=columns, how="anti", nulls_equal=True).is_empty()
    for channel, share in CHANNELS:
        assert (whole["CHANNEL"] == channel).mean() == pytest.approx(share, abs=0.02)


def test_free_and_negative_lines_are_kept_as_they_are():
    _, items = mapped({"Price": 0.0, "Quantity": -5}, {"Price": -10.5, "Description": None})
    assert [item["TOTAL_PRICE"] for item in items] == [Decimal("0.00"), Decimal("-21.00")]
    assert [item["ITEM_STATUS"] for item in items] == ["SOLD", "SOLD"]
    assert items[1]["PRODUCT_NAME"] is None and items[1]["CATEGORY"] == "Kitchen & dining"  # as its product


def test_countries_of_customers_are_the_commonest_known_one(lines):
    table = pa.Table.from_pylist([
        {**ROW, "Country": "Unspecified"}, {**ROW, "Invoice": "2", "Country": "EIRE"},
        {**ROW, "Invoice": "3", "Customer ID": 2.0, "Country": "European Community"}])  # fmt: skip
    assert customer_countries(table) == {"13085": "IRL"}
    whole = customer_countries(lines)
    assert len(whole) > 4_300 and len(set(whole.values())) > 30


def test_categories_by_words():
    texts = ["15CM CHRISTMAS GLASS BALL", "POSTAGE", 'RECORD FRAME 7" SINGLE SIZE', None, "ZZZ", "red spotty MUG"]
    found = categorise(pl.Series(texts)).to_list()
    assert found == ["Christmas", FEES, "Home decor", OTHER, OTHER, "Kitchen & dining"]
    assert set(found) <= set(CATEGORIES)


def test_wrong_input_is_one_clear_line(tmp_path, lines):
    with pytest.raises(UserError, match=r"columns are missing: \['Price'\]"):
        map_online_retail(lines.drop_columns(["Price"]))
    with pytest.raises(UserError, match="no readable InvoiceDate"):
        mapped({"InvoiceDate": "yesterday"})
    with pytest.raises(UserError, match="missing"):
        load_online_retail(tmp_path / "nothing.parquet")
