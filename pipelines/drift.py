"""How a run's column profiles differ from those of the run before."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Lake, Run
from transforms.io.delta import append_rows, open_table, read_table
from transforms.silver.drift import drift


def record_drift(lake: Lake, run: Run) -> pa.Table | None:
    """Compares each table's profile of this run with its latest earlier one and appends the result."""
    if open_table(lake.profiles) is None:
        return None
    profiles = read_table(lake.profiles)
    current = profiles.filter(pc.field("run_id") == run.run_id)
    found = []
    for table in current["table_name"].unique().to_pylist():
        now = current.filter(pc.field("table_name") == table)
        before = profiles.filter((pc.field("table_name") == table) & (pc.field("profiled_at") < run.started_at))
        if before.num_rows:
            latest = before.filter(pc.equal(before["profiled_at"], pc.max(before["profiled_at"])))
            found.append(drift(latest, now))
    if not found:
        return None
    changes = pa.concat_tables(found)
    append_rows(lake.drift, changes, ((f"run/{run.run_id}", 1),))
    return changes
