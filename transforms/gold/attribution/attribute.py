"""All models side by side: one row a channel and model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.gold.attribution.chain import count_sets, count_steps, sum_sets, sum_steps
from transforms.gold.attribution.credits import PARTS, credit_by_rule, sum_credits
from transforms.gold.attribution.markov import build_chain, removal_effects
from transforms.gold.attribution.shapley import channels_of, shapley_of_counts, shapley_of_rates
from transforms.gold.attribution.touchpoints import NO_TOUCH, VALUE_UNITS, AttributionRules, Paths, cut_paths

ATTRIBUTION: pa.Schema = pa.schema(
    [
        pa.field("channel", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("conversions", pa.float64(), nullable=False),  # credited
        pa.field("value", pa.float64(), nullable=False),  # credited, in the currency of the values
        pa.field("conversions_share", pa.float64()),  # of all conversions; null when there is none
    ]
)
# As gold keeps it: credit of channels and credit of campaigns.
LEVELLED: pa.Schema = pa.schema(
    [pa.field("level", pa.string(), nullable=False), *ATTRIBUTION, pa.field("currency", pa.string())]
)


@dataclass(frozen=True)
class PathCounts:
    """All that the models need of some persons' paths; small, and merged by adding."""

    credits: pa.Table
    steps: pa.Table
    sets: pa.Table


def count_paths(touchpoints: pa.Table, rules: AttributionRules = AttributionRules()) -> PathCounts:
    """The counts of the persons in `touchpoints` (see `cut_paths`); each person in one call only."""
    return _count(cut_paths(touchpoints, rules), rules)


def _count(paths: Paths, rules: AttributionRules) -> PathCounts:
    return PathCounts(credit_by_rule(paths, rules), count_steps(paths), count_sets(paths))


def merge_counts(parts: Iterable[PathCounts]) -> PathCounts:
    """The counts of all persons; neither order nor grouping of the parts matters."""
    several = list(parts)

    def together(name: str) -> pl.DataFrame:
        return pl.DataFrame(pl.from_arrow(pa.concat_tables([getattr(part, name) for part in several])))

    return PathCounts(sum_credits(together("credits")), sum_steps(together("steps")), sum_sets(together("sets")))


def attribute(counts: PathCounts, rules: AttributionRules = AttributionRules()) -> pa.Table:
    """Credit of each channel under each model; schema ATTRIBUTION, ordered by channel and model.

    Models: those of `credit_by_rule`; markov_1 to markov_3 (removal effects, scaled so that they add up);
    shapley (of counts) and shapley_rate (of rates, left out beyond 20 channels; it may be negative). Each model's
    credit adds up to all conversions and to their value; those without a touch go to NO_TOUCH under every model.
    """
    sets = pl.DataFrame(pl.from_arrow(counts.sets))
    touched, bare = sets.filter(pl.col("channels") != ""), sets.filter(pl.col("channels") == "")
    totals = np.array([int(touched["conversions"].sum()), int(touched["value_units"].sum())], dtype=float)
    channels = channels_of(counts.sets)
    models = {f"markov_{order}": _markov(counts.steps, order, totals) for order in rules.orders}
    models["shapley"] = shapley_of_counts(counts.sets)
    rates = shapley_of_rates(counts.sets)
    models |= {} if rates is None else {"shapley_rate": rates}
    outside = [int(bare["conversions"].sum()), int(bare["value_units"].sum())]
    by_rule = pl.DataFrame(pl.from_arrow(counts.credits)).select(
        "channel", "model", pl.col("conversion_parts") / PARTS, pl.col("value_units") / VALUE_UNITS
    )
    rows = [_rows(name, channels, credit, outside) for name, credit in models.items()]
    table = pl.concat([by_rule.rename({"conversion_parts": "conversions", "value_units": "value"}), *rows])
    everything = totals[0] + outside[0]
    share = pl.col("conversions") / everything if everything else pl.lit(None, pl.Float64)
    ordered = table.with_columns(share.alias("conversions_share")).sort("channel", "model")
    return ordered.select(ATTRIBUTION.names).to_arrow().cast(ATTRIBUTION)


def _markov(steps: pa.Table, order: int, totals: np.ndarray) -> np.ndarray:
    """Totals shared by removal effect; value is shared as conversions are where refunds turn an effect around."""
    effects = removal_effects(build_chain(steps, order))
    if len(effects) and (effects[:, 1].min() < 0 or effects[:, 1].sum() <= 0 or totals[1] <= 0):
        effects[:, 1] = effects[:, 0]
    sums = effects.sum(axis=0)
    return np.divide(effects, sums, out=np.zeros_like(effects), where=sums > 0) * totals


def _rows(model: str, channels: tuple[str, ...], credit: np.ndarray, outside: list[int]) -> pl.DataFrame:
    conversions, value = credit[:, 0].tolist(), (credit[:, 1] / VALUE_UNITS).tolist()
    names = list(channels)
    if outside[0]:
        names, conversions, value = [*names, NO_TOUCH], [*conversions, outside[0]], [*value, outside[1] / VALUE_UNITS]
    return pl.DataFrame(
        {"channel": names, "model": [model] * len(names), "conversions": conversions, "value": value},
        schema={"channel": pl.String, "model": pl.String, "conversions": pl.Float64, "value": pl.Float64},
    )
