"""What each customer is worth: the contest, the fit on all that is known, and one row a customer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.errors import UsageError
from transforms.gold.value.bounds import Bounds, learn_bounds
from transforms.gold.value.contest import Contest, hold, provable
from transforms.gold.value.features import Known, know
from transforms.gold.value.forecast import MODELS, Fitted, Outlook, Pair, fit
from transforms.gold.value.ledger import Ledger

HORIZONS_DAYS = (30, 90, 365)
_AVERAGED = "habit"  # serves horizons that could not be held out: the longer, the more of a customer's own past is told
_LEAN = 0.2  # orders; see `foresee`
_SAMPLE = 20_000  # customers that the leaning's totals are taken from


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

    `served`: horizon -> model; `bounds`: (orders, value) bounds of each horizon that could be held out; `lean`: of
    those that could not, what keeps the sums of (orders, value), see `foresee`.
    """

    fitted: Fitted
    contest: Contest
    served: dict[int, str]
    bounds: dict[int, tuple[Bounds, Bounds]]
    units: dict[str | None, float] = field(default_factory=dict)
    lean: dict[int, tuple[float, float]] = field(default_factory=dict)


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
    models, since what is wrong with each differs (see `foresee`). Without a contest the likelier classic pair serves,
    or the mean.
    A history too short for the holdout is judged by a shorter one, see `provable`: then the holdout is beyond it.
    """
    days = provable(ledger, rules.holdout_days)
    contest = hold(ledger, days)
    judged = contest.judged[0].outlook.fitted.learned if contest.judged else None
    fitted = fit(ledger, ledger.last_day, days, None if judged is None else judged.horizon_days)
    wanted = (rules.model, contest.winner, fitted.likelier, "mean")
    best = next(name for name in wanted if name in fitted.able)
    beyond = best if rules.model or _AVERAGED not in fitted.able else _AVERAGED
    horizons = (*HORIZONS_DAYS, days, rules.holdout_days)
    served = {horizon: best if horizon <= days else beyond for horizon in horizons}
    bounds = {horizon: found for horizon in served if (found := _bounds(contest, served[horizon], horizon))}
    leaned = [horizon for horizon in served if horizon > days and beyond != best]
    return Valuation(fitted, contest, served, bounds, ledger.units, _sums_kept(ledger, fitted, beyond, leaned))


def foresee(valuation: Valuation, outlook: Outlook, days: int) -> Pair:
    """(orders, value in the models' unit) of `days` by the model that serves them.

    Beyond the holdout the forecasts of those who are expected to order less than about once are leaned towards nothing,
    which is what most of them will do, and all are raised so that the sums stay: the absolute error is the smaller.
    Who is who's next does not change, and nobody gets less than over the shorter horizon.
    """
    said = outlook.of(valuation.served[days], days)
    if days not in valuation.lean:
        return said
    least = outlook.of(valuation.served[valuation.fitted.base_days], valuation.fitted.base_days)
    leaned = zip(_lean(said), valuation.lean[days], least, strict=True)
    orders, value = (np.maximum(each * kept, low) for each, kept, low in leaned)
    return orders, value


def _lean(said: Pair) -> Pair:
    kept = said[0] / (said[0] + _LEAN)
    return said[0] * kept, said[1] * kept


def _sums_kept(ledger: Ledger, fitted: Fitted, model: str, horizons: Sequence[int]) -> dict[int, tuple[float, float]]:
    """What the leaned forecasts of `model` are to be multiplied by."""
    every = -(-len(ledger) // _SAMPLE)
    some = (ledger if every <= 1 else ledger.take(np.arange(len(ledger)) % every == 0)).until(fitted.day)
    outlook = Outlook(fitted, some, know(some, fitted.day))
    found = {}
    for days in horizons:
        said = outlook.of(model, days)
        orders, value = (float(a.sum() / max(b.sum(), 1e-12)) for a, b in zip(said, _lean(said), strict=True))
        found[days] = (orders, value)
    return found


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
            columns[name] = foresee(valuation, outlook, days)[i] / unit
            for end, bound in zip(("low", "high"), _within(valuation, outlook, days, i), strict=False):
                columns[f"{name}_{end}"] = bound / unit
    return _conform(ledger, known, columns, valuation)


def _within(valuation: Valuation, outlook: Outlook, days: int, which: int) -> tuple[np.ndarray, ...]:
    """Bounds of orders (`which` 0) or value (1); beyond the holdout its bounds, stretched as the forecast is."""
    foreseen = foresee(valuation, outlook, days)[which]
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
