"""Persons that survive: merges keep the older id, splits and undone merges give ids back, days do not matter."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.plain_identity import as_dict
from transforms.identity.decisions import APART, DECISIONS, TOGETHER, WITHDRAWN
from transforms.identity.guard import LINKS_SCHEMA, resolve_clusters
from transforms.identity.persons import (
    IDENTITY_EVENTS,
    IDENTITY_MAP,
    assign_persons,
    person_ids,
    persons_on,
    touched_persons,
)
from transforms.identity.reasons import add_evidence

START = datetime(2024, 1, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def sure(*pairs) -> list[dict]:
    return [{"left": a, "right": b, "weight": 9.0, "probability": 1.0, "kind": "deterministic", "rule": "same_email"}
            for a, b in pairs]  # fmt: skip


class Book:
    """The identity tables, fed day by day, as a pipeline would."""

    def __init__(self):
        self.map, self.events, self.decisions = (s.empty_table() for s in (IDENTITY_MAP, IDENTITY_EVENTS, DECISIONS))
        self.today = -1

    def decide(self, kind, low, high):
        when = day(self.today) + timedelta(hours=1 + len(self.decisions))
        row = {"low": low, "high": high, "kind": kind, "decided_at": when}
        self.decisions = pa.concat_tables([self.decisions, pa.Table.from_pylist([row], schema=DECISIONS)])

    def feed(self, records, links, first_seen=None, traits=None):
        self.today += 1
        table = pa.Table.from_pylist(links, schema=LINKS_SCHEMA)
        done = resolve_clusters(pa.array(list(records), pa.string()), table, traits, self.decisions)
        clusters = done.clusters
        if first_seen:
            seen = pa.array([day(first_seen[r]) for r in clusters["record"].to_pylist()], pa.timestamp("us", tz="UTC"))
            clusters = clusters.append_column("first_seen", seen)
        assigned = assign_persons(clusters, self.map, day(self.today), self.events)
        events = add_evidence(assigned.events, assigned.map, table, done.refused, self.decisions, f"run{self.today}")
        self.map, self.events = assigned.map, pa.concat_tables([self.events, events])
        return events.to_pylist()

    @property
    def persons(self) -> dict[str, str]:
        return dict(zip(self.map["record"].to_pylist(), self.map["person_id"].to_pylist(), strict=True))

    @property
    def parts(self) -> set[frozenset[str]]:
        return parts(self.persons)


def parts(assignment: dict[str, str]) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for record, name in assignment.items():
        found.setdefault(name, set()).add(record)
    return set(map(frozenset, found.values()))


def brief(events):
    return {(e["record"], e["kind"], e["evidence_left"], e["evidence_right"], e["evidence_rule"]) for e in events}


def test_a_merge_keeps_the_older_id_and_says_by_which_link():
    book = Book()
    assert brief(book.feed("b", [])) == {("b", "created", None, None, None)}
    book.feed("ab", [])
    before = book.persons
    events = book.feed("ab", sure(("a", "b")))
    assert book.persons == {"a": before["b"], "b": before["b"]}  # b was first
    assert brief(events) == {("a", "merged", "a", "b", "same_email")}
    assert events[0]["previous_person_id"] == before["a"] and events[0]["run_id"] == "run2"
    assert touched_persons(pa.Table.from_pylist(events, schema=IDENTITY_EVENTS)) == sorted(before.values())


def test_a_new_record_joins_and_a_record_that_is_gone_leaves():
    book = Book()
    book.feed("ab", sure(("a", "b")))
    person = book.persons["a"]
    assert brief(book.feed("bc", sure(("b", "c")))) == {("a", "left", None, None, None),
                                                        ("c", "joined", "b", "c", "same_email")}  # fmt: skip
    assert book.persons == {"b": person, "c": person}
    assert brief(book.feed("abc", sure(("b", "c")))) == {("a", "created", None, None, None)}
    assert book.persons["a"] != person  # made of the same key, but others have that id now


def test_the_part_with_the_founder_keeps_the_id_of_a_split():
    book = Book()
    book.feed("b", [])
    book.feed("abc", sure(("a", "b"), ("a", "c")))
    person = book.persons["b"]
    book.decide(APART, "a", "b")
    events = book.feed("abc", sure(("a", "b"), ("a", "c")))
    assert book.persons["b"] == person and book.persons["a"] == book.persons["c"] != person
    assert brief(events) == {(r, "split", "a", "b", "apart") for r in "ac"}


def test_a_founder_that_goes_to_others_takes_no_id_along():
    book = Book()
    book.feed(["a1", "a2", "b1", "b2"], sure(("a1", "a2"), ("b1", "b2")))
    before = book.persons
    events = book.feed(["a1", "a2", "b1", "b2"], sure(("a1", "b1"), ("b1", "b2")))
    assert brief(events) == {("a1", "moved", "a1", "b1", "same_email")}
    assert book.persons == before | {"a1": before["b1"]}


def test_undoing_a_merge_gives_both_parts_their_ids_back():
    book = Book()
    links = sure(("a1", "a2"), ("b1", "b2"))
    book.feed(["a1", "b2"], [])
    book.feed(["a1", "a2", "b1", "b2"], links)
    before = book.persons
    book.decide(TOGETHER, "a2", "b1")
    assert brief(book.feed(before, links)) == {(r, "merged", "a2", "b1", "together") for r in ("b1", "b2")}
    assert len(book.parts) == 1
    book.decide(WITHDRAWN, "a2", "b1")
    book.feed(before, links)
    assert book.persons == before
    assert persons_on(book.events, day(3)).sort_by("record").to_pylist() == [
        {"record": record, "person_id": person} for record, person in sorted(before.items())
    ]


def test_anybody_may_ask_who_a_record_was():
    book, asked = Book(), []
    for records, links in (("b", []), ("ab", []), ("ab", sure(("a", "b"))), ("b", []), ("abc", [])):
        book.feed(records, links)
        asked.append(book.persons)
    for number, persons in enumerate(asked):
        for at in (day(number), day(number) + timedelta(hours=23)):
            rows = persons_on(book.events, at)
            assert dict(zip(rows["record"].to_pylist(), rows["person_id"].to_pylist(), strict=True)) == persons
    assert persons_on(book.events, day(-1)).num_rows == 0


def test_ids_are_fixed_for_ever():
    assert person_ids(pa.array(["customers:1"])).to_pylist() == ["f5de69defc30596834a642fde90b44eb"]


def test_two_hundred_thousand_persons_get_different_ids():
    clusters = pa.table({"record": [f"c:{i}" for i in range(200_000)], "cluster": [f"c:{i}" for i in range(200_000)]})
    first = assign_persons(clusters, None, day(0))
    assert pl.Series(first.map["person_id"]).n_unique() == 200_000
    again = assign_persons(clusters, first.map, day(1), first.events)
    assert again.map == first.map and again.events.num_rows == 0


names = st.integers(0, 11).map(lambda n: f"r{n:02}")
link = st.tuples(names, names, st.sampled_from([0.6, 0.9, 0.99, 0.9999]), st.booleans())
dates = st.dictionaries(names, st.sampled_from(["1950-03-01", "1981-11-24", "1999-01-31"]))
arrivals = st.dictionaries(names, st.integers(0, 3), min_size=1)


def drawn(links, records) -> list[dict]:
    rows = []
    for a, b, p, certain in links:
        if {a, b} <= set(records):
            kind = "deterministic" if certain else "probabilistic"
            rows.append({"left": a, "right": b, "weight": p, "probability": p, "kind": kind, "rule": "planted"})
    return rows


def by_days(days, links, births, draw=None, replay=False) -> Book:
    book, traits = Book(), pa.table({"record": list(births), "birth_date": list(births.values())}) if births else None
    for number in range(4):
        so_far = [record for record, came in days.items() if came <= number]
        rows = drawn(links, so_far)
        if draw:
            so_far, rows = draw.sample(so_far, len(so_far)), draw.sample(rows, len(rows))
        book.feed(so_far, rows, days, traits)
        if replay:
            assert not book.feed(so_far, rows, days, traits)
    return book


@settings(max_examples=20, deadline=None)
@given(arrivals, st.lists(link, max_size=20), dates, st.randoms(use_true_random=False))
def test_any_split_into_days_any_order_and_replay_end_in_the_same_state(days, links, births, draw):
    at_once = by_days(dict.fromkeys(days, 0), links, births)
    split = by_days(days, links, births)
    assert split.parts == at_once.parts
    assert by_days(days, links, births, draw).persons == split.persons
    assert by_days(days, links, births, replay=True).persons == split.persons


@settings(max_examples=30, deadline=None)
@given(arrivals, st.lists(link, max_size=20))
def test_days_that_come_in_order_give_the_ids_of_all_at_once(days, links):
    only_certain = [(a, b, p, True) for a, b, p, _ in links]  # nothing that joined comes apart again
    at_once = Book()
    at_once.feed(days, drawn(only_certain, days), days)
    assert by_days(days, only_certain, {}).persons == at_once.persons


@settings(max_examples=30, deadline=None)
@given(arrivals, st.lists(link, max_size=20), names, names)
def test_apart_then_together_ends_as_together_alone(days, links, one, other):
    rows, records = drawn(links, days), list(days)
    if one == other or not {one, other} <= set(days):
        return
    both, alone = Book(), Book()
    for book, kinds in ((both, (APART, TOGETHER)), (alone, (TOGETHER,))):
        book.feed(records, rows)
        for kind in kinds:
            book.decide(kind, one, other)
            book.feed(records, rows)
    assert both.persons == alone.persons


@settings(max_examples=30, deadline=None)
@given(arrivals, st.lists(link, max_size=20), dates)
def test_events_tell_the_whole_story(days, links, births):
    book = by_days(days, links, births)
    rows = persons_on(book.events, day(99))
    assert dict(zip(rows["record"].to_pylist(), rows["person_id"].to_pylist(), strict=True)) == book.persons
    last: dict = {}
    for event in book.events.to_pylist():
        assert event["previous_person_id"] == last.get(event["record"])
        assert event["person_id"] != event["previous_person_id"]
        assert event["kind"] == "created" or event["evidence_rule"], event
        last[event["record"]] = event["person_id"]
    assert as_dict(pa.table({"record": book.map["record"], "cluster": book.map["person_id"]})) == last
