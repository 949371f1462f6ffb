"""Visits, messages and service: what follows what."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from transforms.generator.categories import FEES

GAP = timedelta(minutes=30)


def test_cutting_events_at_gaps_of_half_an_hour_gives_the_sessions(world):
    events = world.tables["CUSTOMER_BEHAVIORAL_EVENTS"].filter(pl.col("CUSTOMER_ID").is_not_null())
    events = events.sort("CUSTOMER_ID", "EVENT_DATE", maintain_order=True)
    cut, number, before = [], -1, (None, None)
    for customer, at in events.select("CUSTOMER_ID", "EVENT_DATE").iter_rows():  # the slow plain way
        if customer != before[0] or at - before[1] > GAP:
            number += 1
        cut.append(number)
        before = (customer, at)
    both = pl.DataFrame({"cut": cut, "session": events["SESSION_ID"]}).unique()
    assert both["cut"].n_unique() == both["session"].n_unique() == both.height > 1_000


def test_a_session_row_sums_up_its_events(world):
    sums = world.tables["CUSTOMER_BEHAVIORAL_EVENTS"].group_by("SESSION_ID").agg(
        first=pl.col("EVENT_DATE").min(), last=pl.col("EVENT_DATE").max(), steps=pl.len(),
        views=(pl.col("EVENT_TYPE") == "PAGE_VIEW").sum().cast(pl.Int64),
        customers=pl.col("CUSTOMER_ID").n_unique(), customer=pl.col("CUSTOMER_ID").first(),
    )  # fmt: skip
    sessions = world.tables["CUSTOMER_SESSION_DATA"].join(sums, on="SESSION_ID", how="full")
    assert sessions.height == sums.height == world.tables["CUSTOMER_SESSION_DATA"].height
    assert (sessions["SESSION_START"] == sessions["first"]).all()
    assert (sessions["SESSION_END"] > sessions["last"]).all()
    assert (sessions["PAGE_VIEWS"] == sessions["views"]).all()
    assert (sessions["customers"] == 1).all()
    assert sessions["CUSTOMER_ID"].eq_missing(sessions["customer"]).all()
    seconds = (sessions["SESSION_END"] - sessions["SESSION_START"]).dt.total_seconds()
    assert (sessions["SESSION_DURATION"] == seconds).all()
    assert ((sessions["BOUNCE_RATE"] == 1) == (sessions["steps"] == 1)).all()


def test_a_converting_session_ends_at_an_order_of_its_customer_and_fills_the_cart_first(world):
    sessions = world.tables["CUSTOMER_SESSION_DATA"].filter("CONVERSION_EVENT")
    online = world.tables["CUSTOMER_TRANSACTIONS"].filter(pl.col("CHANNEL") != "POS")
    orders = online.select("CUSTOMER_ID", "TRANSACTION_ID", SESSION_END="TRANSACTION_DATE")
    pairs = sessions.join(orders, on=["CUSTOMER_ID", "SESSION_END"], how="left", nulls_equal=True)
    assert pairs["TRANSACTION_ID"].null_count() == 0
    carts = world.tables["CUSTOMER_BEHAVIORAL_EVENTS"].filter(pl.col("EVENT_TYPE") == "CART_ADD")
    items = world.tables["CUSTOMER_TRANSACTION_ITEMS"].filter(pl.col("CATEGORY") != FEES)
    goods = items.select("TRANSACTION_ID", "PRODUCT_ID").unique()
    # Guests cannot be told apart, and some customers ordered twice in a minute, once only postage.
    known = pairs.filter(pl.col("CUSTOMER_ID").is_not_null())
    some = known.filter(pl.col("TRANSACTION_ID").is_in(goods["TRANSACTION_ID"].unique().implode()))
    bought = known.join(carts, on="SESSION_ID").join(goods, on=["TRANSACTION_ID", "PRODUCT_ID"])
    assert bought["SESSION_ID"].n_unique() > max(0.995 * some["SESSION_ID"].n_unique(), 1_000)
    assert 0.2 < sessions.height / world.tables["CUSTOMER_SESSION_DATA"].height < 0.6


def test_anonymous_sessions_have_no_customer_and_the_truth_knows_who(world):
    sessions, visitors = world.tables["CUSTOMER_SESSION_DATA"], world.truth["visitors"]
    anonymous = sessions.filter(pl.col("CUSTOMER_ID").is_null())["SESSION_ID"]
    assert set(visitors["session_id"]) <= set(anonymous)
    assert visitors["customer_id"].is_in(world.tables["CUSTOMERS"]["CUSTOMER_ID"].implode()).all()
    assert 0.1 < len(anonymous) / sessions.height < 0.4


def test_messages_are_sent_delivered_opened_clicked_in_this_order(world):
    rows = world.tables["CUSTOMER_ENGAGEMENT_EVENTS"]
    steps = rows.pivot("ENGAGEMENT_ACTION", index=["CUSTOMER_ID", "CAMPAIGN_ID"], values="ENGAGEMENT_DATE")
    assert rows.select("CUSTOMER_ID", "CAMPAIGN_ID", "ENGAGEMENT_ACTION").is_unique().all()
    assert steps["SENT"].null_count() == 0
    for before, after in (("SENT", "DELIVERED"), ("DELIVERED", "OPENED"), ("OPENED", "CLICKED"),
                          ("OPENED", "UNSUBSCRIBED")):  # fmt: skip
        reached = steps.filter(pl.col(after).is_not_null())
        assert reached.height > 10
        assert (reached[before] <= reached[after]).all(), after
    counts = rows["ENGAGEMENT_ACTION"].value_counts().rows_by_key("ENGAGEMENT_ACTION", unique=True)
    assert counts["SENT"] > counts["DELIVERED"] > 2 * counts["OPENED"] > 4 * counts["CLICKED"] > counts["UNSUBSCRIBED"]


def test_nobody_gets_a_message_after_unsubscribing_or_before_there_is_a_record(world):
    rows = world.tables["CUSTOMER_ENGAGEMENT_EVENTS"]
    gone = rows.filter(pl.col("ENGAGEMENT_ACTION") == "UNSUBSCRIBED").group_by("CUSTOMER_ID").agg(
        pl.col("ENGAGEMENT_DATE").min().alias("gone")
    )  # fmt: skip
    sent = rows.filter(pl.col("ENGAGEMENT_ACTION") == "SENT")
    assert sent.join(gone, on="CUSTOMER_ID").filter(pl.col("ENGAGEMENT_DATE") > pl.col("gone")).is_empty()
    known = sent.join(world.tables["CUSTOMERS"], on="CUSTOMER_ID")
    assert (known["ENGAGEMENT_DATE"].dt.date() >= known["REGISTRATION_DATE"]).all()
    campaigns = sent.join(world.tables["MARKETING_CAMPAIGNS"], on="CAMPAIGN_ID")
    assert (campaigns["ENGAGEMENT_DATE"].dt.date() >= campaigns["START_DATE"]).all()


def test_service_follows_orders_and_returns_make_people_angry(world):
    tickets = world.tables["CUSTOMER_SERVICE_TICKETS"]
    contacts = world.tables["CUSTOMER_SERVICE_INTERACTIONS"].join(tickets, on="TICKET_ID", suffix="_ticket")
    assert (contacts["CUSTOMER_ID"] == contacts["CUSTOMER_ID_ticket"]).all()
    assert (contacts["INTERACTION_DATE"].dt.truncate("1m") >= contacts["CREATION_DATE"].dt.truncate("1m")).all()
    open_ones = tickets.filter(pl.col("RESOLUTION_DATE").is_null())
    assert set(open_ones["TICKET_STATUS"]) <= {"OPEN", "IN_PROGRESS"}
    about_goods = tickets.filter(pl.col("TICKET_CATEGORY") == "PRODUCT")["CUSTOMER_SATISFACTION"].mean()
    assert about_goods < tickets.filter(pl.col("TICKET_CATEGORY") == "GENERAL")["CUSTOMER_SATISFACTION"].mean()


def test_preferences_follow_taste(world):
    truth = world.truth["persons"].join(world.truth["tastes"], on="person")
    said = world.tables["CUSTOMER_PREFERENCE_DATA"].filter(pl.col("PREFERENCE_TYPE") == "CATEGORY")
    pairs = said.join(
        truth, left_on=["CUSTOMER_ID", "PREFERENCE_VALUE"], right_on=["customer_id", "category"], how="left"
    )
    assert pairs["weight"].null_count() < 0.05 * pairs.height
    assert pairs.select(pl.corr(pl.col("PREFERENCE_STRENGTH").cast(pl.Float64), "weight")).item() > 0.7
