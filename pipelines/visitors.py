"""Who was behind the tracker's sessions: the customer who logged in in them, and their person."""

from __future__ import annotations

import apache_beam as beam
import pyarrow as pa

from pipelines.config import Lake, Run
from pipelines.notes import TakeNote, made_from
from pipelines.options import Engine, buckets_for
from pipelines.runs import TableRun, record_commits, table_runs
from transforms.contracts import CONTRACTS
from transforms.counts import Counts, SumCounts
from transforms.identity.follow import VISITORS, FollowPersons, StitchVisits
from transforms.identity.persons import IDENTITY_MAP
from transforms.identity.stitch import StitchRules
from transforms.io.delta import Overwrite, ReadDelta, WriteDelta, open_table
from transforms.shuffle import spill_folder

SCHEMA = VISITORS.append(pa.field("person_id", pa.string()))
# Table -> the column with the time of a visit.
VISITS = {"CUSTOMER_SESSION_DATA": "SESSION_START", "CUSTOMER_BEHAVIORAL_EVENTS": "EVENT_DATE"}


def stitch(lake: Lake, run: Run, engine: Engine = Engine(), rules: StitchRules = StitchRules()) -> TableRun | None:
    """Makes `silver/visitors` anew if visits or identities changed; None if they did not, or nobody visited."""
    found = {name: table for name in VISITS if (table := open_table(lake.silver(CONTRACTS[name]))) is not None}
    map = open_table(lake.identity_map)
    inputs = tuple(f"silver/{CONTRACTS[name].path}@{table.version()}" for name, table in found.items())
    inputs += () if map is None else (f"silver/identity_map@{map.version()}",)
    if not found or made_from(lake.visitors) == inputs:
        return None
    buckets = buckets_for(sum(table.count() for table in found.values()))
    with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
        build(root, lake, run, tuple(found), inputs, buckets, rules, spill)
    record_commits(lake)
    return next((done for done in table_runs(lake, run) if done.table == "visitors"), None)


def build(
    root: beam.Pipeline,
    lake: Lake,
    run: Run,
    tables: tuple[str, ...],
    inputs: tuple[str, ...],
    buckets: int,
    rules: StitchRules,
    spill: str | None,
) -> None:
    """Wires sessions and events -> visitors -> their persons -> one table, replaced as a whole."""
    visits = [root | f"Read {name}" >> _read(lake, name) | f"Visits {name}" >> _as_visits() for name in tables]
    visitors = visits | beam.Flatten() | "Stitch" >> StitchVisits(rules, buckets, spill)
    map = root | "ReadMap" >> ReadDelta(lake.identity_map, missing_ok=True, schema=IDENTITY_MAP)
    followed = (visitors, map) | "FollowPersons" >> FollowPersons(buckets, spill)
    counted = followed | "CountRows" >> beam.Map(lambda batch: Counts(batch.num_rows, batch.num_rows))
    note = counted | "Sum" >> SumCounts("visitors") | "Note" >> TakeNote(run, inputs)
    followed | "WriteVisitors" >> WriteDelta(
        lake.visitors, SCHEMA, Overwrite(whole_table=True), note=beam.pvalue.AsSingleton(note)
    )


def _read(lake: Lake, name: str) -> ReadDelta:
    return ReadDelta(lake.silver(CONTRACTS[name]), ("SESSION_ID", "CUSTOMER_ID", VISITS[name]))


def _as_visits() -> beam.ParDo:
    return beam.Map(_named).with_output_types(pa.RecordBatch)


def _named(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [batch[0], batch[1], batch[2].cast(pa.timestamp("us", tz="UTC"))]
    return pa.RecordBatch.from_arrays(columns, names=["device", "customer", "at"])
