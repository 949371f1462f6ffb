"""One doubtful cluster at a time: its records grouped by their strongest links first, as far as evidence allows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from math import log2
from typing import NamedTuple

from rapidfuzz.distance import OSA

BRIDGE, DECIDED = "bridge", "apart"
ROUNDING = 1e-9  # bits: a link of just the least probability counts
_MOST_VALUES = 400  # pairs of values of two groups that are compared letter by letter; beyond, only equal ones agree


class Link(NamedTuple):
    """Two records that are linked; `certain` by a deterministic rule, `bits` are log2 of the odds; `weighed`: their
    values were compared, so that the odds know of their differences."""

    low: str
    high: str
    bits: float
    certain: bool
    weighed: bool


@dataclass(frozen=True)
class Group:
    """A cluster: its records in order, their values column by column, links, decisions (low, high, together) in order
    of precedence. Links and decisions are between records of the group."""

    records: list[str]
    values: list[list[str | None]]
    links: list[Link]
    decisions: list[tuple[str, str, bool]]


@dataclass
class _Part:
    """Records that are one so far, and what is known of them and of their links to other parts."""

    size: int
    values: list[Counter]
    links: dict[int, Link] = field(default_factory=dict)  # other part -> best link; certain if any is
    counts: dict[int, int] = field(default_factory=dict)  # other part -> pairs linked
    weighed: dict[int, frozenset[int]] = field(default_factory=dict)  # other part -> columns that a link compared
    apart: set[int] = field(default_factory=set)


def group_records(
    group: Group, columns: list[str], bits: list[float], least_bits: float
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """The part of each record, named by its smallest record, and why linked parts are two: (one, other, reason).

    Decisions come first. Then links, certain ones and strong ones first, each joins its two parts if `_shortfall`
    finds nothing against it. Links of the same strength go by the order of their records.
    """
    joined = _Joined(group)
    for low, high, together in group.decisions:
        joined.decide(low, high, together)
    for link in sorted(group.links, key=lambda link: (not link.certain, -link.bits, link.low, link.high)):
        one, other = joined.find(link.low), joined.find(link.high)
        if one != other and _shortfall(joined, one, other, columns, bits, least_bits) is None:
            joined.join(one, other)
    return joined.names(), _reasons(joined, columns, bits, least_bits)


class _Joined:
    """A union-find whose sets know their size, values, links and whom they must not join."""

    def __init__(self, group: Group) -> None:
        self._at = {record: at for at, record in enumerate(group.records)}
        self._records = group.records
        self._parent = list(range(len(group.records)))
        self.parts = {
            at: _Part(1, [Counter([column[at]] if column[at] is not None else []) for column in group.values])
            for at in self._parent
        }
        for link in group.links:
            low, high = self._at[link.low], self._at[link.high]
            known = frozenset(n for n, c in enumerate(group.values) if link.weighed and c[low] and c[high])
            for one, other in ((low, high), (high, low)):
                self.parts[one].links[other], self.parts[one].counts[other] = link, 1
                self.parts[one].weighed[other] = known

    def find(self, record: str | int) -> int:
        at = self._at[record] if isinstance(record, str) else record
        root = at
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[at] != root:
            self._parent[at], at = root, self._parent[at]
        return root

    def decide(self, low: str, high: str, together: bool) -> None:
        """Older decisions give way to newer ones that they contradict."""
        one, other = self.find(low), self.find(high)
        if one == other:
            return
        if not together:
            self.parts[one].apart.add(other)
            self.parts[other].apart.add(one)
        elif other not in self.parts[one].apart:
            self.join(one, other)

    def join(self, one: int, other: int) -> None:
        if len(self.parts[one].links) < len(self.parts[other].links):
            one, other = other, one
        kept, gone = self.parts[one], self.parts.pop(other)
        self._parent[other] = one
        kept.size += gone.size
        for mine, theirs in zip(kept.values, gone.values, strict=True):
            mine.update(theirs)
        kept.links.pop(other, None)
        kept.counts.pop(other, None)
        kept.weighed.pop(other, None)
        for third, link in gone.links.items():
            if third == one:
                continue
            far = self.parts[third]
            best, count = _better(link, kept.links.get(third)), gone.counts[third] + kept.counts.get(third, 0)
            kept.links[third] = far.links[one] = best
            kept.counts[third] = far.counts[one] = count
            kept.weighed[third] = far.weighed[one] = gone.weighed[third] | kept.weighed.get(third, frozenset())
            del far.links[other], far.counts[other], far.weighed[other]
        for third in gone.apart:
            self.parts[third].apart.discard(other)
            self.parts[third].apart.add(one)
            kept.apart.add(third)

    def names(self) -> list[str]:
        smallest: dict[int, str] = {}  # records are in order: the first seen is the smallest
        return [smallest.setdefault(self.find(at), record) for at, record in enumerate(self._records)]


def _better(link: Link, known: Link | None) -> Link:
    if known is None:
        return link
    best = max(link, known, key=lambda one: one.bits)
    return best if best.certain else best._replace(certain=link.certain or known.certain)


def _shortfall(
    joined: _Joined, one: int, other: int, columns: list[str], bits: list[float], least_bits: float
) -> str | None:
    """What speaks against two linked parts being one: a column that contradicts, "bridge" or "apart"; None: nothing."""
    mine, theirs = joined.parts[one], joined.parts[other]
    if other in mine.apart:
        return DECIDED
    link = mine.links[other]
    pairs = mine.size * theirs.size
    spread = 0.0 if link.certain else log2(mine.counts[other] / pairs)
    taken: dict[str, float] = {}
    for number, (column, weight) in enumerate(zip(columns, bits, strict=True)):
        if number not in mine.weighed[other]:  # else the odds of a link know of the difference already
            taken[column] = weight * _differing(mine.values[number], theirs.values[number])
    if link.bits + spread - sum(taken.values()) >= least_bits - ROUNDING:
        return None
    worst = max(taken, key=lambda column: taken[column], default=None)
    return worst if worst is not None and taken[worst] > -spread else BRIDGE


def _differing(known: Counter, others: Counter) -> float:
    """The share of pairs of known values across that contradict each other."""
    pairs = known.total() * others.total()
    if not pairs:
        return 0.0
    if len(known) * len(others) > _MOST_VALUES:
        return 1 - sum(count * others[value] for value, count in known.items()) / pairs
    unlike = sum(
        count * times for one, count in known.items() for other, times in others.items() if not alike(one, other)
    )
    return unlike / pairs


@lru_cache(maxsize=100_000)
def alike(one: str, other: str) -> bool:
    """Whether two values may be one: the same, one letter or digit off, or a date with day and month swapped."""
    if one == other or OSA.distance(one, other, score_cutoff=1) <= 1:
        return True
    first, second = one.replace("-", ""), other.replace("-", "")
    return len(first) == len(second) == 8 and first == second[:4] + second[6:] + second[4:6]


def _reasons(joined: _Joined, columns: list[str], bits: list[float], least_bits: float) -> list[tuple[str, str, str]]:
    names = dict(zip(map(joined.find, range(len(joined._records))), joined.names(), strict=False))
    found = set()
    for one, part in joined.parts.items():
        for other in part.links:
            why = _shortfall(joined, one, other, columns, bits, least_bits) if one < other else None
            if one < other:
                low, high = sorted((names[one], names[other]))
                found.add((low, high, why or BRIDGE))
    return sorted(found)
