"""What the report says, as plain aggregates: found in the lake by `gather`, drawn by `render`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import MappingProxyType

import pyarrow as pa

from pipelines.config import Lake
from pipelines.gold import CUSTOMER_360
from pipelines.reconcile import verdicts
from pipelines.report import arrivals, customers, gold, offers, operations, persons, shop
from transforms.errors import UserError
from transforms.io.delta import open_table

# The columns that each table of facts has at least.
_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "runs": ("command", "table", "started_at", "inputs", "output_version", *operations.COUNTED),
        "layers": ("layer", "table", "rows", "version"),
        "rejects": ("table", "stage", "rule", "status", "rows"),
        "quality": ("table", "band", "rows"),
        "profiles": ("table_name", "column_name", "is_personal", "rows_count", "nulls_count", "distinct_count"),
        "drift": ("table_name", "column_name", "verdict", "reason"),
        "monthly": ("month", "orders", "returns", "gross", "returned"),
        "hours": ("weekday", "hour", "orders"),
        "products": ("name", "units", "amount"),
        "categories": ("name", "units", "amount"),
        "segments": ("segment", "customers", "net_revenue"),
        "grid": ("recency_score", "frequency_score", "customers"),
        "channels": ("channel", "orders"),
        "concentration": ("share_customers", "share_revenue"),
        "satisfaction": ("score", "customers"),
        "cohorts": ("cohort", "months_later", "customers", "of"),
        "moves": ("from_segment", "to_segment", "customers_count"),
        "calibration": ("tenth", "foreseen", "came", "days", "model"),
        "models": ("model", "served", "orders_mae", "value_mae", "orders_rank", "value_rank"),
        "forecasts": gold.FORECASTS,
        "funnel": ("number", "step", "persons", "median_seconds_from_previous"),
        "flows": ("layer", "from_step", "to_step", "journeys"),
        "attribution": ("channel", "model", "conversions", "conversions_share"),
        "stream_delays": ("low_seconds", "high_seconds", "rows"),
        "stream_rate": ("second", "arrived", "readable"),
        "identity_scores": ("low", "high", "pairs", "one_person"),
        "identity_sizes": ("records", "persons"),
        "identity_largest": ("rank", "records", "links", "proven", "weakest"),
        "identity_borderline": ("probability", "same_person", "evidence"),
        "offers": ("algorithm", "offers", "persons", "model"),
        "offered": ("person", "kind", "rank", "name", "reason"),
    }
)


@dataclass(frozen=True)
class ReportFacts:
    """Aggregates only, nothing personal. A table that is None or empty leaves its part of the report out.

    Attributes:
      as_of: the day of reference of customer_360. currency: of every amount; others are left out of sums, except
        in products and categories, which carry no currency (`other_currencies` says that there are others).
      totals: sums over customer_360 by column name, and `customers`, `buyers`.
      runs: the run table. layers: rows and version of each table now. rejects: rows by rule. quality: bronze rows by
        band of quality score (`operations.BANDS`). profiles, drift: of the latest run of each table.
      monthly: all completed orders, guests included, amounts in `currency`. hours: orders by weekday (Monday 1) and
        hour (UTC). products, categories: lines sold, best first. segments, grid, channels, concentration,
        satisfaction: over customer_360. tracker: what became of the tracker's sessions beside those of the events.
      cohorts, moves, calibration, models, forecasts, funnel, flows, attribution, outlook: see `gold.gather`.
      stream: totals of what streams brought in (`arrivals.gather`). stream_delays: rows by seconds from the hub to
        bronze. stream_rate: rows a second over time.
      identity: totals of who is who (`persons.gather`). identity_scores: pairs by probability. identity_sizes: persons
        by their number of records. identity_largest: the largest of them, and the links that hold them.
        identity_borderline: the pairs nearest to the limit.
      offers, offered: see `offers.gather`.
    """

    title: str = "Customer 360"
    lake: str = ""
    as_of: datetime | None = None
    currency: str = ""
    other_currencies: bool = False
    totals: Mapping[str, float] = field(default_factory=dict)
    runs: pa.Table | None = None
    layers: pa.Table | None = None
    rejects: pa.Table | None = None
    quality: pa.Table | None = None
    profiles: pa.Table | None = None
    drift: pa.Table | None = None
    monthly: pa.Table | None = None
    hours: pa.Table | None = None
    products: pa.Table | None = None
    categories: pa.Table | None = None
    segments: pa.Table | None = None
    grid: pa.Table | None = None
    channels: pa.Table | None = None
    concentration: pa.Table | None = None
    satisfaction: pa.Table | None = None
    cohorts: pa.Table | None = None
    moves: pa.Table | None = None
    calibration: pa.Table | None = None
    models: pa.Table | None = None
    forecasts: pa.Table | None = None
    funnel: pa.Table | None = None
    flows: pa.Table | None = None
    attribution: pa.Table | None = None
    outlook: Mapping[str, float] = field(default_factory=dict)
    tracker: str = ""
    stream: Mapping[str, float] = field(default_factory=dict)
    stream_delays: pa.Table | None = None
    stream_rate: pa.Table | None = None
    identity: Mapping[str, float] = field(default_factory=dict)
    identity_scores: pa.Table | None = None
    identity_sizes: pa.Table | None = None
    identity_largest: pa.Table | None = None
    identity_borderline: pa.Table | None = None
    offers: pa.Table | None = None
    offered: pa.Table | None = None

    def __post_init__(self) -> None:
        for name, wanted in _COLUMNS.items():
            given = getattr(self, name)
            missing = [] if given is None else sorted(set(wanted) - set(given.column_names))
            if missing:
                raise ValueError(f"ReportFacts.{name} lacks the columns {missing}, it has {given.column_names}")

    def rows(self, name: str) -> list[dict]:
        """The rows of one table, none when it is not there."""
        table = getattr(self, name)
        return [] if table is None else table.to_pylist()

    def has(self, *names: str) -> bool:
        """Whether any of the tables has rows."""
        return any(table is not None and table.num_rows > 0 for table in (getattr(self, name) for name in names))


def gather(lake: Lake) -> ReportFacts:
    """Finds the facts in a lake, table by table in bounded memory where tables are large.

    Raises:
      UserError: the lake has no table at all.
    """
    found = operations.gather(lake)
    if not found["layers"].num_rows:
        raise UserError(
            "the lake has no table", where=lake.uri, remedy="run the commands bronze, silver and gold first"
        )
    currency, sales = shop.gather(lake)
    people = customers.gather(lake.gold(CUSTOMER_360), currency) if open_table(lake.gold(CUSTOMER_360)) else {}
    more = gold.gather(lake, currency) | arrivals.gather(lake) | persons.gather(lake) | offers.gather(lake)
    more["tracker"] = str(verdicts(lake) or "")
    known = {f.name for f in fields(ReportFacts)}
    facts = {name: value for name, value in (found | sales | people | more).items() if name in known}
    return ReportFacts(lake=lake.uri.rstrip("/").rsplit("/", 1)[-1], currency=currency, **facts)
