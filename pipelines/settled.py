"""Which rejects are final: a run that died may have left some that the run after it took, or has yet to look at."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa

from pipelines.bronze import file_id
from pipelines.config import Lake
from transforms.bronze.stream import STREAM
from transforms.contracts import Contract
from transforms.io.delta import committed, open_table, read_table
from transforms.io.delta_positions import positions


def settled(lake: Lake, table: Contract, rejects: pa.Table) -> tuple[pa.Table, set[str]]:
    """(rejects of bronze whose file is in bronze, those among them whose row is there as well).

    Rejects are committed before the rows of their file. Those that name a run whose rows bronze has are final. Others
    were left by a run that died: they wait for their file, and once another run has committed it, that run has either
    refused them too (two at once over the same files) or taken them (after a fix).
    """
    if "fingerprint" not in rejects.column_names:  # a lake of an earlier version
        return rejects, set()
    runs = _committed_runs(lake, table)
    rejects = _behind_the_stream(lake, table, rejects)
    rows = rejects.select(["reject_id", "file", "fingerprint", "position", "run_id", "attempts"]).to_pylist()
    doubtful = [r for r in rows if r["attempts"] == 1 and r["run_id"] not in runs and _is_file(r["fingerprint"])]
    if not doubtful:
        return rejects, set()
    names = {r["reject_id"]: file_id(r["file"], r["fingerprint"]) for r in doubtful}
    held = committed(lake.bronze(table), set(names.values()))
    waiting = {key for key, name in names.items() if name not in held}
    taken = _taken(lake, table, [r for r in doubtful if r["reject_id"] not in waiting], runs)
    return rejects.filter(pa.array([r["reject_id"] not in waiting for r in rows], pa.bool_())), taken


def _is_file(fingerprint: str | None) -> bool:
    return bool(fingerprint) and not str(fingerprint).startswith(STREAM)


def _behind_the_stream(lake: Lake, table: Contract, rejects: pa.Table) -> pa.Table:
    """Without the events that bronze has not passed yet: a stream that goes on before them looks at them again."""
    places = rejects.select(["fingerprint", "file", "position"]).to_pylist()
    streams = {(p["fingerprint"], p["file"]) for p in places if (p["fingerprint"] or "").startswith(STREAM)}
    last = {(mark, log): positions(lake.bronze(table), mark.removeprefix(STREAM), [log])[log] for mark, log in streams}
    passed = [p["position"] <= last.get((p["fingerprint"], p["file"]), p["position"]) for p in places]
    return rejects.filter(pa.array(passed, pa.bool_()))


def _committed_runs(lake: Lake, table: Contract) -> dict[str, list[str]]:
    """run_id -> the files ("path@fingerprint") it brought into bronze."""
    if open_table(lake.runs) is None:
        return {}
    where = (("table", "=", table.name), ("command", "=", "bronze"))
    rows = read_table(lake.runs, ("run_id", "inputs"), where).to_pylist()
    return {row["run_id"]: row["inputs"] for row in rows}


def _taken(lake: Lake, table: Contract, rejects: list[dict], runs: dict[str, list[str]]) -> set[str]:
    """Those whose place the run that committed their file has a row for."""
    readers = {name: run_id for run_id, files in runs.items() for name in files}
    places: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for reject in rejects:
        reader = readers.get(f"{reject['file']}@{reject['fingerprint']}")
        if reader:
            places[reader, reject["file"]][reject["position"]] = reject["reject_id"]
    found = set()
    for (reader, file), ids in places.items():
        where = (("_run_id", "=", reader), ("_file", "=", file))
        positions = read_table(lake.bronze(table), ("_position",), where)["_position"].to_pylist()
        found |= {ids[position] for position in positions if position in ids}
    return found
