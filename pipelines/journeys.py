"""Journeys in a person's own files or in a lake: from one step to another, through a funnel, or as a whole."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines.config import Lake
from pipelines.console import Output, counted
from pipelines.own_files import Refusals, Source, open_refusals, open_sources, say_rejected, text_bytes, typed_batches
from transforms.errors import UsageError, UserError
from transforms.gold.attribution.touchpoints import AttributionRules, cut_paths
from transforms.gold.journeys.between import count_ways, merge_ways
from transforms.gold.journeys.funnel import count_funnel, funnel, merge_funnels
from transforms.gold.journeys.own_file import OWN, TARGETS, as_touchpoints
from transforms.gold.journeys.paths import Journeys, count_journeys, merge_journeys, time_to_convert, transition_shares
from transforms.gold.journeys.steps import STEPS_TAKEN, order_steps, quantile_of_counts
from transforms.gold.journeys.touchpoints import in_order
from transforms.io.delta import open_table, read_batches
from transforms.io.table_file import TableFile, format_of
from transforms.own_rows import now_at_most
from transforms.spool import Spool

BUCKET_BYTES = 64 << 20
_BUCKET_ROWS, _MOST_BUCKETS, _SHOWN = 1_000_000, 256, 12


@dataclass(frozen=True)
class Question:
    """What is asked: a funnel of `steps`, the ways from `start` to `goal`, or journeys (to `goal`, if given).

    Raises:
      UsageError: the parts do not fit together.
    """

    start: str | None = None
    goal: str | None = None
    steps: tuple[str, ...] = ()
    gap_days: float = 30.0
    window_days: float | None = None

    def __post_init__(self) -> None:
        if self.steps and (self.start or self.goal):
            raise UsageError("--funnel names its first and its last step itself", remedy="leave out --from and --to")
        if self.start and not self.goal:
            raise UsageError("--from needs --to", remedy="name the step that is gone to")
        if self.window_days is not None and not (self.steps and 0 < self.window_days <= 36_500):
            raise UsageError("--window is for --funnel, a number of days above 0", remedy="give both")
        if not 1e-6 <= self.gap_days <= 36_500:
            raise UsageError(f"--gap is {self.gap_days:g}", remedy="give a number of days above 0, up to 36500")


@dataclass(frozen=True)
class _Answer:
    """How a question is counted bucket by bucket, and what the merged counts are as a table."""

    count: Callable[[pa.Table], Any]
    merge: Callable[[Iterable[Any]], Any]
    table: Callable[[Any], pa.Table]


def _answer(question: Question) -> _Answer:
    start, goal, steps = question.start, question.goal, question.steps
    if steps:
        window = question.window_days and question.window_days * 86_400
        return _Answer(
            lambda rows: count_funnel(order_steps(rows), steps, window),
            merge_funnels,
            lambda counts: funnel(counts, steps),
        )
    if start and goal:
        return _Answer(lambda rows: count_ways(order_steps(rows), start, goal), merge_ways, _ways_table)
    rules = AttributionRules(lookback_days=question.gap_days)
    return _Answer(
        lambda rows: count_journeys(cut_paths(as_touchpoints(rows, goal), rules)),
        merge_journeys,
        lambda found: transition_shares(found.transitions),
    )


def buckets_of_files(sources: Sequence[Source], refusals: Refusals) -> Iterator[pa.Table]:
    """Rows of STEPS_TAKEN, all of a person in one table; beyond the limit of `Spool` they wait on disk."""
    typed = typed_batches(sources, OWN, refusals, until=now_at_most())
    stripped = (rows.with_columns(pl.col("step").str.strip_chars()) for rows in typed)
    yield from _by_person(stripped, text_bytes(sources) // BUCKET_BYTES)


def buckets_of_lake(lake: Lake) -> Iterator[pa.Table]:
    """The touchpoints of gold as rows of STEPS_TAKEN, all of a customer in one table.

    Raises:
      UserError: the lake has no touchpoints yet.
    """
    uri = lake.gold("touchpoints")
    table = open_table(uri)
    if table is None:
        raise UserError("there are no touchpoints", where=uri, remedy="run the command gold first")
    read = (pl.DataFrame(batch) for batch in read_batches(uri, columns=("person_id", "started_at", "step", "position")))
    batches = (rows.select(pl.col("person_id").alias("person"), in_order().alias("time"), "step") for rows in read)
    yield from _by_person(batches, table.count() // _BUCKET_ROWS)


def _by_person(batches: Iterable[pl.DataFrame], buckets: int) -> Iterator[pa.Table]:
    with tempfile.TemporaryDirectory(prefix="c360-journeys-") as folder:
        spool = Spool(folder, "person", min(_MOST_BUCKETS, max(1, buckets)))
        for rows in batches:
            spool.add(rows)
        for rows in spool.buckets():
            yield rows.select(STEPS_TAKEN.names).to_arrow().cast(STEPS_TAKEN)


def run_journeys(
    location: str,
    out_path: str | None,
    question: Question,
    maps: list[str],
    rejects: str | None,
    format: str | None,
    as_json: bool,
) -> None:
    """The command `journeys` on a person's own files."""
    out = Output(as_json)
    sources = open_sources(location, TARGETS, maps, format, out, out_path, rejects)
    with open_refusals(rejects) as refusals:
        _tell(buckets_of_files(sources, refusals), question, out_path, out)
    out.facts["rejected"] = refusals.counts
    say_rejected(refusals.counts, rejects, out)
    out.close()


