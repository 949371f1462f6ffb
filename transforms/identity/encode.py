"""Standard records as numbers: each distinct value is kept once and worked once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.identity.fields import FIELDS, RECORD_KEY
from transforms.silver.keys import column_hashes

NONE = -1


@dataclass(frozen=True)
class Derived:
    """What was made of distinct values: for each the place of the result in `values`, NONE where it is none."""

    codes: np.ndarray
    values: pl.Series

    def extended(self, made: pl.Series) -> Derived:
        """With the results for values that have been added."""
        codes, values = encode(made)
        at, every = extend(self.values, values)
        return Derived(np.concatenate([self.codes, np.append(at, NONE)[codes]]).astype(np.int32), every)


NOTHING_DERIVED = Derived(np.empty(0, np.int32), pl.Series([], dtype=pl.String))


@dataclass(frozen=True)
class Column:
    """One column of all records.

    Attributes:
      codes: for each record the place of its value in `values`, NONE where it has none.
      values: distinct values; `given_name` and `surname` share theirs, so that codes of both can be compared.
      derived: what was made of the first of the values, and is not made again.
    """

    codes: np.ndarray
    values: pl.Series
    derived: dict[str, Derived] = field(default_factory=dict)

    @cached_property
    def words(self) -> np.ndarray:
        """The values as Python strings, to be gathered."""
        return np.array(self.values.to_list(), object)

    @cached_property
    def compact(self) -> np.ndarray:
        """The values without spaces."""
        return np.array(self.values.str.replace_all(" ", "", literal=True).to_list(), object)

    @cached_property
    def counts(self) -> np.ndarray:
        """How many records have each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    @cached_property
    def total(self) -> int:
        """How many records have a value."""
        return int(self.counts.sum())

    def only(self, codes: np.ndarray, used: np.ndarray) -> Column:
        """The column with these codes, of which no others than `used` occur, and the counts it has."""
        place = np.full(len(self.values) + 1, NONE, np.int32)
        place[used] = np.arange(len(used))
        column = Column(place[codes], self.values.gather(used))
        column.__dict__.update(counts=self.counts[used], total=self.total)  # of all records, not of these
        return column

    def derive(self, name: str, work: Callable[[pl.Series], pl.Series]) -> Column:
        """The column of what `work` makes of each value, which may be null; `name` is its name in `derived`."""
        known = self.derived.get(name, NOTHING_DERIVED)
        if len(known.codes) < len(self.values):
            known = known.extended(work(self.values.slice(len(known.codes))))
            self.derived[name] = known
        return Column(np.append(known.codes, np.int32(NONE))[self.codes], known.values)


@dataclass(frozen=True)
class Encoded:
    """Records in the order of their keys, so that nothing depends on the order they came in.

    Attributes:
      keys: the record keys.
      new: which records are of the first table; all where there is one only.
      columns: name -> Column, of the standard columns that hold any value.
      flags: name -> bool for each record.
    """

    keys: pl.Series
    new: np.ndarray
    columns: dict[str, Column]
    flags: dict[str, np.ndarray]

    @property
    def size(self) -> int:
        return len(self.keys)

    @cached_property
    def hashes(self) -> np.ndarray:
        """A number (uint64) for each record, made of its key: what is drawn by them depends on no other record."""
        return column_hashes(self.keys.to_arrow(compat_level=pl.CompatLevel.oldest()))

    @cached_property
    def full_names(self) -> np.ndarray:
        """A code for each record's given name and surname."""
        return joined([self.column("given_name").codes, self.column("surname").codes])

    @cached_property
    def namesakes(self) -> tuple[np.ndarray, int]:
        """For each record how many have its full name, 0 where it has none; and how many have one."""
        pair = self.full_names
        counts = np.bincount(pair[pair >= 0], minlength=1)
        return np.where(pair >= 0, counts[pair], 0), int(counts.sum())

    def only(self, rows: np.ndarray) -> Encoded:
        """The records with the values of those that `rows` (bool) names; how frequent values are stays known."""
        codes = {name: np.where(rows, column.codes, NONE) for name, column in self.columns.items()}
        used = {name: np.unique(found[found >= 0]) for name, found in codes.items()}
        names = [name for name in ("given_name", "surname") if name in codes]
        if len(names) == 2:
            used |= dict.fromkeys(names, np.union1d(used["given_name"], used["surname"]))
        columns = {name: column.only(codes[name], used[name]) for name, column in self.columns.items()}
        made = replace(self, columns=columns)
        made.__dict__.update({name: self.__dict__[name] for name in ("hashes",) if name in self.__dict__})
        return made

    def column(self, name: str) -> Column:
        """The column, or one without any value."""
        return self.columns.get(name) or Column(np.full(self.size, NONE, np.int32), pl.Series([], dtype=pl.String))


