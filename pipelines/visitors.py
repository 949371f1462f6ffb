"""Who was behind the tracker's sessions: the customer who logged in in them, and their person."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict

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
from transforms.identity.stitch import AFTER_LOGIN, BEFORE_LOGIN, StitchRules, device_column
from transforms.io.delta import Amend, ReadDelta, WriteDelta, arrow_schema, open_table, read_batches
from transforms.io.delta_property import keep_property, table_property
from transforms.shuffle import spill_folder

SCHEMA = VISITORS.append(pa.field("person_id", pa.string()))
_REACHED = (("stitch_rule", "in", [AFTER_LOGIN, BEFORE_LOGIN]),)
_MAP = "silver/identity_map@"
_VISIT = ["device", "SESSION_ID", "customer", "at"]
_KEPT = "c360.stitch_rules"
_TIME = pa.timestamp("us", tz="UTC")
# Table -> the column with the time of a visit.
VISITS = {"CUSTOMER_SESSION_DATA": "SESSION_START", "CUSTOMER_BEHAVIORAL_EVENTS": "EVENT_DATE"}


def stitch(lake: Lake, run: Run, engine: Engine = Engine(), rules: StitchRules | None = None) -> TableRun | None:
    """Makes `silver/visitors` anew if visits, identities or rules changed; None if they did not, or nobody visited.

    Args:
      rules: the lake's from now on; by default what they are already.
    """
    found = {name: table for name in VISITS if (table := open_table(lake.silver(CONTRACTS[name]))) is not None}
    if not found:
        return None
    rules = _rules_for(lake, rules)
    map = open_table(lake.identity_map)
    inputs = tuple(f"silver/{CONTRACTS[name].path}@{table.version()}" for name, table in found.items())
    inputs += () if map is None else (f"{_MAP}{map.version()}",)
    inputs += (f"rules@{zlib.crc32(repr(rules).encode()):08x}",)
    if made_from(lake.visitors) == inputs:
        return None
    buckets = buckets_for(sum(table.count() for table in found.values()))
    with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
        build(root, lake, run, tuple(found), inputs, buckets, rules, spill)
    record_commits(lake)
    return next((done for done in table_runs(lake, run) if done.table == "visitors"), None)


def _rules_for(lake: Lake, asked: StitchRules | None) -> StitchRules:
    """The rules asked for, which are kept with the table first; else those that are kept; else the usual ones."""
    if asked is None:
        kept = table_property(lake.visitors, _KEPT)
        return StitchRules(**json.loads(kept)) if kept else StitchRules()
    keep_property(lake.visitors, SCHEMA, _KEPT, json.dumps(asdict(asked)))
    return asked


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
    """Wires sessions and events -> visitors -> their persons -> one table, of which only what changed is written."""
    devices = {name: _device(lake, name) for name in tables}
    named = any(devices.values())
    visits = [
        root | f"Read {name}" >> _read(lake, name, devices[name]) | f"Visits {name}" >> _as_visits(named)
        for name in tables
    ]
    stitched = StitchVisits(rules, buckets, spill, by_session=named)
    visitors = visits | beam.Flatten() | "Stitch" >> stitched
    map = root | "ReadMap" >> ReadDelta(lake.identity_map, missing_ok=True, schema=IDENTITY_MAP)
    followed = (visitors, map) | "FollowPersons" >> FollowPersons(buckets, spill)
    counted = followed | "CountRows" >> beam.Map(lambda batch: Counts(batch.num_rows, batch.num_rows))
    note = counted | "Sum" >> SumCounts("visitors") | "Note" >> TakeNote(run, inputs)
    followed | "WriteVisitors" >> WriteDelta(
        lake.visitors, SCHEMA, Amend(), evolve=True, note=beam.pvalue.AsSingleton(note)
    )


def stitched(lake: Lake) -> tuple[int, str] | None:
    """The version of `silver/visitors`, and what its visits were stitched from (persons apart); None where no visit
    without a customer was given one, or nobody resolved."""
    table, inputs = open_table(lake.visitors), made_from(lake.visitors)
    if table is None or inputs is None or "SESSION_ID" not in arrow_schema(table).names:
        return None
    version = int(table.version())
    if not any(batch.num_rows for batch in read_batches(lake.visitors, _REACHED, columns=("device",), version=version)):
        return None
    own = sorted(text for text in inputs if not text.startswith(_MAP))
    return version, f"stitched@{zlib.crc32(repr(own).encode()):08x}"


def read_stitched(lake: Lake, version: int) -> ReadDelta:
    """The visitors whose visits had no customer of their own."""
    return ReadDelta(lake.visitors, tuple(VISITORS.names), where=_REACHED, version=version)


def without_session(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch without the column that visits were found by."""
    return batch.drop_columns(["SESSION_ID"])


def _device(lake: Lake, name: str) -> str | None:
    """The column beyond the contract that names the device."""
    table = open_table(lake.silver(CONTRACTS[name]))
    return None if table is None else device_column(set(arrow_schema(table).names) - set(CONTRACTS[name].names))


def _read(lake: Lake, name: str, device: str | None) -> ReadDelta:
    columns = ("SESSION_ID", "CUSTOMER_ID", VISITS[name])
    return ReadDelta(lake.silver(CONTRACTS[name]), (device, *columns) if device else columns)


def _as_visits(named: bool) -> beam.ParDo:
    return beam.Map(_as_visit, named).with_output_types(pa.RecordBatch)


def _as_visit(batch: pa.RecordBatch, named: bool) -> pa.RecordBatch:
    """Where devices are `named`, one that is not may be named elsewhere in its session; else the session is it."""
    session, customer, at = batch.columns[-3:]
    device = batch[0] if batch.num_columns > 3 or not named else pa.nulls(batch.num_rows, pa.string())
    return pa.RecordBatch.from_arrays([device, session, customer, at.cast(_TIME)], names=_VISIT)
