"""Plots as inline SVG that takes its colours from the page: the same data gives the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# Stand-ins that Matplotlib draws with; in the SVG they become variables of the style sheet, so dark mode works.
INK, MUTED, LINE = "#010203", "#040506", "#070809"
ACCENT, SECOND, THIRD = "#0a0b0c", "#0d0e0f", "#101112"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", SECOND: "second", THIRD: "third"}
_WIDTH = 6.1  # inches of 72 units: about the width of a card in CSS pixels, so text keeps its size
_SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a product may be called "2 for $1"
    "svg.hashsalt": "customer360",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.major.size": 0,
    "xtick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 10,
}
Draw = Callable[[Any], None]


def svg(name: str, describe: str, draw: Draw, height: float = 3.1) -> str:
    """Runs `draw` on fresh axes and gives an `<svg>` element; `name` keeps its ids apart from other plots'."""
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.simplefilter("ignore", UserWarning)  # a letter that this font lacks: the reader's browser has one
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(sink.getvalue(), name, describe)


def _inline(text: str, name: str, describe: str) -> str:
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.S)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r' id="((?:figure|axes|patch|text|line2d|matplotlib|legend|xtick|ytick)[^"]*)"', "", body)
    body = body.replace(' id="', f' id="{name}-').replace("url(#", f"url(#{name}-")
    body = body.replace('xlink:href="#', f'href="#{name}-').replace("'DejaVu Sans'", "inherit")
    body = re.sub(r"\n\s*", "\n", body)
    box = re.search(r'viewBox="[^"]*"', body)
    assert box is not None
    start = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{describe}" {box.group()}>'
    return re.sub(r"<svg\b.*?>", lambda _: start, body, count=1, flags=re.S).strip()


def compact(value: float, _: int = 0) -> str:
    """1500 -> "1.5k", for axes and the ends of bars: three digits."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")):
        scaled = abs(value) / limit
        if scaled >= 1:
            text = f"{value / limit:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f}"
            return (text.rstrip("0").rstrip(".") if "." in text else text) + letter
    return f"{value:.2g}"


def columns(
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[float], str]],
    unit: str,
    line: tuple[str, Sequence[float], str] | None = None,
    faint: Sequence[int] = (),
) -> Draw:
    """Standing bars, one on top of the other where several, values below zero downwards; `faint` bars are paler."""

    def draw(axes: Any) -> None:
        for label, values, colour in series:
            bars = axes.bar(range(len(labels)), values, color=colour, width=0.72, label=label)
            for index in faint:
                bars[index].set_alpha(0.45)
        if line:
            axes.plot(
                range(len(labels)), line[1], color=line[2], marker="o", markersize=4, linewidth=1.8, label=line[0]
            )
        axes.set_xticks(range(len(labels)), labels)
        axes.yaxis.set_major_formatter(FuncFormatter(compact))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        _grid(axes, "y")
        axes.axhline(0, color=LINE, linewidth=1)
        axes.set_ylabel(unit)
        if len(series) + (line is not None) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1, handlelength=1.2)

    return draw


def lines(x: Sequence[float], series: Sequence[tuple[str, Sequence[float], str]], axis: tuple[str, str]) -> Draw:
    """Values over time; the first series is filled down to zero."""

    def draw(axes: Any) -> None:
        for index, (label, values, colour) in enumerate(series):
            axes.plot(x, values, color=colour, linewidth=1.8, label=label)
            if not index:
                axes.fill_between(x, values, color=colour, alpha=0.15, linewidth=0)
        axes.set_ylim(0)
        axes.yaxis.set_major_formatter(FuncFormatter(compact))
        axes.set_xlabel(axis[0])
        axes.set_ylabel(axis[1])
        _grid(axes, "y")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1, handlelength=1.2)

    return draw


def bars(labels: Sequence[str], values: Sequence[float], texts: Sequence[str], colour: str = ACCENT) -> Draw:
    """Lying bars from the top down, each with its value written at its end."""

    def draw(axes: Any) -> None:
        places = range(len(labels))
        axes.barh(places, values, color=colour, height=0.68)
        axes.set_yticks(places, labels)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(max(len(labels), 4) - 0.5, -0.5)  # a lone bar stays slim
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        top = max([*values, 0]) or 1
        axes.set_xlim(min([*values, 0]), top * 1.34)
        for place, value, text in zip(places, values, texts, strict=True):
            axes.text(max(value, 0) + top * 0.02, place, text, va="center", color=MUTED, fontsize=10)

    return draw


def intervals(labels: Sequence[str], values: Sequence[tuple[float, float, float]], strong: int) -> Draw:
    """Points (value, low, high) with a line from low to high, from the top down; the one at `strong` stands out."""

    def draw(axes: Any) -> None:
        for place, (value, low, high) in enumerate(values):
            colour = ACCENT if place == strong else MUTED
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
            axes.plot([value], [place], "o", color=colour, markersize=7)
            axes.annotate(f"{value:.3f}", (value, place), (0, 7), textcoords="offset points", ha="center", fontsize=9)
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(labels) - 0.5, -0.7)
        axes.set_xlim(0)
        _grid(axes, "x")

    return draw


def heat(
    rows: Sequence[str],
    labels: Sequence[str],
    values: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]] = (),
    top: float = 0.0,
    small: bool = False,
    slanted: bool = False,
) -> Draw:
    """A grid of cells, the fuller the larger; rows from the top down, `texts` written into the cells.

    None is no cell; `top` is the fullest value, by default the largest; `small` is for many cells, `slanted` for long
    labels.
    """
    most = top or max((value for row in values for value in row if value is not None), default=0) or 1

    def draw(axes: Any) -> None:
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if value is None:
                    continue
                cell = matplotlib.patches.Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, color=ACCENT, linewidth=0)
                cell.set_alpha(round(0.05 + (0.6 if texts else 0.9) * min(1.0, value / most), 3))
                axes.add_patch(cell)
                if texts:
                    axes.text(x + 0.5, y + 0.5, texts[y][x], ha="center", va="center", fontsize=8 if small else 9.5)
        axes.set_xlim(0, len(labels))
        axes.set_ylim(len(rows), 0)
        axes.set_xticks([x + 0.5 for x in range(len(labels))], labels)
        axes.set_yticks([y + 0.5 for y in range(len(rows))], rows)
        axes.tick_params(axis="y", labelcolor=INK)
        if small:
            axes.tick_params(labelsize=9)
        if slanted:
            axes.set_xticks(axes.get_xticks(), labels, rotation=38, ha="right", rotation_mode="anchor")
        axes.spines["bottom"].set_visible(False)

    return draw


def curve(
    x: Sequence[float], y: Sequence[float], marks: Sequence[tuple[float, float, str]], axis: tuple[str, str]
) -> Draw:
    """A curve of shares over shares with the diagonal of equality and some points written out."""

    def draw(axes: Any) -> None:
        axes.fill_between(x, y, x, color=ACCENT, alpha=0.15, linewidth=0)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        axes.plot(x, y, color=ACCENT, linewidth=2.2)
        for left, height, text in marks:
            axes.plot([left], [height], "o", color=SECOND, markersize=5)
            axes.annotate(text, (left, height), (9, -11), textcoords="offset points", fontsize=10)
        percent = FuncFormatter(lambda value, _: f"{value:.0%}")
        axes.xaxis.set_major_formatter(percent)
        axes.yaxis.set_major_formatter(percent)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(axis[0])
        axes.set_ylabel(axis[1])
        _grid(axes, "both")

    return draw


def _grid(axes: Any, which: str) -> None:
    axes.grid(axis=which, color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
