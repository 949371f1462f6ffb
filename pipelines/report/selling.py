"""Sections on the shop: figures at a glance, months, hours, channels, products."""

from __future__ import annotations

import calendar
from datetime import date
from typing import Any

from pipelines.report import plots, words
from pipelines.report.facts import ReportFacts
from pipelines.report.page import cards, figure, paragraph
from pipelines.report.page import plots as grid

_DAYS = tuple(calendar.day_abbr)
CHANNELS = {"POS": "Till", "ECOMMERCE": "Web shop", "MOBILE": "App", "SOCIAL": "Social"}


def glance(facts: ReportFacts) -> str:
    """Key figures."""
    t, currency = facts.totals, facts.currency
    shown: list[tuple[str, str, str]] = []
    if t.get("customers"):
        buyers = f"{words.count(t['buyers'])} have ordered"
        shown.append(("Customers", words.count(t["customers"]), buyers))
        shown.append(("Net revenue", words.money(t["net_revenue"], currency), "known customers"))
        shown.append(
            ("Returned", words.share(t["returned_amount"], t["gross_revenue"]), "of gross revenue of known customers")
        )
        average = t["net_revenue"] / t["buyers"] if t["buyers"] else None
        shown.append(("Per buyer", words.money(average, currency), "net revenue, mean"))
        shown.append(("Buy again", words.share(t["repeat_buyers"], t["buyers"]), "of buyers order twice or more"))
    if facts.has("monthly"):
        orders = sum(row["orders"] for row in facts.rows("monthly"))
        shown.append(("Orders", words.count(orders), "completed, guests included"))
    if facts.has("layers"):
        layer = "silver" if any(row["layer"] == "silver" for row in facts.rows("layers")) else "bronze"
        sizes = [row["rows"] for row in facts.rows("layers") if row["layer"] == layer]
        shown.append((f"Rows in {layer}", words.count(sum(sizes)), f"in {words.of(len(sizes), 'table')}"))
    if facts.has("rejects"):
        refused = sum(row["rows"] for row in facts.rows("rejects") if row["status"] == "open")
        shown.append(("Rejected rows", words.count(refused), "kept, explained, replayable"))
    others = int(t.get("other_currency_customers", 0))
    note = f"{words.of(others, 'customer')} paying in other currencies are not in the amounts." if others else ""
    return (cards(shown) + (paragraph(note, "note") if note else "")) if shown else ""


def revenue(facts: ReportFacts) -> str:
    """Months, hours, channels."""
    drawn = [_months(facts), _orders(facts), _hours(facts), _channels(facts)]
    return grid(*(plot for plot in drawn if plot)) if any(drawn) else ""


def _partial(months: list[dict[str, Any]], facts: ReportFacts) -> list[int]:
    """The last month, when the day of reference lies in its midst."""
    last: date = months[-1]["month"]
    if facts.as_of is None or (facts.as_of.year, facts.as_of.month) != (last.year, last.month):
        return []
    return [len(months) - 1] if facts.as_of.day < calendar.monthrange(last.year, last.month)[1] else []


