"""What a silver run has to do, found before it starts: bronze rows to take up, silver rows to look at again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from pipelines.config import Lake, Run
from transforms.bronze.evolution import business_schema
from transforms.contracts import CONTRACTS, Contract
from transforms.errors import UserError
from transforms.io.delta import (
    Added,
    NotAppendOnly,
    arrow_schema,
    committed,
    open_table,
    read_table,
    rows_added,
)
from transforms.silver.keys import ORPHAN
from transforms.silver.outliers import OutlierSummary, Range, summary_of
from transforms.silver.refine import RefineSpec

_BRONZE = "bronze"  # the Delta transaction in silver whose version is the bronze version it was made from
_RUN = "run"  # and the one that counts its runs: of two at once from the same state only the first commits


@dataclass(frozen=True)
class SilverPlan:
    """What one run will do to one table.

    Attributes:
      since, until: it takes up the bronze rows after version `since` (None: all, replacing silver) up to `until`.
      rows: how many rows will be grouped by key, about.
      number: of the table's runs.
      taken: the bronze version that silver was made from so far.
      parents: the Delta transactions that say up to which bronze version of each parent table the foreign keys were
        checked.
      again: conditions on stored rows whose foreign keys are looked at again, since a parent table moved on.
      known: conditions on bronze rows taken up earlier that may be later than new ones; None when there are none.
      outliers: the summary of all bronze rows up to `since`.
      note: why all of bronze is read although silver exists; for the user.
    """

    spec: RefineSpec
    since: int | None
    until: int
    rows: int
    number: int
    taken: int | None = None
    parents: tuple[tuple[str, int], ...] = ()
    again: tuple[Range, ...] = ()
    known: Range | None = None
    outliers: OutlierSummary = field(default_factory=dict, compare=False)
    note: str = ""

    @property
    def contract(self) -> Contract:
        return self.spec.contract

    @property
    def transactions(self) -> tuple[tuple[str, int], ...]:
        bronze = ((_BRONZE, self.until),) if self.taken != self.until else ()
        return ((_RUN, self.number), *bronze, *self.parents)


@dataclass(frozen=True)
class _Start:
    """Where reading bronze begins, and what is known about the rows before."""

    since: int | None
    rows: int
    known: Range | None = None
    outliers: OutlierSummary = field(default_factory=dict)
    note: str = ""


def plan(
    lake: Lake, run: Run, country: str = "GB", rebuild: frozenset[str] = frozenset()
) -> tuple[list[SilverPlan], int]:
    """Finds the tables whose bronze, or whose parents, moved on since silver was made: (plans, unchanged tables).

    Args:
      rebuild: tables to make from all of bronze, whatever silver has; those that refer to them look for parents again.
    """
    bronze = {name: open_table(lake.bronze(contract)) for name, contract in CONTRACTS.items()}
    tables = {name: table for name, table in bronze.items() if table is not None}
    found = [_plan_table(lake, run, CONTRACTS[name], tables, country, rebuild) for name in tables]
    plans = [planned for planned in found if planned is not None]
    wanted = {key.table for planned in plans for key in planned.contract.foreign_keys}
    marked = [replace(p, spec=replace(p.spec, is_parent=p.contract.name in wanted)) for p in plans]
    return marked, len(found) - len(plans)


def _plan_table(
    lake: Lake, run: Run, contract: Contract, bronze: dict[str, Any], country: str, rebuild: frozenset[str]
) -> SilverPlan | None:
    table, until = bronze[contract.name], bronze[contract.name].version()
    parents = {f"parent/{k.table}": bronze[k.table].version() for k in contract.foreign_keys if k.table in bronze}
    silver = open_table(lake.silver(contract))
    made = committed(lake.silver(contract), [_BRONZE, _RUN, *parents]) if silver is not None else {}
    moved = tuple((parent, version) for parent, version in parents.items() if made.get(parent) != version)
    anew = tuple((f"parent/{k.table}", until) for k in contract.foreign_keys if k.table in rebuild)
    if made.get(_BRONZE) == until and not moved and not anew and contract.name not in rebuild:
        return None
    if made.get(_BRONZE, until) > until:
        raise UserError(
            f"silver was made from version {made[_BRONZE]} of a bronze table that is at {until} now",
            lake.silver(contract),
            "move the lake's folder silver away and run silver again",
        )
    taken = made.get(_BRONZE)
    start = _start(lake, contract, table, taken, contract.name in rebuild)
    again = _again(contract, (*moved, *anew), made) if start.since is not None else ()
    unchecked = silver.count() if any(column != ORPHAN for where in again for column, _, _ in where) else 0
    return SilverPlan(
        RefineSpec(contract, _evolved(contract, table), run.started_at, run.run_id, country),
        start.since,
        until,
        start.rows + unchecked,
        made.get(_RUN, 0) + 1,
        taken,
        moved,
        again,
        start.known,
        start.outliers,
        start.note,
    )


def _start(lake: Lake, contract: Contract, bronze: Any, since: int | None, rebuild: bool) -> _Start:
    """After what silver was made from, if what came since can be told from bronze and from the stored summary."""
    if since is None or rebuild:
        return _Start(None, bronze.count())
    summary = _summary(lake, contract, since)
    if summary is None:
        return _Start(None, bronze.count(), note="the summary that outliers are judged by is missing")
    try:
        added: Added = rows_added(lake.bronze(contract), since, bronze.version(), "_ingested_at")
    except NotAppendOnly as error:
        return _Start(None, bronze.count(), note=error.what)
    return _Start(since, bronze.count() if added.rows is None else added.rows, added.overlap, summary)


def _summary(lake: Lake, contract: Contract, version: int) -> OutlierSummary | None:
    """What `build` stored for a bronze version; None when it did not."""
    if not contract.outliers:
        return {}
    if open_table(lake.outliers) is None:
        return None
    where = (("table_name", "=", contract.name), ("bronze_version", "=", version))
    summary = summary_of(read_table(lake.outliers, where=where))
    return summary if set(summary) == set(contract.outliers) else None


def _again(contract: Contract, moved: tuple[tuple[str, int], ...], made: dict[str, int]) -> tuple[Range, ...]:
    """Orphans may have got a parent; where a parent table is new, rows that nobody checked may be orphans."""
    known: tuple[Range, ...] = (((ORPHAN, "=", True),),) if any(parent in made for parent, _ in moved) else ()
    new = {parent for parent, _ in moved} - made.keys()
    keys = [key.column for key in contract.foreign_keys if f"parent/{key.table}" in new]
    return (*known, *(((column, "not_null", None),) for column in keys))


def _evolved(contract: Contract, bronze: Any) -> pa.Schema:
    """The columns that bronze has beyond the contract, or in a wider type."""
    business, declared = business_schema(contract, arrow_schema(bronze)), contract.arrow
    return pa.schema([f for f in business if f.name not in contract or f.type != declared.field(f.name).type])
