"""Refuses clusters that only weak or bridging links hold together, by evidence.

Two groups of records are one person if the odds of the best link between them, times the share of the pairs across
that are linked, still speak for it once the contradictions between the groups are taken off. A link with odds of 10 to
1 may join two records; it may not join two groups of ten records each that nothing else connects, since any of a
hundred pairs could have made it by chance. Size alone refuses nothing: deterministic links that nothing contradicts
hold whatever they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.identity.agglomerate import ROUNDING, Group, Link, group_records
from transforms.identity.components import CLUSTERS, connect_records
from transforms.identity.decisions import APART, DECISIONS, TOGETHER, decisions_in_force

_OLDEST = pl.CompatLevel.oldest()
_MOST_BITS = 40.0  # a probability of 1 - 1e-12; floating point says little beyond
DETERMINISTIC = "deterministic"
LINK_FIELDS = [("left", pa.string()), ("right", pa.string()), ("weight", pa.float64()), ("probability", pa.float64()),
               ("kind", pa.string()), ("rule", pa.string())]  # fmt: skip
LINKS_SCHEMA = pa.schema(LINK_FIELDS)
REFUSED = pa.schema([*LINK_FIELDS, ("reason", pa.string())])


@dataclass(frozen=True)
class Contradiction:
    """A column that one person has one value of; `bits` of evidence are taken off where two groups differ in it and no
    link between them knows: each has a record without a value there, or compared none.

    Values that differ in one letter or digit, or dates with day and month swapped, do not contradict each other.
    """

    column: str
    bits: float

    def __post_init__(self) -> None:
        if self.bits <= 0:
            raise ValueError(f"bits of {self.column} are {self.bits}; give more than 0")


@dataclass(frozen=True)
class GuardRules:
    """What holds a cluster together.

    Attributes:
      match_probability: probabilistic links below it are none.
      certain_bits: what a deterministic link weighs at least against contradictions, log2 of its odds.
      contradictions: the columns looked at, and their bits.
    """

    match_probability: float = 0.5
    certain_bits: float = 14.0
    contradictions: tuple[Contradiction, ...] = (Contradiction("birth_date", 16.0), Contradiction("national_id", 20.0))

    def __post_init__(self) -> None:
        if not 0 < self.match_probability < 1:
            raise ValueError(f"match_probability is {self.match_probability}; give a number between 0 and 1")

    @cached_property
    def least_bits(self) -> float:
        return log2(self.match_probability / (1 - self.match_probability))


class Refined(NamedTuple):
    """`clusters`: CLUSTERS; `refused`: REFUSED, links between records that are not one person, and why not: a column
    that contradicts, "bridge" or "apart"."""

    clusters: pa.Table
    refused: pa.Table


def resolve_clusters(
    records: pa.Array | pa.ChunkedArray,
    links: pa.Table,
    traits: pa.Table | None = None,
    decisions: pa.Table | None = None,
    rules: GuardRules = GuardRules(),
) -> Refined:
    """Records and links to clusters: connected, then guarded; in memory. See `refine_clusters`."""
    clusters = connect_records(records, joining_links(links, decisions, rules))
    return refine_clusters(clusters, links, traits, decisions, rules)


def joining_links(links: pa.Table, decisions: pa.Table | None, rules: GuardRules = GuardRules()) -> pa.Table:
    """`left` and `right` of all that may join two records: links that are probable enough, decisions for together."""
    ends = pl.DataFrame(pl.from_arrow(strong_links(links, rules))).select("left", "right")
    held = _held(decisions).filter(pl.col("kind") == TOGETHER).select(left="low", right="high")
    return pl.concat([ends, held]).to_arrow(compat_level=_OLDEST)


def strong_links(links: pa.Table, rules: GuardRules) -> pa.Table:
    """The links that count: deterministic ones, and those of at least `match_probability`."""
    frame = pl.DataFrame(pl.from_arrow(links.select(LINKS_SCHEMA.names)))
    enough = (pl.col("kind") == DETERMINISTIC) | (pl.col("probability") >= rules.match_probability)
    return frame.filter(enough).to_arrow(compat_level=_OLDEST).cast(LINKS_SCHEMA)


def refine_clusters(
    clusters: pa.Table,
    links: pa.Table,
    traits: pa.Table | None = None,
    decisions: pa.Table | None = None,
    rules: GuardRules = GuardRules(),
) -> Refined:
    """Splits clusters where the evidence for them is too weak, and where people decided so.

    Only clusters that could be refused at all are looked at one by one: those with a decision, a contradiction that
    outweighs the weakest link, or a link too weak for the most pairs it could stand between. The rest passes as a
    whole; the result is the same as if each were looked at. No order of rows matters.

    Args:
      clusters: CLUSTERS, connected by the links of at least `match_probability` and the decisions for together.
      links: `left right weight probability kind` and whatever else; a pair may occur more than once. A link without a
        weight compared no values.
      traits: `record`, each once, and the columns of the contradictions, as text; null or absent contradicts
        nothing.
      decisions: DECISIONS; those in force outrank every link, the newest first where they contradict each other.
    """
    found = pl.DataFrame(pl.from_arrow(clusters))
    pairs = _pairs(pl.DataFrame(pl.from_arrow(strong_links(links, rules))), found, rules)
    known = _traits(traits, found, rules)
    held = _held(decisions).join(found.select(low="record", cluster="cluster"), on="low")
    held = held.join(found.select(high="record", other="cluster"), on="high").filter(
        pl.col("cluster") == pl.col("other")
    )
    chosen = _suspicious(found, pairs, known, held, rules)
    parts, reasons = _look_at(found, pairs, known, held, chosen, rules)
    refined = found.join(parts, on="record", how="left").select(
        "record", cluster=pl.coalesce("part", "cluster")
    ).sort("record")  # fmt: skip
    refused = _refused(pl.DataFrame(pl.from_arrow(strong_links(links, rules))), refined, reasons)
    return Refined(refined.to_arrow(compat_level=_OLDEST).cast(CLUSTERS), refused)


def _held(decisions: pa.Table | None) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(decisions_in_force(DECISIONS.empty_table() if decisions is None else decisions)))


def _pairs(links: pl.DataFrame, clusters: pl.DataFrame, rules: GuardRules) -> pl.DataFrame:
    """One row a linked pair within a cluster: low, high, cluster, bits (log2 odds), certain, weighed."""
    odds = pl.col("probability").fill_null(0.5) / (1 - pl.col("probability").fill_null(0.5))
    certain = pl.col("kind") == DETERMINISTIC
    loose = odds.log(2).clip(-_MOST_BITS, _MOST_BITS)
    bits = pl.when(certain).then(pl.max_horizontal(loose, rules.certain_bits)).otherwise(loose)
    low, high = pl.min_horizontal("left", "right"), pl.max_horizontal("left", "right")
    weighed = pl.col("weight").is_not_null()
    pairs = links.select(low=low, high=high, bits=bits, certain=certain, weighed=weighed)
    by_pair = pairs.filter(pl.col("low") != pl.col("high")).group_by("low", "high")
    pairs = by_pair.agg(pl.col("bits").max(), pl.col("certain").any(), pl.col("weighed").any())
    pairs = pairs.join(clusters.rename({"record": "low"}), on="low")
    other = clusters.rename({"record": "high", "cluster": "other"})
    return pairs.join(other, on="high").filter(pl.col("cluster") == pl.col("other")).drop("other")


def _traits(traits: pa.Table | None, clusters: pl.DataFrame, rules: GuardRules) -> pl.DataFrame:
    """Each record of a cluster of two or more with the columns that may contradict, null where nothing is known."""
    shared = clusters.filter(pl.len().over("cluster") > 1)
    columns = [c.column for c in rules.contradictions]
    if traits is None:
        return shared.with_columns(pl.lit(None, pl.String).alias(name) for name in columns)
    there = pl.DataFrame(pl.from_arrow(traits))
    blank = pl.lit(None, pl.String)
    values = (pl.col(n).cast(pl.String) if n in there.columns else blank.alias(n) for n in columns)
    there = there.select("record", *values).unique("record", keep="any")
    return shared.join(there, on="record", how="left")


def _suspicious(
    clusters: pl.DataFrame, pairs: pl.DataFrame, traits: pl.DataFrame, held: pl.DataFrame, rules: GuardRules
) -> pl.Series:
    """The clusters of which a part could be refused: a bound on what `group_records` may find."""
    columns = [c.column for c in rules.contradictions]
    weight = pl.sum_horizontal((pl.col(c.column) > 1) * c.bits for c in rules.contradictions)
    sizes = traits.group_by("cluster").agg(
        pl.len().alias("size"), *(pl.col(c).drop_nulls().n_unique() for c in columns)
    )
    loose = ~pl.col("certain")
    links = pairs.group_by("cluster").agg(
        pl.len().alias("links"),
        pl.col("bits").min().alias("weakest"),
        pl.col("bits").filter(loose).min().alias("weakest_loose"),
        pl.col("weighed").all().alias("weighed"),
    )
    size = pl.col("size").cast(pl.Float64)
    complete = pl.col("links") >= size * (size - 1) / 2
    across = pl.when(complete).then(0.0).otherwise((size * size / 4).log(2))
    open_to = (size > 2) | ~pl.col("weighed")  # else two records and a link that weighed their differences already
    judged = sizes.join(links, on="cluster", how="left").select(
        "cluster",
        weak=pl.col("weakest_loose") - across < rules.least_bits + ROUNDING,
        contradicted=open_to & (weight > 0) & (pl.col("weakest") - across - weight < rules.least_bits + ROUNDING),
    )
    decided = held.filter(pl.col("kind") == APART)["cluster"]
    return pl.concat([judged.filter(pl.col("weak") | pl.col("contradicted"))["cluster"], decided]).unique().sort()


def _look_at(
    clusters: pl.DataFrame,
    pairs: pl.DataFrame,
    traits: pl.DataFrame,
    held: pl.DataFrame,
    chosen: pl.Series,
    rules: GuardRules,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(record -> part, cluster pair -> reason) of the chosen clusters, each looked at alone."""
    columns = [c.column for c in rules.contradictions]
    wanted = traits.filter(pl.col("cluster").is_in(chosen.implode())).sort("cluster", "record")
    records, parts = wanted["record"].to_list(), []
    groups = _slices(wanted["cluster"], chosen)
    values = [wanted[name].to_list() for name in columns]
    links = _grouped(pairs, chosen, ("low", "high", "bits", "certain", "weighed"))
    decided = _grouped(held.sort("decided_at", "kind", "low", "high", descending=[True, False, False, False]),
                       chosen, ("low", "high", "kind"))  # fmt: skip
    reasons: list[tuple[str, str, str]] = []
    for name, (start, end) in zip(chosen, groups, strict=True):
        of_group = Group(
            records[start:end],
            [column[start:end] for column in values],
            [Link(*link) for link in links.get(name, [])],
            [(low, high, kind == TOGETHER) for low, high, kind in decided.get(name, [])],
        )
        found, why = group_records(of_group, columns, [c.bits for c in rules.contradictions], rules.least_bits)
        parts.extend(found)
        reasons.extend(why)
    return (
        pl.DataFrame({"record": records, "part": parts}, schema={"record": pl.String, "part": pl.String}),
        pl.DataFrame(reasons, schema={"one": pl.String, "other": pl.String, "reason": pl.String}, orient="row"),
    )


