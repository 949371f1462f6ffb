"""One measured figure, the bar it is held to, and the verdict over several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure; `bar` with its direction ("<= 2" or ">= 50000"), empty where there is none."""

    name: str
    value: float
    bar: str = ""

    @property
    def met(self) -> bool | None:
        """None without a bar; a figure that is not a number meets none."""
        sign, _, limit = self.bar.partition(" ")
        if not sign:
            return None
        return self.value <= float(limit) if sign == "<=" else self.value >= float(limit)

    def line(self) -> str:
        verdict = {None: "", True: f"  bar {self.bar}: met", False: f"  bar {self.bar}: NOT met"}[self.met]
        return f"{self.name:<64} {self.value:>12,.2f}{verdict}"


def verdict(figures: Iterable[Figure]) -> str:
    """One line: whether every bar is met, or which ones are not."""
    judged = [figure for figure in figures if figure.met is not None]
    failed = [figure.name for figure in judged if not figure.met]
    if failed:
        return f"NOT met: {'; '.join(failed)} ({len(judged) - len(failed)} of {len(judged)} bars met)"
    return f"all {len(judged)} bars met" if judged else "no bar to meet"
