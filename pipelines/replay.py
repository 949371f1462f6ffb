"""Replay: refused rows go through again after a fix."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Lake, Run
from pipelines.notes import RunNote
from pipelines.registry import registered
from pipelines.runs import TableRun, record_commits, table_runs
from transforms.bronze.envelope import Origin, bronze_schema
from transforms.bronze.evolution import business_schema
from transforms.bronze.ingest import IngestSpec, RawReading, ingest_batch
from transforms.contracts import Contract, contract
from transforms.counts import Counts
from transforms.io.dead_letter import KEY, OPEN, REJECTS, REPLAYED
from transforms.io.delta import (
    CommitResult,
    append_rows,
    arrow_schema,
    committed,
    open_table,
    read_table,
    table_version,
    upsert_rows,
)
from transforms.io.files import discover, read_split, split
from transforms.io.source import RAW_LIMIT
from transforms.progress import METER
from transforms.silver.to_silver import to_silver


@dataclass(frozen=True)
class _Attempt:
    """One batch of rejects that went through again: those accepted now, as bronze rows, and those still refused."""

    accepted: pa.Table
    accepted_ids: list[str]
    refused: dict[str, tuple[str, str]]  # reject_id -> (rule, reason)


def replay(
    lake: Lake, run: Run, table: str | None = None, rule: str | None = None, country: str = "GB"
) -> tuple[TableRun, ...]:
    """Sends open rejects through reading, contract and rules again.

    A row that passes now is appended to bronze with its own file and position (the next silver run takes it up) and
    its reject is closed as "replayed". A row that does not stays open, with one attempt more and today's reason.
    Rows longer than the dead-letter table keeps (1 MiB) stay as they are.
    """
    if open_table(lake.rejects) is None:
        return ()
    record_commits(lake)  # of runs that died before they could
    where = [("status", "=", OPEN)]
    where += [("table", "=", contract(table).name)] if table else []
    where += [("rule", "=", rule)] if rule else []
    rejects = read_table(lake.rejects, where=tuple(where))
    METER.expect(rejects=rejects.num_rows)
    for name in sorted(rejects["table"].unique().to_pylist()):
        rows = rejects.filter(pc.field("table") == name).sort_by("reject_id")
        whole = rows.filter(pc.less_equal(rows["raw_bytes"], RAW_LIMIT))
        if whole.num_rows:
            _replay_table(lake, run, contract(name), whole, country)
        METER.advance(rejects=rows.num_rows)
    record_commits(lake)
    return table_runs(lake, run)


def _replay_table(lake: Lake, run: Run, table: Contract, rejects: pa.Table, country: str) -> None:
    stored = open_table(lake.bronze(table))
    ids = rejects["reject_id"].to_pylist()
    # A replay that died after its append and before it closed the rejects: bronze has their names.
    held = committed(lake.bronze(table), [_name(key) for key in ids]) if stored else {}
    done = {key for key in ids if _name(key) in held}
    waiting = rejects.filter(pa.array([key not in done for key in ids], pa.bool_()))
    business = business_schema(table, arrow_schema(stored) if stored else None)
    version = max(registered(lake, table)[0], 1)
    spec = IngestSpec(table, business, Origin("replay", "", run.run_id, run.started_at, version))
    attempts = list(_attempts(waiting, spec, country)) if waiting.num_rows else []
    accepted = pa.concat_tables([_none(spec), *(a.accepted for a in attempts)], promote_options="default")
    passed = [key for a in attempts for key in a.accepted_ids]
    refused = {key: why for a in attempts for key, why in a.refused.items()}
    inputs = (f"ops/rejects@{table_version(lake.rejects)}",)
    if passed:
        note = RunNote(run, table.name, inputs, Counts(len(passed), len(passed)))
        transactions = tuple((_name(key), 1) for key in passed)
        uri, layout = lake.bronze(table), table.partition_by
        append_rows(uri, accepted, transactions, partition_by=layout, evolve=True, note=note)
    note = RunNote(run, table.name, inputs, Counts(read=len(refused), rejected=len(refused)))

    def closed(done: CommitResult) -> str:  # what passed is in bronze, whose commit has said so
        return note(replace(done, rows=0, stale=0))

    upsert_rows(lake.rejects, _closed(rejects, done | set(passed), refused, run), KEY, note=closed)


def _name(reject_id: str) -> str:
    """The Delta transaction in bronze that says this reject was taken up."""
    return f"replay/{reject_id}"


def _attempts(rejects: pa.Table, spec: IngestSpec, country: str) -> Iterator[_Attempt]:
    """Reads rejects of one format and header together, as a file of their raw records."""
    kinds = ["raw_format", "raw_header", "raw_reading"]
    numbered = rejects.select(kinds).append_column("row", pa.array(range(rejects.num_rows), pa.int64()))
    for kind in numbered.group_by(kinds).aggregate([("row", "list")]).to_pylist():
        header = kind["raw_header"]
        rows = rejects.take(pa.array(sorted(kind["row_list"]), pa.int64()))
        found = _read_again(rows, spec, kind["raw_format"], header, country)
        if found is None:  # a record swallowed its neighbours (an open quote): each by itself, then
            for i in range(rows.num_rows):
                alone = _read_again(rows.slice(i, 1), spec, kind["raw_format"], header, country)
                if alone is not None:
                    yield alone
        else:
            yield found


def _read_again(
    rejects: pa.Table, spec: IngestSpec, raw_format: str, header: str | None, country: str
) -> _Attempt | None:
    """None when the records do not come back one for one."""
    reading = RawReading.from_json(rejects["raw_reading"][0].as_py())
    spec = replace(spec, spelling=reading.spelling)
    offsets: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="c360-replay-") as folder:
        path = Path(folder) / f"rejects.{raw_format}"
        with path.open("wb") as file:
            if header is not None:
                file.write(header.encode() + b"\n")
            for i, raw in enumerate(rejects["raw"].to_pylist()):
                offsets[file.tell()] = i
                file.write(raw + b"\n")
        parts = [
            (parsed, ingest_batch(parsed, spec, replace(spec.origin, file=str(path))))
            for piece in split(replace(discover(str(path), raw_format)[0], renames=reading.renames))
            for parsed in read_split(piece, tuple(spec.business.names))
        ]
    positions = [p for _, (ok, bad, _) in parts for p in [*ok["_position"].to_pylist(), *bad["_position"].to_pylist()]]
    if sorted(positions) != sorted(offsets):
        if rejects.num_rows > 1:
            return None
        unreadable = ("unreadable", "the record cannot be read by itself")
        return _Attempt(_none(spec), [], {rejects["reject_id"][0].as_py(): unreadable})
    ids = rejects["reject_id"].to_pylist()
    refused = {
        ids[offsets[row["_position"]]]: (row["rule"], row["reason"])
        for _, (_, bad, _) in parts
        for row in bad.select(["_position", "rule", "reason"]).to_pylist()
    }
    accepted = pa.concat_tables([ok for _, (ok, _, _) in parts] or [_none(spec)], promote_options="default")
    order = pa.array([offsets[p] for p in accepted["_position"].to_pylist()], pa.int64())
    accepted = _at_home(accepted, rejects.take(order))
    return _through_silver(accepted, rejects.take(order)["reject_id"].to_pylist(), refused, spec, country)


def _through_silver(
    accepted: pa.Table, ids: list[str], refused: dict[str, tuple[str, str]], spec: IngestSpec, country: str
) -> _Attempt:
    """A row that silver would still refuse is not accepted: its bronze row may be there already."""
    rejected = to_silver(accepted, spec.contract, country).rejected
    bad = {
        (row["_file"], row["_position"]): (row["_rule"], row["_reason"])
        for row in rejected.select(["_file", "_position", "_rule", "_reason"]).to_pylist()
    }
    places = list(zip(accepted["_file"].to_pylist(), accepted["_position"].to_pylist(), strict=True))
    keep = [place not in bad for place in places]
    refused |= {key: bad[place] for key, place in zip(ids, places, strict=True) if place in bad}
    return _Attempt(
        accepted.filter(pa.array(keep, pa.bool_())), [k for k, ok in zip(ids, keep, strict=True) if ok], refused
    )


def _at_home(accepted: pa.Table, rejects: pa.Table) -> pa.Table:
    """The rows with the file and position they first came from."""
    for name in ("file", "position"):
        at = accepted.schema.get_field_index(f"_{name}")
        column = rejects[name].cast(accepted.schema.field(at).type)
        accepted = accepted.set_column(at, accepted.schema.field(at), column)
    return accepted


def _closed(rejects: pa.Table, passed: set[str], refused: dict[str, tuple[str, str]], run: Run) -> pa.Table:
    rows = []
    for row in rejects.to_pylist():
        key = row["reject_id"]
        row |= {"attempts": row["attempts"] + 1, "run_id": run.run_id}
        if key in passed:
            row["status"] = REPLAYED
        elif key in refused:
            row["rule"], row["reason"] = refused[key]
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=REJECTS)


def _none(spec: IngestSpec) -> pa.Table:
    return bronze_schema(spec.contract, spec.business).empty_table()
