"""Journeys as a whole: transitions, entries and exits, common paths, time to convert; all from attribution's paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from transforms.gold.attribution.chain import count_steps
from transforms.gold.attribution.touchpoints import Paths
from transforms.gold.journeys.between import ARROW, compact
from transforms.gold.journeys.steps import quantile_of_counts, whole_seconds

START, CONVERTED, LEFT = "(start)", "(conversion)", "(end)"
# Each is merged by adding the counts.
TRANSITIONS: pa.Schema = pa.schema(
    [
        pa.field("from_step", pa.string(), nullable=False),  # START: an entry
        pa.field("to_step", pa.string(), nullable=False),  # CONVERTED or LEFT: an exit
        pa.field("journeys", pa.int64(), nullable=False),  # transitions, of which a journey may have several
    ]
)
COMMON_PATHS: pa.Schema = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("converted", pa.bool_(), nullable=False),
        pa.field("journeys", pa.int64(), nullable=False),
        pa.field("value_units", pa.int64(), nullable=False),
    ]
)
CONVERSION_TIMES: pa.Schema = pa.schema(
    [
        pa.field("entry_step", pa.string(), nullable=False),  # where the journey began
        pa.field("seconds", pa.int64(), nullable=False),  # from its first touch to the conversion
        pa.field("journeys", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Journeys:
    """Counts of journeys of some persons."""

    transitions: pa.Table
    paths: pa.Table
    times: pa.Table


def count_journeys(paths: Paths) -> Journeys:
    """The transitions, paths and times of journeys with at least one touch; see `cut_paths` for what a journey is."""
    return Journeys(_transitions(paths), _paths(paths), _times(paths))


def merge_journeys(parts: Iterable[Journeys]) -> Journeys:
    """The counts of all persons; neither order nor grouping of the parts matters."""
    several = list(parts)

    def together(name: str) -> pl.DataFrame:
        return pl.DataFrame(pl.from_arrow(pa.concat_tables([getattr(part, name) for part in several])))

    return Journeys(
        add_up(together("transitions"), TRANSITIONS),
        add_up(together("paths"), COMMON_PATHS),
        add_up(together("times"), CONVERSION_TIMES),
    )


def transition_shares(transitions: pa.Table) -> pa.Table:
    """The transition matrix: TRANSITIONS with `share`, of all that left `from_step`."""
    rows = pl.DataFrame(pl.from_arrow(transitions))
    share = (pl.col("journeys") / pl.col("journeys").sum().over("from_step")).alias("share")
    return rows.with_columns(share).to_arrow().cast(TRANSITIONS.append(pa.field("share", pa.float64())))


def time_to_convert(times: pa.Table) -> pa.Table:
    """Journeys, median and 90th percentile of seconds by entry step, most journeys first."""
    rows = []
    for (entry,), some in pl.DataFrame(pl.from_arrow(times)).group_by("entry_step", maintain_order=True):
        seconds, journeys = some["seconds"].to_numpy(), some["journeys"].to_numpy()
        quantiles = [quantile_of_counts(seconds, journeys, share) for share in (0.5, 0.9)]
        rows.append({"entry_step": entry, "journeys": int(journeys.sum()), "median_seconds": quantiles[0],
                     "p90_seconds": quantiles[1]})  # fmt: skip
    types = [("entry_step", pa.string()), ("journeys", pa.int64()), ("median_seconds", pa.float64())]
    ordered = sorted(rows, key=lambda row: (-row["journeys"], row["entry_step"]))  # type: ignore[operator]
    return pa.Table.from_pylist(ordered, schema=pa.schema([*types, ("p90_seconds", pa.float64())]))


def _transitions(paths: Paths) -> pa.Table:
    steps = pl.DataFrame(pl.from_arrow(count_steps(paths)))
    ended = pl.when("converted").then(pl.lit(CONVERTED)).otherwise(pl.lit(LEFT))
    return add_up(
        steps.select(
            pl.col("before_1").fill_null(START).alias("from_step"),
            pl.coalesce("next", ended).alias("to_step"),
            pl.col("paths").alias("journeys"),
        ),
        TRANSITIONS,
    )


def _paths(paths: Paths) -> pa.Table:
    told = compact(paths.touches.select("path", pl.col("channel").alias("step")))
    ends = paths.ends.filter(pl.col("count") > 0).join(told, on="path", how="left")
    goal = pl.when("converted").then(pl.lit(ARROW + CONVERTED)).otherwise(pl.lit(""))
    one = pl.lit(1, pl.Int64).alias("journeys")
    rows = ends.select((pl.col("way") + goal).alias("path"), "converted", one, "value_units")
    return add_up(rows, COMMON_PATHS)


def _times(paths: Paths) -> pa.Table:
    entries = paths.touches.filter(pl.col("index") == 0).select(
        "path", pl.col("channel").alias("entry_step"), pl.col("at").alias("first_at")
    )
    sold = paths.ends.filter("converted").join(entries, on="path", how="inner")
    seconds = whole_seconds((sold["end_at"] - sold["first_at"]).to_numpy())
    rows = sold.select("entry_step", pl.Series("seconds", seconds, pl.Int64), pl.lit(1, pl.Int64).alias("journeys"))
    return add_up(rows, CONVERSION_TIMES)


def add_up(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Rows of TRANSITIONS, COMMON_PATHS or CONVERSION_TIMES in any number as one table, ordered by its keys."""
    counts = [name for name in schema.names if name in ("journeys", "value_units")]
    keys = [name for name in schema.names if name not in counts]
    return rows.group_by(keys).agg(pl.col(counts).sum()).sort(keys).select(schema.names).to_arrow().cast(schema)
