"""Keys as 64-bit hashes, sets of them, and the rows whose parent is in none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.contracts import Contract
from transforms.silver.distinct import as_array, sorted_unique
from transforms.silver.flags import add_flags, rows_with, without_flags

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's fmix64, Appleby 2011
_SHIFT = np.uint64(33)
_NULL = np.uint64(0x6E756C6C6E756C6C)
_LOW_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
ORPHAN = "_orphan"
_LONG = 1024  # bytes; longer text is hashed by BLAKE2b first, one by one


def key_hashes(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """A uint64 for each row, from the values of `columns`; equal rows have equal hashes, everywhere and for ever.

    Text is hashed by its UTF-8 bytes whatever Arrow type holds it: length and then each little-endian 64-bit word
    go through fmix64 of MurmurHash3. It needs no library's hash, which may change between versions. Dates, times,
    booleans and integers are one word, decimals their text. Of n keys, some two share a hash with probability about
    n^2 / 2^65: 1 in 15,000 for 50 million.
    """
    result = np.full(table.num_rows, _GOLDEN)
    for name in columns:
        result = _mixed(result * _MIX_2 ^ column_hashes(as_array(table[name])))
    return result


def column_hashes(values: pa.Array) -> np.ndarray:
    """A uint64 for each value of one column, as in `key_hashes`; all nulls share one."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        words = (values.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64) + 0.0).view(np.uint64)
        hashes = _mixed(words + _GOLDEN)
    elif (
        pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type)
    ):
        hashes = _text_hashes(values.cast(pa.large_string()))
    else:
        hashes = _mixed(_integers(values).view(np.uint64) + _GOLDEN)
    return np.where(valid, hashes, _NULL)


def _integers(values: pa.Array) -> np.ndarray:
    if pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    return values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).copy()


def _text_hashes(values: pa.LargeStringArray) -> np.ndarray:
    if len(values) == 0:
        return np.empty(0, np.uint64)
    _, offset_buffer, data_buffer = values.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[values.offset : values.offset + len(values) + 1]
    start, length = offsets[:-1] - offsets[0], np.diff(offsets)
    data = np.zeros(offsets[-1] - offsets[0] + 8, np.uint8)  # 8 more, so that the last word can be read whole
    if data_buffer is not None:
        data[:-8] = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    words = np.ndarray(len(data) - 7, "<u8", buffer=data, strides=(1,))
    hashes = _mixed(length.astype(np.uint64) + _GOLDEN)
    long = length > _LONG
    for at in range(0, int(length[~long].max(initial=0)), 8):
        rows = np.flatnonzero((length > at) & ~long)
        word = words[start[rows] + at] & _LOW_BYTES[np.minimum(length[rows] - at, 8)]
        hashes[rows] = _mixed((hashes[rows] ^ word) + _GOLDEN)
    for row in np.flatnonzero(long):
        digest = hashlib.blake2b(data[start[row] : start[row] + length[row]].tobytes(), digest_size=8).digest()
        hashes[row] = int.from_bytes(digest, "little")
    return hashes


def _mixed(words: np.ndarray) -> np.ndarray:
    words = words ^ (words >> _SHIFT)
    words *= _MIX_1
    words ^= words >> _SHIFT
    words *= _MIX_2
    words ^= words >> _SHIFT
    return words


@dataclass(frozen=True, eq=False)
class KeySet:
    """The keys of a table: sorted, unique hashes; sets of parts merge in any order to the same set.

    Each worker holds the whole set of each parent table: 8 bytes a key, and three times that while parts are merged. A
    hundred million keys are 0.8 GB, fine on one machine; beyond that group children and parents by key instead.
    """

    hashes: np.ndarray

    @staticmethod
    def of(table: pa.Table, columns: Sequence[str]) -> KeySet:
        """The keys of the rows that have one: rows with a null in `columns` are left out."""
        complete = np.ones(table.num_rows, bool)
        for name in columns:
            complete &= as_array(table[name]).is_valid().to_numpy(zero_copy_only=False)
        return KeySet(sorted_unique(key_hashes(table, columns)[complete]))

    @staticmethod
    def union(sets: Iterable[KeySet]) -> KeySet:
        """All keys of all sets."""
        parts = [part.hashes for part in sets]
        return KeySet(sorted_unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64))

    def contains(self, hashes: np.ndarray) -> np.ndarray:
        """A boolean for each hash."""
        if not self.hashes.size:
            return np.zeros(len(hashes), bool)
        places = np.searchsorted(self.hashes, hashes)
        return self.hashes[np.minimum(places, self.hashes.size - 1)] == hashes

    def __len__(self) -> int:
        return self.hashes.size


def flag_orphans(table: pa.Table, contract: Contract, parents: Mapping[str, KeySet]) -> pa.Table:
    """Flags "orphan:COLUMN" on rows whose foreign key has no parent, and says in `_orphan` bool which rows have one.

    A null foreign key is no orphan: a guest's order, an anonymous visit. Flags that a row brings along are judged anew
    for the parents that are given, and stay for the others. Order and other columns stay.

    Args:
      parents: the keys of each parent table, by table name; foreign keys into other tables are not looked at.
    """
    masks = {}
    for key in contract.foreign_keys:
        if key.table in parents:
            present = pc.is_valid(as_array(table[key.column])).to_numpy(zero_copy_only=False)
            known = parents[key.table].contains(key_hashes(table, [key.column]))
            masks[f"orphan:{key.column}"] = present & ~known
    flagged = add_flags(without_flags(table, masks), masks)
    kept = [name for name in flagged.column_names if name != ORPHAN]
    return flagged.select(kept).append_column(ORPHAN, pa.array(rows_with(flagged, "orphan:")))
