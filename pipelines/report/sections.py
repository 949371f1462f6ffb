"""What the report is made of, in order; a new section is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.report import ahead, identity, lake, offers, people, selling, stream, ways
from pipelines.report.facts import ReportFacts


@dataclass(frozen=True)
class Section:
    """`name` is the anchor; `draw` gives the HTML below the title, or "" when the facts are not there."""

    name: str
    title: str
    draw: Callable[[ReportFacts], str]


SECTIONS: tuple[Section, ...] = (
    Section("glance", "At a glance", selling.glance),
    Section("revenue", "Orders and revenue", selling.revenue),
    Section("products", "What sells", selling.products),
    Section("segments", "Customer segments", people.segments),
    Section("value", "Where the value lies", people.value),
    Section("loyalty", "Who comes back", people.loyalty),
    Section("ahead", "What is to come", ahead.ahead),
    Section("offers", "What is offered, and why", offers.offers),
    Section("journeys", "Journeys and what brought the orders", ways.journeys),
    Section("identity", "Who is who", identity.identity),
    Section("contact", "Visits and messages", people.contact),
    Section("service", "Service", people.service),
    Section("stream", "The stream", stream.stream),
    Section("counts", "Every row accounted for", lake.counts),
    Section("quality", "Data quality", lake.quality),
    Section("columns", "Columns", lake.columns),
    Section("lineage", "Lineage", lake.lineage),
)
