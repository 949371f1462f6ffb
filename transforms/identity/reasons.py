"""By which evidence a record came to its person, or was taken from one."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.identity.decisions import APART, TOGETHER, decisions_in_force
from transforms.identity.guard import DETERMINISTIC, LINKS_SCHEMA
from transforms.identity.persons import IDENTITY_EVENTS, MERGED, MOVED, SPLIT

_OLDEST = pl.CompatLevel.oldest()
_EVIDENCE = ("evidence_left", "evidence_right", "evidence_rule", "evidence_probability")
DECISION = "decision"


def add_evidence(
    events: pa.Table,
    map: pa.Table,
    links: pa.Table,
    refused: pa.Table,
    decisions: pa.Table | None = None,
    run_id: str | None = None,
) -> pa.Table:
    """IDENTITY_EVENTS with their evidence: of a join or a merge the strongest link between what were two before, or
    the decision; of a split the strongest link that was refused ("refused: birth_date") or the decision; else none.

    Args:
      map: IDENTITY_MAP after the events.
      links, refused: what made the clusters, see `guard.resolve_clusters`.
    """
    happened = pl.DataFrame(pl.from_arrow(events)).drop(*_EVIDENCE, "run_id")
    if not happened.height:
        return events
    places = _places(happened, pl.DataFrame(pl.from_arrow(map)))
    joined = _joining(happened, places, _strongest(links, decisions))
    parted = _parting(happened, places, refused, decisions)
    both = pl.concat([joined, parted]).unique("record", keep="first", maintain_order=True)
    told = happened.join(both, on="record", how="left").with_columns(run_id=pl.lit(run_id, pl.String))
    return told.select(IDENTITY_EVENTS.names).to_arrow(compat_level=_OLDEST).cast(IDENTITY_EVENTS)


def _places(events: pl.DataFrame, map: pl.DataFrame) -> pl.DataFrame:
    """record -> person now, and the group it was in before: its person, or itself if it is new."""
    was = events.select("record", "previous_person_id", changed=True)
    return map.join(was, on="record", how="left").select(
        "record",
        "person_id",
        group=pl.when(pl.col("changed").is_null())
        .then("person_id")
        .otherwise(pl.coalesce("previous_person_id", pl.lit("new ") + pl.col("record"))),
    )


def _strongest(links: pa.Table, decisions: pa.Table | None) -> pl.DataFrame:
    """Links and decisions for together, the strongest first."""
    frame = pl.DataFrame(pl.from_arrow(links.select(LINKS_SCHEMA.names)))
    if decisions is not None:
        held = pl.DataFrame(pl.from_arrow(decisions_in_force(decisions))).filter(pl.col("kind") == TOGETHER)
        decided = held.select(left="low", right="high", weight=pl.lit(None, pl.Float64), probability=pl.lit(1.0),
                              kind=pl.lit(DECISION), rule=pl.lit(TOGETHER))  # fmt: skip
        frame = pl.concat([frame, decided])
    rank = pl.col("kind").replace_strict({DECISION: 0, DETERMINISTIC: 1}, default=2, return_dtype=pl.Int8)
    order = [rank, -pl.col("probability"), -pl.col("weight"), "left", "right", "rule"]
    return frame.sort(order, nulls_last=True, maintain_order=True)


def _joining(events: pl.DataFrame, places: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """The strongest link of each group with another group of the same person."""
    ends = _with_places(links, places)
    across = ends.filter(
        (pl.col("person_id") == pl.col("person_id_right")) & (pl.col("group") != pl.col("group_right"))
    )
    both = [across, across.with_columns(group=pl.col("group_right"))]
    best = pl.concat(both).sort("order").unique(["group", "person_id"], keep="first", maintain_order=True)
    wanted = events.filter(~pl.col("kind").is_in([SPLIT])).select("record").join(places, on="record")
    return wanted.join(best.select("group", "person_id", *_told(pl.col("rule"))), on=["group", "person_id"]).select(
        "record", *_EVIDENCE
    )


def _parting(events: pl.DataFrame, places: pl.DataFrame, refused: pa.Table, decisions: pa.Table | None) -> pl.DataFrame:
    """The strongest refused link, or the decision, between each person that was split off and its old one."""
    cut = pl.DataFrame(pl.from_arrow(refused)).with_columns(rule=pl.lit("refused: ") + pl.col("reason"))
    cut = cut.sort(-pl.col("probability"), "left", "right", "rule", nulls_last=True).select(
        "left", "right", "rule", "probability"
    )
    if decisions is not None:
        held = pl.DataFrame(pl.from_arrow(decisions_in_force(decisions))).filter(pl.col("kind") == APART)
        apart = held.select(left="low", right="high", rule=pl.lit(APART), probability=pl.lit(None, pl.Float64))
        cut = pl.concat([apart, cut])
    ends = _with_places(cut, places).filter(pl.col("group") == pl.col("group_right"))
    mirrored = ends.with_columns(person_id=pl.col("person_id_right"))
    best = pl.concat([ends, mirrored]).sort("order").unique(["group", "person_id"], keep="first", maintain_order=True)
    wanted = events.filter(pl.col("kind").is_in([SPLIT, MERGED, MOVED])).select("record").join(places, on="record")
    return wanted.join(best.select("group", "person_id", *_told(pl.col("rule"))), on=["group", "person_id"]).select(
        "record", *_EVIDENCE
    )


def _with_places(links: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Links in their order, with person and group of both ends."""
    ordered = links.with_row_index("order")
    found = ordered.join(places.rename({"record": "left"}), on="left")
    return found.join(places.rename({"record": "right"}), on="right", suffix="_right").sort("order")


def _told(rule: pl.Expr) -> list[pl.Expr]:
    return [
        pl.col("left").alias("evidence_left"),
        pl.col("right").alias("evidence_right"),
        rule.alias("evidence_rule"),
        pl.col("probability").alias("evidence_probability"),
    ]
