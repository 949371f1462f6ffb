"""What customer_360 takes from the other tables of gold, against plain loops; and whose row changes when data do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.generator.dataset import tables
from transforms.generator.spec import GeneratorSpec
from transforms.gold.complete import complete_customers
from transforms.gold.customer_360 import BASE_SCHEMA, attach_customers, summarise_customers
from transforms.gold.fields import SCHEMA
from transforms.gold.tables import CAMPAIGNS, CUSTOMER_TABLES, INPUTS, GoldContext, count_bucket
from transforms.gold.value.worth import fit_worth, orders_of_transactions

AS_OF = datetime(2010, 12, 31, 23, tzinfo=UTC)
ITEMS, ORDERS = "CUSTOMER_TRANSACTION_ITEMS", "CUSTOMER_TRANSACTIONS"


@pytest.fixture(scope="module")
def silver() -> dict[str, pa.Table]:
    found: dict[str, list[pa.Table]] = {}
    for name, rows in tables(GeneratorSpec(customers=150, days=365).clean):
        found.setdefault(name, []).append(rows)
    whole = {name: pa.concat_tables(parts) for name, parts in found.items()}
    return {name: whole[name].select(list(columns)) for name, columns in INPUTS.items()} | {CAMPAIGNS: whole[CAMPAIGNS]}


@pytest.fixture(scope="module")
def context(silver) -> GoldContext:
    return GoldContext(AS_OF, silver[CAMPAIGNS], "GBP", fit_worth(orders_of_transactions(silver[ORDERS], AS_OF)))


def complete(silver: dict[str, pa.Table], context: GoldContext) -> pl.DataFrame:
    bucket = {name: table for name, table in silver.items() if name != CAMPAIGNS}
    bucket[ITEMS] = attach_customers(bucket[ITEMS], bucket[ORDERS])
    rows, _ = count_bucket(bucket, context)
    made = complete_customers(summarise_customers(bucket, AS_OF), rows, AS_OF)
    assert made.schema.equals(SCHEMA, check_metadata=True)
    return pl.DataFrame(made)


@pytest.fixture(scope="module")
def people(silver, context) -> pl.DataFrame:
    return complete(silver, context)


def test_every_column_is_filled_for_somebody(people):
    empty = {name for name in people.columns if people[name].null_count() == people.height}
    scored_later = {f"{name}_score" for name in ("recency", "frequency", "monetary")}
    scored_later |= {"rfm_segment", "rfm_segment_30_days_ago", "rfm_move"}
    assert empty - scored_later <= {"payment_risk_reasons", "return_risk_reasons"}


def test_a_restated_person_changes_only_their_own_row(silver, context, people):
    orders = pl.DataFrame(silver[ORDERS])
    who = orders.drop_nulls("CUSTOMER_ID")["CUSTOMER_ID"].mode().sort()[0]
    mine = pl.col("CUSTOMER_ID").eq_missing(pl.lit(who))
    more = orders.with_columns(pl.when(mine).then(Decimal("77.70")).otherwise("TOTAL_AMOUNT").alias("TOTAL_AMOUNT"))
    restated = more.to_arrow().cast(silver[ORDERS].schema)
    without = {
        name: table.filter(pc.fill_null(pc.not_equal(table["CUSTOMER_ID"], who), True))
        for name, table in silver.items() if name.startswith("CUSTOMER_BEHAV")
    }  # fmt: skip
    found = complete(silver | {ORDERS: restated} | without, context)  # the same fit
    others = pl.col("person_id") != who
    assert found.filter(others).equals(people.filter(others))
    assert not found.filter(~others).equals(people.filter(~others))


def test_a_row_does_not_depend_on_other_persons(silver, context, people):
    for who in people["person_id"].to_list()[:3]:
        alone = {
            name: table.filter(pc.equal(table["CUSTOMER_ID"], who)) if "CUSTOMER_ID" in table.column_names else table
            for name, table in silver.items()
        }
        assert complete(alone, context).equals(people.filter(pl.col("person_id") == who))


def test_customers_whom_no_other_table_knows_keep_their_row():
    empty = {name: schema.empty_table() for name, schema in CUSTOMER_TABLES.items()}
    (row,) = complete_customers(bare(["A"]), empty, AS_OF).to_pylist()
    assert (row["person_id"], row["touchpoints_count"], row["fatigued"], row["churn_status"]) == ("A", 0, False, None)


STEPS = ("VISIT", "OPENED", "CLICKED", "ORDER", "SERVICE", "RETURN")
paths = st.lists(
    st.tuples(
        st.sampled_from("AB"), st.integers(0, 90), st.sampled_from(STEPS), st.sampled_from(["EMAIL", "WEB", None])
    ),
    max_size=25,
)


def bare(persons: list[str]) -> pa.Table:
    """Rows of customer_360 of whom nothing is known but who they are."""
    rows = []
    for who in persons:
        required = [f for f in BASE_SCHEMA if not f.nullable]
        plain = {f.name: who if pa.types.is_string(f.type) else not pa.types.is_boolean(f.type) and 0 for f in required}
        rows.append(dict.fromkeys(BASE_SCHEMA.names) | plain)
    return pa.Table.from_pylist(rows, BASE_SCHEMA)


def of_path(rows: list[tuple]) -> tuple[dict[str, dict], dict[str, list[dict]]]:
    """The rows of customer_360, and each person's touches."""
    ordered = sorted(enumerate(rows), key=lambda pair: (pair[1][0], pair[1][1], pair[0]))
    told: dict[str, list[dict]] = {}
    for _, (who, day, step, channel) in ordered:
        mine = told.setdefault(who, [])
        at = AS_OF - timedelta(days=100 - day)
        mine.append({"person_id": who, "position": len(mine) + 1, "started_at": at, "step": step, "channel": channel,
                     "campaign_id": None, "repeats_count": 1, "value": None, "currency": None})  # fmt: skip
    path = pa.Table.from_pylist([r for mine in told.values() for r in mine], CUSTOMER_TABLES["touchpoints"])
    base = bare(sorted(told))
    others = {name: schema.empty_table() for name, schema in CUSTOMER_TABLES.items() if name != "touchpoints"}
    found = complete_customers(base, others | {"touchpoints": path}, AS_OF)
    return {row["person_id"]: row for row in found.to_pylist()}, told


