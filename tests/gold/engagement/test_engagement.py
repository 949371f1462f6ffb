"""Messages, rates, preferences, hours, fatigue and campaign effects against plain rows and published figures."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.contracts import CONTRACTS
from transforms.gold.engagement.customers import INPUTS, summarise_engagement
from transforms.gold.engagement.effect import (
    CAMPAIGN_COLUMNS,
    count_effects,
    measure_effects,
    merge_effects,
    newcombe,
    wilson,
)
from transforms.gold.engagement.effect import INPUTS as EFFECT_INPUTS
from transforms.gold.engagement.messages import TABLE, count_rates, merge_rates, rates, read_messages
from transforms.gold.engagement.zones import STATE_ZONES, ZONES, local_hours

AS_OF = datetime(2010, 7, 1, tzinfo=UTC)
quick = settings(max_examples=50, deadline=None)
PREFERENCES = "CUSTOMER_PREFERENCE_DATA"


def silver(**tables: list[dict]) -> dict[str, pa.Table]:
    found = {}
    for name, rows in tables.items():
        columns = {f.name for f in CONTRACTS[name].arrow} & {
            c for i in (INPUTS, EFFECT_INPUTS) for c in i.get(name, ())
        }
        schema = pa.schema([CONTRACTS[name].arrow.field(c).with_nullable(True) for c in sorted(columns)])
        found[name] = pa.Table.from_pylist(rows, schema=schema)
    return found


def step(action: str, at: datetime, campaign: str | None = "C", customer: str = "A", channel: str = "EMAIL",
         status: str | None = "SUCCESS") -> dict:  # fmt: skip
    return {"CUSTOMER_ID": customer, "ENGAGEMENT_TYPE": channel, "ENGAGEMENT_DATE": at, "CAMPAIGN_ID": campaign,
            "ENGAGEMENT_ACTION": action, "ENGAGEMENT_STATUS": status}  # fmt: skip


steps_of_some = st.lists(
    st.builds(
        step,
        st.sampled_from(["SENT", "DELIVERED", "OPENED", "CLICKED", "UNSUBSCRIBED"]),
        st.integers(0, 200 * 24).map(lambda hours: datetime(2010, 1, 1, tzinfo=UTC) + timedelta(hours=hours)),
        st.sampled_from(["C", "D"]),
        st.sampled_from("AB"),
        st.sampled_from(["EMAIL", "SMS"]),
        st.sampled_from(["SUCCESS", "BOUNCED", None]),
    ),
    max_size=25,
)


def plain_messages(rows: list[dict]) -> dict:
    """(customer, channel, campaign) -> (first step, delivered, opened, clicked, unsubscribed)."""
    found = {}
    for row in rows:
        if row["ENGAGEMENT_DATE"] <= AS_OF:
            found.setdefault((row["CUSTOMER_ID"], row["ENGAGEMENT_TYPE"], row["CAMPAIGN_ID"]), []).append(row)
    told = {}
    for key, some in found.items():
        done = {r["ENGAGEMENT_ACTION"] for r in some if r["ENGAGEMENT_STATUS"] in (None, "SUCCESS")}
        opened = bool(done & {"OPENED", "CLICKED"})
        came = opened or bool(done & {"DELIVERED", "UNSUBSCRIBED"})
        told[key] = (min(r["ENGAGEMENT_DATE"] for r in some), came, opened, "CLICKED" in done, "UNSUBSCRIBED" in done)
    return told


@given(steps_of_some)
@quick
def test_messages_are_their_steps_and_know_what_came_before(rows):
    found = read_messages(silver(**{TABLE: rows}), AS_OF)
    expected = plain_messages(rows)
    columns = ("at", "delivered", "opened", "clicked", "unsubscribed")
    told = {
        (r["CUSTOMER_ID"], r["channel"], r["campaign"]): tuple(r[name] for name in columns) for r in found.to_dicts()
    }
    assert told == expected
    for row in found.to_dicts():
        before = [
            1 for (who, *_), (at, *_) in expected.items()
            if who == row["CUSTOMER_ID"] and row["at"] - timedelta(days=7) <= at < row["at"]
        ]  # fmt: skip
        assert row["messages_before"] == len(before)


@given(steps_of_some)
@quick
def test_rates_have_their_denominators_and_merge(rows):
    whole = count_rates(read_messages(silver(**{TABLE: rows}), AS_OF))
    parts = [
        count_rates(read_messages(silver(**{TABLE: [r for r in rows if r["CUSTOMER_ID"] == who]}), AS_OF))
        for who in "BA"
    ]
    assert merge_rates(parts).equals(whole)
    expected: dict[str, Counter] = {}
    for (_, channel, _), (_, *flags) in plain_messages(rows).items():
        names = ("delivered", "opened", "clicked", "unsubscribed")
        expected.setdefault(channel, Counter()).update(dict(zip(names, flags, strict=True)))
    for row in rates(whole, ("channel",)).to_pylist():
        counted = expected[row["channel"]]
        assert row["open_rate"] == (counted["opened"] / counted["delivered"] if counted["delivered"] else None)
        assert row["click_rate"] == (counted["clicked"] / counted["opened"] if counted["opened"] else None)
        assert all(row[name] is None or 0 <= row[name] <= 1 for name in ("open_rate", "click_rate", "unsubscribe_rate"))


@given(steps_of_some)
@quick
def test_each_customer_has_the_rates_of_their_messages(rows):
    found = {row["customer_id"]: row for row in summarise_engagement(silver(**{TABLE: rows}), AS_OF).to_pylist()}
    told = plain_messages(rows)
    assert set(found) == {who for who, *_ in told}
    for who, row in found.items():
        mine = [flags for (person, *_), (_, *flags) in told.items() if person == who]
        came, opened, clicked, left = (sum(flags[n] for flags in mine) for n in range(4))
        counts = [row[f"{name}_count"] for name in ("messages", "delivered", "opened", "clicked")]
        assert counts == [len(mine), came, opened, clicked] and row["unsubscribed"] == (left > 0)
        assert row["open_rate"] == (opened / came if came else None)
        assert row["click_rate"] == (clicked / opened if opened else None)


def test_messages_without_a_campaign_begin_when_sent():
    at = datetime(2010, 1, 1, tzinfo=UTC)
    rows = [step(a, at + timedelta(days=d), None) for d, a in ((0, "SENT"), (1, "OPENED"), (2, "SENT"), (3, "CLICKED"))]
    found = read_messages(silver(**{TABLE: rows}), AS_OF)
    assert found.select("opened", "clicked").rows() == [(True, False), (True, True)]


def one(**tables: list[dict]) -> dict:
    return summarise_engagement(silver(**tables), AS_OF).to_pylist()[0]


def preference(value: str, source: str = "EXPLICIT", status: str = "ACTIVE", day: int = 1) -> dict:
    told = {"PREFERENCE_VALUE": value, "PREFERENCE_SOURCE": source, "PREFERENCE_STATUS": status}
    return {"CUSTOMER_ID": "A", "PREFERENCE_TYPE": "COMMUNICATION", "PREFERENCE_DATE": date(2010, 1, day)} | told


def test_what_was_stated_beats_what_was_inferred():
    clicks = [step("CLICKED", datetime(2010, 1, 1, tzinfo=UTC), channel="SMS")]
    inferred = one(
        **{TABLE: clicks, PREFERENCES: [preference("Post", "INFERRED"), preference("Post", status="OVERRIDDEN")]}
    )
    assert (inferred["preferred_channel"], inferred["preferred_channel_source"]) == ("SMS", "inferred")
    stated = one(**{TABLE: clicks, PREFERENCES: [preference("Email"), preference("Push", day=2)]})
    assert (stated["preferred_channel"], stated["preferred_channel_source"]) == ("PUSH", "stated")
    assert one(**{TABLE: [step("SENT", datetime(2010, 1, 1, tzinfo=UTC))]})["preferred_channel"] is None


@pytest.mark.parametrize(("country", "state", "hour"), [
    ("DEU", None, 10), ("USA", "CA", 1), ("USA", "NY", 4), ("USA", None, 4), ("XXX", None, 8), (None, None, 8),
    ("IND", None, 13),
])  # fmt: skip
def test_the_best_hour_is_the_customers_own(country, state, hour):
    june = datetime(2010, 6, 1, 8, 15, tzinfo=UTC)
    rows = [step("OPENED", june + timedelta(days=n), f"C{n}") for n in (0, 1)]
    rows.append(step("OPENED", june + timedelta(hours=3), "C9"))
    found = one(**{TABLE: rows, "CUSTOMERS": [{"CUSTOMER_ID": "A", "COUNTRY_CODE": country, "STATE_CODE": state}]})
    assert found["best_hour_local"] == hour


@given(
    st.lists(
        st.tuples(st.datetimes(datetime(2000, 1, 1), datetime(2025, 1, 1)), st.sampled_from(sorted(ZONES.values())))
    )
)
@settings(max_examples=40, deadline=None)
def test_local_hours_are_those_of_the_zone(rows):
    at = pl.Series([r[0].replace(tzinfo=UTC) for r in rows], dtype=pl.Datetime("us", "UTC"))
    zones = pl.Series([r[1] for r in rows], dtype=pl.String)
    expected = [r[0].replace(tzinfo=UTC).astimezone(ZoneInfo(r[1])).hour for r in rows]
    assert local_hours(at, zones).to_list() == expected


def test_every_zone_exists():
    assert all(ZoneInfo(zone) for zone in {*ZONES.values(), *STATE_ZONES.values()})


def test_fatigue_is_a_share_opened_that_fell_by_half_or_leaving():
    def history(early: int, late: int, last: str = "DELIVERED") -> dict:
        rows = []
        for n in range(8):
            start = datetime(2010, 1, 1 + n, tzinfo=UTC) if n < 4 else datetime(2010, 6, n, tzinfo=UTC)
            answered = n < early if n < 4 else n - 4 < late
            rows.append(step("OPENED" if answered else "DELIVERED", start, f"C{n}"))
        return one(**{TABLE: [*rows, step(last, AS_OF, "C7")]})

    assert [history(4, late)["fatigued"] for late in (4, 3, 2, 0)] == [False, False, True, True]
    assert history(4, 2)["recent_open_rate"] == 0.5 and history(4, 2)["earlier_open_rate"] == 1.0
    assert not history(0, 0)["fatigued"]
    assert history(4, 4, "UNSUBSCRIBED")["fatigued"]


def test_intervals_are_the_published_ones():
    """Newcombe 1998, table II: cases (a) 56/70 - 48/80 and (c) 6/7 - 2/7 and (g) 10/10 - 0/20, method 10."""
    x, n, y, m = (np.array(v) for v in ([56, 6, 10], [70, 7, 10], [48, 2, 0], [80, 7, 20]))
    low, high = newcombe(x, n, y, m)
    assert low == pytest.approx([0.0524, 0.0582, 0.6791], abs=6e-5)
    assert high == pytest.approx([0.3339, 0.8062, 1.0], abs=6e-5)
    share, low, high = wilson(np.array([81]), np.array([263]))
    assert (share[0], low[0], high[0]) == pytest.approx((0.3080, 0.2553, 0.3662), abs=6e-5)


CAMPAIGN = {"CAMPAIGN_ID": "C", "CAMPAIGN_NAME": "Spring", "CAMPAIGN_TYPE": "EMAIL", "START_DATE": date(2010, 3, 1),
            "END_DATE": date(2010, 3, 10), "SPENT_AMOUNT": None}  # fmt: skip


def planted(seed: int, size: int, lift: float) -> dict[str, pa.Table]:
    draw = np.random.default_rng(seed)
    hit = draw.random(size) < 0.4
    buys = draw.random(size) < np.where(hit, 0.1 + lift, 0.1)
    names = [f"P{n}" for n in range(size)]
    at = datetime(2010, 3, 2, tzinfo=UTC)
    order = {"TRANSACTION_DATE": at + timedelta(days=3), "TRANSACTION_TYPE": "PURCHASE", "TRANSACTION_STATUS": None}
    return silver(
        CUSTOMERS=[{"CUSTOMER_ID": name, "REGISTRATION_DATE": date(2009, 1, 1)} for name in names],
        CUSTOMER_TRANSACTIONS=[{"CUSTOMER_ID": name} | order for name, buy in zip(names, buys, strict=True) if buy],
        **{TABLE: [step("DELIVERED", at, customer=name) for name, reached in zip(names, hit, strict=True) if reached]},
    )


def test_a_planted_effect_lies_in_its_interval_and_none_in_one_around_zero():
    schema = pa.schema([CONTRACTS["MARKETING_CAMPAIGNS"].arrow.field(c) for c in CAMPAIGN_COLUMNS])
    campaigns = pa.Table.from_pylist([CAMPAIGN, CAMPAIGN | {"CAMPAIGN_ID": "NOBODY", "END_DATE": None}], schema=schema)
    strong = measure_effects(count_effects(planted(1, 4000, 0.1), campaigns, AS_OF), campaigns).to_pylist()
    assert [row["campaign_id"] for row in strong] == ["C"]
    assert strong[0]["uplift_low"] < 0.1 < strong[0]["uplift_high"] and strong[0]["uplift_low"] > 0
    assert strong[0]["extra_buyers"] == pytest.approx(0.1 * strong[0]["reached_customers"], rel=0.35)
    assert strong[0]["spent_amount"] is None and strong[0]["spent_per_extra_buyer"] is None
    none = measure_effects(count_effects(planted(2, 4000, 0.0), campaigns, AS_OF), campaigns).to_pylist()[0]
    assert none["uplift_low"] < 0 < none["uplift_high"]
    halves = [count_effects(planted(seed, 500, 0.1), campaigns, AS_OF) for seed in (3, 4)]
    merged = merge_effects(halves).to_pylist()[0]
    assert merged["reached"] + merged["others"] == 1000


def test_who_registered_later_or_bought_at_another_time_does_not_count():
    schema = pa.schema([CONTRACTS["MARKETING_CAMPAIGNS"].arrow.field(c) for c in CAMPAIGN_COLUMNS])
    campaigns = pa.Table.from_pylist([CAMPAIGN], schema=schema)
    days = {"A": date(2010, 2, 1), "B": date(2010, 3, 2), "D": date(2010, 3, 1)}
    bought = {"A": datetime(2010, 3, 18, tzinfo=UTC), "D": datetime(2010, 3, 17, 23, tzinfo=UTC)}
    tables = silver(
        CUSTOMERS=[{"CUSTOMER_ID": name, "REGISTRATION_DATE": day} for name, day in days.items()],
        CUSTOMER_TRANSACTIONS=[
            {"CUSTOMER_ID": name, "TRANSACTION_DATE": at, "TRANSACTION_TYPE": "PURCHASE", "TRANSACTION_STATUS": None}
            for name, at in bought.items()
        ],
        **{TABLE: [step("DELIVERED", datetime(2010, 3, 2, tzinfo=UTC), customer=name, status=s)
                   for name, s in (("A", "SUCCESS"), ("D", "BOUNCED"))]},
    )  # fmt: skip
    found = count_effects(tables, campaigns, AS_OF).to_pylist()
    assert found == [{"campaign_id": "C", "reached": 1, "reached_buyers": 0, "others": 1, "other_buyers": 1}]