def _labels(months: list[dict[str, Any]]) -> list[str]:
    """Short names with the year below the first month and each January, and not more names than there is room for."""
    step = -(-len(months) // 13)
    names = []
    for index, row in enumerate(months):
        month: date = row["month"]
        year = f"\n’{month:%y}" if index == 0 or month.month == 1 else ""
        names.append(f"{month:%b}{year}" if index % step == 0 or year else "")
    return names


def _months(facts: ReportFacts) -> str:
    months = facts.rows("monthly")
    if not months:
        return ""
    gross, returned = [float(r["gross"]) for r in months], [-float(r["returned"]) for r in months]
    partial = _partial(months, facts)
    whole = months[:-1] if partial and len(months) > 1 else months
    best = max(whole, key=lambda row: row["gross"])
    says = (
        f"{words.month(best['month'])} sold most, {words.money(best['gross'], facts.currency)}; over all months returns"
        f" and refunds take back {words.share(-sum(returned), sum(gross))}."
    )
    says += f" The last month ends on {words.day(facts.as_of)}." if partial else ""
    series = [("sold", gross, plots.ACCENT), ("returned", returned, plots.SECOND)]
    draw = plots.columns(_labels(months), series, f"{facts.currency} a month".strip(), faint=partial)
    return figure("Revenue by month", plots.svg("months", "Bars: revenue sold and returned by month", draw), says)


def _orders(facts: ReportFacts) -> str:
    months = facts.rows("monthly")
    if not months:
        return ""
    orders, returns = [row["orders"] for row in months], [-row["returns"] for row in months]
    total, back, sold = sum(orders), -sum(returns), float(sum(row["gross"] for row in months))
    mean = words.money(sold / total if total else None, facts.currency)
    says = f"{words.of(total, 'order')} of {mean} on average, {words.of(back, 'return')}."
    series = [("orders", orders, plots.ACCENT), ("returns", returns, plots.SECOND)]
    draw = plots.columns(_labels(months), series, "a month", faint=_partial(months, facts))
    return figure("Orders and returns by month", plots.svg("orders", "Bars: orders and returns by month", draw), says)


def _hours(facts: ReportFacts) -> str:
    rows = facts.rows("hours")
    if not rows:
        return ""
    cells = [[0] * 24 for _ in _DAYS]
    for row in rows:
        cells[row["weekday"] - 1][row["hour"]] = row["orders"]
    peak = max(rows, key=lambda row: row["orders"])
    by_day = [sum(cell) for cell in cells]
    quiet = [calendar.day_name[index] for index, orders in enumerate(by_day) if orders < 0.02 * sum(by_day)]
    says = (
        f"Busiest: {calendar.day_name[peak['weekday'] - 1]} at {peak['hour']}:00, {words.of(peak['orders'], 'order')}."
    )
    says += f" Hardly any order on {' or '.join(quiet)}." if quiet else ""
    labels = [str(hour) if hour % 3 == 0 else "" for hour in range(24)]
    drawn = plots.svg("hours", "Heat map: orders by weekday and hour", plots.heat(_DAYS, labels, cells))
    return figure("When people order (UTC)", drawn, says)


def _channels(facts: ReportFacts) -> str:
    rows = facts.rows("channels")
    if not rows:
        return ""
    total = sum(row["orders"] for row in rows)
    names = [CHANNELS.get(row["channel"], row["channel"]) for row in rows]
    texts = [f"{words.count(r['orders'])} ({words.share(r['orders'], total)})" for r in rows]
    says = f"{names[0]} takes {words.share(rows[0]['orders'], total)} of the orders of known customers."
    draw = plots.bars(names, [row["orders"] for row in rows], texts)
    return figure("Orders by channel", plots.svg("channels", "Bars: orders by channel", draw), says)


def products(facts: ReportFacts) -> str:
    """The products and categories that sold for most."""
    drawn = [_best(facts, "products", "Products"), _best(facts, "categories", "Categories")]
    return grid(*(plot for plot in drawn if plot)) if any(drawn) else ""


def _best(facts: ReportFacts, name: str, heading: str) -> str:
    rows = facts.rows(name)[:10]
    if not rows:
        return ""
    first = rows[0]
    currency = "" if facts.other_currencies else facts.currency
    says = f"{first['name']} leads: {words.of(first['units'], 'unit')} for {words.money(first['amount'], currency)}."
    says += " Amounts of several currencies are added as they are." if facts.other_currencies else ""
    labels = [words.short(row["name"], 26) for row in rows]
    amounts = [float(row["amount"]) for row in rows]
    draw = plots.bars(labels, amounts, [plots.compact(amount) for amount in amounts])
    unit = f", {currency}" if currency else ""
    drawn = plots.svg(name, f"Bars: {heading.lower()} by amount sold", draw, height=3.8)
    return figure(f"{heading} by amount sold{unit}", drawn, says)
