"""Sessions of the whole history: cut from silver's behavioural events; what the stream cut live is settled by these."""

from __future__ import annotations

import apache_beam as beam
import pyarrow as pa

from pipelines.config import Lake, Run
from pipelines.notes import TakeNote
from pipelines.options import Engine, buckets_for
from pipelines.runs import TableRun, record_commits, table_runs
from transforms.batches import as_batch, as_table
from transforms.contracts import contract
from transforms.counts import Counts, SumCounts
from transforms.io.delta import Overwrite, ReadDelta, WriteDelta, committed, open_table
from transforms.sessions.behaviour import behavioural_events
from transforms.sessions.rules import SessionRules
from transforms.sessions.sessionize import SessionizeEvents
from transforms.sessions.summarise import SESSIONS
from transforms.shuffle import spill_folder

EVENTS_TABLE = contract("CUSTOMER_BEHAVIORAL_EVENTS")
_SILVER = "silver"  # the Delta transaction whose version is the silver version the sessions were cut from


def cut(lake: Lake, run: Run, engine: Engine = Engine(), rules: SessionRules = SessionRules()) -> TableRun | None:
    """Cuts `silver/sessions` anew if the events changed; None if they did not, or there are none.

    Every session is cut again, those that are still open too: the table is what one run over all events gives,
    however the events arrived. Visitors are customers, or the tracker's sessions where nobody logged in.
    """
    events = open_table(lake.silver(EVENTS_TABLE))
    if events is None or committed(lake.sessions, [_SILVER]).get(_SILVER) == events.version():
        return None
    with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
        build(root, lake, run, events.version(), buckets_for(events.count()), rules, spill)
    record_commits(lake)
    return next((done for done in table_runs(lake, run) if done.table == "sessions"), None)


def build(
    root: beam.Pipeline, lake: Lake, run: Run, version: int, buckets: int, rules: SessionRules, spill: str | None
) -> None:
    """Wires silver's events -> sessions -> one table, replaced as a whole."""
    columns = ("EVENT_ID", "CUSTOMER_ID", "SESSION_ID", "EVENT_TYPE", "EVENT_DATE", "PAGE_URL", "DEVICE_TYPE")
    read = ReadDelta(lake.silver(EVENTS_TABLE), (*columns, "REFERRER_URL"), version=version)
    events = root | "ReadEvents" >> read | "AsEvents" >> beam.Map(_as_events).with_output_types(pa.RecordBatch)
    sessions = (events | "CutSessions" >> SessionizeEvents(rules, buckets, spill)).sessions
    counted = sessions | "CountSessions" >> beam.Map(lambda batch: Counts(batch.num_rows, batch.num_rows))
    note = (
        counted | "Sum" >> SumCounts("sessions") | "Note" >> TakeNote(run, (f"silver/{EVENTS_TABLE.path}@{version}",))
    )
    sessions | "WriteSessions" >> WriteDelta(
        lake.sessions,
        SESSIONS,
        Overwrite(whole_table=True),
        transactions=((_SILVER, version),),
        note=beam.pvalue.AsSingleton(note),
    )


def _as_events(batch: pa.RecordBatch) -> pa.RecordBatch:
    return as_batch(behavioural_events(as_table(batch)))
