"""Sessions of the whole history: cut from silver's behavioural events and the orders that they led to.

What the stream cut live is settled by these: it has the behaviour only, since orders come by another hub.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa

from pipelines.config import Lake, Run
from pipelines.notes import TakeNote, made_from
from pipelines.options import Engine, buckets_for
from pipelines.runs import TableRun, record_commits, table_runs
from pipelines.session_gap import gap_for, gap_rules, keep_gap
from transforms.batches import as_batch, as_table
from transforms.contracts import contract
from transforms.counts import Counts, SumCounts
from transforms.io.delta import Overwrite, ReadDelta, WriteDelta, committed, open_table
from transforms.sessions.behaviour import behavioural_events, online_purchases
from transforms.sessions.rules import SessionRules
from transforms.sessions.sessionize import SessionizeEvents
from transforms.sessions.summarise import SESSIONS
from transforms.shuffle import spill_folder

EVENTS_TABLE, ORDERS_TABLE = contract("CUSTOMER_BEHAVIORAL_EVENTS"), contract("CUSTOMER_TRANSACTIONS")
_CUTS = "cuts"  # the Delta transaction that counts how often the sessions were cut
_COLUMNS = {
    EVENTS_TABLE.name: (
        *("EVENT_ID", "CUSTOMER_ID", "SESSION_ID", "EVENT_TYPE", "EVENT_DATE", "PAGE_URL", "DEVICE_TYPE"),
        "REFERRER_URL",
    ),
    ORDERS_TABLE.name: (
        *("TRANSACTION_ID", "CUSTOMER_ID", "CHANNEL", "TRANSACTION_TYPE", "TRANSACTION_DATE"),
        "TOTAL_AMOUNT",
    ),
}
_AS_EVENTS = {EVENTS_TABLE.name: behavioural_events, ORDERS_TABLE.name: online_purchases}


@dataclass(frozen=True)
class CutAnew:
    """What was done to the sessions.

    Attributes:
      gap, gap_before: the lake's gap, and what it was before where that was another.
    """

    table: TableRun
    gap: str
    gap_before: str | None = None


def cut(lake: Lake, run: Run, engine: Engine = Engine(), gap: str = "") -> CutAnew | None:
    """Cuts `silver/sessions` anew if events, orders or gap changed; None if they did not, or there are no events.

    Every session is cut again, those that are still open too: the table is what one run over all events and online
    purchases gives, however they arrived. Visitors are customers, or the tracker's sessions where nobody logged in.

    Args:
      gap: the lake's from now on; by default what it is already.
    """
    found = {table.name: open_table(lake.silver(table)) for table in (EVENTS_TABLE, ORDERS_TABLE)}
    tables = {name: table for name, table in found.items() if table is not None}
    versions = {name: table.version() for name, table in tables.items()}
    if EVENTS_TABLE.name not in tables:
        return None
    gap = gap_for(lake, gap)
    rules = gap_rules(gap)
    before = keep_gap(lake, gap)  # first: a run that dies before it has cut is finished by the next one's
    if made_from(lake.sessions) == _inputs(versions, rules):
        return None
    rows = sum(table.count() for table in tables.values())
    with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
        build(root, lake, run, versions, buckets_for(rows), rules, spill)
    record_commits(lake)
    done = next((done for done in table_runs(lake, run) if done.table == "sessions"), None)
    return CutAnew(done, gap, before) if done else None


def _inputs(versions: Mapping[str, int], rules: SessionRules) -> tuple[str, ...]:
    """What the sessions depend on; rules only where they are not the usual ones."""
    tables = (f"silver/{contract(name).path}@{version}" for name, version in versions.items())
    own = () if rules == SessionRules() else (f"rules@{zlib.crc32(repr(rules).encode()):08x}",)
    return (*tables, *own)


def build(
    root: beam.Pipeline,
    lake: Lake,
    run: Run,
    versions: Mapping[str, int],
    buckets: int,
    rules: SessionRules,
    spill: str | None,
) -> None:
    """Wires silver's events and orders, read at their versions -> sessions -> one table, replaced as a whole."""
    events = [_events(root, lake, name, version) for name, version in versions.items()] | beam.Flatten()
    sessions = (events | "CutSessions" >> SessionizeEvents(rules, buckets, spill)).sessions
    counted = sessions | "CountSessions" >> beam.Map(lambda batch: Counts(batch.num_rows, batch.num_rows))
    note = counted | "Sum" >> SumCounts("sessions") | "Note" >> TakeNote(run, _inputs(versions, rules))
    sessions | "WriteSessions" >> WriteDelta(
        lake.sessions,
        SESSIONS,
        Overwrite(whole_table=True),
        transactions=((_CUTS, committed(lake.sessions, [_CUTS]).get(_CUTS, 0) + 1),),
        note=beam.pvalue.AsSingleton(note),
    )


def _events(root: beam.Pipeline, lake: Lake, name: str, version: int) -> beam.PCollection:
    rows = root | f"Read {name}" >> ReadDelta(lake.silver(contract(name)), _COLUMNS[name], version=version)
    return rows | f"AsEvents {name}" >> beam.Map(_as_events, name).with_output_types(pa.RecordBatch)


def _as_events(batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
    return as_batch(_AS_EVENTS[name](as_table(batch)))