@settings(max_examples=80, deadline=None)
@given(paths)
def test_the_last_touches_and_the_channels_of_first_and_last_order_equal_a_plain_loop(rows):
    found, told = of_path(rows)
    for who, mine in told.items():
        row = found[who]
        assert (row["touchpoints_count"], row["last_touch_step"]) == (len(mine), mine[-1]["step"])
        assert (row["last_touch_at"], row["last_touch_channel"]) == (mine[-1]["started_at"], mine[-1]["channel"])
        names = [" ".join(filter(None, (r["step"], r["channel"]))) for r in mine[-5:]]
        assert row["last_touches"] == " > ".join(names)
        credited, waiting = [], []
        for touch in mine:
            if touch["step"] == "ORDER":
                near = [
                    t["channel"] or "UNKNOWN" for t in waiting if touch["started_at"] - t["started_at"] <= timedelta(30)
                ]
                credited.append(near or ["(no touchpoint)"])
                waiting = []
            elif touch["step"] in ("VISIT", "OPENED", "CLICKED"):
                waiting.append(touch)
        assert row["attribution_first_channel"] == (credited[0][0] if credited else None)
        assert row["attribution_last_channel"] == (credited[-1][-1] if credited else None)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["events_count", "orders_count", "returns_count"]))))
def test_the_trend_compares_active_days(acts):
    today = AS_OF.date()
    zero = dict.fromkeys(
        (f.name for f in CUSTOMER_TABLES["customer_behaviour"] if f.name.endswith(("_count", "_cents"))), 0
    )
    rows = [
        zero | {"dimension": "customer", "key": "A", "currency": str(n % 2), "period": "day",
                "starts_on": today - timedelta(days=ago), what: 1}
        for n, (ago, what) in enumerate(acts)
    ]  # fmt: skip
    days = pa.Table.from_pylist(rows, CUSTOMER_TABLES["customer_behaviour"])
    others = {name: schema.empty_table() for name, schema in CUSTOMER_TABLES.items() if name != "customer_behaviour"}
    base = bare(["A"])
    (row,) = complete_customers(base, others | {"customer_behaviour": days}, AS_OF).to_pylist()
    active = {ago for ago, what in acts if what != "returns_count"}
    now, then = len([a for a in active if a < 90]), len([a for a in active if 90 <= a < 180])
    assert (row["active_days_last_90_days_count"], row["active_days_previous_90_days_count"]) == (now, then)
    if not now and not then:
        expected = None
    elif not then or not now:
        expected = "silent" if then else "starting"
    else:
        ratio = now / then
        expected = "rising" if ratio >= 1.25 else "falling" if ratio <= 0.8 else "steady"
    assert row["activity_trend"] == expected
