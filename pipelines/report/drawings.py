"""Plots of their own kind: flows between layers, a series with what is to come, foreseen beside what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipelines.report.plots import ACCENT, INK, LINE, MUTED, SECOND, THIRD, Draw, compact

_GAP, _BAR = 0.035, 0.045
Flow = tuple[int, str, str, float]


def sankey(flows: Sequence[Flow], last: Sequence[str], names: Mapping[str, str]) -> Draw:
    """Ribbons (layer, from, to, size) between columns of steps; `last` steps stand at the foot of every column.

    `names`: what a step is called in the picture.
    """
    layers = max(flow[0] for flow in flows) + 2
    sizes: list[dict[str, float]] = [{} for _ in range(layers)]
    for layer, start, end, size in flows:
        sizes[layer][start] = sizes[layer].get(start, 0) + size
        if layer == layers - 2:
            sizes[-1][end] = sizes[-1].get(end, 0) + size
    total = sum(sizes[0].values())
    tops = [_stack(column, total, last) for column in sizes]

    def draw(axes: Any) -> None:
        out, into = [dict(column) for column in tops], [dict(column) for column in tops]
        for layer, start, end, size in sorted(flows, key=lambda f: (f[0], tops[f[0]][f[1]], tops[f[0] + 1][f[2]])):
            high = size / total
            _ribbon(axes, layer, out[layer][start], into[layer + 1][end], high, _colour(end, last))
            out[layer][start] += high
            into[layer + 1][end] += high
        for layer, column in enumerate(sizes):
            for name, size in column.items():
                _step(axes, layer, tops[layer][name], size / total, names.get(name, name), _colour(name, last))
        axes.set_xlim(-0.02, layers - 1 + 0.42)
        axes.set_ylim(1 + _GAP * (max(map(len, sizes)) - 1) + 0.01, -0.02)
        axes.axis("off")

    return draw


def _stack(column: Mapping[str, float], total: float, last: Sequence[str]) -> dict[str, float]:
    """Where each step of a column begins: the largest above, `last` ones below."""
    at, tops = 0.0, {}
    for name in sorted(column, key=lambda n: (n in last, last.index(n) if n in last else 0, -column[n], n)):
        tops[name] = at
        at += column[name] / total + _GAP
    return tops


def _colour(name: str, last: Sequence[str]) -> str:
    return THIRD if name not in last else ACCENT if name == last[0] else MUTED


def _ribbon(axes: Any, layer: int, left: float, right: float, high: float, colour: str) -> None:
    x0, x1 = layer + _BAR, layer + 1
    mid = (x0 + x1) / 2
    points = [(x0, left), (mid, left), (mid, right), (x1, right), (x1, right + high), (mid, right + high),
              (mid, left + high), (x0, left + high), (x0, left)]  # fmt: skip
    curve = [Path.CURVE4] * 3
    patch = matplotlib.patches.PathPatch(
        Path(points, [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY]), color=colour, linewidth=0
    )
    patch.set_alpha(0.25)
    axes.add_patch(patch)


def _step(axes: Any, layer: int, top: float, high: float, name: str, colour: str) -> None:
    axes.add_patch(matplotlib.patches.Rectangle((layer, top), _BAR, high, color=colour, linewidth=0))
    text = f"{name} {high:.0%}" if high >= 0.005 else f"{name} <1%"
    axes.text(layer + _BAR + 0.02, top + high / 2, text, va="center", color=INK, fontsize=8.5)


def bands(days: Sequence[Any], rows: Sequence[Mapping[str, Any]], unit: str) -> Draw:
    """A series, what was usual, days that were not, and what is to come within its bands of 80 and 95 %."""
    known = [i for i, row in enumerate(rows) if row["actual"] is not None]
    later = [i for i, row in enumerate(rows) if row["actual"] is None]
    odd = [i for i in known if rows[i]["is_anomaly"]]

    def draw(axes: Any) -> None:
        def line(which: Sequence[int], name: str, **style: Any) -> None:
            axes.plot([days[i] for i in which], [rows[i][name] for i in which], **style)

        line(known, "actual", color=ACCENT, linewidth=1.3, label="came")
        line(known, "expected", color=MUTED, linewidth=1, linestyle="--", label="usual")
        if later:
            ahead = [days[i] for i in later]
            for level, alpha in ((95, 0.15), (80, 0.25)):
                low, high = ([rows[i][f"{side}_{level}"] for i in later] for side in ("low", "high"))
                axes.fill_between(ahead, low, high, color=SECOND, alpha=alpha, linewidth=0)
            line(later, "expected", color=SECOND, linewidth=1.6, label="to come, 80 and 95 %")
        if odd:
            line(odd, "actual", color=SECOND, marker="o", linestyle="", markersize=4.5, label="unusual")
        axes.set_ylim(bottom=min(0, *(rows[i]["actual"] for i in known)) if known else 0)
        axes.xaxis.set_major_locator(locator := AutoDateLocator(minticks=3, maxticks=6))
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
        axes.yaxis.set_major_formatter(FuncFormatter(compact))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylabel(unit)
        axes.grid(axis="y", color=LINE, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.1, handlelength=1.2,
                    columnspacing=1.0, fontsize=9)  # fmt: skip

    return draw


def calibration(foreseen: Sequence[float], came: Sequence[float], axis: tuple[str, str]) -> Draw:
    """Points of what was foreseen and what came, beside the diagonal where both are equal."""

    def draw(axes: Any) -> None:
        top = max([*foreseen, *came, 1e-9]) * 1.06
        axes.plot([0, top], [0, top], color=MUTED, linewidth=1, linestyle="--", label="as foreseen")
        axes.plot(
            foreseen, came, color=ACCENT, marker="o", linewidth=1.4, markersize=5, label="tenths of the customers"
        )
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        axes.set_xlabel(axis[0])
        axes.set_ylabel(axis[1])
        axes.grid(color=LINE, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1, handlelength=1.2)

    return draw
