"""What a run's commit says about itself: the run table is made from these, so that no kill comes between the two."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import apache_beam as beam

from pipelines.config import Run
from transforms.counts import Counts, TableCounts
from transforms.io.delta import CommitResult, last_note, open_table

_FORM = "c360/run"  # tells these notes from those of other writers


class UnbalancedCounts(AssertionError):
    """Rows were lost or made up between two steps: a defect of this program, never of the data."""


def check_counts(counted: TableCounts) -> TableCounts:
    """Passes the counts on, or stops the run before anything is committed."""
    if not counted.counts.balanced:
        raise UnbalancedCounts(f"{counted.table}: {counted.counts}: read is not accepted + rejected + duplicates")
    return counted


@dataclass(frozen=True)
class RunNote:
    """What one run did to one table; called with a commit's result, it gives the commit's note.

    Attributes:
      inputs: "path@fingerprint" or "layer/table@version".
      missing: contract columns that a file of the run lacked.
    """

    run: Run
    table: str
    inputs: tuple[str, ...] = ()
    counts: Counts = field(default_factory=Counts)
    missing: tuple[str, ...] = ()

    def __call__(self, done: CommitResult) -> str:
        """The note as text. Rows that lost against a later stored version are duplicates, not accepted.

        Raises:
          UnbalancedCounts: the rows to be committed are not those counted as accepted or restated.
        """
        check_counts(TableCounts(self.table, self.counts))
        if done.rows != self.counts.accepted + self.counts.restated:
            raise UnbalancedCounts(f"{self.table}: {self.counts}, but {done.rows} rows were written")
        counts = self.counts + Counts(accepted=-done.stale, duplicates=done.stale)
        return json.dumps(replace(self, counts=counts).fields(), ensure_ascii=False, separators=(",", ":"))

    def fields(self) -> dict[str, Any]:
        """What `parse` reads, before it is text."""
        run = asdict(self.run) | {"started_at": self.run.started_at.isoformat()}
        return {"form": _FORM} | asdict(self) | {"run": run}

    @classmethod
    def parse(cls, text: str) -> RunNote | None:
        """The note of a commit; None for a text that is not one of ours."""
        try:
            fields = json.loads(text)
        except ValueError:
            return None
        if not isinstance(fields, dict) or fields.get("form") != _FORM:
            return None
        run = fields["run"]
        return cls(
            Run(run["command"], datetime.fromisoformat(run["started_at"]), run["run_id"]),
            fields["table"],
            tuple(fields["inputs"]),
            Counts(**fields["counts"]),
            tuple(fields["missing"]),
        )


def made_from(uri: str) -> tuple[str, ...] | None:
    """The inputs of the run that last wrote a table, as its commit says; None where there is none."""
    table = open_table(uri)
    note = None if table is None else last_note(table, uri)
    said = RunNote.parse(note.text) if note else None
    return said.inputs if said else None


@dataclass(eq=False)
class TakeNote(beam.PTransform):
    """PCollection[TableCounts] of one table -> its one `RunNote`, for `WriteDelta(note=...)`."""

    run: Run
    inputs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        run, inputs, missing = self.run, self.inputs, self.missing
        return counts | beam.Map(lambda counted: RunNote(run, counted.table, inputs, counted.counts, missing))
