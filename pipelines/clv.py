"""What the customers in a person's own order files are worth: the contest of models, and one row a customer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import perf_counter
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.console import Output, counted
from pipelines.own_files import Refusals, Source, open_refusals, open_sources, say_rejected, typed_batches
from transforms.errors import UsageError, UserError
from transforms.gold.value.forecast import MODELS, NAIVE
from transforms.gold.value.ledger import Ledger, open_ledger
from transforms.gold.value.lifetime import (
    CUSTOMER_VALUE,
    HORIZONS_DAYS,
    Valuation,
    ValueRules,
    value_customers,
    value_parts,
)
from transforms.gold.value.own_file import OWN, TARGETS, orders_of
from transforms.io.table_file import TableFile
from transforms.sessions.rules import parse_seconds

_EPOCH = date(1970, 1, 1)
_DAY_SECONDS = 86_400


@dataclass
class Valued:
    """What was made of a person's files."""

    rows: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    customers: int = 0


def parse_days(text: str) -> int:
    """ "90d", "12w" or "90" -> whole days.

    Raises:
      UsageError: it is none of these, or less than a day.
    """
    bare = text.strip().lower()
    number = bare.removesuffix("w")
    days = float(number) * 7 if bare.endswith("w") and number.replace(".", "", 1).isdigit() else None
    if days is None:
        days = float(bare) if bare.isdigit() else parse_seconds(bare) / _DAY_SECONDS
    if days < 1 or days != int(days):
        raise UsageError(f"{text!r} is no number of whole days", remedy="write it as 90d or 12w")
    return int(days)


