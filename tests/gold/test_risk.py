"""Risk by declared rules: each rule at its edge, and nothing later or older than it may be."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from transforms.contracts.commerce import TRANSACTIONS
from transforms.gold.value.risk import CUSTOMER_RISK, INPUTS, RULES, SCORES, score_risk

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
SCHEMA = pa.schema([TRANSACTIONS.arrow.field(name) for name in INPUTS])


def rows(*given):
    """(days before AS_OF, type, status, amount) of customer a."""
    return pa.Table.from_pylist(
        [
            {"CUSTOMER_ID": "a", "TRANSACTION_DATE": AS_OF - timedelta(days=days), "TRANSACTION_TYPE": kind,
             "TRANSACTION_STATUS": status, "TOTAL_AMOUNT": Decimal(amount), "CURRENCY_CODE": "EUR"}
            for days, kind, status, amount in given
        ],
        schema=SCHEMA,
    )  # fmt: skip


def scored(*given):
    [row] = score_risk(rows(*given), AS_OF).to_pylist()
    return row


def bought(number, days=60):
    return [(days, "PURCHASE", "COMPLETED", 10)] * number


@pytest.mark.parametrize(("failed", "points"), [(0, 0), (1, 20), (2, 20), (3, 40), (9, 60)])
def test_the_highest_rule_of_a_measure_counts(failed, points):
    """Of 9 bought: 1 of 10 is 10 %, 2 of 11 is 18 %, 3 of 12 is 25 %, 9 of 18 is 50 %."""
    row = scored(*bought(9), *[(60, "PURCHASE", "FAILED", 10)] * failed)
    assert row["payment_risk_score"] == points and row["return_risk_score"] == 0
    assert (row["payment_risk_reasons"] is None) == (points == 0)


def test_points_of_different_measures_add_up_and_are_explained():
    row = scored(*bought(3), *[(5, "PURCHASE", "FAILED", 10)] * 3)
    assert row["payment_risk_score"] == 60 + 25 and row["payment_risk_level"] == "high"
    assert row["payment_risk_reasons"] == "failed_share >= 0.5, failed_in_30_days >= 3"


@pytest.mark.parametrize("sign", [1, -1])
def test_returns_count_whatever_their_sign(sign):
    row = scored(*bought(4), *[(60, "RETURN", "COMPLETED", 10 * sign)] * 2)
    assert row["return_risk_score"] == 35 + 15 and row["return_risk_level"] == "medium"
    assert row["return_risk_reasons"] == "returns_share >= 0.4, returned_value_share >= 0.3"


def test_few_attempts_say_nothing_of_shares():
    assert scored((60, "PURCHASE", "FAILED", 10), (60, "PURCHASE", "COMPLETED", 10))["payment_risk_score"] == 0


def test_what_is_older_than_a_year_or_later_than_the_day_is_not_seen():
    old = [(400, "PURCHASE", "FAILED", 10)] * 5
    later = [(-1, "PURCHASE", "FAILED", 10)] * 5
    assert scored(*bought(5), *old, *later)["payment_risk_score"] == 0


def test_only_returns_has_an_answer_and_none_gives_no_rows():
    row = scored(*[(3, "REFUND", "COMPLETED", -5)] * 4)
    assert (row["return_risk_score"], row["return_risk_reasons"]) == (15, "returns_in_30_days >= 3")
    assert score_risk(None, AS_OF).schema.equals(CUSTOMER_RISK) and score_risk(None, AS_OF).num_rows == 0


def test_no_score_can_pass_a_hundred():
    for name in SCORES:
        best = {}
        for rule in RULES:
            if rule.score == name:
                best[rule.measure] = max(best.get(rule.measure, 0), rule.points)
        assert sum(best.values()) == 100
