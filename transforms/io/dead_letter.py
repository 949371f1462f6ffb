"""The dead-letter table: every row that was refused, with its bytes, the reason and the place it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from transforms.io.delta_modes import Upsert

KEY = ("reject_id",)
OPEN, REPLAYED = "open", "replayed"
# Refused again by a rerun, a reject stays closed if it was, and keeps its attempts: "replayed" is above "open".
MODE = Upsert(KEY, ("status", "attempts"))
BRONZE, SILVER = "bronze", "silver"
# The input ended too soon: what is kept is a part of a row or no row at all, and only a whole file cures it.
UNFINISHED = ("truncated_gzip", "truncated_file")

REJECTS = pa.schema(
    [
        pa.field("reject_id", pa.string(), nullable=False),  # hash of stage, table, file, position
        pa.field("table", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),  # "bronze" or "silver"
        pa.field("source", pa.string()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string()),  # of the file; null where the row was refused later than on reading
        pa.field("position", pa.int64(), nullable=False),  # byte offset in text, row number in Parquet
        pa.field("rule", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.binary()),  # as it came, or of silver the row as bronze typed it; at most the first MiB
        pa.field("raw_bytes", pa.int64(), nullable=False),  # how long all of it is
        pa.field("raw_format", pa.string(), nullable=False),  # "jsonl" or "csv"
        pa.field("raw_header", pa.string()),  # CSV: the file's header line
        pa.field("raw_reading", pa.string()),  # JSON: how columns were mapped, numbers and dates spelt; null as usual
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("rejected_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
    ]
)


def reject_ids(stage: str, table: str, files: Sequence[str], positions: Sequence[int]) -> pa.Array:
    """One id a place; the same row refused again gets the same id, whatever the run."""
    ids = [
        hashlib.blake2b(f"{stage}\0{table}\0{file}\0{position}".encode(), digest_size=16).hexdigest()
        for file, position in zip(files, positions, strict=True)
    ]
    return pa.array(ids, pa.string())


def dead_letters(
    rejected: pa.Table,
    *,
    table: str,
    stage: str,
    source: str,
    file: str | pa.Array,
    raw_format: str,
    raw_header: str | None,
    raw_reading: str | None = None,
    at: datetime,
    run_id: str,
    fingerprint: str = "",
    marks: Sequence[str] | None = None,
    attempts: pa.Array | int = 1,
) -> pa.Table:
    """Rows of REJECTS.

    Args:
      rejected: `_position` int64, `_raw` binary, `_raw_bytes` int64, `rule` string, `reason` string.
      marks: instead, what tells a row's file from another one of that name: the run that read it.
      fingerprint: the content hash of the file, so that a file that changed under its name has rejects of its own.
    """
    rows = rejected.num_rows
    files = pa.repeat(pa.scalar(file), rows) if isinstance(file, str) else file
    told = marks or [fingerprint] * rows
    names = [f"{name}@{mark}" if mark else name for name, mark in zip(files.to_pylist(), told, strict=True)]
    columns = {
        "reject_id": reject_ids(stage, table, names, rejected["_position"].to_pylist()),
        "table": pa.repeat(table, rows),
        "stage": pa.repeat(stage, rows),
        "source": pa.repeat(source, rows),
        "file": files,
        "fingerprint": pa.repeat(pa.scalar(fingerprint or None, pa.string()), rows),
        "position": rejected["_position"],
        "rule": rejected["rule"],
        "reason": rejected["reason"],
        "raw": rejected["_raw"],
        "raw_bytes": rejected["_raw_bytes"],
        "raw_format": pa.repeat(raw_format, rows),
        "raw_header": pa.repeat(pa.scalar(raw_header, pa.string()), rows),
        "raw_reading": pa.repeat(pa.scalar(raw_reading, pa.string()), rows),
        "attempts": pa.repeat(pa.scalar(attempts, pa.int32()), rows) if isinstance(attempts, int) else attempts,
        "status": pa.repeat(OPEN, rows),
        "rejected_at": pa.repeat(pa.scalar(at, REJECTS.field("rejected_at").type), rows),
        "run_id": pa.repeat(run_id, rows),
    }
    return pa.table(columns).cast(REJECTS)
