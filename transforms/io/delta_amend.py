"""A table replaced by copy-on-write: rows that it has already stay where they are, in files that nobody touches.

Memory: some 40 bytes a row of the table and of what is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from deltalake import DeltaTable

from transforms.io.delta_files import DataFile
from transforms.io.delta_modes import Upsert
from transforms.io.delta_read import ScanFile, current_files, scan_files
from transforms.io.delta_table import arrow_schema, partition_columns
from transforms.io.delta_upsert import Keys, UpsertPlan, collect, incoming_file, rewrite

_MOST = 0.5  # where more of the stored rows go, it is all written anew
_HASH, _AGAIN = "hash", "again"


def plan_amend(uri: str, table: DeltaTable, files: Sequence[DataFile]) -> UpsertPlan:
    """What to add and remove so that the table holds the rows of `files` and no others, each as often as there.

    Two rows are one if all their values are, by a 64-bit hash.
    """
    schema, partition_by = arrow_schema(table), partition_columns(table)
    keys = Keys(uri, table, Upsert(tuple(schema.names)))
    stored = scan_files(current_files(table), schema, partition_by)
    if not stored:
        return UpsertPlan(list(files), inserted=sum(file.rows for file in files))
    incoming = [incoming_file(file, schema, partition_by) for file in files]
    have, want = _hashed(keys, stored), _hashed(keys, incoming)
    gone = have.join(want, on=[_HASH, _AGAIN], how="anti")
    known = want.join(have, on=[_HASH, _AGAIN], how="semi")
    if gone.height > _MOST * have.height:
        return UpsertPlan(list(files), stored, inserted=want.height)
    dropped: tuple[dict[int, list[np.ndarray]], ...] = ({}, {})
    collect(dropped[0], gone, "file", "row")
    collect(dropped[1], known, "file", "row")
    removes = [stored[number] for number in sorted(dropped[0])]
    kept = [file for number, file in enumerate(files) if number not in dropped[1]]
    again = [(stored[number], dropped[0][number]) for number in sorted(dropped[0])]
    again += [(incoming[number], dropped[1][number]) for number in sorted(dropped[1])]
    rewritten = rewrite(keys, table, again)
    return UpsertPlan(kept + rewritten, removes, rewritten, want.height - known.height)


def _hashed(keys: Keys, files: list[ScanFile]) -> pl.DataFrame:
    """`hash`, `again` (how many equal rows come before), `file` and `row` of every row."""
    parts = [
        pl.DataFrame({_HASH: hashes, "file": np.full(len(hashes), number), "row": np.arange(len(hashes))})
        for number, hashes in enumerate(keys.hashes(files))
    ]
    empty = pl.DataFrame(schema={_HASH: pl.UInt64, "file": pl.Int64, "row": pl.Int64})
    rows = pl.concat([empty, *parts])
    several = rows.filter(pl.col(_HASH).is_duplicated())  # few, and what is counted by group is slow
    counted = several.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).over(_HASH).alias(_AGAIN))
    once = rows.join(several.select(_HASH).unique(), on=_HASH, how="anti").with_columns(
        pl.lit(0, pl.Int64).alias(_AGAIN)
    )
    return pl.concat([once, counted])
