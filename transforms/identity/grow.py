"""New records among those of before, as numbers; what is known of the old ones is not worked out again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.identity.encode import NONE, Column, Encoded, encode_records, extend

_SHARED = ("given_name", "surname")  # columns with one set of values


@dataclass(frozen=True)
class Grown:
    """Records of before and of today.

    Attributes:
      records: all, in the order of their keys; `new` are those that were not there before, or not so.
      place: for each record of before its number now, NONE if it has changed.
      origin: for each record its number before, NONE if it was not there; of a changed one that of what it was.
    """

    records: Encoded
    place: np.ndarray
    origin: np.ndarray


def add_records(kept: Encoded, records: pa.Table) -> Grown:
    """The records of before with standard records: new ones, changed ones, and ones that are as they were."""
    fresh = encode_records(records)
    values: dict[str, tuple[np.ndarray, pl.Series]] = {}
    for name in sorted({*kept.columns, *fresh.columns}):
        if name not in values:
            group = [n for n in _SHARED if n in kept.columns or n in fresh.columns] if name in _SHARED else [name]
            values |= dict.fromkeys(group, extend(_values(kept, group), _values(fresh, group)))
    codes = {name: np.append(at, NONE)[fresh.column(name).codes] for name, (at, _) in values.items()}
    flags = {name: _flag(fresh, name) for name in {*kept.flags, *fresh.flags}}
    at, there = _find(kept.keys, fresh.keys)
    same = there.copy()
    for name, found in codes.items():
        same &= kept.column(name).codes[at] == found
    for name, found in flags.items():
        same &= _flag(kept, name)[at] == found
    rows = np.flatnonzero(~same)
    stays = np.ones(kept.size, bool)
    stays[at[there & ~same]] = False
    merge = _Merge(kept, fresh, stays, rows)
    columns = {
        name: Column(merge.numbers(kept.column(name).codes, codes[name]), every, dict(kept.column(name).derived))
        for name, (_, every) in values.items()
    }  # fmt: skip
    whole = Encoded(
        merge.keys(), merge.new, columns, {name: merge.numbers(_flag(kept, name), flags[name]) for name in flags}
    )
    whole.__dict__["hashes"] = merge.numbers(kept.hashes, fresh.hashes)
    return Grown(whole, merge.place, merge.origin(np.where(there, at, NONE)))


class _Merge:
    """Where the records that stay, and these rows of the fresh ones, are in one order of keys."""

    def __init__(self, kept: Encoded, fresh: Encoded, stays: np.ndarray, rows: np.ndarray) -> None:
        self._old, self._rows = np.flatnonzero(stays), rows
        self._kept, self._fresh = kept, fresh
        old_keys = kept.keys if stays.all() else kept.keys.filter(pl.Series(stays))
        new_keys = fresh.keys.gather(rows)
        self._keys = pl.concat([old_keys, new_keys])
        self.new = np.zeros(len(self._keys), bool)
        if len(rows):
            self.new[old_keys.search_sorted(new_keys).to_numpy().astype(np.int64) + np.arange(len(rows))] = True
        self.place = np.full(kept.size, NONE, np.int32)
        self.place[self._old] = np.flatnonzero(~self.new)

    def keys(self) -> pl.Series:
        order = np.empty(len(self._keys), np.int64)
        order[~self.new] = np.arange(len(self._old))
        order[self.new] = np.arange(len(self._old), len(self._keys))
        return self._keys.gather(order)

    def numbers(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        found = np.empty(len(self.new), old.dtype)
        found[~self.new] = old[self._old]
        found[self.new] = new[self._rows]
        return found

    def origin(self, before: np.ndarray) -> np.ndarray:
        return self.numbers(np.arange(self._kept.size, dtype=np.int32), before.astype(np.int32))


def _values(records: Encoded, group: list[str]) -> pl.Series:
    found = [records.columns[name].values for name in group if name in records.columns]
    return found[0] if found else pl.Series([], dtype=pl.String)


def _flag(records: Encoded, name: str) -> np.ndarray:
    return records.flags.get(name, np.zeros(records.size, bool))


def _find(keys: pl.Series, asked: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Where each key is, and whether it is there at all."""
    if not len(keys):
        return np.zeros(len(asked), np.int64), np.zeros(len(asked), bool)
    at = np.minimum(keys.search_sorted(asked).to_numpy().astype(np.int64), len(keys) - 1)
    return at, (keys.gather(at) == asked).to_numpy()


def all_new(records: Encoded) -> Encoded:
    """The same records as if none had been there before."""
    made = replace(records, new=np.ones(records.size, bool))
    made.__dict__["hashes"] = records.hashes
    return made