def run_journeys_of_lake(lake: str, out_path: str | None, question: Question, as_json: bool) -> None:
    """The command `journeys` on the touchpoints of a lake."""
    out = Output(as_json)
    if out_path:
        format_of(out_path)
    _tell(buckets_of_lake(Lake(lake)), question, out_path, out)
    out.close()


def _tell(buckets: Iterable[pa.Table], question: Question, path: str | None, out: Output) -> None:
    begun = perf_counter()
    with out.working("following journeys"):
        seen, found = answer(buckets, question)
    seen.say(perf_counter() - begun, out)
    show(found, question, path, out)


@dataclass
class Seen:
    """What was read, and which steps there are."""

    rows: int = 0
    persons: int = 0
    steps: frozenset[str] = frozenset()

    def say(self, seconds: float, out: Output) -> None:
        out.say(
            f"journeys: {counted(self.rows, 'step')} of {counted(self.persons, 'person')} in {seconds:.1f} s",
            rows=self.rows,
            persons=self.persons,
            seconds=round(seconds, 3),
        )


def answer(buckets: Iterable[pa.Table], question: Question) -> tuple[Seen, Any]:
    """What was seen, and the merged counts that answer the question; each person in one of the buckets.

    Raises:
      UsageError: nobody took a step that the question names.
    """
    seen, asked, parts = Seen(), _answer(question), []
    for rows in buckets:
        seen.rows += rows.num_rows
        seen.persons += len(rows["person"].unique())
        seen.steps |= set(rows["step"].unique().to_pylist())
        parts.append(asked.count(rows))
    for name in filter(None, (question.start, question.goal, *question.steps)):
        if name not in seen.steps:
            known = ", ".join(sorted(seen.steps)[:12]) + (" ..." if len(seen.steps) > 12 else "")
            raise UsageError(f"there is no step {name!r}", where=f"the steps are {known}", remedy="check its name")
    return seen, asked.merge(parts) if parts else None


def show(found: Any, question: Question, path: str | None, out: Output) -> None:
    """Says the answer, and writes its table to a file."""
    if found is None:
        out.say("there is no step to follow")
        return
    table = _answer(question).table(found)
    if question.steps:
        out.table("funnel", [_rounded(row) for row in table.to_pylist()])
    elif question.start:
        _show_ways(found, question, out)
    else:
        _show_journeys(found, out)
    if path:
        with TableFile(path, table.schema) as file:
            file.write(table)
        out.say(f"written: {path}", out=path)


