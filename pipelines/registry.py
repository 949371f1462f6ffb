"""The schema registry: each version of each bronze table's columns, and what changed between them."""

from __future__ import annotations

import pyarrow as pa

from pipelines.config import Lake, Run
from transforms.bronze.evolution import Change
from transforms.contracts import Contract
from transforms.io.delta import append_rows, arrow_schema, open_table, read_table

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


def register_changes(lake: Lake, run: Run, contract: Contract, missing: set[str] = frozenset()) -> list[Change]:  # type: ignore[assignment]
    """Records how bronze differs from the latest registered version; records nothing when it does not.

    It compares the table itself with the registry, so that a run that died in between is made good by the next.
    """
    table = open_table(lake.bronze(contract))
    if table is None:
        return []
    version, known, known_missing = registered(lake, contract)
    changes = []
    for field in arrow_schema(table):
        if field.name.startswith("_"):
            continue
        kind = str(field.type)
        if field.name not in known:
            change = "declared" if field.name in contract and not version else "added"
            changes.append(Change(field.name, change, "", kind))
        elif known[field.name] != kind:
            changes.append(Change(field.name, "widened", known[field.name], kind))
    changes += [Change(name, "missing", known.get(name, ""), "") for name in sorted(missing - known_missing)]
    if changes:  # a file without a column leaves bronze as it is: no version of its own
        latest = version + any(c.change != "missing" for c in changes)
        rows = [
            {
                "table": contract.name,
                "version": latest,
                **vars(c),
                "run_id": run.run_id,
                "changed_at": run.started_at,
            }
            for c in changes
        ]
        append_rows(lake.schemas, pa.Table.from_pylist(rows, schema=SCHEMAS))
    return changes
