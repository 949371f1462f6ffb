"""Links to guarded clusters on Beam: what hangs together is brought together, and judged, bucket by bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import polars as pl
import pyarrow as pa

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.identity.components import CLUSTERS
from transforms.identity.connect import ConnectRecords
from transforms.identity.guard import LINKS_SCHEMA, GuardRules, joining_links, refine_clusters
from transforms.shuffle import GroupBatches, tables_of

_CLUSTERS, _RECORDS, _LINKS, _REFUSED = "clusters", "records", "links", "refused"
_OLDEST = pl.CompatLevel.oldest()


class Clustered(NamedTuple):
    """`clusters`: batches of CLUSTERS; `refused`: batches of REFUSED; `unsettled`: 0 when rounds sufficed."""

    clusters: beam.PCollection
    refused: beam.PCollection
    unsettled: beam.PCollection


@dataclass(eq=False)
class ClusterRecords(beam.PTransform):
    """(records, links) -> `Clustered`: what `guard.resolve_clusters` gives, over buckets.

    records: batches with `record` and the columns of the contradictions; links: batches of LINKS_SCHEMA. A cluster is
    judged by one worker; memory is a bucket of clusters. Windows: global.

    Attributes:
      decisions: DECISIONS, few enough to be on every worker.
      buckets, rounds, spill_dir: as in `ConnectRecords`.
    """

    buckets: int
    rules: GuardRules = field(default_factory=GuardRules)
    decisions: pa.Table | None = None
    rounds: int = 8
    spill_dir: str | None = None

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> Clustered:
        register_batch_coder()
        records, links = inputs
        joining = links | "JoiningLinks" >> beam.Map(self._joining).with_output_types(pa.RecordBatch)
        decided = (
            links.pipeline
            | "Decisions" >> beam.Create([LINKS_SCHEMA.empty_table().num_rows])
            | beam.Map(
                lambda _: as_batch(joining_links(LINKS_SCHEMA.empty_table(), self.decisions, self.rules))
            ).with_output_types(pa.RecordBatch)
        )
        every = (joining, decided) | "AllLinks" >> beam.Flatten()
        connected = (records, every) | "Connect" >> ConnectRecords(self.buckets, self.rounds, spill_dir=self.spill_dir)
        members = self._placed("Members", _RECORDS, records, "record", connected.clusters)
        within = self._placed("LinksOfClusters", _LINKS, links, "left", connected.clusters)
        judged = (
            {_RECORDS: members, _LINKS: within}
            | "ByCluster" >> GroupBatches({_RECORDS: ("cluster",), _LINKS: ("cluster",)}, self.buckets, self.spill_dir)
            | "Judge" >> beam.ParDo(_JudgeFn(self.rules, self.decisions)).with_outputs(_REFUSED, main=_CLUSTERS)
        )
        return Clustered(judged[_CLUSTERS], judged[_REFUSED], connected.unsettled)

    def _joining(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return as_batch(joining_links(as_table(batch), None, self.rules))

    def _placed(
        self, label: str, tag: str, rows: beam.PCollection, key: str, clusters: beam.PCollection
    ) -> beam.PCollection:
        """The rows with the cluster of the record in `key`."""
        group = GroupBatches({tag: (key,), _CLUSTERS: ("record",)}, self.buckets, self.spill_dir)
        return (
            {tag: rows, _CLUSTERS: clusters}
            | f"{label}ByRecord" >> group
            | label >> beam.FlatMap(_with_cluster, tag, key).with_output_types(pa.RecordBatch)
        )


def _with_cluster(bucket: tuple[int, Iterable[Any]], tag: str, key: str) -> Iterator[pa.RecordBatch]:
    tables = tables_of(bucket[1])
    if tag in tables and _CLUSTERS in tables:
        places = pl.DataFrame(pl.from_arrow(tables[_CLUSTERS])).rename({"record": key})
        rows = pl.DataFrame(pl.from_arrow(tables[tag])).join(places, on=key)
        yield as_batch(rows.to_arrow(compat_level=_OLDEST))


class _JudgeFn(beam.DoFn):
    def __init__(self, rules: GuardRules, decisions: pa.Table | None) -> None:
        self._rules, self._decisions = rules, decisions

    def process(self, bucket: tuple[int, Iterable[Any]]) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        tables = tables_of(bucket[1])
        if _RECORDS not in tables:
            return
        members = tables[_RECORDS]
        links = tables[_LINKS] if _LINKS in tables else LINKS_SCHEMA.empty_table()
        clusters = members.select(CLUSTERS.names).cast(CLUSTERS)
        found = refine_clusters(clusters, links, members, self._decisions, self._rules)
        yield as_batch(found.clusters)
        if found.refused.num_rows:
            yield beam.pvalue.TaggedOutput(_REFUSED, as_batch(found.refused))
