"""Sessions from a person's own files: read once, brought together by visitor on this disk, cut bucket by bucket."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.console import Output
from transforms.bronze.conform import raw_bytes
from transforms.errors import UserError
from transforms.io.column_map import ColumnMap, named, parse_map, recognise
from transforms.io.files import discover, header, keys, read_split, split
from transforms.io.source import Parsed, SourceFile
from transforms.io.table_file import TableFile, format_of
from transforms.sessions.cut import cut_sessions
from transforms.sessions.event import EVENTS
from transforms.sessions.own_file import TARGETS, type_events
from transforms.sessions.rules import SessionRules, parse_gaps, parse_seconds
from transforms.sessions.spool import Spool
from transforms.sessions.summarise import SESSIONS, summarise_sessions

BUCKET_BYTES = 40 << 20  # of a source file: about half a million events
BATCH_ROWS = 262_144
_MOST_BUCKETS = 512  # files that may be open
REFUSED = pa.schema([(name, pa.string()) for name in ("file", "position", "rule", "reason", "raw")])


@dataclass
class Sessionized:
    """What was made of a person's files."""

    events: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    visitors: int = 0
    sessions: int = 0
    bounces: int = 0
    conversions: int = 0
    spilled_bytes: int = 0


@dataclass(frozen=True)
class Source:
    """A file and which of its columns are which."""

    file: SourceFile
    columns: ColumnMap


def plan(location: str, explicit: Mapping[str, str], format: str | None = None) -> list[Source]:
    """The files of a file name, a folder or a glob, each with its own columns recognised; empty ones are left out.

    Raises:
      UserError: nothing is there, or a file's visitor or time column cannot be told.
    """
    sources, files = [], discover(location, format)
    for file in files:
        schema = header(file)
        names = (
            keys(file) if schema is None and file.format == "jsonl" else list(getattr(schema, "names", schema or ()))
        )
        if not names and (file.size == 0 or len(files) > 1):
            continue
        try:
            sources.append(Source(file, recognise(names, TARGETS, explicit, file.format != "csv")))
        except UserError as error:
            raise UserError(error.what, f"{file.path}; {error.where}".removesuffix("; "), error.remedy) from None
    if not sources:
        raise UserError("the files are empty", where=location, remedy="give a file with events")
    return sources


