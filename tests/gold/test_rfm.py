"""Scores against a plain version, and their invariants: ties, order, splits, currencies."""

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.gold import rfm
from transforms.gold.fields import SCHEMA

_SCORES = ("recency_score", "frequency_score", "monetary_score")
_rows = st.lists(
    st.fixed_dictionaries(
        {
            "orders_count": st.integers(0, 4),
            "days": st.integers(0, 30),
            "cents": st.integers(-500, 2_000),
            "currency": st.sampled_from(["GBP", "GBP", "EUR", None]),
            "then": st.none() | st.tuples(st.integers(1, 4), st.integers(0, 30)),
        }
    ),
    max_size=40,
)


def _customers(rows: list[dict]) -> pa.Table:
    """Rows of customer_360 that have only what scores need."""
    full = [
        dict.fromkeys(SCHEMA.names)
        | {f.name: False if pa.types.is_boolean(f.type) else 0 for f in SCHEMA if not f.nullable}
        | dict.fromkeys(("person_id", "customer_id", "customer_ids"), str(number))
        | {
            "orders_count": row["orders_count"],
            "recency_days": row["days"] if row["orders_count"] else None,
            "net_revenue": Decimal(row["cents"]).scaleb(-2),
            "revenue_currency": row["currency"],
            "orders_count_30_days_ago": row["then"][0] if row.get("then") and row["orders_count"] else 0,
            "recency_days_30_days_ago": row["then"][1] if row.get("then") and row["orders_count"] else None,
        }
        for number, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(full, SCHEMA)


def _score(table: pa.Table) -> pa.Table:
    return rfm.score(table, rfm.thresholds(rfm.merge([rfm.summarise(table)])))


def _plain_scores(values: list) -> list:
    """1 + the number of k in 1 to 4 for which the k-th quintile is below the value; None stays None."""
    known = sorted(value for value in values if value is not None)
    quintiles = [
        next(v for v in known if 5 * sum(w <= v for w in known) >= k * len(known)) for k in range(1, 5) if known
    ]
    return [None if value is None else 1 + sum(q < value for q in quintiles) for value in values]


@settings(max_examples=80, deadline=None)
@given(_rows)
def test_scores_equal_the_plain_version(rows):
    scored = _score(_customers(rows))
    bought = [row if row["orders_count"] else None for row in rows]
    assert scored["recency_score"].to_pylist() == _plain_scores([row and -row["days"] for row in bought])
    assert scored["frequency_score"].to_pylist() == _plain_scores([row and row["orders_count"] for row in bought])
    for currency in ("GBP", "EUR", None):
        here = [row and row["cents"] if row and row["currency"] == currency else None for row in bought]
        for row, expected, got in zip(rows, _plain_scores(here), scored["monetary_score"].to_pylist(), strict=True):
            assert row["currency"] != currency or got == expected


def _named(recency: int | None, frequency: int | None) -> str | None:
    if recency is None or frequency is None:
        return None
    return next(name for name, r, f in rfm.SEGMENTS if r[0] <= recency <= r[1] and f[0] <= frequency <= f[1])


@settings(max_examples=60, deadline=None)
@given(_rows)
def test_moves_are_between_the_segments_of_now_and_of_30_days_ago(rows):
    scored = _score(_customers(rows)).to_pylist()
    then = [row["then"] if row["orders_count"] else None for row in rows]
    recency, frequency = _plain_scores([t and -t[1] for t in then]), _plain_scores([t and t[0] for t in then])
    for row, r, f in zip(scored, recency, frequency, strict=True):
        assert row["rfm_segment_30_days_ago"] == _named(r, f)
        if row["rfm_segment"] is None or r is None:
            assert row["rfm_move"] == (None if row["rfm_segment"] is None else "new")
        elif _named(r, f) == row["rfm_segment"]:
            assert row["rfm_move"] == "stayed"
        else:
            rise = (row["recency_score"] + row["frequency_score"] - r - f, row["recency_score"] - r)
            assert row["rfm_move"] == ("rose" if rise > (0, 0) else "fell")


@settings(max_examples=60, deadline=None)
@given(_rows, st.randoms(use_true_random=False), st.integers(1, 7))
def test_neither_order_nor_splits_matter(rows, random, parts):
    table = _customers(rows)
    order = random.sample(range(len(rows)), len(rows))
    shuffled = table.take(pa.array(order, pa.int64()))
    size = -(-len(rows) // parts)
    summaries = [rfm.summarise(shuffled.slice(start, size)) for start in range(0, len(rows), size)] if rows else []
    random.shuffle(summaries)
    middle = len(summaries) // 2
    merged = rfm.merge([rfm.merge(summaries[:middle]), rfm.merge(summaries[middle:])])
    assert merged.equals(rfm.merge([rfm.summarise(table)]))
    limits = rfm.thresholds(merged)
    assert rfm.score(shuffled, limits).equals(_score(table).take(pa.array(order, pa.int64())))


@settings(max_examples=60, deadline=None)
@given(_rows)
def test_more_is_never_scored_lower_and_all_else_is_kept(rows):
    table = _customers(rows)
    scored = _score(table)
    made = [*_SCORES, "rfm_segment", "rfm_segment_30_days_ago", "rfm_move"]
    assert scored.drop_columns(made).equals(table.drop_columns(made))
    pairs = sorted(
        (row["orders_count"], score)
        for row, score in zip(rows, scored["frequency_score"].to_pylist(), strict=True)
        if row["orders_count"]
    )
    assert [score for _, score in pairs] == sorted(score for _, score in pairs)


def test_distinct_values_fall_into_equal_fifths():
    rows = [{"orders_count": n + 1, "days": n, "cents": 7 * n, "currency": "GBP"} for n in range(100)]
    scored = _score(_customers(rows))
    for name in _SCORES:
        assert pc.value_counts(scored[name]).to_pylist() == [
            {"values": value, "counts": 20} for value in dict.fromkeys(scored[name].to_pylist())
        ]
    assert scored["recency_score"].to_pylist()[0] == 5
    assert scored["frequency_score"].to_pylist()[0] == 1


def test_a_tie_of_four_fifths_takes_the_lower_score():
    rows = [{"orders_count": 1 if n < 8 else 9, "days": 3, "cents": 5, "currency": "GBP"} for n in range(10)]
    assert _score(_customers(rows))["frequency_score"].to_pylist() == [1] * 8 + [5] * 2


def test_customers_without_orders_have_no_scores():
    scored = _score(_customers([{"orders_count": 0, "days": 0, "cents": -900, "currency": "GBP"}]))
    assert [scored[name][0].as_py() for name in (*_SCORES, "rfm_segment")] == [None] * 4


@pytest.mark.parametrize("recency", range(1, 6))
@pytest.mark.parametrize("frequency", range(1, 6))
def test_every_pair_of_scores_has_exactly_one_segment(recency, frequency):
    names = [name for name, r, f in rfm.SEGMENTS if r[0] <= recency <= r[1] and f[0] <= frequency <= f[1]]
    assert len(names) == 1


def test_the_best_customers_are_champions_and_the_oldest_hibernate():
    rows = [{"orders_count": n + 1, "days": 50 - n, "cents": n, "currency": "GBP"} for n in range(50)]
    segments = _score(_customers(rows))["rfm_segment"].to_pylist()
    assert (segments[0], segments[-1]) == ("hibernating", "champions")
