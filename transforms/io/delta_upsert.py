"""Upsert by copy-on-write: rows are matched by key, and only the files that lose rows are written again.

Memory: some 20 bytes an incoming row, plus the keys of at most `PASS_ROWS` incoming rows and their matches at a time;
the size of the table does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
from deltalake import DeltaTable

from transforms.errors import UserError
from transforms.io import storage
from transforms.io.delta_files import DataFile, TableFiles
from transforms.io.delta_modes import Upsert
from transforms.io.delta_prune import bounds
from transforms.io.delta_read import Scan, ScanFile, current_files, read_file, scan_files
from transforms.io.delta_table import arrow_schema, constraints, partition_columns

PASS_ROWS = 2_000_000
REWRITE_BYTES = 128 << 20
_FILE, _ROW = "\0file", "\0row"  # no column of a table has such a name


@dataclass
class UpsertPlan:
    """Files to add and remove; `scratch` are those among `adds` that were written here."""

    adds: list[DataFile]
    removes: list[ScanFile] = field(default_factory=list)
    scratch: list[DataFile] = field(default_factory=list)
    inserted: int = 0
    updated: int = 0
    stale: int = 0


def plan_upsert(uri: str, table: DeltaTable, files: list[DataFile], mode: Upsert) -> UpsertPlan:
    """What to add and remove so that the table holds one row a key, the incoming one unless the stored is newer.

    Raises:
      UserError: two incoming rows have the same key.
    """
    keys = Keys(uri, table, mode)
    incoming = [incoming_file(file, keys.schema, keys.partition_by) for file in files]
    rows = sum(file.rows for file in files)
    hashes = keys.hashes(incoming)
    _refuse_duplicates(keys, incoming, hashes)
    everything = np.sort(np.concatenate([np.empty(0, np.uint64), *hashes]))
    stored = keys.candidates(table, incoming)
    dropped_stored: dict[int, list[np.ndarray]] = {}
    dropped_incoming: dict[int, list[np.ndarray]] = {}
    updated = stale = 0
    passes = max(1, -(-rows // PASS_ROWS))
    for number in range(passes):
        wanted = everything[everything % np.uint64(passes) == number] if passes > 1 else everything
        matches = _match(keys, incoming, stored, wanted, mode)
        lost = matches.filter(pl.col("stale"))
        won = matches.join(lost.select("in_file", "in_row"), on=["in_file", "in_row"], how="anti")
        collect(dropped_stored, won, "file", "row")
        collect(dropped_incoming, lost, "in_file", "in_row")
        updated += won.select("in_file", "in_row").n_unique()
        stale += lost.select("in_file", "in_row").n_unique()
    removed = [stored[i] for i in sorted(dropped_stored)]
    kept = [file for i, file in enumerate(files) if i not in dropped_incoming]
    rewritten = rewrite(keys, table, [(stored[i], dropped_stored[i]) for i in sorted(dropped_stored)] +
                         [(incoming[i], dropped_incoming[i]) for i in sorted(dropped_incoming)])  # fmt: skip
    return UpsertPlan(kept + rewritten, removed, rewritten, rows - updated - stale, updated, stale)


def incoming_file(file: DataFile, schema: pa.Schema, partition_by: tuple[str, ...]) -> ScanFile:
    """An uncommitted file as something to read."""
    values = [pa.array([file.partition[name]], pa.string()).cast(schema.field(name).type) for name in partition_by]
    partition = pa.RecordBatch.from_arrays(values, schema=pa.schema([schema.field(n) for n in partition_by]))
    return ScanFile(file.path, partition, file.size, file.rows)


class Keys:
    """Streams the key and order columns of files of one table."""

    def __init__(self, uri: str, table: DeltaTable, mode: Upsert) -> None:
        self.uri, self.key, self.order_by = uri, list(mode.key), list(mode.order_by)
        self.schema, self.partition_by = arrow_schema(table), partition_columns(table)
        self.files: pafs.FileSystem = storage.filesystem(uri)
        self.columns = list(dict.fromkeys([*mode.key, *mode.order_by]))

    def scan(self, columns: list[str] | None = None) -> Scan:
        chosen = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        return Scan(self.uri, chosen, self.schema, self.partition_by, ())

    def stream(self, file: ScanFile, columns: list[str]) -> Iterator[pl.DataFrame]:
        for batch in read_file(self.scan(columns), file, files=self.files):
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))

    def hash_of(self, frame: pl.DataFrame) -> np.ndarray:
        return frame.select(self.key).hash_rows(seed=0).to_numpy()

    def hashes(self, files: list[ScanFile]) -> list[np.ndarray]:
        return [
            np.concatenate([np.empty(0, np.uint64), *(self.hash_of(f) for f in self.stream(file, self.key))])
            for file in files
        ]

    def rows_with(self, files: list[ScanFile], wanted: np.ndarray, columns: list[str]) -> pl.DataFrame:
        """The rows whose key hash is in `wanted` (sorted), with the file's and the row's number."""
        found: list[pl.DataFrame] = []
        for number, file in enumerate(files if len(wanted) else []):
            start = 0
            for frame in self.stream(file, columns):
                hit = _among(self.hash_of(frame), wanted)
                if len(hit):
                    place = [pl.Series(_FILE, np.full(len(hit), number)), pl.Series(_ROW, hit + start)]
                    found.append(frame[hit].with_columns(place))
                start += len(frame)
        return pl.concat(found) if found else self._no_rows(columns)

    def _no_rows(self, columns: list[str]) -> pl.DataFrame:
        empty = pl.DataFrame(pl.from_arrow(pa.schema([self.schema.field(name) for name in columns]).empty_table()))
        return empty.with_columns(pl.lit(0, pl.Int64).alias(_FILE), pl.lit(0, pl.Int64).alias(_ROW))

    def candidates(self, table: DeltaTable, incoming: list[ScanFile]) -> list[ScanFile]:
        """The stored files whose key bounds or partition touch those of the incoming rows."""
        files = current_files(table)
        mask = np.ones(len(files), dtype=bool)
        for name in self.key if len(files) and incoming else []:
            kind = self.schema.field(name).type
            if name in self.partition_by:
                ours = pa.concat_arrays([file.partition.column(name) for file in incoming])
                stored = pc.struct_field(files.column("partition").combine_chunks(), name).cast(kind)
                mask &= pc.is_in(stored, value_set=ours).to_numpy(zero_copy_only=False)
                continue
            low, high = bounds(files, name, kind)
            if low is None or high is None or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
                continue
            least, most, nulls = self._range(incoming, name)
            if nulls or least is None:
                continue
            touches = pc.and_kleene(pc.less_equal(low, most), pc.greater_equal(high, least))
            mask &= pc.fill_null(touches, True).to_numpy(zero_copy_only=False)
        return scan_files(files.filter(pa.array(mask)), self.schema, self.partition_by)

    def _range(self, incoming: list[ScanFile], name: str) -> tuple[pa.Scalar | None, pa.Scalar | None, bool]:
        least: pa.Scalar | None = None
        most: pa.Scalar | None = None
        kind = self.schema.field(name).type
        for file in incoming:
            for batch in read_file(self.scan([name]), file, files=self.files):
                column = batch.column(0)
                if column.null_count:
                    return None, None, True
                ends = pa.array([x for x in (least, most) if x is not None] + list(pc.min_max(column).values()), kind)
                least, most = pc.min(ends), pc.max(ends)
        return least, most, False


def _among(hashes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    if not len(wanted):
        return np.empty(0, np.int64)
    at = np.searchsorted(wanted, hashes)
    at[at == len(wanted)] = 0
    return np.flatnonzero(wanted[at] == hashes)


def _refuse_duplicates(keys: Keys, incoming: list[ScanFile], hashes: list[np.ndarray]) -> None:
    ordered = np.sort(np.concatenate([np.empty(0, np.uint64), *hashes]))
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return
    suspects = keys.rows_with(incoming, twice[:PASS_ROWS], keys.key)
    repeated = int(suspects.select(keys.key).is_duplicated().sum())
    if repeated:
        raise UserError(
            f"{repeated} incoming rows share their key ({', '.join(keys.key)}) with another",
            keys.uri,
            "keep one row a key before the upsert",
        )


def _match(
    keys: Keys, incoming: list[ScanFile], stored: list[ScanFile], wanted: np.ndarray, mode: Upsert
) -> pl.DataFrame:
    """The pairs of stored and incoming rows with the same key: file, row, in_file, in_row, stale."""
    old = keys.rows_with(stored, wanted, keys.columns)
    found = np.unique(keys.hash_of(old)) if len(old) else wanted[:0]
    new = keys.rows_with(incoming, found, keys.columns)
    pairs = old.join(new, on=keys.key, how="inner", nulls_equal=True, suffix="\0new")
    return pairs.select(
        pl.col(_FILE).alias("file"),
        pl.col(_ROW).alias("row"),
        pl.col(_FILE + "\0new").alias("in_file"),
        pl.col(_ROW + "\0new").alias("in_row"),
        _greater([name for name in mode.order_by if name not in mode.key]).alias("stale"),
    )


def _greater(columns: list[str]) -> pl.Expr:
    greater, equal = pl.lit(False), pl.lit(True)
    for name in columns:
        stored, new = pl.col(name), pl.col(name + "\0new")
        above = (stored.is_not_null() & new.is_null()) | (stored > new).fill_null(False)
        greater, equal = greater | (equal & above), equal & stored.eq_missing(new)
    return greater


def collect(into: dict[int, list[np.ndarray]], pairs: pl.DataFrame, file: str, row: str) -> None:
    """Adds the numbers of the rows of each file to `into`."""
    for (number,), group in pairs.select(file, row).unique().group_by(file):
        into.setdefault(int(number), []).append(group[row].to_numpy())  # type: ignore[call-overload]


def rewrite(keys: Keys, table: DeltaTable, work: list[tuple[ScanFile, list[np.ndarray]]]) -> list[DataFile]:
    """Writes the rows of each file that were not dropped, joined into as few files as their partitions allow."""
    out = TableFiles(keys.files, keys.schema, keys.partition_by, REWRITE_BYTES, constraints(table))
    scan = keys.scan()
    for file, dropped in work:
        gone = np.concatenate(dropped)
        start = 0
        for batch in read_file(scan, file, files=keys.files):
            keep = np.ones(batch.num_rows, dtype=bool)
            inside = gone[(gone >= start) & (gone < start + batch.num_rows)]
            keep[inside - start] = False
            start += batch.num_rows
            if keep.any():
                out.add(pa.Table.from_batches([batch]).filter(pa.array(keep)))
    return out.take()
