"""Persons of numbered records: only records whose cluster is not what it was are assigned anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.identity.components import CLUSTERS, label_components
from transforms.identity.decisions import DECISIONS, TOGETHER
from transforms.identity.encode import NONE, Encoded
from transforms.identity.guard import REFUSED, GuardRules, resolve_clusters
from transforms.identity.persons import IDENTITY_EVENTS, IDENTITY_MAP, assign_persons, person_ids
from transforms.identity.score import ScoredPairs, Weighed

_OLDEST = pl.CompatLevel.oldest()
_TIME = pl.Datetime("us", "UTC")
FORMER = pa.schema([IDENTITY_EVENTS.field(name) for name in ("record", "person_id", "at")])


@dataclass(frozen=True)
class Persons:
    """Who records are.

    Attributes:
      codes: for each record, in the order of their keys, the place of its person in `ids`.
      ids: person ids, each of somebody.
      since: for each record when it came to this person, in microseconds of UTC.
      former: FORMER, which persons records were before.
    """

    codes: np.ndarray
    ids: pl.Series
    since: np.ndarray
    former: pa.Table

    def moved(self, origin: np.ndarray) -> Persons:
        """Who the records were whose numbers before these were; NONE for those that were not there."""
        return Persons(np.append(self.codes, NONE)[origin], self.ids, np.append(self.since, 0)[origin], self.former)


NOBODY = Persons(
    np.empty(0, np.int32), pl.Series([], dtype=pl.String), np.empty(0, np.int64), FORMER.empty_table()
)  # fmt: skip


@dataclass(frozen=True)
class Settled:
    """`persons`: who is who; `refused`: REFUSED."""

    persons: Persons
    refused: pa.Table


def settle_persons(
    scored: ScoredPairs, before: Persons, at: datetime, decisions: pa.Table | None, rules: GuardRules
) -> Settled:
    """What `resolution.resolve_records` gives, for records without `first_seen`.

    Args:
      before: who the records were, `moved` to their numbers of today.
      at: the moment of this run, later than all of `before`.
    """
    labels, refused = _clusters(scored, decisions, rules)
    return Settled(assign_changed(scored.records.keys, labels, before, at), refused)


def _clusters(scored: ScoredPairs, decisions: pa.Table | None, rules: GuardRules) -> tuple[np.ndarray, pa.Table]:
    """The first record of each record's cluster, and REFUSED; the guard looks at what it could refuse only.

    Numbers stand for keys: as text of one length they are in the order of the keys.
    """
    records, weighed = scored.records, scored.weighed
    held = _numbered(DECISIONS.empty_table() if decisions is None else decisions, records.keys)
    strong = np.flatnonzero((weighed.proven >= 0) | (weighed.probability >= rules.match_probability))
    labels, asked = _doubtful(weighed.take(strong), held, records.size, rules)
    links = strong[asked[weighed.pairs.left[strong]]]
    names = (_name(pl.Series(name, getattr(weighed.pairs, name)[links])) for name in ("left", "right"))
    edges = pl.DataFrame(pl.from_arrow(scored.edges.take(pa.array(links)))).with_columns(*names)
    linked = _name(pl.Series("record", np.flatnonzero(asked)))
    traits = _traits(records, linked, [c.column for c in rules.contradictions])
    found = resolve_clusters(linked.to_arrow(compat_level=_OLDEST), edges.to_arrow(compat_level=_OLDEST), traits, held,
                             rules)  # fmt: skip
    labels[_number(found.clusters["record"])] = _number(found.clusters["cluster"])
    return labels.astype(np.int32), _named(found.refused, records.keys)


def _doubtful(strong: Weighed, held: pa.Table, size: int, rules: GuardRules) -> tuple[np.ndarray, np.ndarray]:
    """The first record that each is connected to, and the records (bool) of whose clusters the guard might split one.

    Two records and one link, which weighed all that they differ in, are one person unless somebody decided otherwise.
    """
    low, high = _number(held["low"]), _number(held["high"])
    together = pl.Series("", pl.from_arrow(held["kind"])).eq(TOGETHER).to_numpy()
    left, right = (np.concatenate(ends) for ends in ((strong.pairs.left, low[together]),
                                                     (strong.pairs.right, high[together])))  # fmt: skip
    labels = label_components(left, right, size)
    doubtful = np.bincount(labels, minlength=size) > 2
    doubtful[labels[low]] = doubtful[labels[high]] = True
    odds = strong.probability / np.maximum(1 - strong.probability, 1e-15)
    weak = (strong.proven < 0) & (np.log2(odds) < rules.least_bits + 1e-6)
    doubtful[labels[strong.pairs.left[weak]]] = True
    return labels, doubtful[labels]


def _name(numbers: pl.Series) -> pl.Series:
    return numbers.cast(pl.String).str.zfill(10)


def _number(names: pa.ChunkedArray) -> np.ndarray:
    return pl.Series("", pl.from_arrow(names)).cast(pl.Int32).to_numpy()


def _named(refused: pa.Table, keys: pl.Series) -> pa.Table:
    ends = {side: keys.gather(_number(refused[side])) for side in ("left", "right")}
    told = pl.DataFrame(pl.from_arrow(refused)).with_columns(**ends)
    return told.sort("left", "right", "kind", "rule").to_arrow(compat_level=_OLDEST).cast(REFUSED)


def _numbered(decisions: pa.Table, keys: pl.Series) -> pa.Table:
    """The decisions about records that are there, by number."""
    frame = pl.DataFrame(pl.from_arrow(decisions))
    for side in ("low", "high"):
        at = np.minimum(keys.search_sorted(frame[side]).to_numpy().astype(np.int64), max(0, len(keys) - 1))
        there = keys.gather(at) == frame[side]
        frame = frame.with_columns(_name(pl.Series(side, at))).filter(there)
    return frame.to_arrow(compat_level=_OLDEST).cast(DECISIONS)


def _traits(records: Encoded, linked: pl.Series, columns: list[str]) -> pa.Table:
    at = linked.cast(pl.Int64).to_numpy()
    known = {}
    for name in columns:
        column = records.column(name)
        codes = pl.Series(column.codes[at])
        known[name] = column.values.gather(pl.select(pl.when(codes >= 0).then(codes)).to_series())
    return pl.DataFrame({"record": linked, **known}).to_arrow(compat_level=_OLDEST)


def _changed(labels: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Which records are in a cluster that is not, whole, one person of before."""
    size = len(labels)
    other = np.bincount(labels, weights=codes != codes[labels], minlength=size) > 0
    of_person = np.bincount(codes[codes >= 0], minlength=1)
    known = codes >= 0
    grown = np.zeros(size, bool)
    grown[known] = np.bincount(labels, minlength=size)[labels[known]] != of_person[codes[known]]
    return ~known | other[labels] | grown


