"""The run table: what each run read, what became of it, and which table versions came of it (lineage).

It is made from the notes that the commits carry, never written beside them: a run that dies after its commit gets its
row from the next command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipelines.config import Lake, Run
from pipelines.notes import RunNote
from pipelines.registry import register_changes
from transforms.contracts import CONTRACTS
from transforms.counts import Counts
from transforms.errors import PartlyCommitted, UserError
from transforms.io.delta import Note, append_rows, open_table, read_notes, read_table

CUSTOMER_360 = "customer_360"
_TIME = pa.timestamp("us", tz="UTC")
RUNS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("command", pa.string(), nullable=False),
        pa.field("table", pa.string(), nullable=False),
        pa.field("started_at", _TIME, nullable=False),
        pa.field("ended_at", _TIME, nullable=False),  # of the commit
        pa.field("inputs", pa.list_(pa.string())),  # "path@fingerprint" or "layer/table@version"
        pa.field("output", pa.string()),
        pa.field("output_version", pa.int64()),
        pa.field("read", pa.int64()),
        pa.field("accepted", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("duplicates", pa.int64()),
        pa.field("conflicts", pa.int64()),
        pa.field("restated", pa.int64()),
    ]
)
_COUNTED = ("read", "accepted", "rejected", "duplicates", "conflicts", "restated")
_SERIAL = "recorded"  # the Delta transaction of the run table that counts its commits
_SILENT = 100  # so many commits without a note are looked at again before the run table says it has seen them
_ATTEMPTS = 20
_READERS = 8


@dataclass(frozen=True)
class TableRun:
    """What one run did to one table."""

    table: str
    inputs: tuple[str, ...] = ()
    output: str = ""
    output_version: int | None = None
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True)
class _Unseen:
    """The commits of one table that the run table does not know; `mark` is the Delta transaction that says it does."""

    uri: str
    mark: str
    until: int
    commits: tuple[tuple[Note, RunNote], ...]
    silent: int


def record_commits(lake: Lake) -> None:
    """Brings the run table and the schema registry up to what the tables' logs say; cheap when they are.

    Reads the log entries since those it has seen, and no others. Commits of one run to one table that are seen
    together become one row. Two processes at once record each commit once: whoever comes second looks again.
    """
    for _ in range(_ATTEMPTS):
        serial, unseen = _look(lake)
        if not any(table.commits or table.silent >= _SILENT for table in unseen):
            return
        _register(lake, unseen)
        rows = [row for table in unseen for row in _rows(table)]
        marks = ((_SERIAL, serial + 1), *((table.mark, table.until) for table in unseen))
        try:
            if (
                append_rows(lake.runs, pa.Table.from_pylist(rows, schema=RUNS), marks, evolve=True).status
                == "committed"
            ):
                return
        except PartlyCommitted:
            continue
    raise UserError("other processes kept writing the run table", lake.runs, "run again later")


def _look(lake: Lake) -> tuple[int, list[_Unseen]]:
    runs = open_table(lake.runs)  # before the others: what is committed after this look is not taken for seen
    serial = runs.transaction_version(_SERIAL) if runs is not None else None
    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(lambda uri: _unseen(uri, runs), _tables(lake)))
    return serial or 0, [table for table in found if table is not None]


def _tables(lake: Lake) -> Iterator[str]:
    """Those whose commits take up rows."""
    own = {lake.runs, lake.days, lake.schemas, lake.profiles, lake.drift, lake.outliers}
    own |= {lake.live_sessions, lake.late, lake.realtime_features}  # they follow bronze, whose commits are recorded
    yield from (uri for uri in lake.tables.values() if uri not in own)


def _unseen(uri: str, runs: Any) -> _Unseen | None:
    table = open_table(uri)
    if table is None:
        return None
    mark = f"{_SERIAL}/{table.metadata().id}"  # a table that was removed and made again begins anew
    seen = runs.transaction_version(mark) if runs is not None else None
    after = -1 if seen is None else seen
    if table.version() <= after:
        return None
    notes = read_notes(table, uri, after)
    parsed = ((note, RunNote.parse(note.text)) for note in notes)
    commits = tuple((note, said) for note, said in parsed if said is not None)
    return _Unseen(uri, mark, table.version(), commits, table.version() - after)


def _register(lake: Lake, unseen: Iterable[_Unseen]) -> None:
    """Comes before the run table's marks: killed in between, it is looked at again, and nothing has changed then."""
    by_uri = {lake.bronze(contract): contract for contract in CONTRACTS.values()}
    for table in unseen:
        if table.uri in by_uri:
            for _, said in table.commits:
                register_changes(lake, said.run, by_uri[table.uri], set(said.missing))


def _rows(table: _Unseen) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for note, said in table.commits:
        row = rows.setdefault((said.run.run_id, said.table), {"inputs": [], **dict.fromkeys(_COUNTED, 0)})
        row |= {
            "run_id": said.run.run_id,
            "command": said.run.command,
            "table": said.table,
            "started_at": said.run.started_at,
            "ended_at": note.committed_at,
            "inputs": list(dict.fromkeys([*row["inputs"], *said.inputs])),
            "output": table.uri,
            "output_version": note.version,
            **{name: row[name] + getattr(said.counts, name) for name in _COUNTED},
        }
    return list(rows.values())


def table_runs(lake: Lake, run: Run) -> tuple[TableRun, ...]:
    """What the commits of a run did, by table; the output is the rejects' table only if there is no other."""
    if open_table(lake.runs) is None:
        return ()
    rows = read_table(lake.runs, where=(("run_id", "=", run.run_id),)).to_pylist()
    found: dict[str, TableRun] = {}
    for row in sorted(rows, key=lambda row: (row["table"], row["output"] != lake.rejects, row["output_version"])):
        before = found.get(row["table"], TableRun(row["table"]))
        inputs = tuple(dict.fromkeys([*before.inputs, *row["inputs"]]))
        counts = before.counts + Counts(*(row[name] or 0 for name in _COUNTED))
        found[row["table"]] = TableRun(row["table"], inputs, row["output"], row["output_version"], counts)
    return tuple(found.values())
