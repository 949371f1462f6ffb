"""The report: one self-contained HTML file, the same bytes for the same facts.

A section is a function from `ReportFacts` to HTML ("" leaves it out), registered once in `sections.SECTIONS`.
"""

from __future__ import annotations

from html import escape

from pipelines.report.facts import ReportFacts, gather
from pipelines.report.page import page
from pipelines.report.sections import SECTIONS
from pipelines.report.words import count, day
from transforms.progress import METER

__all__ = ["ReportFacts", "gather", "render"]


def render(facts: ReportFacts) -> str:
    """The whole page; sections without facts are left out."""
    METER.expect(sections=len(SECTIONS))
    drawn = []
    for section in SECTIONS:
        drawn.append((section.name, section.title, section.draw(facts)))
        METER.advance(sections=1)
    return page(facts.title, _lead(facts), [part for part in drawn if part[2]])


def _lead(facts: ReportFacts) -> str:
    parts = [f"as of <b>{day(facts.as_of)}</b>"] if facts.as_of else []
    parts += [f"{count(facts.totals['customers'])} customers"] if "customers" in facts.totals else []
    parts += [f"amounts in {escape(facts.currency)}"] if facts.currency else []
    parts += [f"from the lake <code>{escape(facts.lake)}</code>"] if facts.lake else []
    return " · ".join(parts)