def encode_records(records: pa.Table, against: pa.Table | None = None) -> Encoded:
    """Encodes standard records, those of `against` among them."""
    tables = [records] if against is None else [records, against]
    names = [RECORD_KEY, *(name for name in FIELDS if any(name in table.column_names for table in tables))]
    table = pa.concat_tables(
        [t.select([n for n in names if n in t.column_names]) for t in tables], promote_options="default"
    )
    new = np.arange(table.num_rows) < records.num_rows
    order = pl.Series(table[RECORD_KEY]).arg_sort().to_numpy()
    frame = pl.DataFrame(pl.from_arrow(table))
    flags = {n: frame[n].fill_null(False).to_numpy()[order] for n in names if frame[n].dtype == pl.Boolean}
    columns: dict[str, Column] = {}
    texts = [n for n in names if n != RECORD_KEY and n not in flags and frame[n].null_count() < frame.height]
    shared = [n for n in ("given_name", "surname") if n in texts]
    if shared:
        codes, values = encode(pl.concat([frame[n].alias("") for n in shared]))
        for n, part in zip(shared, np.split(codes, len(shared)), strict=True):
            columns[n] = Column(part[order], values)
    for name in texts:
        if name not in shared:
            codes, values = encode(frame[name])
            columns[name] = Column(codes[order], values)
    return Encoded(frame[RECORD_KEY].gather(order), new[order], columns, flags)


def encode(values: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Codes (int32, NONE for null) and distinct values."""
    made = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    if isinstance(made, pa.ChunkedArray):
        made = made.combine_chunks()
    coded = made.dictionary_encode()
    return coded.indices.fill_null(NONE).to_numpy(zero_copy_only=False).astype(np.int32), pl.Series(
        pl.from_arrow(coded.dictionary)
    )


def extend(kept: pl.Series, fresh: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Where each of the fresh distinct values is among the kept ones (int32), to which unknown ones are added."""
    if not len(kept):
        return np.arange(len(fresh), dtype=np.int32), fresh
    known = pl.Series(np.flatnonzero(kept.is_in(fresh.implode()).to_numpy()), dtype=pl.Int64)
    there = pl.DataFrame({"value": kept.gather(known), "at": known})
    found = pl.DataFrame({"value": fresh}).join(there, on="value", how="left", maintain_order="left")["at"]
    unknown = found.is_null()
    added = len(kept) + unknown.cum_sum().cast(pl.Int64) - 1
    at = found.fill_null(added).to_numpy() if len(fresh) else np.empty(0)
    return at.astype(np.int32), pl.concat([kept, fresh.filter(unknown)]).alias(kept.name)


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """One code (int64 from 0) for each combination of codes; NONE where any part is NONE."""
    there = np.logical_and.reduce([part >= 0 for part in parts])
    whole = parts[0][there].astype(np.int64)
    for part in parts[1:]:
        whole = dense(whole * (int(part.max(initial=0)) + 1) + part[there])
    found = np.full(len(there), NONE, np.int64)
    found[there] = whole
    return found


def dense(codes: np.ndarray) -> np.ndarray:
    """The codes (int64, 0 or more) numbered from 0 without gaps."""
    if not len(codes):
        return codes
    top = int(codes.max())
    if top < 4 * len(codes) + 1_000:
        used = np.zeros(top + 1, bool)
        used[codes] = True
        return (np.cumsum(used) - 1)[codes]
    return np.asarray(pl.Series(codes).rank("dense").to_numpy().astype(np.int64) - 1)
