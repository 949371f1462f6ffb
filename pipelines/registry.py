"""The schema registry: each version of each bronze table's columns, and what changed between them."""

from __future__ import annotations

from dataclasses import fields

import pyarrow as pa

from pipelines.config import Lake, Run
from transforms.bronze.evolution import Change
from transforms.contracts import Contract
from transforms.errors import UserError
from transforms.io.delta import append_rows, arrow_schema, committed, existing_table, open_table, read_table

_ATTEMPTS = 20

SCHEMAS = pa.schema(
    [
        pa.field("table", pa.string(), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("change", pa.string(), nullable=False),  # "declared", "added", "widened" or "missing"
        pa.field("old_type", pa.string()),
        pa.field("new_type", pa.string()),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("changed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


def registered(lake: Lake, contract: Contract) -> tuple[int, dict[str, str], set[str]]:
    """(latest version, or 0; column -> type there; columns that files were seen without)."""
    if open_table(lake.schemas) is None:
        return 0, {}, set()
    rows = read_table(lake.schemas, where=(("table", "=", contract.name),)).sort_by("version").to_pylist()
    types = {row["column"]: row["new_type"] for row in rows if row["change"] != "missing"}
    missing = {row["column"] for row in rows if row["change"] == "missing"}
    return max((row["version"] for row in rows), default=0), types, missing


def register_changes(lake: Lake, run: Run, contract: Contract, missing: set[str]) -> None:
    """Records how bronze differs from the latest registered version; records nothing when it does not.

    It compares the table itself with the registry, so that it does not matter who records a change, or how often.
    """
    serial = f"schema/{contract.name}"  # of two processes at once, the second finds it moved on and looks again
    for _ in range(_ATTEMPTS):
        number = committed(lake.schemas, [serial]).get(serial, 0) + 1
        version, known, known_missing = registered(lake, contract)
        changes = _changes(lake, contract, known, missing - known_missing)
        if not changes:
            return
        latest = version + any(c.change != "missing" for c in changes)  # bronze stays as it is without a column
        new = {"table": contract.name, "version": latest, "run_id": run.run_id, "changed_at": run.started_at}
        rows = pa.Table.from_pylist([new | vars(change) for change in changes], schema=SCHEMAS)
        if append_rows(lake.schemas, rows, ((serial, number),)).status == "committed":
            return
    raise UserError("other processes kept writing the schema registry", lake.schemas, "run again later")


def _changes(lake: Lake, contract: Contract, known: dict[str, str], missing: set[str]) -> list[Change]:
    changes = []
    for field in arrow_schema(existing_table(lake.bronze(contract))):
        kind = str(field.type)
        if field.name.startswith("_"):
            continue
        if field.name not in known:
            change = "declared" if field.name in contract and not known else "added"
            changes.append(Change(field.name, change, "", kind))
        elif known[field.name] != kind:
            changes.append(Change(field.name, "widened", known[field.name], kind))
    return changes + [Change(name, "missing", known.get(name, ""), "") for name in sorted(missing)]


def changes_of(lake: Lake, run: Run) -> dict[str, list[Change]]:
    """What changed in the columns of each bronze table by one run."""
    if open_table(lake.schemas) is None:
        return {}
    rows = read_table(lake.schemas, where=(("run_id", "=", run.run_id),)).to_pylist()
    found: dict[str, list[Change]] = {}
    for row in rows:
        found.setdefault(row["table"], []).append(Change(*(row[f.name] for f in fields(Change))))
    return found
