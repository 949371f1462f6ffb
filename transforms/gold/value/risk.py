"""How risky it is to sell to a customer: points by declared rules, each visible, nothing learned.

The rules count what the customer's own transactions say of the last year: payments that failed, orders cancelled, what
was sent back. A score is the sum of its rules' points, 0 to 100.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa

from transforms.contracts.commerce import TRANSACTIONS
from transforms.gold.frames import ID, cents, frame, until
from transforms.gold.orders import COMPLETED, PURCHASE, RETURN

INPUTS = (ID, "TRANSACTION_DATE", "TRANSACTION_TYPE", "TRANSACTION_STATUS", "TOTAL_AMOUNT", "CURRENCY_CODE")
WINDOW_DAYS = 365


@dataclass(frozen=True)
class Rule:
    """`points` for a customer whose `measure` is at least `least`; of a measure's rules the highest counts."""

    score: str
    measure: str
    least: float
    points: int


# Shares need some orders behind them: of fewer than three nothing is said (see `_measures`).
RULES: tuple[Rule, ...] = (
    Rule("payment", "failed_share", 0.10, 20),
    Rule("payment", "failed_share", 0.25, 40),
    Rule("payment", "failed_share", 0.50, 60),
    Rule("payment", "failed_in_30_days", 1, 10),
    Rule("payment", "failed_in_30_days", 3, 25),
    Rule("payment", "cancelled_share", 0.30, 15),
    Rule("return", "returns_share", 0.20, 15),
    Rule("return", "returns_share", 0.40, 35),
    Rule("return", "returns_share", 0.70, 50),
    Rule("return", "returned_value_share", 0.30, 15),
    Rule("return", "returned_value_share", 0.60, 35),
    Rule("return", "returns_in_30_days", 3, 15),
)
SCORES = ("payment", "return")
LEVELS = ((60, "high"), (30, "medium"), (0, "low"))
_LEAST_ATTEMPTS = 3

_TEXT, _INT = pa.string(), pa.int64()
CUSTOMER_RISK: pa.Schema = pa.schema(
    [
        pa.field("customer_id", _TEXT, False, {"comment": "the customer, or the person where identities are resolved"}),
        pa.field("as_of", pa.timestamp("us", tz="UTC"), False, {"comment": "nothing later is seen"}),
        *(
            field
            for name in SCORES
            for field in (
                pa.field(f"{name}_risk_score", _INT, False, {"comment": f"points of the {name} rules, 0 to 100"}),
                pa.field(f"{name}_risk_level", _TEXT, False, {"comment": "low below 30, medium below 60, else high"}),
                pa.field(f"{name}_risk_reasons", _TEXT, True, {"comment": "the rules that gave points; null if none"}),
            )
        ),
    ]
)


def score_risk(transactions: pa.Table | None, as_of: datetime) -> pa.Table:
    """One row a customer with a transaction up to `as_of`, by customer_id; schema CUSTOMER_RISK.

    Looks at the last WINDOW_DAYS. An attempt is a purchase of any status but PENDING. Amounts count in each currency's
    own numbers, as a share of what was bought; customers who mix currencies get the share of their sums.
    """
    rows = until(frame(transactions, TRANSACTIONS.arrow, INPUTS), "TRANSACTION_DATE", as_of).drop_nulls(ID)
    measured = _measures(rows, as_of)
    for name in SCORES:
        measured = measured.with_columns(*_points(name))
    levels = (
        pl.coalesce(
            pl.when(pl.col(f"{n}_risk_score") >= least).then(pl.lit(level)) for least, level in LEVELS
        ).alias(f"{n}_risk_level")
        for n in SCORES
    )  # fmt: skip
    result = measured.with_columns(*levels, pl.lit(as_of).alias("as_of")).rename({ID: "customer_id"})
    return result.sort("customer_id").select(CUSTOMER_RISK.names).to_arrow().cast(CUSTOMER_RISK)


def _measures(rows: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    at, status = pl.col("TRANSACTION_DATE"), pl.col("TRANSACTION_STATUS")
    lately = at > as_of - timedelta(days=30)
    failed, cancelled = PURCHASE & (status == "FAILED"), PURCHASE & (status == "CANCELLED")
    bought, returned = PURCHASE & COMPLETED, RETURN & COMPLETED
    amount = cents("TOTAL_AMOUNT")
    year = (at > as_of - timedelta(days=WINDOW_DAYS)).fill_null(False)

    def count(which: pl.Expr, name: str) -> pl.Expr:
        return (which.fill_null(False) & year).sum().alias(name)

    counted = rows.group_by(ID).agg(
        count(failed, "failed"), count(cancelled, "cancelled"), count(bought, "bought"), count(returned, "returned"),
        count(failed & lately, "failed_in_30_days"), count(returned & lately, "returns_in_30_days"),
        amount.filter((bought & year).fill_null(False)).sum().alias("value"),
        amount.filter((returned & year).fill_null(False)).abs().sum().alias("returned_value"),
    )  # fmt: skip
    attempts = pl.col("failed") + pl.col("cancelled") + pl.col("bought")
    some = pl.when(attempts >= _LEAST_ATTEMPTS)
    return counted.with_columns(
        some.then(pl.col("failed") / attempts).alias("failed_share"),
        some.then(pl.col("cancelled") / attempts).alias("cancelled_share"),
        some.then(pl.col("returned") / pl.col("bought").clip(1)).alias("returns_share"),
        some.then(pl.col("returned_value") / pl.col("value").clip(1)).alias("returned_value_share"),
    )


def _points(score: str) -> tuple[pl.Expr, pl.Expr]:
    """The sum over measures of the highest rule met, and these rules in words."""
    points, reasons = [], []
    for measure in dict.fromkeys(rule.measure for rule in RULES if rule.score == score):
        rules = sorted((r for r in RULES if (r.score, r.measure) == (score, measure)), key=lambda r: -r.points)
        met = [(pl.col(measure) >= rule.least).fill_null(False) for rule in rules]
        points.append(pl.coalesce(*(pl.when(m).then(r.points) for m, r in zip(met, rules, strict=True)), 0))
        words = (pl.when(m).then(pl.lit(f"{measure} >= {r.least:g}")) for m, r in zip(met, rules, strict=True))
        reasons.append(pl.coalesce(*words))
    said = pl.concat_str(reasons, separator=", ", ignore_nulls=True)
    total = pl.sum_horizontal(points).clip(0, 100)
    return total.alias(f"{score}_risk_score"), pl.when(said != "").then(said).alias(f"{score}_risk_reasons")
