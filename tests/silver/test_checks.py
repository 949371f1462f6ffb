import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given

from tests.silver.tables import NOW, any_tables, rows_of
from transforms.contracts import CONTRACTS, contract
from transforms.silver.checks import check
from transforms.silver.split import Split
from transforms.silver.standardise import standardise
from transforms.silver.to_silver import to_silver

TRANSACTIONS, CUSTOMERS, ITEMS = contract("transactions"), contract("customers"), contract("items")


def plain_rules(row, table_contract):
    """The rules a standardised row breaks, in order, found without a table; the contract's own rules left out."""
    broken = ["required" for c in table_contract.columns if not c.nullable and row[c.name] is None]
    keys = dict.fromkeys([*table_contract.key, *(key.column for key in table_contract.foreign_keys)])
    broken += ["too_long" for name in keys if len(row[name] or "") > table_contract[name].type.max_length]
    return broken + [
        "allowed_values" for c in table_contract.columns if c.allowed and row[c.name] not in (*c.allowed, None)
    ]


def plain_flags(row, table_contract):
    found = []
    for c in table_contract.columns:
        if (c.low, c.high) != (None, None) and row[c.name] is not None:
            low, high = float("-inf") if c.low is None else c.low, float("inf") if c.high is None else c.high
            found += [f"out_of_range:{c.name}"] * (not low <= float(row[c.name]) <= high)
    when = row[table_contract.event_time] if table_contract.event_time else None
    if when is not None:
        limit = row["_ingested_at"] + dt.timedelta(days=1)
        found += [f"future:{table_contract.event_time}"] * (
            when > (limit if isinstance(when, dt.datetime) else limit.date())
        )
        found += [f"past:{table_contract.event_time}"] * (when.year < 1971)
    return found


@given(any_tables(max_size=10))
def test_no_row_is_lost_and_order_is_kept(case):
    table_contract, table = case
    standard = standardise(table, table_contract)
    accepted, rejected = check(standard, table_contract)
    places = accepted["_position"].to_pylist(), rejected["_position"].to_pylist()
    assert sorted(places[0] + places[1]) == list(range(table.num_rows))
    assert all(part == sorted(part) for part in places)
    assert accepted.drop_columns("_flags").equals(
        standard.take(places[0]).drop_columns("_flags") if places[0] else standard.slice(0, 0).drop_columns("_flags")
    )


@given(any_tables(max_size=10))
def test_verdicts_are_those_of_a_plain_reading_of_the_contract(case):
    table_contract, table = case
    standard = standardise(table, table_contract)
    accepted, rejected = check(standard, table_contract)
    own_rules = {rule.name for rule in table_contract.rules}
    rejects = {row["_position"]: row["_rule"] for row in rejected.to_pylist()}
    flags = {row["_position"]: row["_flags"] for row in accepted.to_pylist()}
    for row in standard.to_pylist():
        expected = plain_rules(row, table_contract)
        if expected:
            assert rejects[row["_position"]] == expected[0]
        elif row["_position"] in rejects:
            assert rejects[row["_position"]] in own_rules
        else:
            added = set(flags[row["_position"]]) - set(row["_flags"]) - own_rules
            assert added == set(plain_flags(row, table_contract))


@given(any_tables(max_size=10))
def test_reasons_are_there_and_never_hold_a_personal_value(case):
    table_contract, table = case
    _, rejected, _ = to_silver(table, table_contract)
    standard = {row["_position"]: row for row in standardise(table, table_contract).to_pylist()}
    spoken = " ".join([c.name for c in table_contract.columns] + [v for c in table_contract.columns for v in c.allowed])
    for row in rejected.to_pylist():
        assert row["_rule"] and row["_reason"]
        others = {str(standard[row["_position"]][c.name]) for c in table_contract.columns if not c.personal}
        for name in table_contract.personal:
            for value in (row[name], standard[row["_position"]][name]):
                text = str(value)
                if value is not None and len(text) > 5 and text not in spoken and not any(text in o for o in others):
                    assert text not in row["_reason"]


def test_a_broken_personal_enumeration_names_the_column_only():
    profiles = contract("profiles")
    row = {"AGE_RANGE": "123 BAKER STREET"}
    [rejected] = to_silver(rows_of(profiles, row), profiles).rejected.to_pylist()
    assert rejected["_rule"] == "allowed_values"
    assert rejected["_reason"] == "AGE_RANGE is not one of 18-24, 25-34, 35-44, 45-54, 55+"


@pytest.mark.parametrize("table_contract", CONTRACTS.values(), ids=lambda c: c.name)
def test_no_reason_shows_an_address_whatever_column_it_stands_in(table_contract):
    """E-mail addresses as ids, and columns that got mixed up."""
    text = [c.name for c in table_contract.columns if c.type.max_length]
    rows = [dict.fromkeys(text, f"ada.lovelace.{'x' * pad}@example.com") for pad in (0, 30)]
    rejected = to_silver(rows_of(table_contract, *rows), table_contract).rejected
    assert rejected.num_rows and not any("lovelace" in reason.lower() for reason in rejected["_reason"].to_pylist())


