"""Sessions from a person's own files: read once, brought together by visitor on this disk, cut bucket by bucket."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from time import perf_counter

import polars as pl
import pyarrow as pa

from pipelines.console import Output
from pipelines.own_files import Source, open_refusals, open_sources, say_rejected, text_bytes, typed_batches
from transforms.errors import UsageError
from transforms.io.table_file import TableFile
from transforms.sessions.behaviour import visitor_of
from transforms.sessions.cut import cut_sessions
from transforms.sessions.event import EVENTS
from transforms.sessions.own_file import TARGETS
from transforms.sessions.rules import SessionRules, parse_gaps, parse_seconds
from transforms.sessions.summarise import SESSIONS, summarise_sessions
from transforms.spool import Spool

BUCKET_BYTES = 40 << 20  # of a source file: about half a million events
_MOST_BUCKETS = 512  # files that may be open


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


def sessionize(sources: Sequence[Source], out: str, rules: SessionRules, rejects: str | None = None) -> Sessionized:
    """Writes the sessions (SESSIONS) of all events to `out`, and rows that cannot be used to `rejects`.

    Memory: what waits to be cut is at most `Spool`'s limit, the rest waits on disk; then two buckets at a time. The
    same events give the same rows, ordered by visitor and start within a bucket.
    """
    result = Sessionized()
    buckets = min(_MOST_BUCKETS, max(1, text_bytes(sources) // BUCKET_BYTES))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="c360-sessions-"))
        made = stack.enter_context(TableFile(out, SESSIONS))
        spool = Spool(folder, "visitor", buckets)
        refusals = stack.enter_context(open_refusals(rejects))
        for events in typed_batches(sources, EVENTS, refusals, _name_anonymous):
            result.events += events.height
            spool.add(events)
        result.rejected = refusals.counts
        for sessions in _cut(spool, rules, result):
            made.write(sessions)
        result.spilled_bytes = spool.spilled_bytes
    return result


def _name_anonymous(rows: pl.DataFrame) -> pl.DataFrame:
    """Events without a visitor, but with the tracker's session, are an anonymous visitor's, as in the lake."""
    if not {"visitor", "tracker_session"} <= set(rows.columns):
        return rows
    texts = rows.with_columns(pl.col("visitor", "tracker_session").cast(pl.String).str.strip_chars().replace("", None))
    return rows.with_columns(visitor=texts.select(visitor_of("visitor", "tracker_session")).to_series())


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
    sources = open_sources(location, TARGETS, maps, format, out, out_path, rejects)
    if channels and not any("channel" in source.columns.columns for source in sources):
        raise UsageError(f"--gap {gap} is of channels, and no file has a column of them", "name it: --map channel=")
    out.say(f"a session ends after {rules.gap_seconds:,g} s of silence", gap_seconds=rules.gap_seconds)
    start = perf_counter()
    with out.working("cutting sessions"):
        result = sessionize(sources, out_path, rules, rejects)
    _say(result, out_path, rejects, perf_counter() - start, out)
    out.close()


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
    say_rejected(result.rejected, rejects, out)
