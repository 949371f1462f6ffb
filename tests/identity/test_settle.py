"""Persons assigned where something changed: what assigning everybody gives, on any days."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.planted import planted_customers
from transforms.identity.decisions import DECISIONS
from transforms.identity.fields import RECORD_KEY
from transforms.identity.guard import GuardRules
from transforms.identity.more import score_more
from transforms.identity.persons import assign_persons, person_ids
from transforms.identity.resolution import resolve_records
from transforms.identity.rules import IdentityRules
from transforms.identity.settle import NOBODY, Persons, assign_changed, settle_persons
from transforms.identity.standard import standardise_records

START = datetime(2024, 1, 1, tzinfo=UTC)


def as_rows(keys: pl.Series, persons: Persons) -> list[tuple]:
    since = pl.Series(persons.since).cast(pl.Datetime("us", "UTC")).to_list()
    return list(zip(keys.to_list(), persons.ids.gather(persons.codes).to_list(), since, strict=True))


def map_rows(table: pa.Table) -> list[tuple]:
    return [(row["record"], row["person_id"], row["since"]) for row in table.to_pylist()]


# Of each day: how many of nine records are there, and the group of each.
DAYS = st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 5), min_size=9, max_size=9)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(DAYS, st.permutations(range(9)))
def test_persons_are_those_of_assigning_everybody_day_after_day(days, arrives):
    every = pl.Series([f"r{i}" for i in range(9)])
    map, history, persons, there = None, None, NOBODY, []
    for day, (count, groups) in enumerate(days):
        at = START + timedelta(days=day)
        now = sorted(arrives[: max(count, len(there))])
        origin = np.array([there.index(r) if r in there else -1 for r in now], np.int64)
        first = {g: next(k for k, r in enumerate(now) if groups[r] == g) for g in {groups[r] for r in now}}
        labels = np.array([first[groups[r]] for r in now], np.int32)
        keys = every.gather(now)
        clusters = pa.table({"record": keys.to_list(), "cluster": keys.gather(labels).to_list()},
                            schema=pa.schema([("record", pa.string()), ("cluster", pa.string())]))  # fmt: skip
        map, events = assign_persons(clusters, map, at, history)
        history = events if history is None else pa.concat_tables([history, events])
        persons = assign_changed(keys, labels, persons.moved(origin), at)
        assert as_rows(keys, persons) == map_rows(map)
        there = now


def test_an_id_that_somebody_has_already_is_not_given_twice():
    taken = person_ids(pa.array(["b"]))[0].as_py()
    before = Persons(np.array([0, -1]), pl.Series([taken]), np.array([0, 0]), NOBODY.former)
    persons = assign_changed(pl.Series(["a", "b"]), np.array([0, 1], np.int32), before, START)
    assert persons.ids[int(persons.codes[0])] == taken != persons.ids[int(persons.codes[1])]
    assert persons.codes[0] != persons.codes[1]


def test_records_of_some_days_and_decisions_are_who_they_are_by_resolving_everything():
    records = planted_customers(400, families=0.2)[0]
    cuts, rules, guard = [0, 150, 300, 301, records.num_rows], IdentityRules(), GuardRules(match_probability=0.95)
    kept, persons, map, history, seen = None, NOBODY, None, None, []
    pairs = score_more(records, rules).scored.edges.filter(pa.compute.field("probability") > 0.9)
    low, high = pairs["left"][0].as_py(), pairs["right"][0].as_py()
    far = records[RECORD_KEY][5].as_py()
    kinds = [None, ("apart", low, high), ("together", low, far), ("withdrawn", low, high)]
    decided = []
    for day, (start, end) in enumerate(pairwise(cuts)):
        at = START + timedelta(days=day)
        if kinds[day]:
            kind, a, b = kinds[day]
            decided.append({"low": min(a, b), "high": max(a, b), "kind": kind, "decided_at": at})
        decisions = pa.Table.from_pylist(decided, schema=DECISIONS)
        added = score_more(records.slice(start, end - start), rules, kept)
        settled = settle_persons(added.scored, persons.moved(added.origin), at, decisions, guard)
        kept, persons = added.compared, settled.persons
        seen.append(records.slice(start, end - start))
        every = standardise_records(pa.concat_tables(seen))
        traits = every.rename_columns(["record" if n == RECORD_KEY else n for n in every.column_names])
        plain = resolve_records(
            traits, added.scored.edges, at, decisions=decisions, previous=map, history=history, rules=guard
        )
        history = plain.events if history is None else pa.concat_tables([history, plain.events])
        map = plain.map
        assert as_rows(kept.records.keys, persons) == map_rows(map)
        assert settled.refused.equals(plain.refused)
    assert len(set(map["person_id"].to_pylist())) < records.num_rows