def read_ledger(sources: Sequence[Source], as_of: date | None, refusals: Refusals, result: Valued) -> Ledger:
    """The orders of all files up to `as_of`; by default up to now, since what is later is a clock gone wrong."""
    last = as_of or datetime.now(UTC).date()
    limit = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    parts: list[pl.DataFrame] = []
    later: list[Any] = []
    for rows in typed_batches(sources, OWN, refusals):
        orders, left_out = orders_of(rows)
        result.rows += rows.height
        known = orders.filter(pl.col("at") < limit)
        left_out["later"] = orders.height - known.height
        for rule, count in left_out.items():
            if count:
                result.left_out[rule] = result.left_out.get(rule, 0) + count
        parts.append(known)
        later.append(orders.filter(pl.col("at") >= limit)["at"].min())
    orders = pl.concat(parts) if parts else pl.DataFrame()
    if not orders.height:
        raise _no_order(min((at for at in later if isinstance(at, datetime)), default=None), as_of, result)
    return open_ledger(orders.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _no_order(earliest: datetime | None, as_of: date | None, result: Valued) -> UserError:
    """Why there is nothing to value; `earliest`: the first order later than is known."""
    if earliest is not None:
        limit = f"after --as-of {as_of}" if as_of else "in the future"
        return UserError(f"all orders are {limit}", f"the earliest is of {earliest:%Y-%m-%d}", "give a later --as-of")
    why = ", ".join(f"{count:,} {_WHY[rule]}" for rule, count in sorted(result.left_out.items()))
    return UserError("no row can be used", why, "check the columns printed above; name them with --map")


def run_clv(
    location: str,
    out_path: str,
    maps: list[str],
    holdout: str,
    model: str,
    as_of: str | None,
    rejects: str | None,
    format: str | None,
    as_json: bool,
) -> None:
    """The command `clv`."""
    out = Output(as_json)
    rules = ValueRules(parse_days(holdout), model)
    day = _parse_day(as_of)
    sources = open_sources(location, TARGETS, maps, format, out, out_path, rejects)
    for source in sources:
        if not {"amount", "unit_price"} & source.columns.columns.keys():
            raise UserError(
                "no column for amount",
                where=source.file.path,
                remedy="name it with --map amount=column (or unit_price=)",
            )
    start, result = perf_counter(), Valued()
    with ExitStack() as stack:
        made = stack.enter_context(TableFile(out_path, CUSTOMER_VALUE))
        refusals = stack.enter_context(open_refusals(rejects))
        with out.working("valuing customers"):
            ledger = read_ledger(sources, day, refusals, result)
            valuation = value_customers(ledger, rules)
            totals = _Totals()
            for rows in value_parts(ledger, valuation):
                made.write(rows)
                totals.add(rows)
        result.rejected, result.customers = refusals.counts, len(ledger)
    _say_fit(ledger, valuation, out)
    _say_contest(valuation, rules, out)
    _say_value(totals, valuation, out)
    seconds = perf_counter() - start
    out.say(
        f"clv: {counted(result.rows, 'row')}, {counted(result.customers, 'customer')} in {seconds:.1f} s: {out_path}",
        out=out_path,
        seconds=round(seconds, 3),
        rows=result.rows,
        customers=result.customers,
        rejected=result.rejected,
        left_out=result.left_out,
    )
    if result.left_out:
        kinds = ", ".join(f"{count:,} {_WHY[rule]}" for rule, count in sorted(result.left_out.items()))
        out.say(f"{sum(result.left_out.values()):,} rows do not count: {kinds}")
    say_rejected(result.rejected, rejects, out)
    out.close()


_WHY = {"not_done": "cancelled, pending or failed", "no_amount": "without an amount", "later": "later than as of"}


def _parse_day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--as-of {text!r} is no date", remedy="write it as 2010-12-09") from None


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()


def _say_fit(ledger: Ledger, valuation: Valuation, out: Output) -> None:
    fitted = valuation.fitted
    sent_back = int((ledger.cents < 0).sum())
    out.say(
        f"history: {_date(ledger.first_day)} to {_date(fitted.day)}, {fitted.customers:,} customers with orders,"
        f" {int((ledger.orders > 0).sum()):,} order days, {sent_back:,} days with more sent back than bought",
        first_day=_date(ledger.first_day),
        as_of=_date(fitted.day),
    )
    mixed = int(ledger.mixed.sum())
    if mixed:
        out.say(f"{mixed:,} customers paid in several currencies: orders in others than their main one have no value")
    parameters: dict[str, dict[str, Any]] = {}
    for name, model in fitted.classic.items():
        parameters[name] = {k: getattr(model, k) for k in ("r", "alpha", "a", "b", "log_likelihood", "converged")}
        out.say(
            f"{MODELS[name].split(' and ')[0]}: r {model.r:.3f}, alpha {model.alpha:.3f} weeks, a {model.a:.3f},"
            f" b {model.b:.3f}; log-likelihood {model.log_likelihood:,.1f} over {fitted.histories:,} distinct histories"
        )
    if fitted.worth is not None:
        p, q, v = fitted.worth.p, fitted.worth.q, fitted.worth.v / 100
        parameters["gamma_gamma"] = {"p": p, "q": q, "v": v, "log_likelihood": fitted.worth.log_likelihood}
        out.say(f"Gamma-Gamma: p {p:.3f}, q {q:.3f}, v {v:,.2f}")
    if not fitted.classic:
        out.say("too few customers came back to fit the models of buying till one stops")
    out.facts["parameters"] = parameters


def _say_contest(valuation: Valuation, rules: ValueRules, out: Output) -> None:
    contest, best = valuation.contest, valuation.served[valuation.fitted.base_days]
    days = contest.holdout_days
    standing = contest.standing
    latest = {score.model: score for score in contest.judged[0].scores} if contest.judged else {}
    out.facts |= {
        "served": {str(horizon): name for horizon, name in sorted(valuation.served.items())},
        "winner": contest.winner,
        "standing": standing,
        "scores": [vars(score) | {"origin": _date(score.origin_day)} for score in contest.scores],
    }
    if not latest:
        out.say(
            f"no holdout: the history is shorter than twice {days} days, or has too few customers;"
            f" {MODELS[best]} serves, unproven (try a shorter --holdout)"
        )
        return
    if days < rules.holdout_days:
        out.say(f"the history is too short to hold out {rules.holdout_days} days: the models are judged by {days}")
    origins = " and ".join(_date(o.outlook.known.day) for o in reversed(contest.judged))
    out.say(f"holdout: all models fitted on what was known on {origins}, judged by the {days} days after")
    order = sorted(latest.values(), key=lambda score: standing.get(score.model, float("inf")))
    table = [
        {
            "model": score.model,
            "error left": round(standing[score.model], 3) if score.model in standing else None,
            "orders MAE": round(score.orders_mae, 3),
            "orders rank": round(score.orders_rank, 3),
            "value MAE": round(score.value_mae / 100, 1),
            "value rank": round(score.value_rank, 3),
            "foreseen/came": round(score.value_total, 2),
        }
        for score in order
    ]
    if not out.as_json:
        out.table("holdout", table)
    _say_winner(valuation, latest, out)


def _say_winner(valuation: Valuation, latest: dict[str, Any], out: Output) -> None:
    contest, best = valuation.contest, valuation.served[valuation.fitted.base_days]
    if contest.winner and best != contest.winner:
        out.say(f"{contest.winner} won, but {best} serves as you asked")
    elif best in NAIVE:
        out.say(f"{best} won and serves: no model did better than '{NAIVE[best]}'")
    else:
        left = 1 - contest.standing.get(best, 1.0)
        out.say(f"{best} won and serves ({MODELS[best]}): {left:.1%} less error than the best naive model")
    losing = [
        f"{what} of {name}"
        for name in NAIVE
        for what, mine, theirs in (
            ("orders MAE", latest[best].orders_mae, latest[name].orders_mae),
            ("value MAE", latest[best].value_mae, latest[name].value_mae),
            ("orders rank", -latest[best].orders_rank, -latest[name].orders_rank),
            ("value rank", -latest[best].value_rank, -latest[name].value_rank),
        )
        if best not in NAIVE and mine >= theirs
    ]
    if best not in NAIVE:
        out.say("in the latest holdout it beats every naive model by every measure" if not losing
                else f"in the latest holdout it does not beat the {', the '.join(losing)}")  # fmt: skip


class _Totals:
    """What all customers are expected to order and be worth: by horizon and currency, in order of coming."""

    def __init__(self) -> None:
        self.of: dict[tuple[int, str], list[float]] = {}

    def add(self, rows: pa.Table) -> None:
        for (currency,), part in pl.DataFrame(pl.from_arrow(rows)).group_by("currency", maintain_order=True):
            for days in HORIZONS_DAYS:
                total = self.of.setdefault((days, str(currency or "")), [0.0, 0.0])
                for i, what in enumerate(("orders", "value")):
                    total[i] += float(part[f"expected_{what}_{days}_days"].sum())


def _say_value(totals: _Totals, valuation: Valuation, out: Output) -> None:
    table: list[dict[str, Any]] = [
        {
            "days": days,
            "currency": currency,
            "model": valuation.served[days],
            "expected orders": round(orders, 1),
            "expected value": round(value, 2),
        }
        for (days, currency), (orders, value) in totals.of.items()
    ]
    shown = sorted(table, key=lambda row: (row["days"], -row["expected value"]))
    out.table("expected", shown if out.as_json else shown[:12])
    beyond = [days for days in HORIZONS_DAYS if days > valuation.fitted.base_days]
    if beyond and valuation.contest.judged:
        out.say(
            f"{', '.join(map(str, beyond))} days are more than the holdout and are not proven: "
            f"{MODELS[valuation.served[beyond[0]]]}, stretched"
        )


__all__ = ["Valued", "parse_days", "read_ledger", "run_clv"]