def assign_changed(keys: pl.Series, labels: np.ndarray, before: Persons, at: datetime) -> Persons:
    """What `assign_persons` gives, at the cost of the records whose cluster is not what it was.

    Args:
      keys: the record keys, in order.
      labels: for each record the number of the first record of its cluster.
      before, at: as in `settle_persons`.
    """
    changed = _changed(labels, before.codes)
    now = int(pl.Series([at]).cast(_TIME).to_physical()[0])
    codes, since, ids, former = before.codes.copy(), before.since.copy(), before.ids, before.former
    known = np.bincount(labels, weights=before.codes >= 0, minlength=len(labels)) > 0
    fresh = changed & ~known[labels]  # clusters of nothing but new records
    firsts = np.flatnonzero(fresh & (labels == np.arange(len(labels))))
    made = pl.Series("", person_ids(keys.gather(firsts).to_arrow(compat_level=_OLDEST).cast(pa.string())))
    mixed = np.flatnonzero(changed & ~fresh)
    if made.n_unique() < len(made) or ids.is_in(made.implode()).any():
        mixed, fresh = np.arange(len(labels)), np.zeros(len(labels), bool)  # an id is taken: all are looked at
        firsts, made = mixed[:0], made.head(0)
    of_first = np.empty(len(labels), np.int32)
    of_first[firsts] = len(ids) + np.arange(len(firsts))
    codes[fresh], since[fresh] = of_first[labels[fresh]], now
    ids = pl.concat([ids, made])
    if len(mixed):
        codes, since, ids, former = _reassigned(keys, labels, mixed, Persons(codes, ids, since, former), before, at)
    used = np.bincount(codes, minlength=len(ids)) > 0
    places = np.cumsum(used) - 1
    return Persons(places[codes].astype(np.int32), ids.filter(pl.Series(used)), since, former)


