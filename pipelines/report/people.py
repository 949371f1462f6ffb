"""Sections on customers: segments, value, visits and messages, service."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

from pipelines.report import plots, words
from pipelines.report.facts import ReportFacts
from pipelines.report.page import cards, figure, paragraph
from pipelines.report.page import plots as grid
from transforms.gold.moves import GONE, NEW, NONE
from transforms.gold.rfm import SEGMENTS


def segments(facts: ReportFacts) -> str:
    """RFM segments by size and revenue, and the grid of scores behind them."""
    rows = facts.rows("segments")
    if not rows:
        return ""
    names = [row["segment"].capitalize() for row in rows]
    people, money = [row["customers"] for row in rows], [float(row["net_revenue"]) for row in rows]
    first = rows[0]
    share = words.share(first["customers"], sum(people))
    says = f"{names[0]} are {share} of the buyers and bring {words.share(money[0], sum(money))} of net revenue."
    biggest = max(rows, key=lambda row: row["customers"])
    size_says = f"The largest segment is {biggest['segment']}: {words.of(biggest['customers'], 'customer')}."
    worth = [f"{plots.compact(m)} ({words.share(m, sum(money))})" for m in money]
    sizes = [f"{words.count(n)} ({words.share(n, sum(people))})" for n in people]
    drawn = [
        figure(
            f"Net revenue by segment, {facts.currency}",
            plots.svg("worth", "Bars: net revenue by segment", plots.bars(names, money, worth), height=3.7),
            says,
        ),
        figure(
            "Customers by segment",
            plots.svg("sizes", "Bars: customers by segment", plots.bars(names, people, sizes, plots.THIRD), height=3.7),
            size_says,
        ),
    ]
    about = (
        "Buyers are scored 1 to 5 by quintile for how recently and how often they order; the pair of scores names the"
        " segment. Equal values get equal scores."
    )
    return paragraph(about, "note") + grid(*drawn, *_scores(facts), *_moves(facts))


def _moves(facts: ReportFacts) -> list[str]:
    """From segment to segment since the last run, best segments first."""
    rows = facts.rows("moves")
    if not rows:
        return []
    found = {(row["from_segment"], row["to_segment"]): row["customers_count"] for row in rows}
    ranked = [name for name, _, _ in SEGMENTS] + [NONE]
    start = [name for name in (*ranked, NEW) if any(a == name for a, _ in found)]
    end = [name for name in (*ranked, GONE) if any(b == name for _, b in found)]
    cells = [[found.get((a, b)) for b in end] for a in start]
    texts = [[words.count(cell) if cell else "" for cell in row] for row in cells]
    moved = sum(count for (a, b), count in found.items() if a != b)
    up = sum(n for (a, b), n in found.items() if a in ranked and b in ranked and ranked.index(b) < ranked.index(a))
    draw = plots.heat([name.capitalize() for name in start], end, cells, texts, small=True, slanted=True)
    drawn = plots.svg("moves", "Heat map: customers by segment before and now", draw, height=1.3 + 0.3 * len(start))
    says = (
        f"Rows: the segment before; columns: now. {words.of(moved, 'customer')} of {words.count(sum(found.values()))}"
        f" moved, {words.count(up)} of them to a better segment."
    )
    return [figure("Moves between segments since the last run", drawn, says)]


def _scores(facts: ReportFacts) -> list[str]:
    found = {(row["recency_score"], row["frequency_score"]): row["customers"] for row in facts.rows("grid")}
    if not found:
        return []
    order = range(5, 0, -1)
    cells = [[found.get((recency, frequency), 0) for frequency in range(1, 6)] for recency in order]
    texts = [[words.count(cell) for cell in row] for row in cells]
    best = words.of(found.get((5, 5), 0), "buyer")
    draw = plots.heat([f"R {recency}" for recency in order], [f"F {n}" for n in range(1, 6)], cells, texts)
    drawn = plots.svg("scores", "Heat map: buyers by recency and frequency score", draw)
    says = f"{best} score 5 for both; down the left are those who came once, long ago."
    return [figure("Buyers by recency (R) and frequency (F) score", drawn, says)]


def value(facts: ReportFacts) -> str:
    """How revenue is spread over customers."""
    rows = facts.rows("concentration")
    if not rows:
        return ""
    x, y = [row["share_customers"] for row in rows], [row["share_revenue"] for row in rows]
    marks = [min(range(len(x)), key=lambda i, at=at: abs(x[i] - at)) for at in (0.01, 0.1, 0.2)]  # type: ignore[misc]
    area = sum((x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2 for i in range(1, len(x)))
    shares = [f"{x[i]:.0%} bring {y[i]:.0%}" for i in marks]
    says = (
        f"The best 1\u00a0% of customers bring {words.share(y[marks[0]])} of net revenue, the best 20\u00a0% bring"
        f" {words.share(y[marks[2]])}; the Gini coefficient is {2 * area - 1:.2f}."
    )
    points = [(x[i], y[i], text) for i, text in zip(marks, shares, strict=True)]
    draw = plots.curve(x, y, points, ("share of customers, best first", "share of net revenue"))
    drawn = plots.svg("lorenz", "Curve: share of revenue over share of customers", draw, height=3.9)
    return grid(figure("Concentration of revenue", drawn, says), _tenths(x, y))


def loyalty(facts: ReportFacts) -> str:
    """Who of those who began in a month came back in the months after."""
    rows = facts.rows("cohorts")
    if not rows:
        return ""
    found = {(row["cohort"], row["months_later"]): row["customers"] / row["of"] for row in rows}
    sizes = {row["cohort"]: row["of"] for row in rows}
    months = range(1, max(row["months_later"] for row in rows) + 1)
    last = max(sizes)
    shown = [cohort for cohort in sorted(sizes) if cohort != last]
    if not shown:
        return ""

    def cell(cohort: date, later: int) -> float | None:
        over = (last.year - cohort.year) * 12 + last.month - cohort.month >= later
        return found.get((cohort, later), 0.0) if over else None

    cells = [[cell(cohort, later) for later in months] for cohort in shown]
    texts = [["" if share is None else f"{100 * share:.0f}" for share in row] for row in cells]
    labels = [f"{cohort:%b} ’{cohort:%y} ({words.count(sizes[cohort])})" for cohort in shown]
    draw = plots.heat(labels, [str(later) for later in months], cells, texts, small=True)
    drawn = plots.svg(
        "cohorts", "Heat map: share of each cohort that ordered again", draw, height=0.8 + 0.3 * len(shown)
    )
    second = [(found.get((cohort, 1), 0.0), sizes[cohort]) for cohort in shown]
    back = sum(share * size for share, size in second) / sum(size for _, size in second)
    says = (
        f"Rows: month of the first order (customers); columns: months later; share that ordered then, in %."
        f" {words.share(back)} order again in the month after their first."
    )
    about = f"{words.month(last)} is not over yet." if facts.as_of and facts.as_of.date() >= last else ""
    return grid(figure("Customers who come back", drawn, f"{says} {about}".strip()))


def _tenths(x: list[float], y: list[float]) -> str:
    """Ten equal groups of customers by revenue."""
    at = [min(range(len(x)), key=lambda i, edge=edge: abs(x[i] - edge / 10)) for edge in range(11)]  # type: ignore[misc]
    parts = [y[high] - y[low] for low, high in pairwise(at)]
    names = [f"{group}." for group in range(1, 11)]
    says = f"Ten groups of equally many customers, best first: the lower half brings {words.share(sum(parts[5:]))}."
    draw = plots.bars(names, parts, [words.share(part) for part in parts])
    drawn = plots.svg("tenths", "Bars: share of revenue by tenth of customers", draw, height=3.9)
    return figure("Net revenue by tenth of customers", drawn, says)


def contact(facts: ReportFacts) -> str:
    """Visits to the site and the funnel of messages."""
    t = facts.totals
    drawn = []
    if t.get("messages_sent_count"):
        steps = ("sent", "delivered", "opened", "clicked")
        counts = [int(t[f"messages_{step}_count"]) for step in steps]
        texts = [f"{words.count(c)} ({words.share(c, counts[0])})" for c in counts]
        says = (
            f"{words.share(counts[2], counts[1])} of delivered messages are opened, {words.share(counts[3], counts[2])}"
            f" of those clicked; {words.of(int(t['unsubscribed']), 'customer')} unsubscribed."
        )
        draw = plots.bars([s.capitalize() for s in steps], counts, texts)
        drawn.append(figure("Messages", plots.svg("funnel", "Bars: the funnel of messages", draw, height=2.5), says))
    if t.get("sessions_count") or t.get("events_count"):
        drawn.append(_visits(facts))
    return grid(*drawn) if drawn else ""


def _visits(facts: ReportFacts) -> str:
    t = facts.totals
    names = ("sessions", "converted_sessions", "events", "page_views", "cart_adds")
    labels = ["Sessions", "Converted sessions", "Events", "Page views", "Put into the cart"]
    counts = [int(t.get(f"{name}_count", 0)) for name in names]
    says = f"{words.share(counts[1], counts[0])} of the sessions of known customers end in a conversion."
    if facts.tracker:
        says += f" Held against those of the tracker: {facts.tracker}."
    draw = plots.bars(labels, counts, [words.count(c) for c in counts], plots.THIRD)
    return figure("Visits", plots.svg("visits", "Bars: sessions and page events", draw, height=2.5), says)


def service(facts: ReportFacts) -> str:
    """Tickets, contacts and how satisfied customers are."""
    t = facts.totals
    if not (t.get("tickets_count") or t.get("interactions_count")):
        return ""
    shown = [
        ("Tickets", words.count(t["tickets_count"]), f"{words.count(t['open_tickets_count'])} open"),
        ("Contacts", words.count(t["interactions_count"]), f"{words.count(t['escalations_count'])} escalated"),
    ]
    if "average_satisfaction_score" in t:
        shown.append(("Satisfaction", words.number(t["average_satisfaction_score"]), "of 5, mean of customers"))
    if "average_resolution_minutes" in t:
        hours = t["average_resolution_minutes"] / 60
        shown.append(("To resolve", f"{hours:,.1f}\u00a0h", "mean of customers' tickets"))
    return cards(shown) + grid(*_satisfaction(facts))


def _satisfaction(facts: ReportFacts) -> list[str]:
    rows = {row["score"]: row["customers"] for row in facts.rows("satisfaction")}
    if not rows:
        return []
    counts = [rows.get(score, 0) for score in range(1, 6)]
    says = f"{words.share(counts[0] + counts[1], sum(counts))} of the customers who gave scores average below 2.5."
    draw = plots.columns([str(score) for score in range(1, 6)], [("customers", counts, plots.ACCENT)], "customers")
    drawn = plots.svg("satisfaction", "Bars: customers by mean satisfaction score", draw, height=2.5)
    return [figure("Customers by mean satisfaction, 1 to 5", drawn, says)]
