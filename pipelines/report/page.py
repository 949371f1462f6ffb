"""The pieces of the page: the shell, cards, figures, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from pipelines.report.style import CSS

NBSP = "\u00a0"  # a narrow card may break before the unit


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """One whole HTML document of (id, title, body) sections that asks the network for nothing."""
    toc = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for name, heading, _ in sections)
    body = "\n".join(
        f'<section id="{name}"><h2>{escape(heading)}</h2>\n{content}\n</section>' for name, heading, content in sections
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{CSS}</style></head>
<body><div class="page">
<header class="top"><h1>{escape(title)}</h1><div class="lead">{lead}</div></header>
<div class="body"><nav aria-label="Contents"><ol>{toc}</ol></nav>
<main>
{body}
</main></div>
<footer>Aggregates only: no name, no contact data and no customer number is in this file.</footer>
</div></body></html>
"""


def cards(facts: Iterable[tuple[str, str, str]]) -> str:
    """Key figures: (what, value, remark)."""
    items = "".join(
        f"<div><dt>{escape(what)}</dt><dd>{escape(value).replace(NBSP, ' ')}<small>{escape(remark)}</small></dd></div>"
        for what, value, remark in facts
    )
    return f'<dl class="cards">{items}</dl>'


def figure(heading: str, svg: str, says: str) -> str:
    """A plot under its heading, with one sentence on what it shows."""
    return f"<figure><h3>{escape(heading)}</h3>{svg}<figcaption>{escape(says)}</figcaption></figure>"


def plots(*figures: str) -> str:
    return f'<div class="plots">{"".join(figures)}</div>'


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table whose columns at `numbers` are set to the right; cells are HTML, escaped by the caller if need be."""

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = [' class="n"' if index in numbers else "" for index in range(len(row))]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    lines = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells("th", head)}</tr></thead>\n<tbody>{lines}</tbody></table></div>'


def details(summary: str, body: str) -> str:
    """A part that is folded until asked for."""
    return f"<details><summary>{summary}</summary>{body}</details>"


def tag(text: str, good: bool) -> str:
    return f'<span class="tag {"good" if good else "bad"}">{escape(text)}</span>'