@pytest.mark.parametrize(
    ("row", "rule", "reason"),
    [
        ({"CHANNEL": "fax"}, "allowed_values", "CHANNEL 'FAX' is not one of POS, ECOMMERCE, MOBILE, SOCIAL"),
        ({"TRANSACTION_ID": " "}, "required", "TRANSACTION_ID is missing"),
        ({"CUSTOMER_ID": "c" * 50}, "too_long", "CUSTOMER_ID has more than 20 characters"),
        ({"CHANNEL": "jo lee"}, "allowed_values", "CHANNEL is not one of POS, ECOMMERCE, MOBILE, SOCIAL"),
        ({"CHANNEL": "07700900123"}, "allowed_values", "CHANNEL is not one of POS, ECOMMERCE, MOBILE, SOCIAL"),
        (
            {"TOTAL_AMOUNT": Decimal("-1.50")},
            "negative_purchase",
            "a purchase has an amount of zero or more, not so with TRANSACTION_TYPE 'PURCHASE', TOTAL_AMOUNT '-1.50'",
        ),
        (
            {"CHANNEL": "fax", "TRANSACTION_TYPE": ""},
            "required",
            "TRANSACTION_TYPE is missing; CHANNEL 'FAX' is not one of POS, ECOMMERCE, MOBILE, SOCIAL",
        ),
    ],
)
def test_a_reject_says_why(row, rule, reason):
    accepted, rejected, _ = to_silver(rows_of(TRANSACTIONS, {}, row, {}), TRANSACTIONS)
    assert accepted["_position"].to_pylist() == [0, 2]
    assert [(r["_position"], r["_rule"], r["_reason"]) for r in rejected.to_pylist()] == [(1, rule, reason)]


def test_a_reject_is_the_bronze_row_untouched():
    table = rows_of(TRANSACTIONS, {"CHANNEL": " fax\t", "CURRENCY_CODE": "£"})
    rejected = to_silver(table, TRANSACTIONS).rejected
    assert rejected.drop_columns(["_rule", "_reason"]).equals(table)


def test_flags_by_hand():
    late = NOW + dt.timedelta(days=1, seconds=1)
    rows = [
        {"TRANSACTION_DATE": late},
        {"TRANSACTION_DATE": NOW + dt.timedelta(days=1)},
        {"LOYALTY_POINTS_EARNED": -1, "CURRENCY_CODE": "coins"},
        {"CARD_TYPE": "visa", "PAYMENT_METHOD": "cash"},
        {"CARD_TYPE": "visa", "PAYMENT_METHOD": "card"},
        {"TRANSACTION_DATE": dt.datetime(1, 1, 1, tzinfo=dt.UTC)},
        {"TRANSACTION_DATE": dt.datetime(1970, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)},
        {"TRANSACTION_DATE": dt.datetime(1971, 1, 1, tzinfo=dt.UTC)},
    ]
    accepted, _, flagged = to_silver(rows_of(TRANSACTIONS, *rows), TRANSACTIONS)
    assert accepted["_flags"].to_pylist() == [
        ["future:TRANSACTION_DATE"],
        [],
        ["invalid:CURRENCY_CODE", "out_of_range:LOYALTY_POINTS_EARNED"],
        ["card_type_without_card"],
        [],
        ["past:TRANSACTION_DATE"],
        ["past:TRANSACTION_DATE"],
        [],
    ]
    assert flagged == {
        "card_type_without_card": 1,
        "future:TRANSACTION_DATE": 1,
        "invalid:CURRENCY_CODE": 1,
        "out_of_range:LOYALTY_POINTS_EARNED": 1,
        "past:TRANSACTION_DATE": 2,
    }


def test_prices_are_compared_to_the_cent():
    def item(total, discount):
        prices = {"UNIT_PRICE": Decimal("2.50"), "TOTAL_PRICE": Decimal(total), "DISCOUNT_AMOUNT": discount}
        return {"QUANTITY": 3} | prices

    rows = [item("7.50", None), item("7.00", Decimal("0.50")), item("7.51", None), item("7.52", None)]
    accepted = to_silver(rows_of(ITEMS, *rows), ITEMS).accepted
    assert accepted["_flags"].to_pylist() == [[], [], [], ["total_price_mismatch"]]


@pytest.mark.parametrize("table_contract", CONTRACTS.values(), ids=lambda c: c.name)
def test_no_rows_in_no_rows_out(table_contract):
    accepted, rejected, flagged = to_silver(rows_of(table_contract), table_contract)
    assert accepted.num_rows == rejected.num_rows == 0 and flagged == {}
    assert accepted.column_names == [*rows_of(table_contract).column_names, "_flags"]
    assert rejected.column_names == [*rows_of(table_contract).column_names, "_rule", "_reason"]


def test_check_alone_hands_back_its_own_rows():
    split = check(standardise(rows_of(CUSTOMERS, {"CUSTOMER_SEGMENT": "gold"}, {}), CUSTOMERS), CUSTOMERS)
    assert isinstance(split, Split)
    assert split.rejected["CUSTOMER_SEGMENT"].to_pylist() == ["GOLD"]
    assert split.accepted.num_rows == 1
