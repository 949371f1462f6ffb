"""From one step to another: who gets there, how long it takes, by which ways, and where the others stop."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.gold.journeys.steps import Walks, whole_seconds

LONGEST = 8  # steps of a way that are told apart; what follows is "..."
ARROW = " > "
# Merged by adding.
WAYS: pa.Schema = pa.schema(
    [
        pa.field("arrived", pa.bool_(), nullable=False),
        pa.field("way", pa.string(), nullable=False),  # steps in between; of those who did not arrive, the last step
        pa.field("seconds", pa.int64(), nullable=False),  # from the first to the other step; 0 if not arrived
        pa.field("persons", pa.int64(), nullable=False),
    ]
)


def count_ways(walks: Walks, start: str, goal: str) -> pa.Table:
    """Ways from each person's first `start` to the first `goal` behind it; schema WAYS.

    The same step several times in a row counts once. Persons who never took `start` are not counted.
    """
    starts = walks.places(start)
    persons = walks.person[starts]
    first = starts[np.append(True, persons[1:] != persons[:-1])] if len(starts) else starts
    goals = walks.following(first, goal)
    arrived = goals >= 0
    ways = pl.Series(_between(walks, first, goals), dtype=pl.String)
    last = pl.Series(walks.names, dtype=pl.String).gather(walks.step[walks.last_rows()[first]])
    took = walks.at[goals] - walks.at[first] if len(first) else first
    there = pl.Series(arrived, dtype=pl.Boolean)
    rows = pl.DataFrame(
        {
            "arrived": there,
            "way": ways.zip_with(there, last),
            "seconds": pl.Series(whole_seconds(np.where(arrived, took, 0)), dtype=pl.Int64),
            "persons": pl.Series(np.ones(len(first)), dtype=pl.Int64),
        }
    )
    return _sum(rows)


def merge_ways(parts: Iterable[pa.Table]) -> pa.Table:
    """The counts of all persons; each person in one part."""
    return _sum(pl.DataFrame(pl.from_arrow(pa.concat_tables([part.cast(WAYS) for part in parts]))))


def _between(walks: Walks, first: np.ndarray, goals: np.ndarray) -> list[str]:
    """The steps between, joined; empty where there is none."""
    lengths = np.where(goals >= 0, goals - first - 1, 0)
    group = np.repeat(np.arange(len(first)), lengths)
    inside = np.arange(len(group)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = first[group] + 1 + inside
    names = pl.Series(walks.names, dtype=pl.String).gather(walks.step[rows])
    ways = compact(pl.DataFrame({"path": group, "step": names}))
    found = pl.DataFrame({"path": np.arange(len(first))}).join(ways, on="path", how="left", maintain_order="left")
    return found["way"].fill_null("").to_list()


def compact(steps: pl.DataFrame) -> pl.DataFrame:
    """path, step in order -> path, way: runs of a step count once, and of a long way the first steps are told."""
    other = (pl.col("step") != pl.col("step").shift()) | (pl.col("path") != pl.col("path").shift())
    told = steps.filter(other.fill_null(True)).group_by("path", maintain_order=True)
    many = pl.when(pl.len() > LONGEST).then(pl.lit(ARROW + "...")).otherwise(pl.lit(""))
    return told.agg((pl.col("step").head(LONGEST).str.join(ARROW) + many).alias("way"))


def _sum(rows: pl.DataFrame) -> pa.Table:
    keys = ["arrived", "way", "seconds"]
    return rows.group_by(keys).agg(pl.col("persons").sum()).sort(keys).to_arrow().cast(WAYS)
