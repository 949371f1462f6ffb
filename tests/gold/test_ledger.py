"""The ledger and what it knows, against plain Python over lists of orders."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.gold.value.features import WINDOWS_DAYS, happened, know, matrix
from transforms.gold.value.ledger import ORDERS, open_ledger

START = datetime(2020, 1, 1, tzinfo=UTC)
START_DAY = (START - datetime(1970, 1, 1, tzinfo=UTC)).days
ORDER = st.fixed_dictionaries(
    {
        "customer": st.sampled_from("abc"),
        "at": st.integers(0, 400 * 24).map(lambda hours: START + timedelta(hours=hours)),
        "amount_cents": st.integers(-3000, 5000),
        "order_id": st.one_of(st.none(), st.sampled_from(["1", "2", "3"])),
        "currency": st.sampled_from(["GBP", "GBP", "EUR", None]),
    }
)
HISTORIES = st.lists(ORDER, min_size=1, max_size=30)


def table(rows):
    return pa.Table.from_pylist(rows, schema=ORDERS)


def own_currency(rows):
    counts = defaultdict(int)
    for row in rows:
        counts[row["currency"]] += 1
    return min(counts, key=lambda code: (code is None, -counts[code], code or ""))


def plain_days(rows):
    """{(customer, day): [orders, cents]}, the slow way."""
    own = {c: own_currency([r for r in rows if r["customer"] == c]) for c in {r["customer"] for r in rows}}
    days = defaultdict(list)
    for row in rows:
        days[row["customer"], (row["at"] - datetime(1970, 1, 1, tzinfo=UTC)).days].append(row)
    result = {}
    for (customer, day), these in days.items():
        amounts = defaultdict(int)
        for i, row in enumerate(these):
            amounts[row["order_id"] or i] += row["amount_cents"]
        orders = sum(a > 0 for a in amounts.values()) if sum(amounts.values()) > 0 else 0
        cents = sum(r["amount_cents"] for r in these if r["currency"] == own[customer])
        result[customer, day] = [orders, cents]
    return result


def days_of(ledger):
    ids = ledger.customers.to_list()
    entries = np.stack([ledger.owner, ledger.day, ledger.orders, ledger.cents], axis=1).tolist()
    return {(ids[owner], day): [orders, cents] for owner, day, orders, cents in entries}


@settings(max_examples=80, deadline=None)
@given(HISTORIES)
def test_days_are_those_of_plain_python(rows):
    assert days_of(open_ledger(table(rows))) == plain_days(rows)


@settings(max_examples=40, deadline=None)
@given(HISTORIES, st.randoms())
def test_the_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    one, other = open_ledger(table(rows)), open_ledger(table(shuffled))
    assert days_of(one) == days_of(other)
    assert one.unit.tolist() == other.unit.tolist() and one.currency.to_list() == other.currency.to_list()


@settings(max_examples=80, deadline=None)
@given(HISTORIES, st.integers(0, 420))
def test_what_is_known_and_what_happened_are_those_of_plain_python(rows, after):
    ledger, day = open_ledger(table(rows)), START_DAY + after
    unit = dict(zip(ledger.customers.to_list(), ledger.unit.tolist(), strict=True))
    days = plain_days(rows)
    known = know(ledger, day)
    names = [ledger.customers[int(i)] for i in known.who]
    bought = {c: sorted(d for (who, d), (n, _) in days.items() if who == c and n and d <= day) for c in "abc"}
    assert names == [c for c in "abc" if bought[c]]
    for i, c in enumerate(names):
        past = {d: v for (who, d), v in days.items() if who == c and d <= day}
        gaps = np.diff(bought[c])
        assert (known.first[i], known.last[i], known.days[i]) == (bought[c][0], bought[c][-1], len(bought[c]))
        assert known.orders[i] == sum(n for n, _ in past.values())
        assert known.value[i] == pytest.approx(sum(np.rint(unit[c] * v) for _, v in past.values()))
        assert known.returned[i] == pytest.approx(sum(np.rint(unit[c] * min(v, 0)) for _, v in past.values()))
        assert known.gaps_square[i] == (gaps**2).sum()
        assert known.last_gap[i] == (gaps[-1] if len(gaps) else 0)
        for w, window in enumerate(WINDOWS_DAYS):
            recent = [v for d, v in past.items() if d > day - window]
            assert known.window_orders[i, w] == sum(n for n, _ in recent)
            assert known.window_value[i, w] == pytest.approx(sum(np.rint(unit[c] * v) for _, v in recent))
    orders, value = happened(ledger, known.who, day, day + 90)
    for i, c in enumerate(names):
        future = [v for (who, d), v in days.items() if who == c and day < d <= day + 90]
        assert orders[i] == sum(n for n, _ in future)
        assert value[i] == pytest.approx(max(0, sum(np.rint(unit[c] * v) for _, v in future)))


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.integers(0, 400))
def test_features_read_nothing_later_than_their_day(rows, after):
    day = START_DAY + after
    limit = START + timedelta(days=after + 1)
    same = [dict(row, currency="GBP") for row in rows]  # which currency is a customer's own, all their orders decide
    past = [row for row in same if row["at"] < limit]
    if not past:
        return
    whole, only_past = know(open_ledger(table(same)), day), know(open_ledger(table(past)), day)
    assert np.array_equal(matrix(whole)[0], matrix(only_past)[0], equal_nan=True)


def test_bought_and_sent_back_on_one_day_is_no_order():
    at = START
    rows = [{"customer": "a", "at": at, "amount_cents": c, "order_id": i} for c, i in ((8000, "1"), (-8000, "C1"))]
    ledger = open_ledger(table([row | {"currency": None} for row in rows]))
    assert (ledger.orders.tolist(), ledger.cents.tolist()) == ([0], [0])
    assert len(know(ledger, ledger.last_day).who) == 0


def test_amounts_of_two_currencies_meet_on_one_scale():
    rows = [("a", 10_000, "JPY"), ("b", 100, "EUR"), ("c", 300, "EUR")]
    ledger = open_ledger(table([
        {"customer": c, "at": START, "amount_cents": n, "order_id": None, "currency": code} for c, n, code in rows
    ]))  # fmt: skip
    assert (ledger.cents * ledger.unit).tolist() == pytest.approx([200.0, 100.0, 300.0])
    assert ledger.mixed.tolist() == [False, False, False]


def test_a_customer_with_a_million_rows_is_one_entry_a_day():
    number = 1_000_000
    frame = pl.select(
        customer=pl.lit("a"),
        at=pl.lit(START) + pl.duration(minutes=pl.int_range(number)),
        amount_cents=pl.lit(100, pl.Int64),
        order_id=pl.int_range(number).cast(pl.String),
        currency=pl.lit(None, pl.String),
    )
    ledger = open_ledger(frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ORDERS))
    assert len(ledger.day) == -(-number // 1440)
    assert ledger.orders.sum() == number and ledger.cents.sum() == 100 * number
