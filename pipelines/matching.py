"""Who is who by the workers of an engine: silver's customers to scored pairs to guarded clusters, bucket by bucket.

What they find lies in tables of the lake that say what they were made from, so that a run that finds them there goes
on behind them: `package` hands each of its jobs over and comes back for the rest.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Lake, Run
from pipelines.notes import TakeNote, made_from
from pipelines.options import Engine, buckets_for
from transforms.batches import as_batch, as_table
from transforms.contracts import CONTRACTS
from transforms.counts import Counts, SumCounts
from transforms.errors import UserError
from transforms.identity.components import CLUSTERS
from transforms.identity.customers import READ, customer_records
from transforms.identity.fields import RECORD_KEY
from transforms.identity.guard import REFUSED, GuardRules, Refined
from transforms.identity.match import ScorePairs
from transforms.identity.model import LinkModel
from transforms.identity.resolve import ClusterRecords
from transforms.identity.rules import IdentityRules
from transforms.identity.score import EDGES
from transforms.identity.standard import standardise_records
from transforms.io.delta import Overwrite, ReadDelta, WriteDelta, open_table, read_table
from transforms.shuffle import spill_folder

_CUSTOMERS = CONTRACTS["CUSTOMERS"]
ROUNDS = (8, 16, 32)  # a chain of 2^n links takes about n
_COPIES = 10  # a record travels about so often, once for each block that it is in
PLACES = CLUSTERS.append(pa.field("unsettled", pa.int64(), nullable=False))  # 0 where the rounds were enough
_MODEL = pa.schema([pa.field("model", pa.string(), nullable=False)])


@dataclass(frozen=True)
class Matched:
    """`edges`: EDGES; `refined`: the clusters and what was refused; `model`: the one it was all weighed by."""

    edges: pa.Table
    refined: Refined
    model: LinkModel


def match(
    lake: Lake, run: Run, engine: Engine, inputs: tuple[str, ...], decisions: pa.Table, rules: IdentityRules
) -> Matched:
    """Everybody compared and clustered by the engine, unless the lake has it already from the same inputs.

    Raises:
      UserError: records are linked in a chain that `ROUNDS` do not settle.
    """
    tables = _tables(lake)
    for rounds in ROUNDS:
        made = (*inputs, f"rules@{zlib.crc32(repr(rules).encode()):08x}", f"rounds@{rounds}")
        if any(made_from(uri) != made for uri in tables.values()):
            customers = open_table(lake.silver(_CUSTOMERS))
            rows = 0 if customers is None else customers.count()
            with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
                build(root, lake, run, made, rows, rounds, decisions, rules, spill)
        places = read_table(tables["places"])
        if not pc.any(pc.greater(places["unsettled"], 0)).as_py():
            found = {name: read_table(tables[name]) for name in ("edges", "refused", "model")}
            refined = Refined(places.select(CLUSTERS.names).cast(CLUSTERS), found["refused"].cast(REFUSED))
            model = LinkModel.from_json(found["model"]["model"][0].as_py())
            return Matched(found["edges"].cast(EDGES), refined, model)
    raise UserError(f"{ROUNDS[-1]} rounds do not settle the links", lake.uri, "resolve without --runner")


def build(
    root: beam.Pipeline,
    lake: Lake,
    run: Run,
    made: tuple[str, ...],
    rows: int,
    rounds: int,
    decisions: pa.Table,
    rules: IdentityRules,
    spill: str | None,
) -> None:
    """Wires customers -> pairs that may be one person -> clusters, each into its table."""
    customers = root | "ReadCustomers" >> ReadDelta(lake.silver(_CUSTOMERS), READ)
    records = customers | "AsRecords" >> beam.Map(_as_records).with_output_types(pa.RecordBatch)
    scored = records | "ScorePairs" >> ScorePairs(buckets_for(rows * _COPIES), rules, spill_dir=spill)
    named = records | "Named" >> beam.Map(_named).with_output_types(pa.RecordBatch)
    guard = GuardRules(match_probability=rules.match_probability)
    cluster = ClusterRecords(buckets_for(rows), guard, decisions, rounds, spill)
    clustered = (named, scored.edges) | "ClusterRecords" >> cluster
    unsettled = beam.pvalue.AsSingleton(clustered.unsettled)
    places = clustered.clusters | "Places" >> beam.Map(_placed, unsettled).with_output_types(pa.RecordBatch)
    model = scored.model | "AsRow" >> beam.Map(_as_row).with_output_types(pa.RecordBatch)
    found = {"edges": (scored.edges, EDGES), "places": (places, PLACES), "refused": (clustered.refused, REFUSED),
             "model": (model, _MODEL)}  # fmt: skip
    for name, uri in _tables(lake).items():
        batches, schema = found[name]
        counted = batches | f"Count {name}" >> beam.Map(lambda batch: Counts(batch.num_rows, batch.num_rows))
        note = counted | f"Sum {name}" >> SumCounts(f"matched_{name}") | f"Note {name}" >> TakeNote(run, made)
        batches | f"Write {name}" >> WriteDelta(
            uri, schema, Overwrite(whole_table=True), note=beam.pvalue.AsSingleton(note)
        )


def _tables(lake: Lake) -> dict[str, str]:
    return {name: getattr(lake, f"matched_{name}") for name in ("edges", "places", "refused", "model")}


def _as_records(batch: pa.RecordBatch) -> pa.RecordBatch:
    return as_batch(standardise_records(customer_records(as_table(batch))))


def _named(records: pa.RecordBatch) -> pa.RecordBatch:
    return records.rename_columns(["record" if name == RECORD_KEY else name for name in records.schema.names])


def _placed(clusters: pa.RecordBatch, unsettled: int) -> pa.RecordBatch:
    column = pa.array([unsettled] * clusters.num_rows, pa.int64())
    return pa.RecordBatch.from_arrays([*clusters.columns, column], schema=PLACES)


def _as_row(model: str) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"model": model}], schema=_MODEL)