def _reassigned(
    keys: pl.Series, labels: np.ndarray, rows: np.ndarray, persons: Persons, before: Persons, at: datetime
) -> tuple[np.ndarray, np.ndarray, pl.Series, pa.Table]:
    """These records by the rules of `assign_persons`; again with those whose ids it would give away."""
    while True:
        today, yesterday = _tables(keys, labels, rows, before)
        asked = pl.DataFrame(pl.from_arrow(persons.former)).filter(pl.col("record").is_in(keys.gather(rows).implode()))
        history = asked.to_arrow(compat_level=_OLDEST).cast(FORMER)
        found = assign_persons(today, yesterday, at, history)
        given = pl.Series("", found.map["person_id"])
        others = np.ones(len(labels), bool)
        others[rows] = False
        taken = np.flatnonzero(persons.ids.is_in(given.implode()).to_numpy())
        clash = others & np.isin(persons.codes, taken)
        if not clash.any():
            break
        clash = np.isin(labels, labels[clash]) | np.isin(before.codes, before.codes[clash & (before.codes >= 0)])
        rows = np.union1d(rows, np.flatnonzero(clash))
    codes, since = persons.codes.copy(), persons.since.copy()
    ids, place = _placed(persons.ids, given)
    codes[rows], since[rows] = place, pl.Series(found.map["since"]).cast(_TIME).to_physical().to_numpy()
    gone = pl.DataFrame(pl.from_arrow(yesterday)).join(
        pl.DataFrame(pl.from_arrow(found.map)), on=["record", "person_id"], how="anti"
    )
    left = gone.select("record", "person_id", at="since").to_arrow(compat_level=_OLDEST).cast(FORMER)
    return codes, since, ids, pa.concat_tables([persons.former, left])


def _tables(keys: pl.Series, labels: np.ndarray, rows: np.ndarray, before: Persons) -> tuple[pa.Table, pa.Table]:
    """CLUSTERS of these records, and IDENTITY_MAP of those that were there."""
    names = keys.gather(rows)
    clusters = pl.DataFrame({"record": names, "cluster": keys.gather(labels[rows])})
    there = before.codes[rows] >= 0
    known = pl.DataFrame({
        "record": names.filter(pl.Series(there)), "person_id": before.ids.gather(before.codes[rows][there]),
        "since": pl.Series(before.since[rows][there]).cast(_TIME),
    })  # fmt: skip
    return clusters.to_arrow(compat_level=_OLDEST).cast(CLUSTERS), known.to_arrow(compat_level=_OLDEST).cast(
        IDENTITY_MAP
    )


def _placed(ids: pl.Series, given: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """The ids with those that are not among them, and where each given one is."""
    known = np.flatnonzero(ids.is_in(given.implode()).to_numpy())
    there = pl.DataFrame({"id": ids.gather(known), "at": known})
    new = given.unique(maintain_order=True).filter(~given.unique(maintain_order=True).is_in(there["id"].implode()))
    every = pl.concat([there, pl.DataFrame({"id": new, "at": len(ids) + np.arange(len(new))})])
    at = pl.DataFrame({"id": given}).join(every, on="id", how="left", maintain_order="left")["at"]
    return pl.concat([ids, new.alias(ids.name)]), at.to_numpy().astype(np.int32)