def _slices(sorted_clusters: pl.Series, chosen: pl.Series) -> list[tuple[int, int]]:
    starts = sorted_clusters.search_sorted(chosen, side="left").to_numpy()
    ends = np.append(starts[1:], len(sorted_clusters)) if len(starts) else starts
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def _grouped(frame: pl.DataFrame, chosen: pl.Series, columns: Sequence[str]) -> dict[str, list[tuple]]:
    wanted = frame.filter(pl.col("cluster").is_in(chosen.implode()))
    found: dict[str, list[tuple]] = {}
    for cluster, *row in wanted.select("cluster", *columns).iter_rows():
        found.setdefault(cluster, []).append(tuple(row))
    return found


def _refused(links: pl.DataFrame, refined: pl.DataFrame, reasons: pl.DataFrame) -> pa.Table:
    """The links between parts, and why the parts are two."""
    ends = links.join(refined.select(left="record", at_left="cluster"), on="left")
    ends = ends.join(refined.select(right="record", at_right="cluster"), on="right")
    cut = ends.filter(pl.col("at_left") != pl.col("at_right")).with_columns(
        one=pl.min_horizontal("at_left", "at_right"), other=pl.max_horizontal("at_left", "at_right")
    )
    told = cut.join(reasons, on=["one", "other"], how="left").select(REFUSED.names)
    return told.sort("left", "right", "kind", "rule").to_arrow(compat_level=_OLDEST).cast(REFUSED)
