"""The section on the stream: how long rows take from the hub to bronze, and how many come."""

from __future__ import annotations

import math

from pipelines.report import plots, words
from pipelines.report.facts import ReportFacts
from pipelines.report.page import cards, figure
from pipelines.report.page import plots as grid


def stream(facts: ReportFacts) -> str:
    """Counts, the histogram of delays, rows a second; "" for a lake that no stream wrote."""
    t = facts.stream
    if not t:
        return ""
    shown = [
        ("Rows from hubs", words.count(t["rows"]), f"in bronze; {words.count(t['rejected'])} rejected, kept aside"),
        ("Half within", _seconds(t["p50_seconds"]), "of the hub's taking them"),
        ("99\u00a0% within", _seconds(t["p99_seconds"]), f"all within {_seconds(t['max_seconds'])}"),
        ("Sessions", words.count(t["sessions"]), "closed by the stream"),
        ("Late rows", words.count(t["late"]), "left to the next batch"),
    ]
    plotted = {"stream_delays": _delays, "stream_rate": _rate}
    drawn = [draw(facts) for name, draw in plotted.items() if facts.has(name)]
    return cards(shown) + (grid(*drawn) if drawn else "")


def _delays(facts: ReportFacts) -> str:
    bands = facts.rows("stream_delays")
    total = sum(band["rows"] for band in bands)
    labels = [f"{band['high_seconds']:g}" if math.isfinite(band["high_seconds"]) else "more" for band in bands]
    texts = [words.share(band["rows"], total) if band["rows"] else "" for band in bands]
    draw = plots.bars([f"up to {label}\u00a0s" if label != "more" else "more" for label in labels],
                      [band["rows"] for band in bands], texts)  # fmt: skip
    says = (
        f"Half of {words.of(total, 'row')} can be read in bronze {_seconds(facts.stream['p50_seconds'])} after the hub"
        f" took them, 90\u00a0% after {_seconds(facts.stream['p90_seconds'])}; a band begins where the one above ends."
    )
    height = 0.7 + 0.24 * max(len(bands), 8)
    drawn = plots.svg("delays", "Bars: rows by seconds from the hub to bronze", draw, height=height)
    return figure("From the hub to bronze", drawn, says)


def _rate(facts: ReportFacts) -> str:
    rows = facts.rows("stream_rate")
    seconds = [row["second"] for row in rows]
    best = max(rows, key=lambda row: row["readable"])
    series = [
        ("reached the hubs", [row["arrived"] for row in rows], plots.THIRD),
        ("readable in bronze", [row["readable"] for row in rows], plots.ACCENT),
    ]
    draw = plots.lines(seconds, series, ("seconds since the first row", "rows a second"))
    most = words.of(int(best["readable"]), "row")
    says = f"Most became readable in second {words.count(best['second'])}: {most} a second."
    drawn = plots.svg("rate", "Lines: rows a second that reached the hubs and bronze", draw, height=3.7)
    return figure("Rows a second", drawn, says)


def _seconds(value: float) -> str:
    return f"{value:,.1f}\u00a0s"
