"""Facts of gold's own tables: cohorts, moves, journeys, attribution, what comes and how well that was foreseen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from pipelines.config import Lake
from transforms.gold.journeys.between import ARROW
from transforms.gold.journeys.paths import CONVERTED
from transforms.io.delta import open_table, read_table

FORECASTS = (
    "measure",
    "currency",
    "day",
    "actual",
    "expected",
    "low_80",
    "high_80",
    "low_95",
    "high_95",
    "is_anomaly",
)
_MONTHS, _DAYS_BACK, _STEPS, _BRANCHES = 13, 120, 3, 6
OTHERS, BOUGHT, LEFT = "others", "order", "no order"
_OUTLOOK = ("expected_value_90_days", "expected_orders_90_days", "churn_probability", "churn_status", "value_currency")


def gather(lake: Lake, currency: str) -> dict[str, Any]:
    """cohorts, moves, calibration, models, forecasts, funnel, flows, attribution, outlook, as far as they are there."""
    parts = {
        "cohorts": ("customer_behaviour", _cohorts),
        "moves": ("segment_moves", _moves),
        "calibration": ("model_scores", _calibration),
        "models": ("model_scores", _models),
        "forecasts": ("behaviour_series", _forecasts),
        "funnel": ("journey_funnel", _funnel),
        "flows": ("journey_paths", _flows),
        "attribution": ("attribution", _attribution),
    }
    found = {name: make(lake.gold(table)).to_arrow() for name, (table, make) in parts.items() if _there(lake, table)}
    return found | ({"outlook": _outlook(lake.gold("customer_360"), currency)} if _there(lake, "customer_360") else {})


def _there(lake: Lake, table: str) -> bool:
    return open_table(lake.gold(table)) is not None


def _read(uri: str, *columns: str, where: tuple[tuple[str, str, Any], ...] = ()) -> pl.DataFrame:
    return pl.DataFrame(read_table(uri, columns=columns or None, where=where))


def _cohorts(uri: str) -> pl.DataFrame:
    """`cohort` (month of first order), `months_later`, `customers` who ordered then, `of` so many; the last cohorts."""
    rows = _read(uri, "key", "starts_on", "orders_count", where=(("period", "=", "month"), ("orders_count", ">", 0)))
    months = rows.select("key", month="starts_on").unique()
    months = months.with_columns(cohort=pl.col("month").min().over("key"))
    later = (pl.col("month").dt.year() - pl.col("cohort").dt.year()) * 12
    later = later + pl.col("month").dt.month().cast(pl.Int32) - pl.col("cohort").dt.month().cast(pl.Int32)
    counted = months.group_by("cohort", later.cast(pl.Int64).alias("months_later")).agg(
        customers=pl.len().cast(pl.Int64)
    )
    sizes = counted.filter(pl.col("months_later") == 0).select("cohort", of="customers")
    shown = sizes.sort("cohort").tail(_MONTHS)
    return counted.join(shown, on="cohort").sort("cohort", "months_later")


def _moves(uri: str) -> pl.DataFrame:
    """Moves between segments since the run before; none where there was no run before."""
    rows = _read(uri)
    return rows.clear() if set(rows["from_segment"]) <= {"(new)"} else rows


def _calibration(uri: str) -> pl.DataFrame:
    """`tenth`, `foreseen`, `came`: mean orders of tenths of the customers, in the latest holdout; `days`, `model`."""
    rows = _read(uri, where=(("task", "=", "value"), ("served", "=", True)))
    told = rows.with_columns(pl.col("measure").str.extract_groups(r"^orders_(?<what>\w+)_tenth_(?<tenth>\d+)$")).unnest(
        "measure"
    )
    told = told.drop_nulls("tenth").with_columns(pl.col("tenth").cast(pl.Int64))
    keys = ["tenth", "model", pl.col("horizon_days").alias("days")]
    return told.group_by(keys).agg(
        *(pl.col("value").filter(pl.col("what") == what).first().alias(what) for what in ("foreseen", "came"))
    ).sort("tenth")  # fmt: skip


def _models(uri: str) -> pl.DataFrame:
    """`model`, `served`, and means over the origins of its errors; the value models, the best first."""
    rows = _read(uri, where=(("task", "=", "value"),))
    names = ("orders_mae", "value_mae", "orders_rank", "value_rank")
    means = [pl.col("value").filter(pl.col("measure") == name).mean().alias(name) for name in names]
    return rows.group_by("model", "served").agg(means).sort("orders_mae", "model")


def _forecasts(uri: str) -> pl.DataFrame:
    """The series of all customers together: the last days, and those to come with bands."""
    rows = _read(uri, where=(("dimension", "=", "all"),))
    known = rows.filter(pl.col("actual").is_not_null())
    last = known["day"].max()
    begin = last - timedelta(days=_DAYS_BACK) if last is not None else None  # type: ignore[operator]
    return rows.filter(pl.col("day") > begin).select(FORECASTS).sort("measure", "currency", "day")


def _funnel(uri: str) -> pl.DataFrame:
    return _read(uri, "number", "step", "persons", "median_seconds_from_previous").sort("number")


def _flows(uri: str) -> pl.DataFrame:
    """`layer`, `from_step`, `to_step`, `journeys`: how the common paths go through their first different steps.

    Of each layer the largest steps are told by name. All journeys are in every layer: one that is over stands at its
    outcome, where all are behind the last layer.
    """
    rows = _read(uri, "path", "converted", "journeys")
    steps = pl.col("path").str.strip_suffix(ARROW + CONVERTED).str.strip_suffix(ARROW + "...").str.split(ARROW)
    first = steps.list.unique(maintain_order=True).list.head(_STEPS)
    end = pl.when("converted").then(pl.lit(BOUGHT)).otherwise(pl.lit(LEFT))
    paths = rows.with_columns(first.alias("steps"), end.alias(f"step_{_STEPS}"))
    for layer in range(_STEPS):
        name = pl.col(f"step_{layer}")
        paths = paths.with_columns(pl.col("steps").list.get(layer, null_on_oob=True).alias(f"step_{layer}"))
        sizes = paths.drop_nulls(f"step_{layer}").group_by(f"step_{layer}").agg(pl.col("journeys").sum())
        large = sizes.sort("journeys", f"step_{layer}", descending=[True, False]).head(_BRANCHES)[f"step_{layer}"]
        told = pl.when(name.is_in(large.implode())).then(name).when(name.is_not_null()).then(pl.lit(OTHERS))
        paths = paths.with_columns(told.otherwise(f"step_{_STEPS}").alias(f"step_{layer}"))
    names = ["layer", "from_step", "to_step"]
    parts = [
        paths.select(pl.lit(layer, pl.Int64), f"step_{layer}", f"step_{layer + 1}", "journeys").rename(
            dict(zip(["literal", f"step_{layer}", f"step_{layer + 1}"], names, strict=True))
        )
        for layer in range(_STEPS)
    ]
    return pl.concat(parts).group_by(names).agg(pl.col("journeys").sum()).sort(names)


def _attribution(uri: str) -> pl.DataFrame:
    rows = _read(uri, "channel", "model", "conversions", "conversions_share", where=(("level", "=", "channel"),))
    return rows.sort("channel", "model")


def _outlook(uri: str, currency: str) -> dict[str, float]:
    """Sums over the customers: orders and value to come in 90 days, and customers who will churn."""
    rows = _read(uri, *_OUTLOOK)
    mine = rows.filter(pl.col("value_currency") == currency)
    sums = {name: mine[name].sum() for name in _OUTLOOK[:2] if mine[name].count()}
    active = rows.drop_nulls("churn_probability")
    if active.height:
        sums |= {"active": active.height, "churning": float(active["churn_probability"].sum())}
    return {name: round(float(value), 4) for name, value in sums.items()}
