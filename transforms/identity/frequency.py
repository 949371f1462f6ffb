"""How many of all records have each value, for those who see only some of the records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.identity.encode import Column, Encoded
from transforms.identity.keys import block_key
from transforms.identity.train import Population, chance_of_same
from transforms.silver.keys import column_hashes

# `value` is a hash; null: how many records have any value. The columns "", NAMES and "key ..." are all records, full
# names and block keys.
FREQUENCIES = pa.schema(
    [
        pa.field("column", pa.string(), nullable=False),
        pa.field("value", pa.int64()),
        pa.field("records", pa.int64(), nullable=False),
    ]
)
NAMES, _ALL, _KEY = "full_name", "", "key "
_OLDEST = pl.CompatLevel.oldest()
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def count_values(records: Encoded, keys: Iterable[str] = ()) -> pa.Table:
    """FREQUENCIES of some records; see `merge_values`. Of these block keys it is counted how many records have one."""
    total = [{"column": _ALL, "value": None, "records": records.size}]
    for key in keys:
        total.append({"column": _KEY + key, "value": None, "records": int((block_key(records, key) >= 0).sum())})
    parts = []
    for name, column in records.columns.items():
        used = np.flatnonzero(column.counts)
        total.append({"column": name, "value": None, "records": column.total})
        parts.append(_counted(name, _hashes(column)[used], column.counts[used]))
    names = _name_hashes(records)
    named, counts = np.unique(names[names > 0], return_counts=True)
    total.append({"column": NAMES, "value": None, "records": int(counts.sum())})
    return pa.concat_tables([pa.Table.from_pylist(total, FREQUENCIES), _counted(NAMES, named, counts), *parts])


def _counted(name: str, values: np.ndarray, counts: np.ndarray) -> pa.Table:
    columns = [pa.array([name] * len(values), pa.string()), values.view(np.int64), counts.astype(np.int64)]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=FREQUENCIES)


def merge_values(parts: pa.Table) -> pa.Table:
    """FREQUENCIES of parts of the records -> of them together, without values that only one record has."""
    sums = pl.DataFrame(pl.from_arrow(parts)).group_by("column", "value").agg(pl.col("records").sum())
    shared = sums.filter(pl.col("value").is_null() | (pl.col("records") > 1))
    return shared.to_arrow(compat_level=_OLDEST).cast(FREQUENCIES)


class Frequencies:
    """FREQUENCIES of all records, to be asked. Memory: 16 bytes for each value that several records have."""

    def __init__(self, table: pa.Table) -> None:
        frame = pl.DataFrame(pl.from_arrow(table)).sort("column", "value")
        totals = frame.filter(pl.col("value").is_null())
        self._totals = dict(zip(totals["column"], totals["records"], strict=True))
        self._values = {
            str(name[0]): (part["value"].to_numpy(), part["records"].to_numpy())
            for name, part in frame.drop_nulls("value").partition_by("column", as_dict=True).items()
        }
        there = {name for name, total in self._totals.items() if total}
        self.keys = {name.removeprefix(_KEY) for name in there if name.startswith(_KEY)}
        self.columns = {name for name in there - {_ALL, NAMES} if not name.startswith(_KEY)}

    @property
    def records(self) -> int:
        """How many records there are."""
        return self._totals.get(_ALL, 0)

    def told(self, records: Encoded) -> Encoded:
        """These records as part of all: they know how many of all have their values and names."""
        columns = {}
        for name, column in records.columns.items():
            columns[name] = Column(column.codes, column.values)
            counts = self._of(name, _hashes(column))
            columns[name].__dict__.update(counts=counts, total=self._totals.get(name, 0))
        made, names = replace(records, columns=columns), _name_hashes(records)
        counts = np.where(names > 0, self._of(NAMES, names), 0)
        made.__dict__["namesakes"] = (counts, self._totals.get(NAMES, 0))
        return made

    def population(self) -> Population:
        """What of all records a model depends on."""
        same = {name: self._chance(name) for name in self.columns}
        pairs = max(1.0, self.records * (self.records - 1) / 2)
        return Population(self.records, pairs, same, self._chance(NAMES))

    def _of(self, name: str, hashes: np.ndarray) -> np.ndarray:
        """How many records have each of these values of a column."""
        found = np.ones(len(hashes), np.int64)
        if name in self._values and len(hashes):
            values, counts = self._values[name]
            asked = hashes.view(np.int64)
            at = np.minimum(np.searchsorted(values, asked), len(values) - 1)
            found = np.where(values[at] == asked, counts[at], found)
        return found

    def _chance(self, name: str) -> float:
        counts = self._values[name][1] if name in self._values else np.empty(0, np.int64)
        return chance_of_same(counts, self._totals.get(name, 0))


def _hashes(column: Column) -> np.ndarray:
    return column_hashes(column.values.to_arrow(compat_level=_OLDEST))


def _name_hashes(records: Encoded) -> np.ndarray:
    """A number (uint64) for each record's full name, 0 where it has none."""
    given, surname = records.column("given_name"), records.column("surname")
    both = (given.codes >= 0) & (surname.codes >= 0)
    names = np.zeros(records.size, np.uint64)
    first, last = (_hashes(column)[column.codes[both]] for column in (given, surname))
    names[both] = np.maximum(first * _MULTIPLIER + last, np.uint64(1))
    return names
