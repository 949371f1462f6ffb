import datetime as dt
import math
from collections import Counter
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.silver.tables import NOW, any_tables, rows_of
from transforms.contracts import CONTRACTS, contract
from transforms.silver.profile import PROFILE_SCHEMA, Profile, profile
from transforms.silver.standardise import standardise

ITEMS, CUSTOMERS, TRANSACTIONS = contract("items"), contract("customers"), contract("transactions")


def rows(found, name="T"):
    return {row["column_name"]: row for row in found.to_table("run-1", name, NOW).to_pylist()}


@given(any_tables(max_size=12), st.integers(0, 12), st.randoms())
def test_any_split_in_any_order_is_the_same_profile(case, cut, random):
    table_contract, table = case
    table = standardise(table, table_contract)
    whole = profile(table, table_contract).to_table("r", "T", NOW)
    order = list(range(table.num_rows))
    random.shuffle(order)
    shuffled = table.take(pa.array(order, pa.int64()))
    a, b = (profile(part, table_contract) for part in (shuffled.slice(0, cut), shuffled.slice(cut)))
    assert Profile.merge([a, b]).to_table("r", "T", NOW).equals(whole)
    assert Profile.merge([b, Profile.merge([a]), Profile()]).to_table("r", "T", NOW).equals(whole)


@given(any_tables(max_size=12))
def test_counts_are_exact(case):
    table_contract, table = case
    found = rows(profile(table, table_contract))
    assert set(found) == {*table_contract.names, "NEW_COLUMN"}
    for name, row in found.items():
        values = table[name].to_pylist()
        present = [value for value in values if value is not None]
        assert (row["rows_count"], row["nulls_count"]) == (len(values), len(values) - len(present))
        assert row["distinct_count"] == len(set(present)) and row["distinct_is_exact"]
        if name in table_contract and not table_contract[name].personal:
            if row["top_values"] is not None:
                shown = [str(v).lower() if isinstance(v, bool) else v for v in present]
                assert dict(zip(row["top_values"], row["top_counts"], strict=True)) == Counter(shown)
            elif present and isinstance(present[0], int | Decimal):
                assert (Decimal(row["min"]), Decimal(row["max"])) == (min(present), max(present))
                assert row["mean"] == pytest.approx(float(sum(map(Decimal, present)) / len(present)), rel=1e-12)


@pytest.mark.parametrize("table_contract", CONTRACTS.values(), ids=lambda c: c.name)
def test_personal_and_undeclared_columns_have_counts_only(table_contract):
    table = rows_of(table_contract, {"NEW_COLUMN": "secret"}, {})
    table = table.append_column("_flags", pa.array([["x"], []]))
    found = rows(profile(table, table_contract))
    assert not any(name.startswith("_") for name in found)
    for name in [*table_contract.personal, "NEW_COLUMN"]:
        silent = found[name]["is_personal"] and {
            key for key, value in found[name].items() if value is not None
        } == {"run_id", "table_name", "column_name", "profiled_at", "is_personal", "rows_count", "nulls_count",
              "distinct_count", "distinct_is_exact"}  # fmt: skip
        assert silent, name


def test_quantiles_are_within_the_stated_error_and_have_the_columns_decimals():
    rng = np.random.default_rng(5)
    quantities = rng.geometric(0.05, 5_000) * rng.choice([1, 1, 1, -1], 5_000)
    prices = np.exp(rng.normal(1, 2, 5_000)).round(2)
    table = rows_of(
        ITEMS, *({"QUANTITY": int(q), "UNIT_PRICE": Decimal(str(p))} for q, p in zip(quantities, prices, strict=True))
    )
    found = rows(profile(table, ITEMS))
    for name, values, decimals in (("QUANTITY", quantities, 0), ("UNIT_PRICE", prices, 2)):
        for key, share in (
            ("p01", 0.01),
            ("p05", 0.05),
            ("p25", 0.25),
            ("p50", 0.5),
            ("p75", 0.75),
            ("p95", 0.95),
            ("p99", 0.99),
        ):
            exact = float(np.quantile(values, share, method="inverted_cdf"))
            assert abs(found[name][key] - exact) <= 0.00501 * math.hypot(exact, 1) + 0.5 * 10.0**-decimals
            assert round(found[name][key], decimals) == found[name][key]
        assert sum(found[name]["histogram_counts"]) == 5_000
    assert found["UNIT_PRICE"]["mean"] == pytest.approx(prices.mean(), rel=1e-12)


def test_small_whole_numbers_have_exact_quantiles():
    table = rows_of(ITEMS, *({"ITEM_RATING": rating} for rating in [1, 2, 2, 3, 4, 5, 5, 5]))
    found = rows(profile(table, ITEMS))["ITEM_RATING"]
    assert (found["min"], found["p01"], found["p25"], found["p50"], found["p75"], found["max"]) == (
        "1",
        1,
        2,
        3,
        5,
        "5",
    )
    assert found["mean"] == 27 / 8


def test_a_column_that_only_a_later_part_has_is_null_in_the_earlier():
    old = rows_of(CUSTOMERS, {}, {}).drop_columns("NEW_COLUMN")
    new = rows_of(CUSTOMERS, {"NEW_COLUMN": "a"})
    found = rows(Profile.merge([profile(old, CUSTOMERS), profile(new, CUSTOMERS)]))["NEW_COLUMN"]
    assert (found["rows_count"], found["nulls_count"], found["distinct_count"]) == (3, 2, 1)


def test_dates_show_their_first_and_last():
    days = [dt.datetime(2010, 1, 2, tzinfo=dt.UTC), dt.datetime(2009, 12, 31, 23, 59, tzinfo=dt.UTC)]
    found = rows(profile(rows_of(TRANSACTIONS, *({"TRANSACTION_DATE": d} for d in days)), TRANSACTIONS))
    when = found["TRANSACTION_DATE"]
    assert (when["min"], when["max"], when["p50"]) == ("2009-12-31T23:59:00+00:00", "2010-01-02T00:00:00+00:00", None)


def test_huge_numbers_do_not_overflow_the_sum():
    table = rows_of(TRANSACTIONS, *({"LOYALTY_POINTS_EARNED": 2**62} for _ in range(8)))
    assert rows(profile(table, TRANSACTIONS))["LOYALTY_POINTS_EARNED"]["mean"] == 2.0**62


def test_a_column_widened_to_floating_point_is_profiled():
    table = rows_of(ITEMS, *({"ITEM_RATING": rating} for rating in (1, 2, 3, 4)))
    place = table.column_names.index("ITEM_RATING")
    table = table.set_column(place, "ITEM_RATING", pc.add(table["ITEM_RATING"].cast(pa.float64()), 0.25))
    found = rows(profile(table, ITEMS))["ITEM_RATING"]
    assert (found["min"], found["max"]) == ("1.25", "4.25")
    assert found["mean"] == pytest.approx(2.75, rel=0.006)


@pytest.mark.parametrize("table_contract", CONTRACTS.values(), ids=lambda c: c.name)
def test_nothing_has_a_profile_too(table_contract):
    found = profile(rows_of(table_contract), table_contract).to_table("r", table_contract.name, NOW)
    assert found.schema == PROFILE_SCHEMA
    assert found["distinct_count"].to_pylist() == [0] * found.num_rows
    assert Profile.merge([]).to_table("r", "T", NOW).num_rows == 0
