"""The section on identities: how sure the links are, how large persons are, what changed, and the hardest pairs."""

from __future__ import annotations

from html import escape

from pipelines.report import plots, words
from pipelines.report.facts import ReportFacts
from pipelines.report.page import cards, figure, paragraph, table
from pipelines.report.page import plots as grid


def identity(facts: ReportFacts) -> str:
    """Cards, scores of pairs, sizes of persons, the largest, the borderline pairs; "" before `resolve` ran."""
    t = facts.identity
    if not t:
        return ""
    shown = [
        ("Records", words.count(t["records"]), f"are {words.of(int(t['persons']), 'person')}"),
        ("Merged", words.count(t["merged_today"]), "persons into older ones in the latest run"),
        ("New", words.count(t["created_today"]), f"persons; {words.of(int(t['joined_today']), 'record')} joined one"),
        ("Split", words.count(t["split_today"]), "records from the person they were"),
    ]
    drawn = [draw(facts) for name, draw in _DRAWN.items() if facts.has(name)]
    return cards(shown) + (grid(*drawn) if drawn else "") + _largest(facts) + _borderline(facts)


def _scores(facts: ReportFacts) -> str:
    rows = facts.rows("identity_scores")
    labels = [f"{row['low']:g} to {row['high']:g}" for row in rows]
    pairs = [row["pairs"] for row in rows]
    texts = [words.count(row["pairs"]) if row["pairs"] else "" for row in rows]
    one = sum(row["one_person"] for row in rows)
    says = f"{words.of(sum(pairs), 'scored pair')}, of which {words.count(one)} are one person."
    svg = plots.svg("scores_of_pairs", "Bars: pairs by probability", plots.bars(labels, pairs, texts), height=3.1)
    return figure("Pairs by the probability of being one person", svg, says)


def _sizes(facts: ReportFacts) -> str:
    rows = facts.rows("identity_sizes")
    most = rows[-1]["records"]
    shown = [row for row in rows if row["records"] <= 8]
    rest = sum(row["persons"] for row in rows if row["records"] > 8)
    labels = [str(row["records"]) for row in shown] + (["more"] if rest else [])
    persons = [row["persons"] for row in shown] + ([rest] if rest else [])
    texts = [words.count(n) for n in persons]
    several = sum(row["persons"] for row in rows if row["records"] > 1)
    says = f"{words.of(several, 'person')} have several records, at most {words.count(most)}."
    draw = plots.bars(labels, persons, texts, plots.THIRD)
    return figure("Persons by their number of records", plots.svg("sizes_of_persons", "Bars: persons by records", draw,
                                                                  height=3.1), says)  # fmt: skip


_DRAWN = {"identity_scores": _scores, "identity_sizes": _sizes}


def _largest(facts: ReportFacts) -> str:
    rows = [row for row in facts.rows("identity_largest") if row["records"] > 1]
    if not rows:
        return ""
    cells = [
        (
            *(words.count(row[name]) for name in ("rank", "records", "links", "proven")),
            "–" if row["weakest"] is None else f"{row['weakest']:.3f}",
        )
        for row in rows
    ]
    about = "The largest persons. What holds two records together: links, those that prove, and the least probable."
    head = ("rank", "records", "links", "of them proofs", "weakest")
    return paragraph(about, "note") + table(head, cells, numbers=(0, 1, 2, 3, 4))


def _borderline(facts: ReportFacts) -> str:
    rows = facts.rows("identity_borderline")
    if not rows:
        return ""
    cells = [
        (f"{row['probability']:.3f}", "one person" if row["same_person"] else "two persons", escape(row["evidence"]))
        for row in rows
    ]
    about = "The pairs nearest to the limit, and what each comparison adds or takes, in bits (10 bits are 1,000 to 1)."
    return paragraph(about, "note") + table(("probability", "taken as", "evidence"), cells, numbers=(0,))
