"""Why two records are, or are not, one person, as a person reads it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.console import Output
from transforms.identity.rules import IdentityRules


def say_explanation(contributions: pa.Table, verdict: str, out: Output) -> None:
    """Prints CONTRIBUTIONS as a waterfall of bits, and the verdict."""
    total = 0.0
    shown: list[dict[str, Any]] = []
    for row in contributions.to_pylist():
        total += row["bits"]
        shown.append({"comparison": row["comparison"], "A": row["left"], "B": row["right"], "agree": row["level"],
                      "bits": round(row["bits"], 2), "sum": round(total, 2), "": _bar(row["bits"])})  # fmt: skip
    out.table("explanation", shown)
    odds = 2.0 ** max(-60.0, min(60.0, total))
    out.say(f"the comparisons alone give a probability of {odds / (1 + odds):.6f}", probability=odds / (1 + odds))
    out.say(verdict, verdict=verdict, same_person=verdict.startswith("one person"))


def _bar(bits: float) -> str:
    """A bar of one sign for each two bits."""
    return ("+" if bits > 0 else "-") * min(20, round(abs(bits) / 2))


def verdict_of(
    left: str,
    right: str,
    map: pa.Table,
    edges: pa.Table,
    refused: pa.Table | None = None,
    rules: IdentityRules = IdentityRules(),
) -> str:
    """Whether two records are one person, and what beyond their own comparison makes it so.

    Args:
      map: IDENTITY_MAP; edges: EDGES; refused: REFUSED, where it is known; rules: those the map was made by.
    """
    between = pl.col("left").is_in([left, right]) & pl.col("right").is_in([left, right])
    asked = pl.DataFrame(pl.from_arrow(map)).filter(pl.col("record").is_in([left, right]))
    edge = pl.DataFrame(pl.from_arrow(edges)).filter(between)
    if asked["person_id"].n_unique() == 1:
        proofs = edge.filter(pl.col("kind") == "deterministic")["rule"].to_list()
        if proofs:
            return f"one person: {proofs[0]}"
        sure = edge.height and edge["probability"].max() >= rules.match_probability  # type: ignore[operator]
        return "one person" if sure else "one person, by other records or a decision"
    cut = None if refused is None else pl.DataFrame(pl.from_arrow(refused)).filter(between)
    return "two persons" + (f": refused for {cut['reason'][0]}" if cut is not None and cut.height else "")
