"""Where things are in the lake, and what one run is: frozen, validated once."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from transforms.contracts import CONTRACTS, Contract
from transforms.errors import UserError
from transforms.io.storage import join

GOLD = (
    "customer_360", "realtime_features", "customer_behaviour", "customer_engagement", "touchpoints", "attribution",
    "behaviour", "behaviour_series", "campaign_effects", "campaign_returns", "engagement_fatigue", "engagement_rates",
    "journey_funnel", "journey_paths", "journey_times", "journey_transitions", "sentiment_by_month",
    "service_by_month",
    "customer_value", "churn", "customer_risk", "model_scores", "segment_moves",
)  # fmt: skip
OFFERED = ("recommendations",)  # gold that the command recommend makes
SILVER = ("sessions", "live_sessions", "persons", "identity_map", "identity_events", "visitors")
IDENTITY = ("identity_decisions", "identity_links", "identity_records", "identity_models")
MATCHED = ("matched_edges", "matched_places", "matched_refused", "matched_model")  # by the workers of an engine
OPS = ("rejects", "late", "runs", "days", "schemas", "profiles", "drift", "outliers", "reconciled_sessions",
       *IDENTITY, *MATCHED)  # fmt: skip


@dataclass(frozen=True)
class Lake:
    """The folders of one lake: a local path, `abfss://...` or `az://...`."""

    uri: str

    def __post_init__(self) -> None:
        if not self.uri.strip():
            raise UserError("the lake has no place", remedy="give a folder or an abfss:// address with --lake")

    def bronze(self, contract: Contract) -> str:
        return join(self.uri, "bronze", contract.path)

    def silver(self, contract: Contract) -> str:
        return join(self.uri, "silver", contract.path)

    def gold(self, name: str) -> str:
        return join(self.uri, "gold", name)

    @property
    def sessions(self) -> str:
        return join(self.uri, "silver", "sessions")

    @property
    def live_sessions(self) -> str:
        return join(self.uri, "silver", "live_sessions")

    @property
    def reconciled_sessions(self) -> str:
        return join(self.uri, "ops", "reconciled_sessions")

    @property
    def persons(self) -> str:
        return join(self.uri, "silver", "persons")

    @property
    def identity_map(self) -> str:
        return join(self.uri, "silver", "identity_map")

    @property
    def identity_events(self) -> str:
        return join(self.uri, "silver", "identity_events")

    @property
    def visitors(self) -> str:
        return join(self.uri, "silver", "visitors")

    @property
    def identity_links(self) -> str:
        return join(self.uri, "ops", "identity_links")

    @property
    def identity_records(self) -> str:
        return join(self.uri, "ops", "identity_records")

    @property
    def identity_models(self) -> str:
        return join(self.uri, "ops", "identity_models")

    @property
    def identity_decisions(self) -> str:
        return join(self.uri, "ops", "identity_decisions")

    @property
    def matched_edges(self) -> str:
        return join(self.uri, "ops", "matched_edges")

    @property
    def matched_places(self) -> str:
        return join(self.uri, "ops", "matched_places")

    @property
    def matched_refused(self) -> str:
        return join(self.uri, "ops", "matched_refused")

    @property
    def matched_model(self) -> str:
        return join(self.uri, "ops", "matched_model")

    @property
    def realtime_features(self) -> str:
        return self.gold("realtime_features")

    @property
    def late(self) -> str:
        return join(self.uri, "ops", "late")

    @property
    def named(self) -> dict[str, str]:
        """The tables that are no source tables: "layer/name" -> address."""
        silver = {f"silver/{name}": getattr(self, name) for name in SILVER}
        gold = {f"gold/{name}": self.gold(name) for name in (*GOLD, *OFFERED)}
        return silver | gold | {f"ops/{name}": getattr(self, name) for name in OPS}

    @property
    def tables(self) -> dict[str, str]:
        """Every table there may be: "layer/path" -> address."""
        sources = CONTRACTS.values()
        bronze = {f"bronze/{c.path}": self.bronze(c) for c in sources}
        return bronze | {f"silver/{c.path}": self.silver(c) for c in sources} | self.named

    @property
    def rejects(self) -> str:
        return join(self.uri, "ops", "rejects")

    @property
    def runs(self) -> str:
        return join(self.uri, "ops", "runs")

    @property
    def days(self) -> str:
        return join(self.uri, "ops", "days")

    @property
    def schemas(self) -> str:
        return join(self.uri, "ops", "schemas")

    @property
    def profiles(self) -> str:
        return join(self.uri, "ops", "profiles")

    @property
    def outliers(self) -> str:
        return join(self.uri, "ops", "outliers")

    @property
    def drift(self) -> str:
        return join(self.uri, "ops", "drift")


@dataclass(frozen=True)
class Run:
    """One run of one command. `started_at` (UTC) is the ingestion time of every row of the run."""

    command: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        if self.started_at.tzinfo is None:
            raise UserError(f"the run's time {self.started_at} has no zone", remedy="give it in UTC, ending in Z")
