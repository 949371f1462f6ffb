"""The tables of gold beside customer_360: one kernel over each bucket of customers, and what is made of all buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold import customer_360
from transforms.gold.attribution.attribute import LEVELLED, PathCounts, attribute, count_paths
from transforms.gold.attribution.chain import SETS, STEPS, sum_sets, sum_steps
from transforms.gold.attribution.credits import CREDITS, sum_credits
from transforms.gold.attribution.returns import CAMPAIGN_RETURNS, campaign_returns
from transforms.gold.attribution.touchpoints import AttributionRules, cut_paths
from transforms.gold.behaviour import aggregates
from transforms.gold.behaviour.series import SERIES, analyse_series
from transforms.gold.engagement import customers, effect, messages
from transforms.gold.journeys import paths as journeys
from transforms.gold.journeys import touchpoints
from transforms.gold.journeys.funnel import FUNNEL, FUNNEL_COUNTS, count_funnel, funnel, merge_funnels
from transforms.gold.journeys.steps import STEPS_TAKEN, order_steps
from transforms.gold.service import sentiment, tickets
from transforms.gold.value import worth

CAMPAIGNS = "MARKETING_CAMPAIGNS"
FUNNEL_STEPS = ("VISIT", "PAGE_VIEW", "CART_ADD", "ORDER")
RULES = AttributionRules(lookback_days=30.0)
_MOST_PATHS = 1000
_FUNNEL_DAYS = 7
_LEVELS = ("channel", "campaign")


@dataclass(frozen=True)
class GoldContext:
    """What all buckets share: the day of reference, MARKETING_CAMPAIGNS, the currency whose values are added, and the
    models of worth and churn, None where there was nothing to fit."""

    as_of: datetime
    campaigns: pa.Table = field(default_factory=lambda: CONTRACTS[CAMPAIGNS].arrow.empty_table())
    currency: str | None = None
    worth: worth.Worth | None = None


def _all_columns() -> dict[str, tuple[str, ...]]:
    several = (customer_360.INPUTS, aggregates.INPUTS, touchpoints.INPUTS, customers.INPUTS, effect.INPUTS,
               tickets.INPUTS, sentiment.INPUTS, {worth.TRANSACTIONS_TABLE: worth.INPUTS})  # fmt: skip
    found: dict[str, tuple[str, ...]] = {}
    for inputs in several:
        for name, columns in inputs.items():
            own = [c for c in columns if c in CONTRACTS[name]]  # items get some of their transaction's
            found[name] = tuple(dict.fromkeys([*found.get(name, ()), *own]))
    return found


# Silver table -> the columns that gold needs of it, customer_360 included.
INPUTS: Mapping[str, tuple[str, ...]] = _all_columns()
# One row or more a customer, made bucket by bucket.
_KEY = pa.field("person_id", pa.string(), False, {"comment": "the person; the CUSTOMER_ID where identity has set none"})


def _of_persons(schema: pa.Schema) -> pa.Schema:
    """The schema of a kernel's rows as gold has it: their customers are persons."""
    return pa.schema([_KEY if field.name == "customer_id" else field for field in schema])


CUSTOMER_TABLES: Mapping[str, pa.Schema] = {
    name: _of_persons(schema)
    for name, schema in {
        "customer_behaviour": aggregates.BEHAVIOUR,
        "customer_engagement": customers.ENGAGEMENT,
        "touchpoints": touchpoints.TOUCHPOINT_ROWS,
        **worth.WORTH_TABLES,
    }.items()
}
_RATES = messages.rates(messages.RATES.empty_table(), ("channel", "month")).schema
_FATIGUE = messages.rates(messages.RATES.empty_table(), ("channel", "messages_before")).schema
_TRANSITIONS = journeys.transition_shares(journeys.TRANSITIONS.empty_table()).schema
_TIMES = journeys.time_to_convert(journeys.CONVERSION_TIMES.empty_table()).schema
# Of all customers together; small.
SHOP_TABLES: Mapping[str, pa.Schema] = {
    "attribution": LEVELLED,
    "behaviour": aggregates.BEHAVIOUR,
    "behaviour_series": SERIES,
    "campaign_effects": effect.EFFECTS,
    "campaign_returns": CAMPAIGN_RETURNS,
    "engagement_fatigue": _FATIGUE,
    "engagement_rates": _RATES,
    "journey_funnel": FUNNEL,
    "journey_paths": journeys.COMMON_PATHS,
    "journey_times": _TIMES,
    "journey_transitions": _TRANSITIONS,
    "model_scores": worth.MODEL_SCORES,
    "sentiment_by_month": sentiment.SENTIMENT,
    "service_by_month": tickets.SERVICE,
}


def _summed(add: Callable[[pl.DataFrame], pa.Table]) -> Callable[[Iterable[pa.Table]], pa.Table]:
    return lambda parts: add(pl.DataFrame(pl.from_arrow(pa.concat_tables(list(parts)))))


