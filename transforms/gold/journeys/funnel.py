"""Funnels: how many persons take steps in an order, where they drop off, and how long each step takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.gold.journeys.steps import Walks, quantile_of_counts, whole_seconds

# Merged by adding: how many persons came to a step, by how long it took them from the step before.
FUNNEL_COUNTS: pa.Schema = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("step", pa.string(), nullable=False),
        pa.field("seconds", pa.int64(), nullable=False),  # 0 for the first step
        pa.field("persons", pa.int64(), nullable=False),
    ]
)
FUNNEL: pa.Schema = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("step", pa.string(), nullable=False),
        pa.field("persons", pa.int64(), nullable=False),
        pa.field("share_of_first", pa.float64()),
        pa.field("share_of_previous", pa.float64()),
        pa.field("dropped_persons", pa.int64(), nullable=False),  # came here and not to the next step
        pa.field("median_seconds_from_previous", pa.float64()),
        pa.field("p90_seconds_from_previous", pa.float64()),
    ]
)


def count_funnel(walks: Walks, steps: Sequence[str], window_seconds: float | None = None) -> pa.Table:
    """Persons who took the first n of `steps` in this order, with anything in between; schema FUNNEL_COUNTS.

    A person is counted once, for the attempt that came furthest, of several the first; an attempt begins with any
    first step, takes the next one each time, and with `window_seconds` ends that long after it began.
    """
    starts = walks.places(steps[0])
    rows, depth = [starts], np.ones(len(starts), np.int64)
    limit = walks.at[starts] + (np.iinfo(np.int64).max // 4 if window_seconds is None else int(window_seconds * 1e6))
    for name in steps[1:]:
        found = walks.following(rows[-1], name)
        found = np.where((found >= 0) & (walks.at[found] <= limit), found, -1)
        depth += found >= 0
        rows.append(found)
    order = np.lexsort((starts, -depth, walks.person[starts]))
    persons = walks.person[starts][order]
    best = order[np.append(True, persons[1:] != persons[:-1])] if len(order) else order
    parts = []
    for number, name in enumerate(steps):
        here = best[depth[best] > number]
        before = rows[max(number - 1, 0)][here]
        seconds = whole_seconds(walks.at[rows[number][here]] - walks.at[before])
        one = pl.DataFrame({"seconds": pl.Series(seconds, dtype=pl.Int64)})
        parts.append(
            one.select(
                pl.lit(number + 1, pl.Int64).alias("number"),
                pl.lit(name).alias("step"),
                "seconds",
                pl.lit(1, pl.Int64).alias("persons"),
            )
        )
    return _sum(pl.concat(parts))


def merge_funnels(parts: Iterable[pa.Table]) -> pa.Table:
    """The counts of all persons; each person in one part."""
    return _sum(pl.DataFrame(pl.from_arrow(pa.concat_tables([part.cast(FUNNEL_COUNTS) for part in parts]))))


def funnel(counts: pa.Table, steps: Sequence[str]) -> pa.Table:
    """The funnel, a row a step, in order; schema FUNNEL. `persons` never rises."""
    rows = pl.DataFrame(pl.from_arrow(counts))
    came = [int(rows.filter(pl.col("number") == n)["persons"].sum()) for n in range(1, len(steps) + 1)]
    table = []
    for place, name in enumerate(steps):
        here = rows.filter(pl.col("number") == place + 1)
        seconds, persons = here["seconds"].to_numpy(), here["persons"].to_numpy()
        following = came[place + 1] if place + 1 < len(steps) else came[place]
        table.append(
            {
                "number": place + 1,
                "step": name,
                "persons": came[place],
                "share_of_first": came[place] / came[0] if came[0] else None,
                "share_of_previous": came[place] / came[place - 1] if place and came[place - 1] else None,
                "dropped_persons": came[place] - following,
                "median_seconds_from_previous": quantile_of_counts(seconds, persons, 0.5) if place else None,
                "p90_seconds_from_previous": quantile_of_counts(seconds, persons, 0.9) if place else None,
            }
        )
    return pa.Table.from_pylist(table, schema=FUNNEL)


def _sum(rows: pl.DataFrame) -> pa.Table:
    keys = ["number", "step", "seconds"]
    return rows.group_by(keys).agg(pl.col("persons").sum()).sort(keys).to_arrow().cast(FUNNEL_COUNTS)
