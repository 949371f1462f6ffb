"""What each customer is worth: the contest, the fit on all that is known, and one row a customer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.errors import UsageError
from transforms.gold.value.bounds import Bounds, learn_bounds
from transforms.gold.value.contest import Contest, hold
from transforms.gold.value.features import Known, know
from transforms.gold.value.forecast import MODELS, Fitted, Outlook, fit
from transforms.gold.value.ledger import Ledger

HORIZONS_DAYS = (30, 90, 365)
_AVERAGED = "consensus"  # serves horizons that could not be held out


@dataclass(frozen=True)
class ValueRules:
    """How customers are valued.

    Attributes:
      holdout_days: the horizon that models are fitted for and judged by.
      model: one of MODELS to serve whoever wins; empty lets the best serve.
    """

    holdout_days: int = 90
    model: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.holdout_days <= 3650:
            raise UsageError(
                f"a holdout of {self.holdout_days} days cannot be", remedy="give 1 to 3650 days, such as 90d"
            )
        if self.model and self.model not in MODELS:
            raise UsageError(f"there is no model {self.model!r}", remedy=f"use one of {', '.join(MODELS)}")


@dataclass(frozen=True)
class Valuation:
    """All that is fitted: enough to give every customer their row, bucket by bucket.

    `units`: those of the ledger it was fitted to, for a ledger of only some customers (`Ledger.in_units`).

    `served`: horizon -> model; `bounds`: (orders, value) bounds of each horizon that could be held out.
    """

    fitted: Fitted
    contest: Contest
    served: dict[int, str]
    bounds: dict[int, tuple[Bounds, Bounds]]
    units: dict[str | None, float] = field(default_factory=dict)


_CUSTOMERS_A_PART = 200_000
_DAY = pa.date32()
_CENTS = 100.0


def _described(name: str, type: pa.DataType, comment: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, type, nullable, {"comment": comment})


def _horizon(days: int) -> list[pa.Field]:
    number = pa.float64()
    return [
        _described(f"expected_orders_{days}_days", number, f"orders in the {days} days after as_of", False),
        _described(f"expected_orders_{days}_days_low", number, "four in five customers end between low and high"),
        _described(f"expected_orders_{days}_days_high", number, "see low; null where there was no holdout"),
        _described(f"expected_value_{days}_days", number, f"bought less sent back in these {days} days", False),
        _described(f"expected_value_{days}_days_low", number, "as of orders"),
        _described(f"expected_value_{days}_days_high", number, "as of orders"),
    ]  # fmt: skip


CUSTOMER_VALUE: pa.Schema = pa.schema(
    [
        _described("customer_id", pa.string(), "the customer, or the person where identities are resolved", False),
        _described("as_of", _DAY, "the last day that is known", False),
        _described("currency", pa.string(), "of all values: the one of most of their orders; null where unknown"),
        _described("mixed_currency", pa.bool_(), "ordered in others too: such orders count without value", False),
        _described("first_order_day", _DAY, "first day with an order that was not sent back at once; null without any"),
        _described("last_order_day", _DAY, "last such day"),
        _described("order_days_count", pa.int64(), "days with orders", False),
        _described("orders_count", pa.int64(), "orders on these days", False),
        _described("net_value", pa.float64(), "bought less sent back, in currency; may be below 0", False),
        _described("average_order_day_value", pa.float64(), "net_value by order_days_count; null without an order"),
        _described("alive_probability", pa.float64(), "that they still buy (BG/NBD or MBG/NBD); null if unknown"),
        *(field for days in HORIZONS_DAYS for field in _horizon(days)),
        _described("model", pa.string(), "which model foresaw the holdout's horizon; null without an order"),
    ]
)  # fmt: skip


def value_customers(ledger: Ledger, rules: ValueRules = ValueRules()) -> Valuation:
    """The contest, the winner, and every model fitted on all that is known.

    Horizons up to the holdout are served by the winner; those beyond, which nothing can prove, by the mean of unlike
    models, since what is wrong with each differs. Without a contest the likelier classic pair serves, or the mean.
    """
    contest = hold(ledger, rules.holdout_days)
    fitted = fit(ledger, ledger.last_day, rules.holdout_days)
    wanted = (rules.model, contest.winner, fitted.likelier, "mean")
    best = next(name for name in wanted if name in fitted.able)
    beyond = best if rules.model or _AVERAGED not in fitted.able else _AVERAGED
    served = {days: best if days <= rules.holdout_days else beyond for days in HORIZONS_DAYS}
    served[rules.holdout_days] = best
    bounds = {days: found for days in served if (found := _bounds(contest, served[days], days))}
    return Valuation(fitted, contest, served, bounds, ledger.units)


def _bounds(contest: Contest, model: str, days: int) -> tuple[Bounds, Bounds] | None:
    """By the latest origin; None where not all of the horizon came after it, or the model was not there."""
    if not contest.judged or days > contest.holdout_days or model not in contest.judged[0].outlook.fitted.able:
        return None
    latest = contest.judged[0]
    found = [learn_bounds(*both) for both in zip(latest.outlook.of(model, days), latest.came(days), strict=True)]
    return (found[0], found[1]) if found[0] is not None and found[1] is not None else None


def value_parts(ledger: Ledger, valuation: Valuation) -> Iterator[pa.Table]:
    """`value_rows` of some customers at a time, so that memory does not grow with the columns of all."""
    return (value_rows(part, valuation) for part in ledger.parts(_CUSTOMERS_A_PART))


def value_rows(ledger: Ledger, valuation: Valuation) -> pa.Table:
    """One row a customer of the ledger, by customer_id; schema CUSTOMER_VALUE.

    A row depends on the customer's own entries and on what was fitted, on nothing else. Without an order day nothing is
    expected: 0, without bounds.
    """
    day = valuation.fitted.day
    ledger = ledger.until(day)
    known = know(ledger, day)
    outlook = Outlook(valuation.fitted, ledger, known)
    columns = {"alive_probability": outlook.alive}
    for days in HORIZONS_DAYS:
        for i, what in enumerate(("orders", "value")):
            unit = 1.0 if what == "orders" else _CENTS * ledger.unit[known.who]
            name = f"expected_{what}_{days}_days"
            columns[name] = outlook.of(valuation.served[days], days)[i] / unit
            for end, bound in zip(("low", "high"), _within(valuation, outlook, days, i), strict=False):
                columns[f"{name}_{end}"] = bound / unit
    return _conform(ledger, known, columns, valuation)


def _within(valuation: Valuation, outlook: Outlook, days: int, which: int) -> tuple[np.ndarray, ...]:
    """Bounds of orders (`which` 0) or value (1); beyond the holdout its bounds, stretched as the forecast is."""
    foreseen = outlook.of(valuation.served[days], days)[which]
    if days in valuation.bounds:
        return valuation.bounds[days][which].of(foreseen)
    base = valuation.fitted.base_days
    if base not in valuation.bounds:
        return ()
    shorter = outlook.of(valuation.served[base], base)[which]
    return valuation.bounds[base][which].of(foreseen, np.maximum(foreseen, 1e-9) / np.maximum(shorter, 1e-9))


def _conform(ledger: Ledger, known: Known, columns: dict[str, np.ndarray], valuation: Valuation) -> pa.Table:
    """The rows of all customers; those without an order day have what is known of them."""
    net = np.bincount(ledger.owner, weights=ledger.cents, minlength=len(ledger)) / _CENTS
    served = valuation.served[valuation.fitted.base_days]
    bought = pl.DataFrame(
        {
            "row": known.who,
            "first_order_day": known.first.astype(np.int32),
            "last_order_day": known.last.astype(np.int32),
            "order_days_count": known.days.astype(np.int64),
            "orders_count": known.orders.astype(np.int64),
            "average_order_day_value": net[known.who] / known.days,
            **columns,
        }
    ).with_columns(model=pl.lit(served))
    rows = pl.DataFrame(
        {
            "customer_id": ledger.customers,
            "currency": ledger.currency,
            "mixed_currency": ledger.mixed,
            "net_value": net,
        }
    ).with_columns(as_of=pl.lit(valuation.fitted.day, pl.Int32).cast(pl.Date))
    rows = rows.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)).join(bought, on="row", how="left")
    rows = rows.with_columns(
        pl.col("first_order_day", "last_order_day").cast(pl.Date),
        pl.col("alive_probability").fill_nan(None),
        *(pl.col(f.name).fill_null(0) for f in CUSTOMER_VALUE if not f.nullable and f.name in bought.columns),
    )
    missing = [f.name for f in CUSTOMER_VALUE if f.name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in missing)
    return rows.sort("row").select(CUSTOMER_VALUE.names).to_arrow().cast(CUSTOMER_VALUE)
