from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.silver.tables import rows_of
from transforms.contracts import contract
from transforms.silver.outliers import bounds, flag_outliers, merge_summaries, summarise_outliers

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
    flags = flag_outliers(table, bounds([summarise_outliers(table, ITEMS)]))["_flags"].to_pylist()
    assert {row: f for row, f in enumerate(flags) if f} == {row: ["outlier:UNIT_PRICE"] for row in planted}


def test_returns_are_as_ordinary_as_purchases():
    quantities = [q if i % 10 else -q for i, q in enumerate(range(1, 201))]
    table = items(quantities)
    flagged = flag_outliers(table, bounds([summarise_outliers(table, ITEMS)]))
    assert set(map(tuple, flagged["_flags"].to_pylist())) == {()}


def test_too_few_or_equal_values_have_no_bound():
    few = summarise_outliers(items([1, 1, 2, 10_000] * 24), ITEMS)
    equal = summarise_outliers(items([1] * 990 + [10_000] * 10), ITEMS)
    assert bounds([few]).magnitudes == () and bounds([equal]).magnitudes == ()
    assert bounds([]).magnitudes == ()


def test_null_is_no_outlier():
    table = items(list(range(1, 202)), [*map(Decimal, range(1, 201)), None])
    flagged = flag_outliers(table, bounds([summarise_outliers(table, ITEMS)]))
    assert flagged["_flags"].to_pylist()[-1] == []


def test_summaries_of_nothing_are_neutral():
    some = summarise_outliers(items(list(range(1, 201))), ITEMS)
    nothing = summarise_outliers(items([]), ITEMS)
    assert bounds([merge_summaries([nothing, some, nothing])]) == bounds([some])
    assert isinstance(items([]), pa.Table)
