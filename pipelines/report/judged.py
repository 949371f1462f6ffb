"""The page of `python -m recsys.evaluate`: how the model learnt, how good it is, and what a few people are offered."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from pipelines.judge import Judged
from pipelines.report import plots, words
from pipelines.report.page import figure, page, paragraph, table
from pipelines.report.page import plots as grid
from pipelines.report.plots import ACCENT, SECOND
from recsys.evaluate.bootstrap import estimate

_COLOURS = (ACCENT, SECOND)


def judged_page(judged: Judged) -> str:
    """One HTML document; no number of a person is in it."""
    portrait = judged.portrait
    people = words.of(len(portrait.results[-1].lists), "list")
    lead = f"{escape(judged.split)} · {people} of {portrait.k} · best by NDCG: <b>{escape(portrait.best.name)}</b>"
    sections = [
        ("measures", "How good it is", _measures(judged)),
        ("learning", "How it learnt", _learning(judged)),
        ("groups", "For whom", _rows(portrait.groups) if portrait.groups else ""),
        ("strangers", "As if only the newest items were known", _rows(portrait.strangers)),
        ("rare", "Items that few or none had", _rows(portrait.rare) if portrait.rare else ""),
        ("people", "What a few people are offered", _people(judged.examples)),
    ]
    return page("Recommendations, judged", lead, [section for section in sections if section[2]])


def _measures(judged: Judged) -> str:
    portrait = judged.portrait
    drawn = []
    for name, heading in (("ndcg", "NDCG"), ("recall", "Recall")):
        found = [estimate(result.values[name]) for result in portrait.results]
        values = [(one.mean, one.low, one.high) for one in found]
        labels = [result.name for result in portrait.results]
        draw = plots.intervals(labels, values, len(labels) - 1)
        best = labels[max(range(len(values)), key=lambda place: values[place][0])]
        says = f"{best} is best; lines are 95 % intervals over the people (bootstrap)."
        text = f"{heading} of each model with its interval"
        drawn.append(figure(f"{heading}@{portrait.k}", plots.svg(name, text, draw, 0.7 + 0.42 * len(labels)), says))
    return grid(*drawn) + _rows(portrait.overall) + paragraph("The last model beside each other:") + _rows(
        portrait.against
    )  # fmt: skip


def _learning(judged: Judged) -> str:
    drawn = []
    for place, (name, curve) in enumerate(judged.curves.items()):
        if len(curve) < 2:
            continue
        epochs = list(range(1, len(curve) + 1))
        draw = plots.lines(epochs, [("NDCG", list(curve), _COLOURS[place % 2])], ("epoch", "NDCG"))
        best = max(epochs, key=lambda epoch: curve[epoch - 1])
        says = f"Of baskets kept back from learning; epoch {best} is kept."
        drawn.append(figure(name.capitalize(), plots.svg(f"curve{place}", f"Learning curve of the {name}", draw), says))
    return (grid(*drawn) if drawn else "") + "".join(paragraph(line) for line in judged.learning)


def _rows(rows: Sequence[dict[str, Any]]) -> str:
    head = [*rows[0]]
    numbers = [place for place, name in enumerate(head) if isinstance(rows[0][name], int | float)]
    cells = [[escape(f"{row[name]:.4f}" if isinstance(row[name], float) else str(row[name])) for name in head]
             for row in rows]  # fmt: skip
    return table(head, cells, numbers)


def _people(examples: Sequence[Any]) -> str:
    parts = []
    for number, one in enumerate(examples, 1):
        had, took = (", ".join(escape(words.short(name, 60)) for name in one[key]) for key in ("had", "took"))
        rows = [
            [str(rank), escape(words.short(item["item"], 60)), escape(item["why"]), "taken" if item["taken"] else ""]
            for rank, item in enumerate(one["offered"], 1)
        ]
        parts.append(f"<h3>Person {number}</h3><p>Had, the newest first: {had or 'nothing'}.<br>Took then: {took}.</p>")
        parts.append(table(("rank", "offered", "why", ""), rows, (0,)))
    return "".join(parts)
