"""Support and sentiment by month against rows counted one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from statistics import mean

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.contracts import CONTRACTS
from transforms.gold.service import sentiment as talk
from transforms.gold.service import tickets as desk

TICKETS, CONTACTS = desk.INPUTS
SAID = next(iter(talk.INPUTS))
AS_OF = datetime(2010, 3, 1, tzinfo=UTC)
times = st.integers(0, 80 * 24).map(lambda hours: datetime(2010, 1, 1, tzinfo=UTC) + timedelta(hours=hours))
maybe = st.none
minutes = st.one_of(maybe(), st.integers(-5, 500))
tickets_of_some = st.lists(st.fixed_dictionaries({
    "CREATION_DATE": times, "TICKET_STATUS": st.sampled_from(["OPEN", "CLOSED"]),
    "TICKET_CATEGORY": st.sampled_from(["BILLING", None]), "FIRST_RESPONSE_TIME": minutes,
    "TOTAL_RESOLUTION_TIME": minutes, "CUSTOMER_SATISFACTION": st.sampled_from([None, 0, 1, 4, 5, 9]),
}), max_size=12)  # fmt: skip
contacts_of_some = st.lists(st.fixed_dictionaries({
    "INTERACTION_DATE": times, "CATEGORY": st.sampled_from(["BILLING", None]),
    "SATISFACTION_SCORE": st.sampled_from([None, 2, 5]), "ESCALATION_LEVEL": st.sampled_from([None, 0, 2]),
    "FOLLOW_UP_REQUIRED": st.sampled_from([None, True, False]),
}), max_size=12)  # fmt: skip
said_of_some = st.lists(st.fixed_dictionaries({
    "SENTIMENT_DATE": times.map(datetime.date), "SENTIMENT_TYPE": st.sampled_from(["BRAND", None]),
    "DATA_SOURCE": st.sampled_from(["BLOG", None]),
    "SENTIMENT_SCORE": st.sampled_from([None, Decimal("-0.25"), Decimal("1.00"), Decimal("2.00")]),
    "MENTION_COUNT": st.sampled_from([None, 3, -1]), "POSITIVE_MENTIONS": st.integers(0, 3),
    "NEGATIVE_MENTIONS": st.integers(0, 3), "NEUTRAL_MENTIONS": st.integers(0, 3),
}), max_size=12)  # fmt: skip


def silver(inputs: dict, **tables: list[dict]) -> dict[str, pa.Table]:
    return {
        name: pa.Table.from_pylist(
            rows, schema=pa.schema([CONTRACTS[name].arrow.field(c).with_nullable(True) for c in inputs[name]])
        )
        for name, rows in tables.items()
    }


def quantile(values: list[int], share: float) -> float | None:
    ordered = sorted(values)
    return next((float(v) for n, v in enumerate(ordered, 1) if n >= share * len(ordered)), None)


@settings(max_examples=40, deadline=None)
@given(tickets_of_some, contacts_of_some)
def test_the_desk_is_its_rows_counted(tickets, contacts):
    tables = silver(desk.INPUTS, **{TICKETS: tickets, CONTACTS: contacts})
    found = {
        (r["month"], r["category"]): r for r in desk.summarise_service(desk.count_service(tables, AS_OF)).to_pylist()
    }
    seen = [t for t in tickets if t["CREATION_DATE"] <= AS_OF]
    met = [c for c in contacts if c["INTERACTION_DATE"] <= AS_OF]
    keys = {(t["CREATION_DATE"].date().replace(day=1), t["TICKET_CATEGORY"] or "UNKNOWN") for t in seen}
    keys |= {(c["INTERACTION_DATE"].date().replace(day=1), c["CATEGORY"] or "UNKNOWN") for c in met}
    assert found.keys() == keys
    for (month, category), row in found.items():
        mine = [
            t
            for t in seen
            if t["CREATION_DATE"].month == month.month and (t["TICKET_CATEGORY"] or "UNKNOWN") == category
        ]
        calls = [
            c for c in met if c["INTERACTION_DATE"].month == month.month and (c["CATEGORY"] or "UNKNOWN") == category
        ]
        assert row["tickets_count"] == len(mine) and row["contacts_count"] == len(calls)
        assert row["open_tickets_count"] == sum(t["TICKET_STATUS"] == "OPEN" for t in mine)
        assert row["escalated_contacts_count"] == sum((c["ESCALATION_LEVEL"] or 0) > 0 for c in calls)
        answered = [t["FIRST_RESPONSE_TIME"] for t in mine if (t["FIRST_RESPONSE_TIME"] or 0) >= 0]
        answered = [t for t in answered if t is not None]
        assert row["median_first_response_minutes"] == quantile(answered, 0.5)
        solved = [t["TOTAL_RESOLUTION_TIME"] for t in mine if t["TICKET_STATUS"] == "CLOSED"]
        assert row["p90_resolution_minutes"] == quantile([m for m in solved if m is not None and m >= 0], 0.9)
        scores = [t["CUSTOMER_SATISFACTION"] for t in mine if t["CUSTOMER_SATISFACTION"] in (1, 4, 5)]
        scores += [c["SATISFACTION_SCORE"] for c in calls if c["SATISFACTION_SCORE"]]
        assert row["satisfaction_scores_count"] == len(scores)
        assert row["average_satisfaction_score"] == (pytest.approx(mean(scores)) if scores else None)
        total = sum(t["CREATION_DATE"].month == month.month for t in seen)
        assert row["tickets_share"] == (pytest.approx(len(mine) / total) if total else None)
    parts = [desk.count_service(silver(desk.INPUTS, **{TICKETS: tickets}), AS_OF),
             desk.count_service(silver(desk.INPUTS, **{CONTACTS: contacts}), AS_OF)]  # fmt: skip
    assert desk.merge_service(parts).equals(desk.count_service(tables, AS_OF))


@settings(max_examples=40, deadline=None)
@given(said_of_some)
def test_sentiment_is_its_rows_added(rows):
    table = talk.summarise_sentiment(talk.count_sentiment(silver(talk.INPUTS, **{SAID: rows}), AS_OF))
    seen = [r for r in rows if r["SENTIMENT_DATE"] <= AS_OF.date()]
    assert sum(table["mentions_count"].to_pylist()) == sum(3 for r in seen if r["MENTION_COUNT"] == 3)
    for row in table.to_pylist():
        mine = [r for r in seen if r["SENTIMENT_DATE"].replace(day=1) == row["month"]
                and (r["SENTIMENT_TYPE"] or "UNKNOWN", r["DATA_SOURCE"] or "UNKNOWN")
                == (row["sentiment_type"], row["data_source"])]  # fmt: skip
        scores = [
            float(r["SENTIMENT_SCORE"]) for r in mine if r["SENTIMENT_SCORE"] in (Decimal("-0.25"), Decimal("1.00"))
        ]
        assert row["scores_count"] == len(scores)
        assert row["average_sentiment_score"] == (pytest.approx(mean(scores)) if scores else None)
        good, bad = (sum(r[f"{kind}_MENTIONS"] for r in mine) for kind in ("POSITIVE", "NEGATIVE"))
        said = good + bad + sum(r["NEUTRAL_MENTIONS"] for r in mine)
        assert row["net_sentiment"] == (pytest.approx((good - bad) / said) if said else None)
    halves = [talk.count_sentiment(silver(talk.INPUTS, **{SAID: part}), AS_OF) for part in (rows[::2], rows[1::2])]
    assert talk.summarise_sentiment(talk.merge_sentiment(halves)).equals(table)


def test_change_is_from_the_month_before_and_not_over_a_gap():
    base = {"SENTIMENT_TYPE": "BRAND", "DATA_SOURCE": "BLOG"}
    rows = [base | {"SENTIMENT_DATE": date(2009, m, 3), "SENTIMENT_SCORE": Decimal(s)}
            for m, s in ((1, "0.10"), (2, "0.30"), (4, "0.50"))]  # fmt: skip
    table = talk.summarise_sentiment(talk.count_sentiment(silver(talk.INPUTS, **{SAID: rows}), AS_OF))
    assert pl.DataFrame(table)["change_from_previous_month"].to_list() == [None, pytest.approx(0.2), None]