def sessionize(sources: Sequence[Source], out: str, rules: SessionRules, rejects: str | None = None) -> Sessionized:
    """Writes the sessions (SESSIONS) of all events to `out`, and rows that cannot be used to `rejects`.

    Memory: what waits to be cut is at most `Spool`'s limit, the rest waits on disk; then two buckets at a time. The
    same events give the same rows, ordered by visitor and start within a bucket.
    """
    result = Sessionized()
    buckets = min(_MOST_BUCKETS, max(1, _bytes(sources) // BUCKET_BYTES))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="c360-sessions-"))
        made = stack.enter_context(TableFile(out, SESSIONS))
        refused = stack.enter_context(TableFile(rejects, REFUSED)) if rejects else None
        spool = Spool(folder, buckets)
        for source in sources:
            for events in _typed(source, result, refused):
                result.events += events.height
                spool.add(events)
        for sessions in _cut(spool, rules, result):
            made.write(sessions)
        result.spilled_bytes = spool.spilled_bytes
    return result


def _bytes(sources: Sequence[Source]) -> int:
    """About how large the events are as text."""
    factor = {"parquet": 4, "csv": 1, "jsonl": 1}
    return sum(s.file.size * factor[s.file.format] * (5 if s.file.compression == "gzip" else 1) for s in sources)


def _typed(source: Source, result: Sessionized, refused: TableFile | None) -> Iterator[pl.DataFrame]:
    renames = tuple((column, target) for target, column in source.columns.columns.items())
    for part in split(replace(source.file, renames=renames)):
        for parsed in read_split(part, EVENTS.names, BATCH_ROWS, [column for column, _ in renames]):
            _note_unreadable(parsed, source, result, refused)
            rows = parsed.rows.select([n for n in parsed.rows.schema.names if n in EVENTS.names])
            if rows.num_columns:
                typed = type_events(pl.DataFrame(pl.from_arrow(rows)))
                for rule, reason, places in typed.faults:
                    _note(parsed, rule, reason, places, source, result, refused)
                yield typed.events


def _note_unreadable(parsed: Parsed, source: Source, result: Sessionized, refused: TableFile | None) -> None:
    for row in parsed.rejects.to_pylist():
        result.rejected[row["rule"]] = result.rejected.get(row["rule"], 0) + 1
        if refused:
            raw = (row["_raw"] or b"").decode("utf-8", "replace")
            _refuse(refused, source, [row["_position"]], row["rule"], row["reason"], [raw])


def _note(
    parsed: Parsed, rule: str, reason: str, places: np.ndarray, source: Source, result: Sessionized,
    refused: TableFile | None,
) -> None:  # fmt: skip
    result.rejected[rule] = result.rejected.get(rule, 0) + len(places)
    if refused:
        rows = parsed.rows.take(pa.array(places))
        positions = rows["_position"].to_pylist()
        raws = [raw.decode("utf-8", "replace") for raw in raw_bytes(rows)]
        _refuse(refused, source, positions, rule, reason, raws)


def _refuse(refused: TableFile, source: Source, positions: list[int], rule: str, reason: str, raws: list[str]) -> None:
    rows = [
        {"file": source.file.path, "position": str(at), "rule": rule, "reason": reason, "raw": raw}
        for at, raw in zip(positions, raws, strict=True)
    ]
    refused.write(pa.Table.from_pylist(rows, schema=REFUSED))


def _cut(spool: Spool, rules: SessionRules, result: Sessionized) -> Iterator[pa.Table]:
    """Sessions of each bucket in order, two buckets at a time."""
    workers = min(2, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[tuple[pa.Table, int, int]]] = deque()
        for events in spool.buckets():
            waiting.append(pool.submit(_sessions, events, rules))
            del events
            if len(waiting) == workers:
                yield _counted(waiting.popleft(), result)
        while waiting:
            yield _counted(waiting.popleft(), result)


def _sessions(events: pl.DataFrame, rules: SessionRules) -> tuple[pa.Table, int, int]:
    cut = cut_sessions(events, rules)
    visitors = int(cut.events["visitor"].ne_missing(cut.events["visitor"].shift()).sum())
    return summarise_sessions(cut, rules), visitors, cut.duplicates


def _counted(done: Future[tuple[pa.Table, int, int]], result: Sessionized) -> pa.Table:
    sessions, visitors, duplicates = done.result()
    result.visitors += visitors
    result.duplicates += duplicates
    result.sessions += sessions.num_rows
    result.bounces += pa.compute.sum(sessions["is_bounce"]).as_py() or 0
    result.conversions += pa.compute.sum(sessions["conversions"]).as_py() or 0
    return sessions


def run_sessionize(
    location: str,
    out_path: str,
    gap: str,
    maps: list[str],
    rejects: str | None,
    midnight: str | None,
    campaigns: bool,
    max_length: str,
    format: str | None,
    as_json: bool,
) -> None:
    """The command `sessionize`."""
    out = Output(as_json)
    others, channels = parse_gaps(gap)
    rules = SessionRules(others, channels, parse_seconds(max_length), midnight, campaigns)
    for path in filter(None, (out_path, rejects)):
        format_of(path)
    sources = plan(location, parse_map(maps), format)
    _check_paths(sources, out_path, rejects)
    for told in dict.fromkeys(_told(source.columns) for source in sources):
        out.say(f"columns: {told}", columns=told)
    out.say(f"a session ends after {rules.gap_seconds:,g} s of silence", gap_seconds=rules.gap_seconds)
    start = perf_counter()
    with out.working("cutting sessions"):
        result = sessionize(sources, out_path, rules, rejects)
    _say(result, out_path, rejects, perf_counter() - start, out)
    out.close()


def _told(columns: ColumnMap) -> str:
    described = ColumnMap(columns.columns, columns.how, ()).describe()
    return described + (f"; not used: {named(columns.left_over)}" if columns.left_over else "")


def _check_paths(sources: Sequence[Source], *paths: str | None) -> None:
    taken = {os.path.abspath(source.file.path) for source in sources}
    for path in filter(None, paths):
        if os.path.abspath(path) in taken:
            raise UserError("this file is read or written already", where=path, remedy="write to another file")
        taken.add(os.path.abspath(path))


def _say(result: Sessionized, path: str, rejects: str | None, seconds: float, out: Output) -> None:
    out.say(
        f"sessionize: {result.events:,} events of {result.visitors:,} visitors, {result.sessions:,} sessions"
        f" in {seconds:.1f} s: {path}",
        out=path,
        seconds=round(seconds, 3),
        **asdict(result),
    )
    if result.sessions:
        share = result.bounces / result.sessions
        per = (result.events - result.duplicates) / result.sessions
        out.say(f"{per:.1f} events a session, {share:.0%} bounces, {result.conversions:,} conversions")
    if result.duplicates:
        out.say(f"{result.duplicates:,} events came more than once and count once")
    if result.rejected:
        kinds = ", ".join(f"{count:,} {rule}" for rule, count in sorted(result.rejected.items()))
        where = f"they are in {rejects}" if rejects else "see them with --rejects FILE"
        out.say(f"{sum(result.rejected.values()):,} rows cannot be used ({kinds}); {where}")
