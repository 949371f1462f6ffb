"""Sections on journeys: how far people get, by which ways, and which channels brought the orders."""

from __future__ import annotations

from pipelines.report import drawings, plots, words
from pipelines.report.facts import ReportFacts
from pipelines.report.gold import BOUGHT, LEFT
from pipelines.report.page import figure
from pipelines.report.page import plots as grid
from transforms.gold.attribution.touchpoints import NO_TOUCH

_STEPS = {"VISIT": "Visit", "PAGE_VIEW": "See a page", "CART_ADD": "Put into the cart", "ORDER": "Order"}
_MODELS = {
    "first": "first", "last": "last", "linear": "linear", "position": "position", "time_decay": "time\ndecay",
    "markov_1": "Markov", "shapley": "Shapley",
}  # fmt: skip
_MOST_CHANNELS = 10


def journeys(facts: ReportFacts) -> str:
    """The funnel, the ways, and attribution by every model."""
    drawn = [plot for plot in (_funnel(facts), _flows(facts), _attribution(facts)) if plot]
    return grid(*drawn) if drawn else ""


def _funnel(facts: ReportFacts) -> str:
    rows = facts.rows("funnel")
    if not rows or not rows[0]["persons"]:
        return ""
    counts = [row["persons"] for row in rows]
    texts = [f"{words.count(count)} ({words.share(count, counts[0])})" for count in counts]
    names = [_STEPS.get(row["step"], row["step"]) for row in rows]
    lost = max(range(1, len(rows)), key=lambda i: counts[i - 1] - counts[i])
    said = (
        f"Persons who got so far within a week of a visit. Most are lost before “{names[lost].lower()}”:"
        f" {words.count(counts[lost - 1] - counts[lost])}."
    )
    took = rows[-1]["median_seconds_from_previous"]
    said += f" Half of the orders come within {took / 60:,.0f}\u00a0min of the step before." if took else ""
    draw = plots.bars(names, counts, texts)
    return figure(
        "How far people get", plots.svg("steps", "Bars: persons by step of the funnel", draw, height=2.5), said
    )


def _flows(facts: ReportFacts) -> str:
    rows = facts.rows("flows")
    if not rows:
        return ""
    flows = [(row["layer"], row["from_step"], row["to_step"], row["journeys"]) for row in rows]
    total = sum(size for layer, *_, size in flows if layer == 0)
    last = max(layer for layer, *_ in flows)
    bought = sum(size for layer, _, end, size in flows if layer == last and end == BOUGHT)
    names = {name: _named(name) for flow in flows for name in flow[1:3]}
    draw = drawings.sankey(flows, (BOUGHT, LEFT), names)
    drawn = plots.svg("flows", "Sankey diagram: the first steps of journeys and how they end", draw, height=4.6)
    said = (
        f"The first three different steps of {words.count(total)} journeys on common paths, and how they end:"
        f" {words.share(bought, total)} with an order."
    )
    return figure("Journeys", drawn, said)


def _named(step: str) -> str:
    """ "VISIT ORGANIC_SEARCH" -> "visit organic search"."""
    return words.short(step.replace("_", " ").lower(), 22)


def _attribution(facts: ReportFacts) -> str:
    rows = facts.rows("attribution")
    found = {(row["channel"], row["model"]): row for row in rows}
    models = [name for name in _MODELS if any(row["model"] == name for row in rows)]
    channels = sorted({row["channel"] for row in rows}, key=lambda c: (c == NO_TOUCH, -_credit(found, c, models), c))
    channels = channels[:_MOST_CHANNELS]
    if not channels or not models:
        return ""
    shares = [[_share(found, channel, model) for model in models] for channel in channels]
    texts = [[f"{100 * share:.1f}" for share in row] for row in shares]
    drawn = plots.svg(
        "attribution",
        "Heat map: share of orders credited to each channel by each model",
        plots.heat([_named(c) for c in channels], [_MODELS[m] for m in models], shares, texts, small=True),
        height=0.9 + 0.34 * len(channels),
    )
    apart = max((c for c in channels if c != NO_TOUCH), key=lambda c: _spread(found, c, models), default=channels[0])
    low, high = (words.share(pick(_share(found, apart, model) for model in models)) for pick in (min, max))
    said = f"Share of all orders in %, by model. The models differ most on {_named(apart)}: {low} to {high}."
    return figure("What each channel is credited with", drawn, said)


def _share(found: dict[tuple[str, str], dict], channel: str, model: str) -> float:
    row = found.get((channel, model))
    return float(row["conversions_share"] or 0.0) if row else 0.0


def _credit(found: dict[tuple[str, str], dict], channel: str, models: list[str]) -> float:
    return sum(_share(found, channel, model) for model in models)


def _spread(found: dict[tuple[str, str], dict], channel: str, models: list[str]) -> float:
    shares = [_share(found, channel, model) for model in models]
    return max(shares) - min(shares)