_PathKind = tuple[pa.Schema, Callable[[pl.DataFrame], pa.Table]]
_PATHS: Mapping[str, _PathKind] = {
    "credits": (CREDITS, sum_credits),
    "steps": (STEPS, sum_steps),
    "sets": (SETS, sum_sets),
}
_Merge = Callable[[Iterable[pa.Table]], pa.Table]
# What a bucket counts for the tables of the shop -> (its schema, how counts of several buckets become one).
PARTS: Mapping[str, tuple[pa.Schema, _Merge]] = {
    "days": (aggregates.DAILY, aggregates.merge_days),
    "rates": (messages.RATES, messages.merge_rates),
    "effects": (effect.EFFECT_COUNTS, effect.merge_effects),
    "service": (tickets.SERVICE_COUNTS, tickets.merge_service),
    "sentiment": (sentiment.SENTIMENT_COUNTS, sentiment.merge_sentiment),
    "funnel": (FUNNEL_COUNTS, merge_funnels),
    **{
        name: (schema, _summed(lambda rows, schema=schema: journeys.add_up(rows, schema)))  # type: ignore[misc]
        for name, schema in (
            ("transitions", journeys.TRANSITIONS),
            ("paths", journeys.COMMON_PATHS),
            ("times", journeys.CONVERSION_TIMES),
        )
    },
    **{f"{level}/{name}": (schema, _summed(add)) for level in _LEVELS for name, (schema, add) in _PATHS.items()},
}


def count_bucket(
    bucket: Mapping[str, pa.Table], context: GoldContext
) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """(rows of CUSTOMER_TABLES, counts of PARTS) of the customers of a bucket.

    Args:
      bucket: silver tables with at least INPUTS, items as `attach_customers` gives them; a table may be absent.
    """
    days = pl.DataFrame(pl.from_arrow(aggregates.count_days(bucket, context.as_of)))
    of_customers = pl.col("dimension") == "customer"
    path = touchpoints.read_touchpoints(bucket, context.as_of)
    found = journeys.count_journeys(cut_paths(touchpoints.steps_of(path, context.currency), RULES))
    rows = {
        "customer_behaviour": aggregates.sum_periods(days.filter(of_customers).to_arrow()),
        "customer_engagement": customers.summarise_engagement(bucket, context.as_of),
        "touchpoints": touchpoints.touchpoint_table(path),
        **worth.worth_tables(bucket.get(worth.TRANSACTIONS_TABLE), context.worth, context.as_of),
    }
    parts = {
        "days": days.filter(~of_customers).to_arrow().cast(aggregates.DAILY),
        "rates": messages.count_rates(messages.read_messages(bucket, context.as_of)),
        "effects": effect.count_effects(bucket, context.campaigns, context.as_of),
        "service": tickets.count_service(bucket, context.as_of),
        "sentiment": sentiment.count_sentiment(bucket, context.as_of),
        "funnel": count_funnel(order_steps(_walked(path)), FUNNEL_STEPS, _FUNNEL_DAYS * 86_400),
        "transitions": found.transitions,
        "paths": found.paths,
        "times": found.times,
    }
    for level in _LEVELS:
        counts = count_paths(touchpoints.marketing_touches(path, level, context.currency), RULES)
        parts |= {f"{level}/{name}": getattr(counts, name) for name in _PATHS}
    renamed = {name: table.rename_columns(CUSTOMER_TABLES[name].names) for name, table in rows.items()}
    return {name: table.cast(CUSTOMER_TABLES[name]) for name, table in renamed.items()}, parts


def finish_tables(parts: Mapping[str, pa.Table], context: GoldContext) -> dict[str, pa.Table]:
    """SHOP_TABLES from the merged PARTS; a part that no bucket had is empty."""
    counts = {name: parts.get(name, schema.empty_table()) for name, (schema, _) in PARTS.items()}
    credit = {level: attribute(PathCounts(*(counts[f"{level}/{name}"] for name in _PATHS)), RULES) for level in _LEVELS}
    levelled = [_levelled(table, level, context.currency) for level, table in credit.items()]
    measures = ("orders_count", "net_revenue_cents")
    common = pl.DataFrame(pl.from_arrow(counts["paths"])).sort("journeys", "path", descending=[True, False])
    return {
        "attribution": pa.concat_tables(levelled),
        "behaviour": aggregates.sum_periods(counts["days"]),
        "behaviour_series": analyse_series(counts["days"], context.as_of.date(), measures),
        "campaign_effects": effect.measure_effects(counts["effects"], context.campaigns),
        "campaign_returns": campaign_returns(credit["campaign"], context.campaigns),
        "engagement_fatigue": messages.rates(counts["rates"], ("channel", "messages_before")),
        "engagement_rates": messages.rates(counts["rates"], ("channel", "month")),
        "journey_funnel": funnel(counts["funnel"], FUNNEL_STEPS),
        "journey_paths": common.head(_MOST_PATHS).to_arrow().cast(journeys.COMMON_PATHS),
        "journey_times": journeys.time_to_convert(counts["times"]),
        "journey_transitions": journeys.transition_shares(counts["transitions"]),
        "model_scores": worth.MODEL_SCORES.empty_table() if context.worth is None else context.worth.scores,
        "sentiment_by_month": sentiment.summarise_sentiment(counts["sentiment"]),
        "service_by_month": tickets.summarise_service(counts["service"]),
    }


def _walked(path: pl.DataFrame) -> pa.Table:
    return path.select(
        pl.col("customer_id").alias("person"), touchpoints.in_order().alias("time"), "step"
    ).to_arrow().cast(STEPS_TAKEN)  # fmt: skip


def _levelled(credit: pa.Table, level: str, currency: str | None) -> pa.Table:
    rows = pl.DataFrame(pl.from_arrow(credit)).with_columns(
        pl.lit(level).alias("level"), pl.lit(currency, pl.String).alias("currency")
    )
    return rows.select(LEVELLED.names).to_arrow().cast(LEVELLED)
