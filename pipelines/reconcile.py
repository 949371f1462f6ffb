"""The lake's sessions held against those that the tracker sends, whenever either changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import apache_beam as beam
import pyarrow.compute as pc

from pipelines.config import Lake, Run
from pipelines.console import Output
from pipelines.notes import TakeNote, made_from
from pipelines.options import Engine, buckets_for
from pipelines.runs import record_commits
from transforms.contracts import contract
from transforms.counts import Counts, SumCounts
from transforms.io.delta import Overwrite, ReadDelta, WriteDelta, open_table, read_batches
from transforms.sessions.reconcile import AGREES, COMPUTED, DIFFERS, NOT_SEEN, NOT_TRACKED, RECONCILED, TRACKED
from transforms.sessions.reconciliation import ReconcileSessions
from transforms.shuffle import spill_folder

NAME = "reconciled_sessions"
TRACKED_TABLE = contract("CUSTOMER_SESSION_DATA")
_TOLERANCE_SECONDS = 300.0  # a tracker hears of a page that is left, and no event says that


@dataclass(frozen=True)
class Verdicts:
    """Pairs of sessions and sessions of no pair by verdict; those that differ by what differs."""

    counts: dict[str, int] = field(default_factory=dict)
    differing: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """ "12 agree, 3 differ (2 by end, 1 by value), 0 without events, 1 not sent by the tracker"."""
        by = ", ".join(f"{count:,} by {name.replace('_', ' ')}" for name, count in sorted(self.differing.items()))
        agree, differ, unseen, unsent = (self.counts.get(v, 0) for v in (AGREES, DIFFERS, NOT_SEEN, NOT_TRACKED))
        differ_by = f" ({by})" if by else ""
        return (
            f"{agree:,} agree, {differ:,} differ{differ_by}, {unseen:,} without events,"
            f" {unsent:,} not sent by the tracker"
        )


def reconcile(lake: Lake, run: Run, engine: Engine = Engine()) -> Verdicts | None:
    """Makes `ops/reconciled_sessions` (RECONCILED) anew if the lake's sessions or the tracker's changed; None if they
    did not, or either is not there."""
    ours, theirs = open_table(lake.sessions), open_table(lake.silver(TRACKED_TABLE))
    if ours is None or theirs is None:
        return None
    versions = ours.version(), theirs.version()
    inputs = (f"silver/sessions@{versions[0]}", f"silver/{TRACKED_TABLE.path}@{versions[1]}")
    if made_from(lake.reconciled_sessions) == inputs:
        return None
    buckets = buckets_for(ours.count() + theirs.count())
    with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
        build(root, lake, run, versions, inputs, buckets, spill)
    record_commits(lake)
    return verdicts(lake)


def build(
    root: beam.Pipeline,
    lake: Lake,
    run: Run,
    versions: tuple[int, int],
    inputs: tuple[str, ...],
    buckets: int,
    spill: str | None,
) -> None:
    """Wires both tables at their versions -> pairs with verdicts -> one table, replaced as a whole."""
    sides = {
        "computed": root | "ReadComputed" >> ReadDelta(lake.sessions, COMPUTED.names, version=versions[0]),
        "tracked": root | "ReadTracked" >> ReadDelta(lake.silver(TRACKED_TABLE), TRACKED.names, version=versions[1]),
    }
    found = sides | "Reconcile" >> ReconcileSessions(buckets, spill, _TOLERANCE_SECONDS)
    counts = found | "CountRows" >> beam.Map(lambda batch: Counts(batch.num_rows, batch.num_rows))
    note = counts | "Sum" >> SumCounts(NAME) | "Note" >> TakeNote(run, inputs)
    found | "WriteReconciled" >> WriteDelta(
        lake.reconciled_sessions, RECONCILED, Overwrite(whole_table=True), note=beam.pvalue.AsSingleton(note)
    )


def verdicts(lake: Lake) -> Verdicts | None:
    """What the latest reconciliation found; None where there was none."""
    if open_table(lake.reconciled_sessions) is None:
        return None
    counts, differing = Counter[str](), Counter[str]()
    for batch in read_batches(lake.reconciled_sessions, columns=("verdict", "differing")):
        for found, values in ((counts, batch["verdict"]), (differing, pc.list_flatten(batch["differing"]))):
            found.update({row["values"]: row["counts"] for row in pc.value_counts(values).to_pylist()})
    return Verdicts(dict(counts), dict(differing))


def say_verdicts(found: Verdicts | None, out: Output) -> None:
    """One line, where sessions were held against the tracker's."""
    if found is not None:
        out.say(f"sessions against the tracker's: {found}", tracker=found.counts, tracker_differing=found.differing)