def _show_ways(ways: pa.Table, question: Question, out: Output) -> None:
    rows = pl.DataFrame(pl.from_arrow(ways))
    there = rows.filter("arrived")
    came, all_of_them = int(there["persons"].sum()), int(rows["persons"].sum())
    took = there["seconds"].to_numpy(), there["persons"].to_numpy()
    median, late = quantile_of_counts(*took, 0.5), quantile_of_counts(*took, 0.9)
    share = came / all_of_them if all_of_them else 0.0
    out.say(
        f"{came:,} of {counted(all_of_them, 'person')} came from {question.start} to {question.goal} ({share:.1%})"
        + (f"; half of them within {duration(median)}, 90 % within {duration(late)}" if came else ""),
        arrived=came,
        started=all_of_them,
        median_seconds=median,
        p90_seconds=late,
    )
    table = pl.DataFrame(pl.from_arrow(_ways_table(ways)))
    for name, part in (("ways", table.filter("arrived")), ("stopped_at", table.filter(~pl.col("arrived")))):
        shown = part.drop("arrived").head(_SHOWN)
        label = "by way of" if name == "ways" else "where the others were last"
        out.table(name, [_rounded({label: row.pop("way") or "(directly)", **row}) for row in shown.to_dicts()])


def _ways_table(ways: pa.Table) -> pa.Table:
    """One row a way: arrived, way, persons, median_seconds; most persons first."""
    rows = []
    for (arrived, way), some in pl.DataFrame(pl.from_arrow(ways)).group_by("arrived", "way", maintain_order=True):
        counts = some["persons"].to_numpy()
        median = quantile_of_counts(some["seconds"].to_numpy(), counts, 0.5) if arrived else None
        rows.append({"arrived": arrived, "way": way, "persons": int(counts.sum()), "median_seconds": median})
    schema = pa.schema([("arrived", pa.bool_()), ("way", pa.string()), ("persons", pa.int64()),
                        ("median_seconds", pa.float64())])  # fmt: skip
    ordered = sorted(rows, key=lambda row: (not row["arrived"], -row["persons"], row["way"]))  # type: ignore[operator]
    return pa.Table.from_pylist(ordered, schema=schema)


def _show_journeys(found: Journeys, out: Output) -> None:
    flows = pl.DataFrame(pl.from_arrow(transition_shares(found.transitions))).sort(
        "journeys", "from_step", "to_step", descending=[True, False, False]
    )
    entries = flows.filter(pl.col("from_step") == "(start)")
    exits = flows.filter(pl.col("to_step") == "(end)")
    inner = flows.filter((pl.col("from_step") != "(start)") & (pl.col("to_step") != "(end)"))
    paths = pl.DataFrame(pl.from_arrow(found.paths)).group_by("path").agg(pl.col("journeys").sum())
    out.say(f"{counted(int(entries['journeys'].sum()), 'journey')}", journeys=int(entries["journeys"].sum()))
    arrows = (pl.col("from_step").alias("from"), pl.col("to_step").alias("to"))
    for name, rows in (
        ("entries", entries.select(pl.col("to_step").alias("begins at"), "journeys", "share")),
        ("exits", exits.select(pl.col("from_step").alias("ends at"), "journeys")),
        ("transitions", inner.select(*arrows, "journeys", "share")),
        ("paths", paths.sort("journeys", "path", descending=[True, False])),
    ):
        out.table(name, [_rounded(row) for row in rows.head(_SHOWN).to_dicts()])
    out.table("time_to_convert", [_rounded(row) for row in time_to_convert(found.times).to_pylist()[:_SHOWN]])


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def duration(seconds: float | None) -> str:
    """ "45 s", "12 min", "3.5 h", "2.1 days"."""
    if seconds is None:
        return "no time"
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"
