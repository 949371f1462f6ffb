"""Why a run refused rows, in a line or two."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import pyarrow as pa

from pipelines.config import Lake
from pipelines.console import counted
from pipelines.runs import TableRun
from transforms.io.dead_letter import OPEN, UNFINISHED
from transforms.io.delta import open_table, read_batches

_SHOWN = 3


def rules_of(lake: Lake, run_id: str) -> dict[str, Counter[str]]:
    """table -> rule -> how many rows the run refused by it; read batch by batch."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    if open_table(lake.rejects) is None:
        return {}
    where = (("run_id", "=", run_id), ("status", "=", OPEN))
    for batch in read_batches(lake.rejects, where, columns=("table", "rule")):
        kinds = pa.Table.from_batches([batch]).group_by(["table", "rule"]).aggregate([([], "count_all")])
        for kind in kinds.to_pylist():
            found[kind["table"]][kind["rule"]] += kind["count_all"]
    return dict(found)


def describe(tables: Iterable[TableRun], rules: Mapping[str, Counter[str]]) -> list[str]:
    """Lines for a person: tables of which nothing was taken, then the commonest rules; none if all rows passed."""
    ran = [table for table in tables if table.counts.rejected]
    if not ran:
        return []
    lines = [
        f"{table.table.lower()}: {_nothing(table, rules.get(table.table, Counter()))}"
        for table in ran
        if table.counts.rejected == table.counts.read
    ]
    total = sum(rules.values(), Counter())
    told = ", ".join(f"{rule} {count:,}" for rule, count in total.most_common(_SHOWN))
    more = f" and {counted(len(total) - _SHOWN, 'other rule')}" if len(total) > _SHOWN else ""
    return [*lines, f"rejected: {told}{more}; see each with `show rejects`" if told else "see why with `show rejects`"]


def _nothing(table: TableRun, rules: Counter[str]) -> str:
    if rules and set(rules) <= set(UNFINISHED):
        return "nothing in the input could be read; see why with `show rejects`"
    return f"none of {counted(table.counts.read, 'row')} was accepted"
