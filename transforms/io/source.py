"""What a reader gives: source files, the parts they split into, and parsed batches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

Format = Literal["jsonl", "csv", "parquet"]

MAX_RECORD_BYTES = 16 << 20
RAW_LIMIT = 1 << 20

REJECTED = pa.schema(
    [
        ("_position", pa.int64()),
        ("_raw", pa.binary()),
        ("_raw_bytes", pa.int64()),
        ("rule", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    Attributes:
      fingerprint: changes when the content changes under the same name.
      renames: source column -> column, where the reader should not go by the name.
    """

    path: str
    size: int
    fingerprint: str
    format: Format
    compression: Literal["none", "gzip"] = "none"
    renames: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Split:
    """A part of a file: bytes of plain JSON lines, row groups of Parquet, or the whole of anything else.

    `parts`: into how many the file is split.
    """

    file: SourceFile
    start: int
    end: int
    parts: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Parsed:
    """Records of a file: `rows` (source columns, `_position`, `_raw`) and `rejects` (schema REJECTED)."""

    rows: pa.RecordBatch
    rejects: pa.RecordBatch


@dataclass(frozen=True)
class Reject:
    """One record that is no row: where it starts, its bytes (or the first of them), and why."""

    position: int
    raw: bytes
    size: int
    rule: str
    reason: str


def rejected_batch(rejects: Iterable[Reject]) -> pa.RecordBatch:
    """Rejects in file order as one batch of schema REJECTED."""
    found = sorted(rejects, key=lambda reject: reject.position)
    columns = [
        [r.position for r in found],
        [r.raw[:RAW_LIMIT] for r in found],
        [r.size for r in found],
        [r.rule for r in found],
        [r.reason for r in found],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, REJECTED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=REJECTED)


def too_long() -> tuple[str, str]:
    """The rule and reason for a record that is longer than may be held in memory."""
    return "line_too_long", f"the record is longer than {MAX_RECORD_BYTES:,} bytes"


class Naming:
    """Turns a source's column names into the lake's: known ones as declared, others cleaned and in upper case."""

    def __init__(self, known: Sequence[str], renames: Mapping[str, str] | None = None) -> None:
        self._known = {name.upper(): name for name in known}
        self._renames = dict(renames or {})

    def __call__(self, name: str) -> str:
        if name in self._renames:
            return self._renames[name]
        clean = re.sub(r"[^0-9A-Z_]+", "_", name.strip().upper()).strip("_") or "UNNAMED"
        if clean in self._renames.values():
            clean += "_2"  # the column of that name was said to be another one
        return self._known.get(clean, clean)

    def unique(self, names: Sequence[str]) -> list[str]:
        """The names of all columns; a second column of one name gets a number, so that none is lost.

        Where several would have a name ("id", "ID"), it goes to the one that is written so, else to the first.
        """
        result = {i: self(name) for i, name in enumerate(names)}
        taken: set[str] = set()
        for i in sorted(result, key=lambda i: result[i] != names[i]):
            wanted, number = result[i], 2
            while result[i] in taken:
                result[i], number = f"{wanted}_{number}", number + 1
            taken.add(result[i])
        return [result[i] for i in range(len(names))]
