"""`stream --events capture:FOLDER`: what Event Hubs Capture kept, into bronze; the stream goes on behind it."""

from __future__ import annotations

from pipelines.config import Lake, Run
from pipelines.console import Output, counted
from pipelines.options import Engine
from pipelines.runs import TableRun, record_commits, table_runs
from pipelines.stream import Begin, ingest_specs, own, targets
from pipelines.stream_config import StreamConfig
from transforms.bronze.stream import IngestEvents
from transforms.counts import REJECTED
from transforms.errors import UserError
from transforms.io.capture import ReadCapture, find_files
from transforms.io.delta_backfill import AppendLogs


def backfill(config: StreamConfig, run: Run, engine: Engine = Engine()) -> tuple[TableRun, ...]:
    """Adds the events that bronze has not got yet, each once, whether it came by the hub or by Capture.

    Positions are the hub's: a stream of the same name goes on behind them, and makes sessions and features of what was
    added, when it is started. One that is running is fenced, and stops. One commit a table.

    Raises:
      UserError: no file of the hubs, a damaged one, or positions between two files that are in none.
    """
    if not find_files(config.events, tuple(config.hubs)):
        hubs = ", ".join(config.hubs)
        raise UserError(f"there are no files of the hubs {hubs}", config.events, "name the hubs with --hub NAME=TABLE")
    lake, writes = Lake(config.lake), own(config, run)
    with engine.pipeline() as root:
        begin = Begin(config.name, targets(config))
        events = root | "ReadCapture" >> ReadCapture(config.events, tuple(config.hubs), begin)
        ingested = events | "IngestEvents" >> IngestEvents(config.hubs, ingest_specs(config, run), config.name)
        for name in (*(table.name for table in config.tables), REJECTED):
            ingested[name] | f"Write {name}" >> AppendLogs(writes[name])
    record_commits(lake)
    return table_runs(lake, run)


def run_backfill(config: StreamConfig, run: Run, as_json: bool) -> None:
    """The command: says what was added, by table."""
    out = Output(as_json)
    with out.working("reading captured events"):
        done = backfill(config, run)
    tables = [one for one in done if one.counts.read]
    rows = sum(one.counts.accepted for one in tables)
    rejected = sum(one.counts.rejected for one in tables)
    out.say(
        f"stream: {counted(rows, 'row')} from captured files into bronze, {counted(rejected, 'row')} rejected",
        rows=rows,
        rejected=rejected,
    )
    out.table("tables", [{"table": one.table.lower(), "rows": one.counts.accepted} for one in tables])
    out.close()
