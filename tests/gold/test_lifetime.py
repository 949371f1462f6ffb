"""Who serves, and what each customer's row says: on real orders, on planted ones and on odd ones."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tests.gold.orders_data import online_retail, planted
from transforms.errors import UsageError
from transforms.gold.value.bounds import learn_bounds
from transforms.gold.value.contest import rank_correlation
from transforms.gold.value.features import happened, know
from transforms.gold.value.forecast import NAIVE, Outlook, fit
from transforms.gold.value.ledger import ORDERS, open_ledger
from transforms.gold.value.lifetime import CUSTOMER_VALUE, ValueRules, foresee, value_customers, value_rows


@pytest.fixture(scope="module")
def retail():
    return online_retail()


def test_fitted_on_nine_months_the_served_model_beats_every_naive_one_on_the_rest(retail):
    """The choice itself is made on the first nine months: the rest is seen by nobody."""
    origin = retail.last_day - 90
    seen = retail.until(origin)
    valuation = value_customers(seen)
    known = know(seen, origin)
    came = happened(retail, known.who, origin, origin + 90)
    rows = pl.DataFrame(value_rows(seen, valuation))[known.who.tolist()]
    served = [rows[f"expected_{what}_90_days"].to_numpy() * unit for what, unit in (("orders", 1), ("value", 100))]
    last = happened(retail, known.who, origin - 90, origin)
    fitted = valuation.fitted
    naive = {
        "last_period": last,
        "scaled_last_period": tuple(v * s for v, s in zip(last, fitted.scale, strict=True)),
        "mean": tuple(np.full(len(known.who), m) for m in fitted.mean),
    }
    assert naive.keys() == NAIVE.keys()
    for name, said in naive.items():
        for mine, theirs, was in zip(served, said, came, strict=True):
            assert np.abs(mine - was).mean() < np.abs(theirs - was).mean(), name
            assert rank_correlation(mine, was) > rank_correlation(theirs, was), name


@pytest.mark.parametrize("half", [150, 187])
def test_as_long_as_all_that_is_known_is_foreseen_better_than_by_the_last_period(retail, half):
    """The year after a year cannot be held out; half a year after half a year is what there is to see it by."""
    origin = retail.first_day + half
    seen = retail.until(origin)
    valuation = value_customers(seen, ValueRules(holdout_days=half))
    assert valuation.fitted.base_days == half // 3 and valuation.contest.judged  # judged by what could be held out
    known = know(seen, origin)
    came = happened(retail, known.who, origin, origin + half)
    outlook = Outlook(valuation.fitted, seen, known)
    said, last = foresee(valuation, outlook, half), happened(seen, known.who, origin - half, origin)
    for which in (0, 1):
        assert rank_correlation(said[which], came[which]) > rank_correlation(last[which], came[which])
        assert np.abs(said[which] - came[which]).mean() < np.abs(last[which] - came[which]).mean() * 1.005
        unleaned = outlook.of(valuation.served[half], half)[which]
        assert said[which].sum() == pytest.approx(unleaned.sum(), rel=0.02)


@pytest.fixture(scope="module")
def valued():
    ledger = planted(1_500, 500)
    return ledger, value_customers(ledger)


def test_planted_customers_are_best_foreseen_by_their_own_story_or_an_average_with_it(valued):
    _, valuation = valued
    standing = valuation.contest.standing
    classic = min(standing["bg_nbd"], standing["mbg_nbd"])
    assert classic < min(standing[name] for name in NAIVE)
    assert standing[valuation.contest.winner] <= classic + 0.01


def test_an_origin_foresees_what_it_would_have_foreseen_on_that_day(valued):
    """What came after an origin is in the ledger that the contest gets; no model may have seen it."""
    ledger, valuation = valued
    origin = valuation.contest.judged[0]
    day = origin.outlook.known.day
    alone = Outlook(fit(ledger.until(day), day, 90), ledger.until(day), know(ledger.until(day), day))
    assert len(origin.outlook.fitted.able) == 9
    for model in origin.outlook.fitted.able:
        assert np.array_equal(origin.outlook.of(model, 90), alone.of(model, 90)), model


def test_a_row_depends_on_nothing_but_the_customer_and_what_was_fitted(valued):
    ledger, valuation = valued
    whole = pl.DataFrame(value_rows(ledger, valuation))
    chosen = np.arange(len(ledger)) % 3 == 1
    part = pl.DataFrame(value_rows(ledger.take(chosen), valuation))
    assert part.equals(whole.filter(pl.Series(chosen)))
    parts = [pl.DataFrame(value_rows(each, valuation)) for each in ledger.parts(400)]
    assert [p.height for p in parts] == [400, 400, 400, 300] and pl.concat(parts).equals(whole)
    assert whole["customer_id"].to_list() == sorted(whole["customer_id"].to_list())


def test_bounds_hold_what_they_promise(valued):
    _, valuation = valued
    origin, model = valuation.contest.judged[1], valuation.served[90]
    later = valuation.contest.judged[0]
    for which in (0, 1):
        bounds = learn_bounds(origin.outlook.of(model, 90)[which], origin.came(90)[which])
        foreseen, came = later.outlook.of(model, 90)[which], later.came(90)[which]
        low, high = bounds.of(foreseen)
        assert ((low <= foreseen) & (foreseen <= high)).all()
        assert ((low <= came) & (came <= high)).mean() >= 0.8
        assert (came > high).mean() > 0.01  # not by being boundless


def test_more_days_bring_more_and_all_rows_fit_the_schema(valued):
    ledger, valuation = valued
    table = value_rows(ledger, valuation)
    assert table.schema.equals(CUSTOMER_VALUE) and table.num_rows == len(ledger)
    rows = pl.DataFrame(table)
    for what in ("orders", "value"):
        assert (rows[f"expected_{what}_30_days"] <= rows[f"expected_{what}_90_days"] + 1e-9).all()
        for days in (30, 90, 365):
            name = f"expected_{what}_{days}_days"
            assert (rows[f"{name}_low"] <= rows[name] + 1e-9).all() and (
                rows[name] <= rows[f"{name}_high"] + 1e-9
            ).all()
    assert rows["alive_probability"].is_between(0, 1).all()


START = datetime(2022, 1, 1, tzinfo=UTC)


def rows_of(*orders, **rules):
    """The rows of orders given as (customer, day, amount, currency)."""
    rows = [
        {"customer": c, "at": START + timedelta(days=day), "amount_cents": round(amount * 100), "order_id": None,
         "currency": code[0] if code else None}
        for c, day, amount, *code in orders
    ]  # fmt: skip
    ledger = open_ledger(pa.Table.from_pylist(rows, schema=ORDERS))
    table = value_rows(ledger, value_customers(ledger, ValueRules(**rules)))
    return {row["customer_id"]: row for row in table.to_pylist()}


def test_one_customer_with_one_order():
    row = rows_of(("a", 0, 20.0))["a"]
    assert (row["order_days_count"], row["net_value"], row["model"]) == (1, 20.0, "mean")
    assert row["alive_probability"] is None and row["expected_orders_90_days_low"] is None


def test_all_orders_on_one_day():
    rows = rows_of(*((f"c{i}", 5, 10.0 + i) for i in range(200)))
    assert {row["order_days_count"] for row in rows.values()} == {1}
    assert all(np.isfinite(row["expected_value_365_days"]) for row in rows.values())


def test_only_returns_expects_nothing():
    row = rows_of(("a", 0, -20.0), ("b", 0, 30.0), ("b", 10, 30.0))["a"]
    assert (row["order_days_count"], row["net_value"], row["expected_orders_365_days"]) == (0, -20.0, 0.0)
    assert row["first_order_day"] is None and row["model"] is None


def test_a_free_order_is_none_and_a_return_lowers_value():
    rows = rows_of(("a", 0, 0.0), ("b", 0, 30.0), ("b", 10, -12.5))
    assert rows["a"]["order_days_count"] == 0
    assert (rows["b"]["order_days_count"], rows["b"]["net_value"]) == (1, 17.5)


def test_orders_in_other_currencies_count_without_value():
    row = rows_of(("a", 0, 30.0, "EUR"), ("a", 5, 40.0, "EUR"), ("a", 9, 99.0, "USD"))["a"]
    assert (row["currency"], row["mixed_currency"]) == ("EUR", True)
    assert (row["order_days_count"], row["net_value"]) == (3, 70.0)


def test_wrong_rules_say_so():
    with pytest.raises(UsageError, match="bg_nbd"):
        ValueRules(model="pareto")
    with pytest.raises(UsageError, match="90d"):
        ValueRules(holdout_days=0)
