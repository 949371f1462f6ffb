"""The history of identities in the lake: any way to the same records ends alike, and who was who on any day."""

import json
import random
from datetime import timedelta

import pytest

from pipelines.identities import resolve_lake
from pipelines.visitors import stitch
from pipelines.who import who_is
from tests.pipelines.conftest import write_lines
from tests.pipelines.test_cli import c360
from tests.pipelines.test_identities import ROWS, event, feed, parts, persons
from transforms.errors import UsageError, UserError
from transforms.io.delta import append_rows, open_table, overwrite_rows, read_table

SOME = ROWS[:12] + ROWS[60:72]


def decide(shop, *decided):
    found = resolve_lake(shop.lake, shop.run("resolve"), decided)
    shop.at += timedelta(days=1)
    return found


@pytest.mark.parametrize("seed", range(2))
def test_any_order_split_replay_and_undone_decision_end_in_the_same_persons(make_shop, seed):
    draw = random.Random(seed)
    once, other = make_shop(), make_shop()
    feed(once, SOME)
    rows, cuts = draw.sample(SOME, len(SOME)), sorted(draw.sample(range(1, len(SOME)), 2))
    days = [rows[low:high] for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    for number, day in enumerate(days):
        feed(other, day, number)
    events = read_table(other.lake.identity_events).num_rows
    replayed = draw.choice(days)
    again = feed(other, draw.sample(replayed, len(replayed)), 9)  # a day again, in another order
    assert again is None or again.events == {}
    assert read_table(other.lake.identity_events).num_rows == events
    before = persons(other)
    pair = draw.choice([("C1", "C101"), ("C4", "C104"), ("C2", "C9")])
    decide(other, ("apart", pair))
    decide(other, ("together", pair))
    decide(other, ("withdrawn", pair))
    assert persons(other) == before and parts(before) == parts(persons(once))
    golden = [sorted({**row, "person_id": ""}.items(), key=str) for row in read_table(other.lake.persons).to_pylist()]
    alone = [sorted({**row, "person_id": ""}.items(), key=str) for row in read_table(once.lake.persons).to_pylist()]
    assert sorted(map(str, golden)) == sorted(map(str, alone))


def halves(uri):
    """The table again in two files, the persons of the smaller ids in the first."""
    rows = read_table(uri).sort_by("person_id")
    middle = rows.num_rows // 2
    note = open_table(uri).history(1)[0].get("userMetadata")
    overwrite_rows(uri, rows.slice(0, middle), whole_table=True)
    append_rows(uri, rows.slice(middle), note=lambda done: note)
    return rows["person_id"][middle].as_py()


def test_an_undone_merge_leaves_the_files_of_other_persons_alone(shop):
    visits = [event(n, 5, f"C{n}", f"S{n}") for n in [*range(12), *range(100, 112)]]
    shop.bronze(CUSTOMER_BEHAVIORAL_EVENTS=write_lines(shop.root / "events" / "e.jsonl", visits))
    feed(shop, SOME)
    stitch(shop.lake, shop.run("resolve"))
    who = persons(shop)
    tables = (shop.lake.persons, shop.lake.identity_map, shop.lake.visitors)
    middles = [halves(uri) for uri in tables]
    low = next(n for n in range(12) if all(who[f"customers:C{n}"] < middle for middle in middles))
    before = [set(open_table(uri).file_uris()) for uri in tables]
    values = {uri: {str(row) for row in read_table(uri).to_pylist()} for uri in tables}
    done = decide(shop, ("apart", (f"C{low}", f"C{100 + low}")))
    stitch(shop.lake, shop.run("resolve"))
    assert len(done.touched) == 2
    for uri, files in zip(tables, before, strict=True):
        now, rows = set(open_table(uri).file_uris()), read_table(uri).to_pylist()
        assert len(files & now) == 1, "the file with the greater half is as it was"
        assert {row["person_id"] for row in rows if str(row) not in values[uri]} <= set(done.touched)
    decide(shop, ("withdrawn", (f"C{low}", f"C{100 + low}")))
    stitch(shop.lake, shop.run("resolve"))
    assert persons(shop) == who
    for uri in (shop.lake.persons, shop.lake.visitors):
        assert {str(row) for row in read_table(uri).to_pylist()} == values[uri]


def test_who_a_record_was_on_a_day_and_why(shop):
    visits = [event(1, 1), event(2, 5, "C3")]
    shop.bronze(CUSTOMER_BEHAVIORAL_EVENTS=write_lines(shop.root / "events" / "e.jsonl", visits))
    feed(shop, SOME)
    first, came = persons(shop)["customers:C3"], shop.at - timedelta(days=1)
    day = f"{came:%Y-%m-%d}"
    decide(shop, ("apart", ("C3", "C103")))
    stitch(shop.lake, shop.run("resolve"))
    now = who_is(shop.lake, "c3")
    assert now["records"] == ["C3"] and who_is(shop.lake, "C103")["records"] == ["C103"]
    split = who_is(shop.lake, now["person_id"] if now["person_id"] != first else who_is(shop.lake, "C103")["person_id"])
    assert len(split["records"]) == 1
    moved = next(h for id in ("C3", "C103") for h in who_is(shop.lake, id)["history"] if h["kind"] == "split")
    assert moved["because"] == "apart" and moved["previous_person_id"] == first
    told = json.loads(c360("resolve", "--lake", shop.lake.uri, "--who", "C103", "--on", day, "--json"))
    assert (told["person_id"], told["records"]) == (first, ["C103", "C3"])
    joined = [h["kind"] for h in told["history"]] + [h["kind"] for h in who_is(shop.lake, "C3", came)["history"]]
    assert sorted(joined) == ["created", "joined"]
    assert [row["stitch_rule"] for row in who_is(shop.lake, "S1")["visits"]] == ["before_login", "own"]
    version = open_table(shop.lake.identity_events).version()
    said = c360("resolve", "--lake", shop.lake.uri, "--who", "C3")
    assert "C3 is person" in said and open_table(shop.lake.identity_events).version() == version
    with pytest.raises(UserError, match="no customer, person, session or device 'C3' on 2009"):
        who_is(shop.lake, "C3", came - timedelta(days=700))
    with pytest.raises(UsageError, match="is no date"):
        c360_on(shop, "yesterday")


def c360_on(shop, text):
    from pipelines.who import moment_of

    return moment_of(text)
