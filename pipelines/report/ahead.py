"""Sections on what is to come: series with bands, and how well the customers' orders were foreseen."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import Any

from pipelines.report import drawings, plots, words
from pipelines.report.facts import ReportFacts
from pipelines.report.page import cards, figure, paragraph, table, tag
from pipelines.report.page import plots as grid
from transforms.gold.value.forecast import MODELS

_ERRORS = ("orders_mae", "value_mae", "orders_rank", "value_rank")
_MEASURES = {"orders_count": "Orders a day", "net_revenue": "Net revenue a day"}


def ahead(facts: ReportFacts) -> str:
    """The days to come, what customers are expected to bring, and how the models did in the holdout."""
    drawn = [*_series(facts), *_calibration(facts)]
    told = _outlook(facts) + (grid(*drawn) if drawn else "")
    return told + _models(facts)


def _outlook(facts: ReportFacts) -> str:
    o = facts.outlook
    shown = []
    if "expected_value_90_days" in o:
        value = words.money(o["expected_value_90_days"], facts.currency)
        shown.append(("Next 90 days", value, "expected of the customers there are"))
        shown.append(("Orders", words.count(round(o["expected_orders_90_days"])), "expected of them in 90 days"))
    if o.get("active"):
        lost = words.count(round(o["churning"]))
        shown.append(("Will not come back", lost, f"of {words.count(o['active'])} active customers, as expected"))
    return cards(shown) if shown else ""


def _series(facts: ReportFacts) -> list[str]:
    drawn = []
    for (measure, currency), some in groupby(facts.rows("forecasts"), key=lambda r: (r["measure"], r["currency"])):
        if currency not in (None, facts.currency):
            continue
        rows = list(some)
        heading = _MEASURES.get(measure, measure) + (f", {currency}" if currency else "")
        draw = drawings.bands([row["day"] for row in rows], rows, currency or "a day")
        svg = plots.svg(f"ahead-{measure}", f"Line with bands: {heading.lower()} and the days to come", draw)
        drawn.append(figure(heading, svg, _said(rows, currency or "")))
    return drawn


def _said(rows: list[dict[str, Any]], currency: str) -> str:
    odd = [row for row in rows if row["is_anomaly"]]
    later = [row for row in rows if row["actual"] is None]
    said = f"{words.of(len(odd), 'day')} of those shown unlike its weekday and trend"
    if odd:
        last = odd[-1]
        said += f", the last one {words.day(last['day'])}: {_amount(last['actual'], currency)}"
        said += f" where {_amount(last['expected'], currency)} was usual"
    said += "."
    if later:
        low, high = sum(row["low_80"] for row in later), sum(row["high_80"] for row in later)
        total = _amount(sum(row["expected"] for row in later), currency)
        said += f" The next {len(later)} days: {total}; of such days four in five end within the inner band"
        said += f" ({plots.compact(low / len(later))} to {plots.compact(high / len(later))} on average)."
    return said


def _amount(value: float, currency: str) -> str:
    return words.money(value, currency) if currency else words.count(round(value))


def _calibration(facts: ReportFacts) -> list[str]:
    rows = facts.rows("calibration")
    if not rows:
        return []
    foreseen, came = [row["foreseen"] for row in rows], [row["came"] for row in rows]
    days, best = rows[0]["days"], rows[-1]
    axis = (f"orders foreseen for {days} days", "orders that came")
    draw = drawings.calibration(foreseen, came, axis)
    drawn = plots.svg("calibration", "Points: orders foreseen and orders that came", draw)
    mean = [sum(orders) / len(rows) for orders in (foreseen, came)]
    said = (
        f"The last {days} days were held out. For the tenth of customers with most foreseen it was"
        f" {best['foreseen']:.1f} orders each, and {best['came']:.1f} came; for all {mean[0]:.2f} and {mean[1]:.2f}."
    )
    return [figure("Foreseen and what came", drawn, said)]


def _models(facts: ReportFacts) -> str:
    rows = facts.rows("models")
    if not rows:
        return ""
    head = ("model", "", "error, orders", f"error, {escape(facts.currency or 'value')}", "rank, orders", "rank, value")
    lines = [
        [
            MODELS.get(row["model"], row["model"]),
            tag("serves", True) if row["served"] else "",
            *(f"{row[name]:.2f}" if row[name] is not None else "–" for name in _ERRORS),
        ]
        for row in rows
    ]
    about = "Each model foresaw periods that it had not seen: mean absolute error a customer, and rank correlation."
    return paragraph(about, "note") + table(head, lines, numbers=(2, 3, 4, 5))
