"""Connected components on Beam: rounds of stars over bucketed links, no worker holding all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches import as_batch, as_table, register_batch_coder
from transforms.identity.components import CLUSTERS
from transforms.identity.stars import (
    LOWEST,
    contract_links,
    count_unsettled,
    find_lowest,
    hook_high,
    hook_low,
    merge_lowest,
    order_links,
)
from transforms.shuffle import GroupBatches, tables_of

_LINKS, _LOWEST, _RECORDS = "links", "lowest", "records"
_HEAVY, _LIGHT = "heavy", "light"


class Connected(NamedTuple):
    """`clusters`: batches of CLUSTERS, a row a record; `unsettled`: one number, 0 when the rounds were enough."""

    clusters: beam.PCollection
    unsettled: beam.PCollection


class Settling(NamedTuple):
    """`links`: LINKS that connect the same records and more directly; `unsettled`: one number, 0 when all are stars."""

    links: beam.PCollection
    unsettled: beam.PCollection


@dataclass(eq=False)
class ConnectRecords(beam.PTransform):
    """(records, links) -> `Connected`: each record with the smallest record that it is connected to.

    records: batches with `record`; links: batches with `left` and `right`; both string, in any order, repeated or not.
    A link to a record that is not there makes no row. Windows: global. A chain of n links takes about log2(n) rounds,
    fewer where links that lie together are contracted first; `unsettled` says whether `rounds` were enough.

    Attributes:
      rounds: how many large and small stars.
      heavy_links: a record with more links than this hands its lowest neighbour to all workers, instead of having all
        its links brought to one of them.
      buckets, spill_dir: as in `GroupBatches`.
    """

    buckets: int
    rounds: int = 8
    heavy_links: int = 100_000
    spill_dir: str | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if min(self.rounds, self.heavy_links, self.buckets) < 1:
            raise ValueError(f"rounds {self.rounds}, heavy_links {self.heavy_links}, buckets {self.buckets}: 1 or more")

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> Connected:
        register_batch_coder()
        records, links = inputs
        state = links | "OrderLinks" >> _map(order_links)
        settle = (self.buckets, self.heavy_links, self.spill_dir)
        for number in range(self.rounds):
            state = state | f"Round {number + 1}" >> _Round(*settle)
        checked = state | "Check" >> _FindLowest(self.buckets, self.spill_dir)
        return Connected(self._labelled(records, checked), _unsettled(checked))

    def _labelled(self, records: beam.PCollection, lowest: beam.PCollection) -> beam.PCollection:
        """Each record with the lowest of its star; without links a record is its own."""
        group = GroupBatches({_RECORDS: ("record",), _LOWEST: ("node",)}, self.buckets, self.spill_dir)
        return (
            {_RECORDS: records, _LOWEST: lowest}
            | "ByRecord" >> group
            | "Label" >> beam.FlatMap(_label).with_output_types(pa.RecordBatch)
        )


@dataclass(eq=False)
class SettleLinks(beam.PTransform):
    """LINKS -> `Settling`: one or more rounds, to be run again on its own result until `unsettled` is 0."""

    buckets: int
    rounds: int = 2
    heavy_links: int = 100_000
    spill_dir: str | None = None

    def expand(self, links: beam.PCollection) -> Settling:
        register_batch_coder()
        for number in range(self.rounds):
            links = links | f"Round {number + 1}" >> _Round(self.buckets, self.heavy_links, self.spill_dir)
        return Settling(links, _unsettled(links | "Check" >> _FindLowest(self.buckets, self.spill_dir)))


@dataclass(eq=False)
class _Round(beam.PTransform):
    """One large star and one small star."""

    buckets: int
    heavy_links: int
    spill_dir: str | None

    def expand(self, links: beam.PCollection) -> beam.PCollection:
        rest = (self.buckets, self.heavy_links, self.spill_dir)
        return (
            links
            | "Contract" >> _map(contract_links)
            | "LargeStar" >> _Hook("low", *rest)
            | "ContractAgain" >> _map(contract_links)
            | "SmallStar" >> _Hook("high", *rest)
        )


@dataclass(eq=False)
class _FindLowest(beam.PTransform):
    """LINKS -> LOWEST of all nodes. What moves of a node is one row a batch, however many links it has."""

    buckets: int
    spill_dir: str | None

    def expand(self, links: beam.PCollection) -> beam.PCollection:
        return (
            {_LOWEST: links | "InBatch" >> _map(find_lowest)}
            | "ByNode" >> GroupBatches({_LOWEST: ("node",)}, self.buckets, self.spill_dir)
            | "Merge" >> beam.Map(_merge_bucket).with_output_types(pa.RecordBatch)
        )


@dataclass(eq=False)
class _Hook(beam.PTransform):
    """Hooks links at the lowest of their `side`; links of heavy nodes stay where they are."""

    side: str
    buckets: int
    heavy_links: int
    spill_dir: str | None

    def expand(self, links: beam.PCollection) -> beam.PCollection:
        lowest = links | "Lowest" >> _FindLowest(self.buckets, self.spill_dir)
        split = lowest | "HeavyNodes" >> beam.ParDo(_SplitHeavyFn(self.heavy_links)).with_outputs(_HEAVY, main=_LIGHT)
        heavy = beam.pvalue.AsList(split[_HEAVY])
        parted = links | "HeavyLinks" >> beam.ParDo(_HookHeavyFn(self.side), heavy).with_outputs(_HEAVY, main=_LIGHT)
        group = GroupBatches({_LINKS: (self.side,), _LOWEST: ("node",)}, self.buckets, self.spill_dir)
        hooked = (
            {_LINKS: parted[_LIGHT], _LOWEST: split[_LIGHT]}
            | "ByEnd" >> group
            | "Hook" >> beam.FlatMap(_hook_bucket, self.side).with_output_types(pa.RecordBatch)
        )
        return (hooked, parted[_HEAVY]) | beam.Flatten()


class _SplitHeavyFn(beam.DoFn):
    def __init__(self, heavy_links: int) -> None:
        self._heavy_links = heavy_links

    def process(self, lowest: pa.RecordBatch) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        heavy = pc.greater(lowest["links"], self._heavy_links)
        if pc.any(heavy).as_py():
            yield beam.pvalue.TaggedOutput(_HEAVY, lowest.filter(heavy))
            lowest = lowest.filter(pc.invert(heavy))
        yield lowest


class _HookHeavyFn(beam.DoFn):
    def __init__(self, side: str) -> None:
        self._side = side

    def process(
        self, links: pa.RecordBatch, heavy: list[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch | beam.pvalue.TaggedOutput]:
        if heavy:
            lowest = pa.Table.from_batches(heavy)
            known = pc.is_in(links[self._side], lowest["node"].combine_chunks())
            if pc.any(known).as_py():
                hooked = _hook(self._side)(as_table(links.filter(known)), lowest)
                yield beam.pvalue.TaggedOutput(_HEAVY, as_batch(hooked))
                links = links.filter(pc.invert(known))
        yield links


def _hook(side: str) -> Any:
    return {"low": hook_high, "high": hook_low}[side]


def _hook_bucket(bucket: tuple[int, Iterable[Any]], side: str) -> Iterator[pa.RecordBatch]:
    tables = tables_of(bucket[1])
    if _LINKS in tables:
        yield as_batch(_hook(side)(tables[_LINKS], tables.get(_LOWEST, LOWEST.empty_table())))


def _merge_bucket(bucket: tuple[int, Iterable[Any]]) -> pa.RecordBatch:
    return as_batch(merge_lowest(tables_of(bucket[1])[_LOWEST]))


def _label(bucket: tuple[int, Iterable[Any]]) -> Iterator[pa.RecordBatch]:
    tables = tables_of(bucket[1])
    if _RECORDS in tables:
        found = tables.get(_LOWEST, LOWEST.empty_table())
        stars = pa.table({"left": found["lowest"], "right": found["node"]})
        yield as_batch(_with_cluster(tables[_RECORDS], stars))


def _with_cluster(records: pa.Table, stars: pa.Table) -> pa.Table:
    """CLUSTERS of the records by the star that each is a point of, wherever the star's middle is."""
    names = pa.table({"record": pc.unique(records["record"])}).drop_null()
    joined = names.join(stars, "record", "right", join_type="left outer")
    cluster = pc.coalesce(joined["left"], joined["record"])
    return pa.table({"record": joined["record"], "cluster": cluster}).cast(CLUSTERS)


def _unsettled(lowest: beam.PCollection) -> beam.PCollection:
    return (
        lowest
        | "CountUnsettled" >> beam.Map(lambda batch: count_unsettled(as_table(batch)))
        | "SumUnsettled" >> beam.CombineGlobally(sum)
    )


def _map(kernel: Any) -> beam.ParDo:
    return beam.Map(_applied, kernel).with_output_types(pa.RecordBatch)


def _applied(batch: pa.RecordBatch, kernel: Any) -> pa.RecordBatch:
    return as_batch(kernel(as_table(batch)))
