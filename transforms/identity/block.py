"""Candidate pairs: which records are compared, found without comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from transforms.identity.encode import NONE, Encoded, dense
from transforms.identity.keys import block_key
from transforms.identity.rules import BlockingRule, IdentityRules

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

    def chunks(self, size: int, every: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs (two arrays of record numbers, left below right), about `size` at a time; of `every` so many, one."""
        for number, block in enumerate(self.blocks):
            for left, right in _pairs(block, size * min(every, 8), every):
                fresh = np.ones(len(left), bool)
                for earlier in self.blocks[:number]:
                    fresh &= ~earlier.meet(left, right)
                if not self.new.all():
                    fresh &= (self.new[left] | self.new[right]) & (self.within | (self.new[left] != self.new[right]))
                left, right = left[fresh], right[fresh]
                if len(left):
                    yield np.minimum(left, right), np.maximum(left, right)


def _pairs(block: Blocks, size: int, every: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    counts = block.counts
    upto = np.cumsum(counts)
    total = int(upto[-1]) if len(upto) else 0
    for begin in range(0, total, size):
        number = np.arange(begin, min(total, begin + size), dtype=np.int64)
        if every > 1:  # one in `every`, the same whatever the chunks
            mixed = number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
            number = number[mixed % np.uint64(every) == 0]
        place = np.searchsorted(upto, number, side="right")
        partner = block.starts[place] + number - (upto[place] - counts[place])
        yield block.order[place], block.order[partner]


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
    key = _joined_all([work.key(name) for name in rule.keys])
    if not records.new.all():  # blocks without a new record give no pairs
        met = np.zeros(int(key.max(initial=0)) + 2, bool)
        met[key[records.new]] = True
        met[-1] = False  # where a record without a key looks
        key = np.where(met[key], key, NONE)
    coarse = _possible(key, records.new, within)
    refined = 0
    for name in rule.refine:
        sizes = np.bincount(key[key >= 0], minlength=1)
        large = (key >= 0) & (sizes[key] > rules.block_rows)
        if not large.any():
            break
        refined = refined or int(large.sum())
        finer = work.key(name).astype(np.int64) + 1
        width = int(finer.max(initial=0)) + 1
        mixed = np.where(large, key * width + finer, key * width)
        # A record that was refined must not meet one that was not: they cannot share a block, whose key is in front.
        key = dense(mixed, key < 0)
    sizes = np.bincount(key[key >= 0], minlength=1)
    windowed = (key >= 0) & (sizes[key] > rules.block_rows)
    rows = np.flatnonzero((key >= 0) & (sizes[key] > 1))
    second = [work.content[rows]] if windowed.any() else []
    # Among records of a small block those of the first table come first; a windowed block keeps the order of content.
    side = np.where(windowed[rows], 0, ~records.new[rows])
    order = rows[np.lexsort((rows, *second, side, key[rows]))]
    starts, ends = _reach(order, key, records.new, windowed, rules.window, within)
    made = int((ends - starts).sum())
    place = None
    if windowed.any():
        place = np.zeros(records.size, np.int32)
        place[order] = np.arange(len(order))
    left_out, small = max(0.0, coarse - made), [array.astype(np.int32) for array in (key, order, starts, ends)]
    return Blocks(rule.name, small[0], small[1], small[2], small[3], windowed, place, rules.window, left_out, refined)


class _Work:
    """What several rules need, worked out once."""

    def __init__(self, records: Encoded) -> None:
        self._records = records
        self._keys: dict[str, np.ndarray] = {}

    def key(self, name: str) -> np.ndarray:
        if name not in self._keys:
            self._keys[name] = block_key(self._records, name).astype(np.int32)  # codes are fewer than records
        return self._keys[name]

    @cached_property
    def content(self) -> np.ndarray:
        return _by_content(self._records)


def _joined_all(keys: list[np.ndarray]) -> np.ndarray:
    whole = keys[0].astype(np.int64)
    for part in keys[1:]:
        missing = (whole < 0) | (part < 0)
        whole = dense(whole * (int(part.max(initial=0)) + 1) + part, missing)
    return dense(whole, whole < 0)


def _possible(key: np.ndarray, new: np.ndarray, within: bool) -> float:
    """How many pairs the blocks hold before any refinement."""
    sizes = np.bincount(key[key >= 0], minlength=1).astype(float)
    fresh = np.bincount(key[(key >= 0) & new], minlength=len(sizes)).astype(float)
    pairs = fresh * (sizes - fresh) + (fresh * (fresh - 1) / 2 if within else 0)
    return float(pairs.sum())


def _by_content(records: Encoded) -> np.ndarray:
    """A rank for each record such that records with much in common are near each other."""
    names = ("surname", "given_name", "name", "birth_date", "postcode", "street", "email", "phone")
    columns = [records.columns[name] for name in names if name in records.columns]
    ranks = [np.append(c.values.rank("ordinal").to_numpy(), 0)[c.codes] for c in columns]
    order = np.lexsort((np.arange(records.size), *reversed(ranks)))
    place = np.empty(records.size, np.int64)
    place[order] = np.arange(records.size)
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
