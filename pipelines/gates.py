"""Gates between the layers: what must hold of one before the next is made from it."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from pipelines import gold
from pipelines.config import Lake, Run
from pipelines.console import Output, counted
from pipelines.runs import CUSTOMER_360, record_commits
from pipelines.silver_plan import plan as plan_silver
from pipelines.warehouse import open_warehouse
from transforms.contracts import contract
from transforms.counts import Counts
from transforms.errors import UsageError, UserError
from transforms.io.delta import open_table, read_table

LAYERS = ("bronze", "silver", "gold", "warehouse")


@dataclass(frozen=True)
class GateRules:
    """What is still good.

    Attributes:
      max_rejected: share of a table's rows that a run may refuse.
      max_shrink: share of its rows that customer_360 may lose from one rebuild to the next.
      required: source tables without which a day is not whole.
    """

    max_rejected: float = 0.05
    max_shrink: float = 0.2
    required: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, share in (("--max-rejected", self.max_rejected), ("--max-shrink", self.max_shrink)):
            if not 0 <= share <= 1:
                raise UsageError(f"{share:g} is no share", name, "give a number from 0 to 1")
        for table in self.required:
            contract(table)


@dataclass(frozen=True)
class Finding:
    """One thing that a gate looked at: `value` must not exceed `limit`."""

    table: str
    measure: str
    value: float
    limit: float

    @property
    def good(self) -> bool:
        return self.value <= self.limit

    def describe(self) -> str:
        return f"{self.table}: {self.measure} {self.value:.4g}, limit {self.limit:.4g}"


@dataclass(frozen=True)
class Gate:
    """The gate behind a layer.

    Attributes:
      times: of the layer's runs whose rows are judged together; none: its latest.
      warehouse: its address, for the gate behind the load.
    """

    layer: str
    lake: Lake
    rules: GateRules = GateRules()
    times: tuple[datetime, ...] = ()
    warehouse: str = ""

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise UsageError(f"there is no layer {self.layer!r}", remedy=f"give one of {', '.join(LAYERS)}")
        if self.layer == "warehouse" and not self.warehouse:
            raise UsageError("which warehouse?", remedy="give it with --warehouse")

    def judge(self) -> list[Finding]:
        """Everything that was looked at; the layer is good if all of it is."""
        record_commits(self.lake)  # of jobs that an engine ran, nobody has yet
        look = {"bronze": self._bronze, "silver": self._silver, "gold": self._gold, "warehouse": self._warehouse}
        return look[self.layer]()

    def _bronze(self) -> list[Finding]:
        read = self._counts()
        names = {contract(name).name for name in self.rules.required}
        missing = [Finding(name, "no rows came", float(not read[name].read), 0) for name in sorted(names)]
        return [*missing, *self._rejected(read)]

    def _silver(self) -> list[Finding]:
        behind, _ = plan_silver(self.lake, Run("gate"))
        waiting = [Finding(p.contract.name, "rows of bronze not taken up", float(p.rows), 0) for p in behind]
        return [*waiting, *self._rejected(self._counts())]

    def _rejected(self, counts: dict[str, Counts]) -> list[Finding]:
        shares = {name: of.rejected / of.read for name, of in sorted(counts.items()) if of.read}
        return [Finding(name, "share rejected", share, self.rules.max_rejected) for name, share in shares.items()]

    def _counts(self) -> dict[str, Counts]:
        """What became of the rows, by table; a table that the run did not touch counts nothing."""
        counts: dict[str, Counts] = defaultdict(Counts)
        rows = []
        if open_table(self.lake.runs) is not None:
            rows = read_table(self.lake.runs, where=(("command", "=", self.layer),)).to_pylist()
        times = self.times or (max((row["started_at"] for row in rows), default=None),)
        for row in rows:
            if row["started_at"] in times:
                counts[row["table"]] += Counts(row["read"], row["accepted"], row["rejected"], row["duplicates"])
        return counts

    def _gold(self) -> list[Finding]:
        uri = self.lake.gold(CUSTOMER_360)
        table = open_table(uri)
        rows = 0 if table is None else table.count()
        findings = [Finding(CUSTOMER_360, "tables empty", float(not rows), 0)]
        before = open_table(uri, table.version() - 1) if table is not None and table.version() else None
        if before is not None and (earlier := before.count()):
            findings.append(Finding(CUSTOMER_360, "share lost", max(0.0, 1 - rows / earlier), self.rules.max_shrink))
        behind = gold.versions_behind(self.lake)
        return [*findings, Finding(CUSTOMER_360, "silver tables not taken up", float(len(behind)), 0)]

    def _warehouse(self) -> list[Finding]:
        with open_warehouse(self.warehouse) as warehouse:
            found = warehouse.check(self.lake.uri)
        return [Finding(table.table, "faults of `warehouse check`", float(not table.good), 0) for table in found]


def run_gate(gate: Gate, as_json: bool) -> None:
    """The command `gate`; exits with 1 where something is beyond its limit."""
    out = Output(as_json)
    findings = gate.judge()
    bad = [finding for finding in findings if not finding.good]
    out.table("findings", [vars(finding) | {"good": finding.good} for finding in findings])
    verdict = "; ".join(finding.describe() for finding in bad) or "good"
    out.say(f"gate behind {gate.layer}: {counted(len(findings), 'look')}, {verdict}", layer=gate.layer, good=not bad)
    out.close()
    if bad:
        sys.exit(1)


def pass_gate(gate: Gate) -> str:
    """What a good layer is said to be.

    Raises:
      UserError: the first thing that is beyond its limit, and how many more are.
    """
    findings = gate.judge()
    bad = [finding for finding in findings if not finding.good]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        remedy = f"see `show runs`, `show rejects` and `gate {gate.layer}`; mend it or raise its limit, then run again"
        raise UserError(f"the gate behind {gate.layer} is shut: {bad[0].describe()}{more}", gate.lake.uri, remedy)
    return f"{counted(len(findings), 'look')}, all good"
