from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.silver.tables import rows_of
from transforms.contracts import contract
from transforms.silver.outliers import (
    Bounds,
    bounds,
    flag_outliers,
    merge_summaries,
    moved_ranges,
    summarise_outliers,
    summary_of,
    summary_rows,
)

ITEMS = contract("items")


def items(quantities, prices=None):
    prices = prices or [None] * len(quantities)
    rows = [{"QUANTITY": q, "UNIT_PRICE": p} for q, p in zip(quantities, prices, strict=True)]
    return rows_of(ITEMS, *rows)


@settings(max_examples=30)
@given(st.lists(st.integers(-1000, 100_000), min_size=100, max_size=200), st.integers(0, 200))
def test_bounds_are_tukeys_and_do_not_depend_on_the_split(quantities, cut):
    table = items(quantities)
    whole = bounds([summarise_outliers(table, ITEMS)])
    assert bounds(summarise_outliers(part, ITEMS) for part in (table.slice(cut), table.slice(0, cut))) == whole
    lower, upper = np.quantile(np.arcsinh(np.abs(quantities)), [0.25, 0.75], method="inverted_cdf")
    spread = upper - lower
    if spread > 0.02:
        [(name, most)] = whole.magnitudes
        assert name == "QUANTITY"
        assert abs(np.arcsinh(most) - (upper + 3 * spread)) <= 7 * 0.0051  # each quartile is half a bin off at most


def test_planted_outliers_are_flagged_and_nothing_else():
    """Log-normal amounts: of 10,000 none lies beyond the outer fences by more than chance allows (4.7 sigma)."""
    rng = np.random.default_rng(3)
    ordinary = np.exp(rng.normal(3, 0.6, 10_000)).round(2)
    planted = {17: 40_000.0, 4_711: -40_000.0, 9_999: 99_999.0}
    for place, value in planted.items():
        ordinary[place] = value
    prices = [Decimal(str(price)) for price in ordinary]
    table = items([1] * len(prices), prices)
    flags = flag_outliers(table, bounds([summarise_outliers(table, ITEMS)]), ITEMS)["_flags"].to_pylist()
    assert {row: f for row, f in enumerate(flags) if f} == {row: ["outlier:UNIT_PRICE"] for row in planted}


def test_returns_are_as_ordinary_as_purchases():
    quantities = [q if i % 10 else -q for i, q in enumerate(range(1, 201))]
    table = items(quantities)
    flagged = flag_outliers(table, bounds([summarise_outliers(table, ITEMS)]), ITEMS)
    assert set(map(tuple, flagged["_flags"].to_pylist())) == {()}


def test_too_few_or_equal_values_have_no_bound():
    few = summarise_outliers(items([1, 1, 2, 10_000] * 24), ITEMS)
    equal = summarise_outliers(items([1] * 990 + [10_000] * 10), ITEMS)
    assert bounds([few]).magnitudes == () and bounds([equal]).magnitudes == ()
    assert bounds([]).magnitudes == ()


def test_null_is_no_outlier():
    table = items(list(range(1, 202)), [*map(Decimal, range(1, 201)), None])
    flagged = flag_outliers(table, bounds([summarise_outliers(table, ITEMS)]), ITEMS)
    assert flagged["_flags"].to_pylist()[-1] == []


def test_summaries_of_nothing_are_neutral():
    some = summarise_outliers(items(list(range(1, 201))), ITEMS)
    nothing = summarise_outliers(items([]), ITEMS)
    assert bounds([merge_summaries([nothing, some, nothing])]) == bounds([some])
    assert isinstance(items([]), pa.Table)


fences = st.one_of(st.none(), st.floats(0, 1e6), st.sampled_from([1e18, 1e19, 1e30]))


def limits(quantity, price):
    found = {"QUANTITY": quantity, "UNIT_PRICE": price}
    return Bounds(tuple((name, most) for name, most in found.items() if most is not None))


def satisfies(row, condition):
    """A condition read plainly; null satisfies none."""
    name, operator, value = condition
    if row[name] is None:
        return False
    return row[name] >= value if operator == ">=" else row[name] <= value


@settings(max_examples=200)
@given(fences, fences, fences, fences, st.data())
def test_every_row_whose_flag_moves_lies_in_a_range(quantity, price, new_quantity, new_price, data):
    """Values on both fences, beside them and anywhere: the flags differ for none that the ranges leave out."""
    near = [v for v in (quantity, new_quantity) if v is not None and v < 2**62]
    whole = st.one_of(st.integers(-(10**6), 10**6), *(st.integers(int(v) - 1, int(v) + 2) for v in near))
    near = [v for v in (price, new_price) if v is not None and v < 10**8 - 1]
    cents = [st.integers(int(v * 100) - 1, int(v * 100) + 2) for v in near]
    money = st.one_of(st.integers(-(10**8), 10**8), *cents).map(lambda n: Decimal(n).scaleb(-2))
    signed = st.sampled_from([1, -1])
    rows = data.draw(st.lists(st.tuples(whole, money, signed), max_size=20))
    table = items([q * sign for q, _, sign in rows], [p * sign for _, p, sign in rows])
    before, now = limits(quantity, price), limits(new_quantity, new_price)
    ranges = moved_ranges(before, now, table.schema)
    old, new = (flag_outliers(table, each, ITEMS)["_flags"].to_pylist() for each in (before, now))
    for row, a, b in zip(table.to_pylist(), old, new, strict=True):
        if a != b:
            assert any(all(satisfies(row, condition) for condition in where) for where in ranges)
    if before == now:
        assert ranges == []


def test_flags_of_fences_that_are_gone_are_taken_away():
    table = items([1, 50, -500])
    flagged = flag_outliers(table, limits(10, None), ITEMS)
    assert flagged["_flags"].to_pylist() == [[], ["outlier:QUANTITY"], ["outlier:QUANTITY"]]
    assert flag_outliers(flagged, limits(100, None), ITEMS)["_flags"].to_pylist() == [[], [], ["outlier:QUANTITY"]]


def test_a_stored_summary_is_the_same_summary():
    some = summarise_outliers(items(list(range(1, 201))), ITEMS)
    rows = summary_rows(some, ITEMS, 7)
    assert set(rows["bronze_version"].to_pylist()) == {7} and rows.num_rows == len(ITEMS.outliers)
    assert bounds([summary_of(rows)]) == bounds([some]) and bounds([some]).magnitudes
    assert bounds([summary_of(summary_rows({}, ITEMS, 1)), some]) == bounds([some])
