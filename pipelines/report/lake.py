"""Sections on the data itself: counts, rejects, quality, columns, drift, lineage."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from html import escape
from itertools import groupby, pairwise
from typing import Any

import pyarrow as pa

from pipelines.report import plots, words
from pipelines.report.facts import ReportFacts
from pipelines.report.operations import BANDS, COUNTED
from pipelines.report.page import details, figure, paragraph, table, tag
from pipelines.report.page import plots as grid
from transforms.contracts import CONTRACTS

_ORDER = {"bronze": 0, "silver": 1, "gold": 2}
_LAYER_OF = {"stream": "bronze"}  # of commands that have another name than what they fill


def counts(facts: ReportFacts) -> str:
    """What became of the rows of each table in each layer."""
    layers = sorted(facts.rows("layers"), key=lambda row: _ORDER.get(row["layer"], 9))
    runs: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0))
    for row in facts.rows("runs"):
        for name in COUNTED:
            runs[_LAYER_OF.get(row["command"], row["command"]), row["table"]][name] += row[name] or 0
    if not layers:
        return ""
    lines, wrong = [], 0
    for row in layers:
        sums = runs.get((row["layer"], row["table"]))
        numbers = [words.count(sums[name]) if sums else "–" for name in COUNTED[:4]]
        even = sums is None or sums["read"] == sums["accepted"] + sums["rejected"] + sums["duplicates"]
        wrong += not even
        lines.append(
            [row["layer"], words.title(row["table"]), *numbers, words.count(row["rows"]), _check(even) if sums else "–"]
        )
    head = ("layer", "table", "read", "accepted", "rejected", "duplicates", "rows now", "adds up")
    says = (
        "In every run, rows read = accepted + rejected + duplicates."
        if not wrong
        else f"{words.of(wrong, 'line')} of this table do not add up: rows were lost or made up."
    )
    return paragraph(says + " Sums over all runs.") + table(head, lines, numbers=(2, 3, 4, 5, 6))


def _check(even: bool) -> str:
    return tag("yes" if even else "no", even)


def _rejects(facts: ReportFacts) -> tuple[str, str]:
    """The plot, and the whole list folded."""
    rows = facts.rows("rejects")
    if not rows:
        return "", ""
    docs = {rule.name: rule.doc for contract in CONTRACTS.values() for rule in contract.rules}
    by_rule: Counter[str] = Counter()
    for row in rows:
        by_rule[row["rule"]] += row["rows"]
    top, total = by_rule.most_common(len(by_rule) if len(by_rule) <= 12 else 11), by_rule.total()
    rest = total - sum(count for _, count in top)
    bars = [*top, (f"{len(by_rule) - len(top)} other rules", rest)] if rest else top
    replayed = sum(row["rows"] for row in rows if row["status"] == "replayed")
    first, most = top[0]
    says = f"{words.of(total, 'row')} refused; the rule {first} refused most ({words.share(most, total)})."
    says += f" {words.of(replayed, 'row')} came through a replay since." if replayed else ""
    labels, counts = [words.short(rule, 28) for rule, _ in bars], [count for _, count in bars]
    draw = plots.bars(labels, counts, [words.count(count) for count in counts], plots.SECOND)
    drawn = plots.svg("rejects", "Bars: rejected rows by rule", draw, height=0.7 + 0.3 * max(len(bars), 4))
    lines = [
        [
            words.title(row["table"]),
            escape(row["stage"]),
            f"<code>{escape(row['rule'])}</code>",
            escape(docs.get(row["rule"], "")),
            escape(row["status"]),
            words.count(row["rows"]),
        ]
        for row in rows
    ]
    listed = table(("table", "found in", "rule", "what holds", "status", "rows"), lines, numbers=(5,))
    return figure("Rejected rows by rule", drawn, says), details("All rejects by table and rule", listed)


def quality(facts: ReportFacts) -> str:
    """Quality scores of rows as they came, and what was refused."""
    scores, (refused, listed) = _scores(facts), _rejects(facts)
    return grid(scores, refused) + listed if scores or refused else ""


def _scores(facts: ReportFacts) -> str:
    found: dict[str, list[int]] = {}
    for row in facts.rows("quality"):
        found.setdefault(row["table"], [0] * len(BANDS))[row["band"]] += row["rows"]
    if not found:
        return ""
    shares = [[part / sum(parts) for part in parts] for parts in found.values()]
    texts = [[f"{100 * part:.0f}" if part >= 0.005 else ("<1" if part else "") for part in row] for row in shares]
    names = [words.short(_plain(name), 24) for name in found]
    labels = [f"{low:g}–{high:g}" if low else f"<{high:g}" for low, high in pairwise(BANDS)] + ["1"]
    rows, good = sum(map(sum, found.values())), sum(sum(parts[-3:]) for parts in found.values())
    means = {
        name: sum(low * part for low, part in zip(BANDS, row, strict=True))
        for name, row in zip(found, shares, strict=True)
    }
    says = (
        f"1 is complete, valid and consistent. {words.share(good, rows)} of all rows score {BANDS[-3]:g} or more;"
        f" {_plain(min(means, key=lambda name: means[name])).lower()} score lowest. Shares of rows in %."
    )
    draw = plots.heat(names, labels, shares, texts)
    drawn = plots.svg("quality", "Heat map: rows by quality score and table", draw, height=0.8 + 0.3 * len(names))
    return figure("Quality score of rows as they came", drawn, says)


def _plain(name: str) -> str:
    return name.removeprefix("CUSTOMER_").removeprefix("EXTERNAL_CUSTOMER_").replace("_", " ").capitalize()


def columns(facts: ReportFacts) -> str:
    """The profile of every column, folded by table, and what drifted since the run before."""
    rows = facts.rows("profiles")
    if not rows:
        return ""
    parts = [_profile_table(name, list(group)) for name, group in groupby(rows, key=lambda row: row["table_name"])]
    return _drift(facts) + paragraph("Values of personal columns and of text are not shown.", "note") + "".join(parts)


def _profile_table(name: str, rows: list[dict[str, Any]]) -> str:
    head = ("column", "nulls", "distinct", "min", "median", "mean", "max", "most frequent")
    lines = []
    for row in rows:
        shown = _shows_values(name, row)
        places = ("min", "p50", "mean", "max")
        values = [_cell(row.get(place)) if shown else "" for place in places]
        exact = "" if row.get("distinct_is_exact", True) else "≈\u00a0"
        nulls = words.share(row["nulls_count"], row["rows_count"])
        numbers = [nulls, exact + words.count(row["distinct_count"]), *values]
        lines.append([f"<code>{escape(row['column_name'])}</code>", *numbers, _top(row) if shown else ""])
    gaps = sum(row["nulls_count"] > 0 for row in rows)
    summary = f"<b>{words.title(name)}</b> · {words.of(rows[0]['rows_count'], 'row')}, {words.of(len(rows), 'column')}"
    return details(f"{summary}, {gaps} with nulls", table(head, lines, numbers=(1, 2, 3, 4, 5, 6)))


def _shows_values(name: str, row: dict[str, Any]) -> bool:
    """Numbers, dates and enumerations; never personal columns, and no text, which may hold keys."""
    contract = CONTRACTS.get(name)
    if row["is_personal"] or contract is None or row["column_name"] not in contract:
        return False
    column = contract[row["column_name"]]
    return not column.personal and (bool(column.allowed or row.get("top_values")) or column.type.arrow != pa.string())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    if text.lstrip("-").replace(".", "", 1).isdigit():
        return words.number(Decimal(text))
    return escape(text[:19].replace("T", " "))


def _top(row: dict[str, Any]) -> str:
    values, counted = row.get("top_values") or [], row.get("top_counts") or []
    shares = [
        f"{escape(str(v))} {words.share(c, row['rows_count'])}" for v, c in zip(values[:3], counted, strict=False)
    ]
    return ", ".join(shares)


def _drift(facts: ReportFacts) -> str:
    rows = facts.rows("drift")
    if not rows:
        return ""
    moved = [row for row in rows if row["verdict"] != "stable"]
    if not moved:
        return paragraph(f"Against the run before, all {words.of(len(rows), 'column')} are stable.")
    lines = [
        [
            words.title(row["table_name"]),
            f"<code>{escape(row['column_name'])}</code>",
            tag(row["verdict"], row["verdict"] != "major"),
            escape(row["reason"]),
        ]
        for row in moved
    ]
    says = f"Against the run before, {len(moved)} of {words.of(len(rows), 'column')} moved."
    return paragraph(says) + table(("table", "column", "drift", "what moved"), lines)


def lineage(facts: ReportFacts) -> str:
    """Which table version came of which inputs."""
    runs = facts.rows("runs")
    if not runs:
        return ""
    rows = list({(row["command"], row["table"]): row for row in runs}.values())
    lines = [
        [
            f"<time>{row['started_at']:%Y-%m-%d %H:%M:%S}</time>",
            escape(row["command"]),
            words.title(row["table"]),
            _inputs(row["inputs"] or []),
            words.count(row["output_version"]),
            words.count(row["accepted"]),
        ]
        for row in rows
    ]
    head = ("started (UTC)", "command", "table", "made from", "version made", "rows")
    ran = len({(row["command"], row["started_at"]) for row in runs})
    says = f"{words.of(ran, 'run')} up to now; here is the latest of each table."
    return paragraph(says) + table(head, lines, numbers=(4, 5))


def _inputs(inputs: list[str]) -> str:
    """Two inputs by name; the rest folded. A file goes by its name, without the folders of somebody's machine."""
    names = []
    for name in inputs:
        place, at, version = name.rpartition("@")
        if not at:  # a hub
            names.append(f"<code>{escape(name)}</code>")
            continue
        file = place if place.startswith(("bronze/", "silver/")) else "/".join(place.rsplit("/", 2)[-2:])
        names.append(f"<code>{escape(f'{file}@{version[:10]}')}</code>")
    if len(names) <= 2:
        return "<br>".join(names)
    return f"{names[0]}<details><summary>{len(names) - 1} more</summary>{'<br>'.join(names[1:])}</details>"
