"""From scored pairs to persons, in memory: connected, guarded, assigned, with the story of what changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa

from transforms.identity.guard import GuardRules, Refined, resolve_clusters, strong_links
from transforms.identity.persons import assign_persons
from transforms.identity.reasons import add_evidence

_OLDEST = pl.CompatLevel.oldest()


@dataclass(frozen=True)
class Resolution:
    """Who is who.

    Attributes:
      map: IDENTITY_MAP.
      events: IDENTITY_EVENTS of this run, with evidence.
      refused: REFUSED, links between records that are not one person after all.
    """

    map: pa.Table
    events: pa.Table
    refused: pa.Table


def resolve_records(
    records: pa.Table,
    links: pa.Table,
    at: datetime,
    *,
    decisions: pa.Table | None = None,
    previous: pa.Table | None = None,
    history: pa.Table | None = None,
    rules: GuardRules = GuardRules(),
    run_id: str | None = None,
    clustered: Refined | None = None,
) -> Resolution:
    """Gives each record its person.

    Args:
      records: `record` string, unique; optionally `first_seen` timestamp and the columns of `rules.contradictions`.
      links: scored pairs of records (`guard.LINKS_SCHEMA`).
      decisions, previous, history: DECISIONS, IDENTITY_MAP and IDENTITY_EVENTS so far.
      at: the moment of this run, later than all of `previous`.
      clustered: what `resolve_clusters` gives for these, where it is known already.
    """
    clusters, refused = clustered or resolve_clusters(records["record"], links, records, decisions, rules)
    if "first_seen" in records.column_names:
        seen = pl.DataFrame(pl.from_arrow(records.select(["record", "first_seen"])))
        clusters = pl.DataFrame(pl.from_arrow(clusters)).join(seen, on="record").to_arrow(compat_level=_OLDEST)
    map, events = assign_persons(clusters, previous, at, history)
    told = add_evidence(events, map, strong_links(links, rules), refused, decisions, run_id)
    return Resolution(map, told, refused)
