"""Candidate pairs: which records are compared, found without comparing all with all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.identity.encode import NONE, Encoded, dense
from transforms.identity.keys import block_key
from transforms.identity.rules import BlockingRule, IdentityRules

Wanted = Callable[[np.ndarray, np.ndarray], np.ndarray]
BLOCKS = pa.schema([
    pa.field("rule", pa.string(), nullable=False),
    pa.field("records", pa.int64(), nullable=False),  # with a key
    pa.field("refined", pa.int64(), nullable=False),  # in blocks that were too large
    pa.field("windowed", pa.int64(), nullable=False),  # in blocks too large even so: compared with neighbours only
    pa.field("pairs", pa.int64(), nullable=False),  # brought together; a pair may be of several rules
    pa.field("left_out", pa.float64(), nullable=False),  # pairs that agree on the rule's keys and are not compared
])  # fmt: skip


@dataclass(frozen=True)
class Blocks:
    """The blocks of one rule.

    Attributes:
      key: for each record the number of its block, NONE outside.
      order: the records that are in blocks, block by block, within a block first those of the first table.
      starts, ends: for each place in `order` from where to where (exclusive) its partners reach.
      windowed: for each record, whether its block was too large.
      place: for each record its place in `order`, where any block is windowed.
    """

    rule: str
    key: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    windowed: np.ndarray
    place: np.ndarray | None
    window: int
    left_out: float
    refined: int

    @property
    def counts(self) -> np.ndarray:
        return self.ends - self.starts

    def meet(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Whether this rule brings these records together."""
        key = self.key[left]
        found = (key >= 0) & (key == self.key[right])
        if self.place is not None:
            at = np.flatnonzero(found & self.windowed[left])
            found[at] = np.abs(self.place[left[at]] - self.place[right[at]]) <= self.window
        return found

    def report(self) -> dict[str, object]:
        return {
            "rule": self.rule, "records": int((self.key >= 0).sum()), "refined": self.refined,
            "windowed": int(self.windowed.sum()), "pairs": int(self.counts.sum()), "left_out": self.left_out,
        }  # fmt: skip


