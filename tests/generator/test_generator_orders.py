"""Made-up orders: money adds up, rates are those of the truth, causes come before what they cause."""

from __future__ import annotations

import numpy as np
import polars as pl

from transforms.generator.campaigns import draw_campaigns
from transforms.generator.catalogue import draw_catalogue
from transforms.generator.clock import draw_moments
from transforms.generator.frames import DAY, YEAR
from transforms.generator.purchases import RETURNED_SHARE
from transforms.generator.randomness import stream
from transforms.generator.retailer import build_shard
from transforms.generator.spec import GeneratorSpec


def money(name: str) -> pl.Expr:
    return (pl.col(name) * 100).cast(pl.Int64)


def test_the_total_is_items_plus_tax_plus_shipping_minus_discount(made_up):
    sums = made_up.tables["CUSTOMER_TRANSACTION_ITEMS"].group_by("TRANSACTION_ID").agg(items=money("TOTAL_PRICE").sum())
    orders = made_up.tables["CUSTOMER_TRANSACTIONS"].join(sums, on="TRANSACTION_ID", how="left")
    expected = pl.col("items") + money("TAX_AMOUNT") + money("SHIPPING_AMOUNT") - money("DISCOUNT_AMOUNT")
    assert orders.filter((expected - money("TOTAL_AMOUNT")).fill_null(1) != 0).is_empty()
    purchases = orders.filter(pl.col("TRANSACTION_TYPE") == "PURCHASE")
    assert (purchases["TOTAL_AMOUNT"] > 0).all()
    assert (orders.filter(pl.col("TRANSACTION_TYPE").is_in(["RETURN", "REFUND"]))["TOTAL_AMOUNT"] < 0).all()
    assert (orders.filter(pl.col("TRANSACTION_TYPE") == "EXCHANGE")["TOTAL_AMOUNT"] == 0).all()
    assert set(orders["TRANSACTION_TYPE"]) == {"PURCHASE", "RETURN", "REFUND", "EXCHANGE"}


def test_what_goes_back_was_bought_before_by_the_same_customer(made_up):
    items = made_up.tables["CUSTOMER_TRANSACTION_ITEMS"].join(
        made_up.tables["CUSTOMER_TRANSACTIONS"], on="TRANSACTION_ID"
    )
    back = items.filter((pl.col("QUANTITY") < 0) & pl.col("CUSTOMER_ID").is_not_null())
    sold = items.filter(pl.col("ITEM_STATUS") == "SOLD").select(
        "CUSTOMER_ID", "PRODUCT_ID", "UNIT_PRICE", bought="QUANTITY", at="TRANSACTION_DATE"
    )
    pairs = back.join(sold, on=["CUSTOMER_ID", "PRODUCT_ID", "UNIT_PRICE"], how="left")
    fits = (pairs["bought"] == -pairs["QUANTITY"]) & (pairs["at"] < pairs["TRANSACTION_DATE"])
    found = pairs.filter(fits)["ITEM_ID"].n_unique()
    assert found == back.height > 100
    returns = items.filter(pl.col("TRANSACTION_TYPE") != "PURCHASE")["TRANSACTION_ID"].n_unique()
    assert 0.5 * RETURNED_SHARE < returns / made_up.tables["CUSTOMER_TRANSACTIONS"].height < RETURNED_SHARE


def test_orders_come_at_the_true_rates(made_up, spec):
    truth = made_up.truth["churned"].with_columns(
        until=pl.col("churned_at").fill_null(pl.lit(spec.end_us).cast(pl.Datetime("us", "UTC")))
    )
    years = (truth["until"] - truth["active_from"]).dt.total_microseconds().to_numpy() / YEAR
    expected = (truth["orders_per_year"].to_numpy() * years).sum()
    caused = made_up.truth["causes"].height
    orders = made_up.tables["CUSTOMER_TRANSACTIONS"].filter(pl.col("TRANSACTION_TYPE") == "PURCHASE").height
    # Seasons shift the expectation of who is active when, by a few percent.
    assert abs(orders - caused - expected) < 0.05 * expected + 5 * expected**0.5


def test_moments_of_whole_years_have_the_asked_mean_and_lie_inside():
    size, rate = 4_000, 7.0
    since, until = np.zeros(size, np.int64), np.full(size, 4 * 365 * DAY + DAY)
    who, at = draw_moments(stream(5), since, until, np.full(size, rate), np.arange(size) % 12 - 6)
    mean = len(who) / size / 4
    assert abs(mean - rate) < 0.01 * rate + 4 * (rate / size / 4) ** 0.5
    assert at.min() >= 0 and at.max() < until[0]
    assert (np.diff(who) >= 0).all()
    assert (np.diff(at)[np.diff(who) == 0] >= 0).all()


def test_each_cause_is_a_click_before_its_order_by_its_customers_person(world):
    causes = world.truth["causes"]
    assert causes["transaction_id"].is_unique().all()
    assert causes["engagement_id"].is_unique().all()
    clicks = world.tables["CUSTOMER_ENGAGEMENT_EVENTS"].join(causes, left_on="ENGAGEMENT_ID", right_on="engagement_id")
    assert clicks.height == causes.height > 100
    assert (clicks["ENGAGEMENT_ACTION"] == "CLICKED").all()
    assert (clicks["CONVERSION_RESULT"] == "PURCHASE").all()
    assert (clicks["CAMPAIGN_ID"] == clicks["campaign_id"]).all()
    assert (clicks["ENGAGEMENT_DATE"] == clicks["touched_at"]).all()
    assert (clicks["CUSTOMER_ID"] == clicks["customer_id"]).all()
    orders = world.tables["CUSTOMER_TRANSACTIONS"].join(causes, left_on="TRANSACTION_ID", right_on="transaction_id")
    assert orders.height == causes.height
    assert (orders["CUSTOMER_ID"] == orders["customer_id"]).all()
    delay = orders["TRANSACTION_DATE"] - orders["touched_at"]
    assert delay.min().total_seconds() > 0
    assert delay.max().days <= 7


def test_clicks_cause_orders_with_the_campaigns_lift(spec):
    big = GeneratorSpec(seed=11, customers=spec.shard_persons)
    made = build_shard(big, 0)
    engagement = pl.DataFrame(pl.from_arrow(made.tables["CUSTOMER_ENGAGEMENT_EVENTS"]))
    campaigns = draw_campaigns(big, draw_catalogue(big).categories).select("CAMPAIGN_ID", "lift")
    clicks = engagement.filter(pl.col("ENGAGEMENT_ACTION") == "CLICKED").join(campaigns, on="CAMPAIGN_ID")
    expected, spread = clicks["lift"].sum(), (clicks["lift"] * (1 - clicks["lift"])).sum() ** 0.5
    # An order that would fall after the person left, or after the end, does not happen.
    assert 0.85 * expected - 4 * spread < made.truth["causes"].num_rows < expected + 4 * spread
    lifts = pl.DataFrame(pl.from_arrow(made.truth["causes"])).join(
        campaigns, left_on="campaign_id", right_on="CAMPAIGN_ID"
    )
    assert (lifts["lift"] == lifts["lift_right"]).all()
