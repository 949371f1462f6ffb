"""Silver's transactions as the models read them, what is fitted to all, and the tables of a bucket of customers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts.commerce import TRANSACTIONS
from transforms.gold.frames import ID, cents, frame, until
from transforms.gold.orders import COMPLETED, RETURN
from transforms.gold.value.churn import CHURN, ChurnModel, ChurnRules, ChurnScore, churn_rows, judge_churn, learn_churn
from transforms.gold.value.contest import Contest, Score
from transforms.gold.value.ledger import ORDERS, Ledger, open_ledger
from transforms.gold.value.lifetime import CUSTOMER_VALUE, Valuation, ValueRules, value_customers, value_rows
from transforms.gold.value.risk import CUSTOMER_RISK, score_risk
from transforms.silver.keys import key_hashes

KEY = ID  # whose orders are one history; the person's, once transactions carry it
TRANSACTIONS_TABLE = TRANSACTIONS.name
INPUTS = (
    KEY, "TRANSACTION_ID", "TRANSACTION_DATE", "TRANSACTION_TYPE", "TRANSACTION_STATUS", "TOTAL_AMOUNT",
    "CURRENCY_CODE",
)  # fmt: skip
WORTH_TABLES: Mapping[str, pa.Schema] = {
    "customer_value": CUSTOMER_VALUE,
    "churn": CHURN,
    "customer_risk": CUSTOMER_RISK,
}
MODEL_SCORES: pa.Schema = pa.schema(
    [
        pa.field("task", pa.string(), False, {"comment": "value or churn"}),
        pa.field("model", pa.string(), False, {"comment": "which one"}),
        pa.field("origin", pa.date32(), False, {"comment": "the last day that the model knew"}),
        pa.field("horizon_days", pa.int64(), False, {"comment": "of the holdout after it"}),
        pa.field("served", pa.bool_(), False, {"comment": "whether this model is the one in gold"}),
        pa.field(
            "measure",
            pa.string(),
            False,
            {"comment": "orders_mae, orders_came_tenth_1, auc ..."},
        ),
        pa.field("value", pa.float64(), True, {"comment": "value_mae in currency"}),
    ]
)
_CENTS = 100.0
MOST_FITTED = 2_000_000  # rows of transactions in memory while models are fitted, about


@dataclass(frozen=True)
class Worth:
    """What is fitted: enough for the rows of any customer. `scores`: schema MODEL_SCORES."""

    valuation: Valuation
    churn: ChurnModel | None
    churn_rules: ChurnRules
    scores: pa.Table

    @property
    def day(self) -> int:
        return self.valuation.fitted.day


def orders_of_transactions(transactions: pa.Table | None, as_of: datetime) -> pa.Table:
    """Silver's CUSTOMER_TRANSACTIONS (at least INPUTS) as rows of ORDERS.

    Completed ones of a customer, up to `as_of`. A RETURN or REFUND is sent back whatever its sign; an EXCHANGE counts
    with its sign, as a difference in price.
    """
    rows = until(frame(transactions, TRANSACTIONS.arrow, INPUTS), "TRANSACTION_DATE", as_of).filter(COMPLETED)
    rows = rows.drop_nulls([KEY, "TRANSACTION_DATE", "TOTAL_AMOUNT"])
    amount = cents("TOTAL_AMOUNT")
    orders = rows.select(
        pl.col(KEY).alias("customer"),
        pl.col("TRANSACTION_DATE").alias("at"),
        pl.when(RETURN).then(-amount.abs()).otherwise(amount).alias("amount_cents"),
        pl.col("TRANSACTION_ID").alias("order_id"),
        pl.col("CURRENCY_CODE").alias("currency"),
    )
    return orders.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(ORDERS)


def orders_to_fit(
    transactions: Iterable[pa.Table], rows: int, as_of: datetime, most: int = MOST_FITTED
) -> pa.Table | None:
    """The orders that models are fitted to; None where there is no table.

    All of them up to `most` rows; of more those of every k-th customer by a hash of their key, whole histories, so that
    memory is bounded, and a customer is in or out whatever the rest of the shop does at this size.

    Args:
      transactions: pieces of silver's CUSTOMER_TRANSACTIONS (at least INPUTS); rows: how many these have in all.
    """
    every = np.uint64(max(1, -(-rows // most)))
    parts = []
    for part in transactions:
        chosen = part if every == 1 else part.filter(pa.array(key_hashes(part, (KEY,)) % every == 0))
        parts.append(orders_of_transactions(chosen, as_of))
    return pa.concat_tables(parts) if parts else None


def fit_worth(
    orders: pa.Table, rules: ValueRules = ValueRules(), churn_rules: ChurnRules = ChurnRules()
) -> Worth | None:
    """Fits all that gold needs to all orders; None when there is no order."""
    if not orders.num_rows:
        return None
    ledger = open_ledger(orders)
    valuation = value_customers(ledger, rules)
    judged = judge_churn(ledger, churn_rules) or {}
    scores = [*_value_scores(valuation), *_tenths(valuation), *_churn_scores(judged, ledger, churn_rules)]
    slim = replace(valuation, contest=Contest([], rules.holdout_days))  # it goes to every worker
    return Worth(slim, learn_churn(ledger, churn_rules), churn_rules, pa.Table.from_pylist(scores, schema=MODEL_SCORES))


def worth_tables(transactions: pa.Table | None, worth: Worth | None, as_of: datetime) -> dict[str, pa.Table]:
    """The rows of WORTH_TABLES for the customers of a bucket; all but risk are empty where nothing was fitted."""
    orders = orders_of_transactions(transactions, as_of)
    risk = score_risk(transactions, as_of)
    if worth is None or not orders.num_rows:
        return {"customer_value": CUSTOMER_VALUE.empty_table(), "churn": CHURN.empty_table(), "customer_risk": risk}
    ledger = open_ledger(orders).in_units(worth.valuation.units)
    return {
        "customer_value": value_rows(ledger, worth.valuation),
        "churn": churn_rows(ledger, worth.churn, worth.churn_rules, worth.day),
        "customer_risk": risk,
    }


def _value_scores(valuation: Valuation) -> list[dict[str, object]]:
    served = valuation.served[valuation.fitted.base_days]
    rows = []
    for score in valuation.contest.scores:
        for measure in Score.__dataclass_fields__.keys() - {"model", "origin_day"}:
            value = float(getattr(score, measure)) / (_CENTS if measure == "value_mae" else 1.0)
            rows.append(_row("value", score.model, score.origin_day, valuation.contest.holdout_days,
                             score.model == served, measure, value))  # fmt: skip
    return sorted(rows, key=lambda row: (str(row["origin"]), str(row["model"]), str(row["measure"])))


def _tenths(valuation: Valuation) -> list[dict[str, object]]:
    """What the served model foresaw at the latest origin, and what came: means by tenths, fewest foreseen first."""
    days, served = valuation.contest.holdout_days, valuation.served[valuation.fitted.base_days]
    if not valuation.contest.judged or served not in valuation.contest.judged[0].outlook.fitted.able:
        return []
    latest = valuation.contest.judged[0]
    foreseen, came = latest.outlook.of(served, days)[0], latest.came(days)[0]
    parts = np.array_split(np.argsort(foreseen, kind="stable"), 10)
    return [
        _row("value", served, latest.outlook.known.day, days, True, f"orders_{what}_tenth_{i}", float(of[part].mean()))
        for i, part in enumerate(parts, 1) if len(part)
        for what, of in (("foreseen", foreseen), ("came", came))
    ]  # fmt: skip


def _churn_scores(judged: Mapping[str, ChurnScore], ledger: Ledger, rules: ChurnRules) -> list[dict[str, object]]:
    day = ledger.last_day - rules.horizon_days
    return [
        _row("churn", model, day, rules.horizon_days, model == "model", measure, float(getattr(score, measure)))
        for model, score in judged.items()
        for measure in ChurnScore.__dataclass_fields__
    ]


def _row(task: str, model: str, day: int, days: int, served: bool, measure: str, value: float) -> dict[str, object]:
    origin = datetime.fromtimestamp(day * 86_400, UTC).date()
    return {"task": task, "model": model, "origin": origin, "horizon_days": days, "served": served,
            "measure": measure, "value": value}  # fmt: skip