@dataclass(frozen=True)
class Candidates:
    """All candidate pairs, in chunks; each pair once."""

    blocks: tuple[Blocks, ...]
    new: np.ndarray
    within: bool

    @property
    def total(self) -> int:
        return int(sum(int(block.counts.sum()) for block in self.blocks))

    def rows(self) -> np.ndarray:
        """Which records (bool) are in blocks."""
        found = np.zeros(len(self.new), bool)
        for block in self.blocks:
            found[block.order] = True
        return found

    def report(self) -> pa.Table:
        return pa.Table.from_pylist([block.report() for block in self.blocks], BLOCKS)

    def met_by(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """By which rules pairs are brought together: bit k (of uint32) is the k-th rule."""
        found = np.zeros(len(left), np.uint32)
        for number, block in enumerate(self.blocks):
            found |= block.meet(left, right).astype(np.uint32) << np.uint32(number)
        return found

    def still_met_by(self, left: np.ndarray, right: np.ndarray, before: np.ndarray) -> np.ndarray:
        """`met_by` of old pairs that `before` brought together, where only blocks with new records were worked out."""
        found = before.copy()
        for number, block in enumerate(self.blocks):
            bit = np.uint32(1 << number)
            at = np.flatnonzero(((before & bit) > 0) & (block.key[left] >= 0))
            found[at[~block.meet(left[at], right[at])]] &= ~bit
        return found

    def chunks(self, size: int, wanted: Wanted | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs (two arrays of record numbers, left below right), about `size` at a time.

        Args:
          wanted: says of pairs, in any order of the two, whether (bool) they are; without it all are.
        """
        for number, block in enumerate(self.blocks):
            for left, right in _pairs(block, size):
                if wanted is not None:
                    asked = wanted(left, right)
                    left, right = left[asked], right[asked]
                fresh = np.ones(len(left), bool)
                for earlier in self.blocks[:number]:
                    fresh &= ~earlier.meet(left, right)
                if not self.new.all():
                    fresh &= (self.new[left] | self.new[right]) & (self.within | (self.new[left] != self.new[right]))
                left, right = left[fresh], right[fresh]
                if len(left):
                    yield np.minimum(left, right), np.maximum(left, right)


def _pairs(block: Blocks, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    counts = block.counts
    upto = np.cumsum(counts, dtype=np.int64)
    begin = 0
    while begin < len(counts):
        done = int(upto[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(upto, done + size, side="right")))
        place = np.repeat(np.arange(begin, end), counts[begin:end])
        partner = block.starts[place] + np.arange(done, int(upto[end - 1])) - (upto - counts)[place]
        if len(place):
            yield block.order[place], block.order[partner]
        begin = end


def find_candidates(records: Encoded, rules: IdentityRules, within: bool = True) -> Candidates:
    """Brings together the records that agree on the keys of any blocking rule.

    Args:
      records: where some are not `new`, pairs have at least one that is.
      within: whether two new records may be a pair; not where two files are linked that hold no duplicates.

    A block of more than `block_rows` records is refined by the rule's further keys, one after the other; a record
    without such a key meets those that have none either. What stays too large is sorted by content, and each record
    meets the `window` records behind it. Time and memory are bounded by records times `block_rows`, whatever the data.
    """
    work = _Work(records)
    blocks = tuple(_blocks(records, rule, rules, within, work) for rule in rules.blocking)
    return Candidates(blocks, records.new, within)


def _blocks(records: Encoded, rule: BlockingRule, rules: IdentityRules, within: bool, work: _Work) -> Blocks:
    asked = not any(work.has(name) for name in rule.without)
    rows, key = _met(records, [work.key(name) for name in rule.keys], asked)
    new = records.new[rows]
    coarse = _possible(key, new, within)
    refined = 0
    for name in rule.refine:
        large = np.bincount(key, minlength=1)[key] > rules.block_rows
        if not large.any():
            break
        refined = refined or int(large.sum())
        finer = work.key(name)[rows].astype(np.int64) + 1
        width = int(finer.max(initial=0)) + 1
        # A record that was refined must not meet one that was not: they cannot share a block, whose key is in front.
        key = dense(np.where(large, key * width + finer, key * width))
    sizes = np.bincount(key, minlength=1)[key]
    windowed = sizes > rules.block_rows
    shared = np.flatnonzero(sizes > 1)
    # Among records of a small block those of the first table come first; a windowed block keeps the order of content.
    content = np.zeros(len(rows), np.int64)
    content[windowed] = _by_content(records, rows[windowed])
    side = np.where(windowed, 0, ~new)[shared]
    order = shared[np.lexsort((shared, content[shared], side, key[shared]))]
    starts, ends = _reach(order, key, new, windowed, rules.window, within)
    left_out = max(0.0, coarse - int((ends - starts).sum()))
    place = _spread(np.arange(len(order)), rows[order], records.size, 0) if windowed.any() else None
    return Blocks(
        rule.name, _spread(key, rows, records.size, NONE), rows[order].astype(np.int32), starts.astype(np.int32),
        ends.astype(np.int32), _spread(windowed, rows, records.size, False), place, rules.window, left_out, refined,
    )  # fmt: skip


def _spread(values: np.ndarray, rows: np.ndarray, size: int, nothing: int | bool) -> np.ndarray:
    """The values at these rows of `size`; `nothing` in the others."""
    whole = np.full(size, nothing, bool if values.dtype == bool else np.int32)
    whole[rows] = values
    return whole


def _met(records: Encoded, parts: list[np.ndarray], asked: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The records that have all parts of a key, and may meet a new record by it, and their key as a number from 0.

    asked: False where the rule is not for these records, and none meets another.
    """
    there = np.logical_and.reduce([part >= 0 for part in parts]) & asked
    fresh = records.new
    if not fresh.all():  # blocks without a new record give no pairs; first by each part, which is quick
        for part in parts:
            there &= _of_new(part, fresh)[part]
    rows = np.flatnonzero(there)
    key = parts[0][rows].astype(np.int64)
    for part in parts[1:]:
        key = dense(key * (int(part.max(initial=0)) + 1) + part[rows])
    if len(parts) > 1 and not fresh.all():
        met = _of_new(key, fresh[rows])[key]
        rows, key = rows[met], key[met]
    return rows, dense(key)


def _of_new(codes: np.ndarray, new: np.ndarray) -> np.ndarray:
    """For each code, and for NONE at the end, whether a new record has it."""
    found = np.zeros(int(codes.max(initial=0)) + 2, bool)
    found[codes[new]] = True
    found[-1] = False
    return found


class _Work:
    """What several rules need, worked out once."""

    def __init__(self, records: Encoded) -> None:
        self._records = records
        self._keys: dict[str, np.ndarray] = {}

    def has(self, name: str) -> bool:
        """Whether any record has this key."""
        return bool((self.key(name) >= 0).any())

    def key(self, name: str) -> np.ndarray:
        if name not in self._keys:
            self._keys[name] = block_key(self._records, name).astype(np.int32)  # codes are fewer than records
        return self._keys[name]


def _possible(key: np.ndarray, new: np.ndarray, within: bool) -> float:
    """How many pairs the blocks hold before any refinement."""
    sizes = np.bincount(key, minlength=1).astype(float)
    fresh = np.bincount(key[new], minlength=len(sizes)).astype(float)
    pairs = fresh * (sizes - fresh) + (fresh * (fresh - 1) / 2 if within else 0)
    return float(pairs.sum())


def _by_content(records: Encoded, rows: np.ndarray) -> np.ndarray:
    """A rank for each of these records such that records with much in common are near each other."""
    names = ("surname", "given_name", "name", "birth_date", "postcode", "street", "email", "phone")
    ranks = []
    for column in (records.columns[name] for name in names if name in records.columns):
        codes = column.codes[rows]
        used = np.unique(codes[codes >= 0])
        rank = np.zeros(len(column.values) + 1, np.int64)
        rank[used] = column.values.gather(used).rank("ordinal").to_numpy()
        ranks.append(rank[codes])
    order = np.lexsort((rows, *reversed(ranks)))
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows))
    return place


def _reach(
    order: np.ndarray, key: np.ndarray, new: np.ndarray, windowed: np.ndarray, window: int, within: bool
) -> tuple[np.ndarray, np.ndarray]:
    """For each place in `order` the places of its partners: from (inclusive) and to (exclusive)."""
    place, block = np.arange(len(order)), key[order]
    starts, last = place + 1, np.searchsorted(block, block, side="right")
    fresh, near = new[order], windowed[order]
    if not within:  # partners begin behind the last new record of the block
        news = np.bincount(block[fresh], minlength=int(block.max(initial=0)) + 1)
        starts = np.where(near, starts, np.searchsorted(block, block, side="left") + news[block])
    ends = np.where(near, np.minimum(last, place + 1 + window), np.where(fresh, last, starts))
    return starts, np.maximum(ends, starts)
