"""Identities in the lake: any split of a history into runs, decisions, and exactly the persons that were touched."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.config import IDENTITY
from pipelines.identities import CUSTOMERS, PERSONS, explain_in_lake, resolve_lake
from pipelines.report.facts import ReportFacts, gather
from pipelines.report.identity import identity
from pipelines.visitors import stitch
from tests.pipelines.conftest import customer, write_lines
from tests.pipelines.test_cli import c360, run
from transforms.errors import UsageError, UserError
from transforms.identity.customers import SAID
from transforms.identity.persons import persons_on
from transforms.identity.stitch import StitchRules
from transforms.io.delta import open_table, read_table

GIVEN = ["Anna", "Boris", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jakub"]
SURNAMES = ["Miller", "Stone", "Okafor", "Schmidt", "Yilmaz", "Novak", "Garcia", "Larsen", "Moreau", "Tanaka"]


def record(number: int, person: int, **changes):
    """One of the records of a person: same name, birth date, mailbox and home."""
    given, surname = GIVEN[person % 10], SURNAMES[person % 10]
    said = {
        "FIRST_NAME": given,
        "LAST_NAME": f"{surname}{'abcdefgh'[person // 10 % 8]}",
        "EMAIL_ADDRESS": f"{given}.{person}@mail.org",
        "PHONE_NUMBER": f"020 7946 {person:04}",
        "DATE_OF_BIRTH": f"{1940 + person % 60}-{1 + person % 12:02}-{1 + person % 27:02}",
        "ADDRESS_LINE_1": f"{person + 1} High Street",
        "CITY": "York",
        "ZIP_CODE": f"N{person % 9 + 1} {person % 9}GU",
        "REGISTRATION_DATE": "2009-01-01",
    }
    return customer(number, **said | changes)


ROWS = [record(n, n) for n in range(60)] + [record(100 + n, n) for n in range(25)]


def feed(shop, rows, number=0):
    shop.bronze(CUSTOMERS=write_lines(shop.root / f"in{number}" / "c.jsonl", rows))
    shop.silver()
    found = resolve_lake(shop.lake, shop.run("resolve"))
    shop.at += timedelta(days=1)
    return found


def persons(shop) -> dict[str, str]:
    rows = read_table(shop.lake.identity_map)
    return dict(zip(rows["record"].to_pylist(), rows["person_id"].to_pylist(), strict=True))


def parts(assignment) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for record, name in assignment.items():
        found.setdefault(name, set()).add(record)
    return set(map(frozenset, found.values()))


def test_a_history_in_two_runs_ends_as_in_one_and_a_replay_changes_nothing(make_shop):
    once, split = make_shop(), make_shop()
    done = feed(once, ROWS)
    assert (done.records, done.persons) == (85, 60) and done.events == {"created": 60, "joined": 25}
    for number in range(2):
        feed(split, ROWS[number::2], number)
    assert parts(persons(split)) == parts(persons(once))
    assert len(parts(persons(once))) == 60
    before = persons(split), open_table(split.lake.identity_events).version()
    assert feed(split, ROWS[::2], 0) is None
    assert (persons(split), open_table(split.lake.identity_events).version()) == before


def test_new_and_changed_records_are_compared_with_what_is_there(make_shop):
    grown, once = make_shop(), make_shop()
    changed = record(104, 7)  # was a record of person 4
    first, more = ROWS, [changed, record(201, 30), record(202, 31), record(203, 70)]
    whole = feed(grown, first)
    found = feed(grown, more, 1)
    assert 0 < found.compared < whole.compared / 2
    assert found.events == {"created": 1, "joined": 2, "moved": 1}
    feed(once, [row for row in first if row["CUSTOMER_ID"] != "C104"] + more)
    assert parts(persons(grown)) == parts(persons(once))
    assert read_table(grown.lake.identity_models).num_rows == 1
    resolve_lake(grown.lake, grown.run("resolve"), rebuild=True)
    assert read_table(grown.lake.identity_models).num_rows == 2 and parts(persons(grown)) == parts(persons(once))


def test_decisions_touch_exactly_their_persons_and_are_undone(shop):
    feed(shop, ROWS)
    before, golden = persons(shop), pl.DataFrame(read_table(shop.lake.persons)).sort("person_id")
    split = resolve_lake(shop.lake, shop.run("resolve"), [("apart", ("c3", " C103"))])
    shop.at += timedelta(days=1)
    now = persons(shop)
    assert len({name for name in now if now[name] != before[name]} & {"customers:C3", "customers:C103"}) == 1
    assert set(split.touched) == {now["customers:C3"], now["customers:C103"]} and split.events == {"split": 1}
    rest = pl.DataFrame(read_table(shop.lake.persons)).filter(~pl.col("person_id").is_in(split.touched))
    assert rest.sort("person_id").equals(golden.filter(~pl.col("person_id").is_in(split.touched)))
    assert resolve_lake(shop.lake, shop.run("resolve")) is None
    assert explain_in_lake(shop.lake, ("C3", "C103"))[1] == "two persons, as decided (apart)"
    undone = resolve_lake(shop.lake, shop.run("resolve"), [("withdrawn", ("C3", "C103"))])
    assert persons(shop) == before and undone.events == {"merged": 1}
    assert pl.DataFrame(read_table(shop.lake.persons)).sort("person_id").equals(golden)
    asked = persons_on(read_table(shop.lake.identity_events), shop.at - timedelta(hours=1))
    assert dict(zip(asked["record"].to_pylist(), asked["person_id"].to_pylist(), strict=True)) == now


def test_golden_records_take_the_latest_address_and_say_so(shop):
    feed(shop, [*ROWS, record(200, 5, ADDRESS_LINE_1="9 New Road", REGISTRATION_DATE="2010-06-01")])
    who = persons(shop)
    rows = {row["person_id"]: row for row in read_table(shop.lake.persons).to_pylist()}
    assert who["customers:C5"] == who["customers:C200"] == who["customers:C105"]
    golden = rows[who["customers:C5"]]
    assert (golden["records"], golden["street"], golden["address_rule"]) == (3, "9 New Road", "recent")
    assert golden["given_name"] == "Farid" and golden["birth_date"].year == 1945


def test_gold_follows_persons_when_they_change(shop):
    feed(shop, ROWS)
    shop.gold()
    who = persons(shop)

    def of_gold():
        rows = read_table(shop.lake.gold("customer_360")).to_pylist()
        assert len({row["person_id"] for row in rows}) == len(rows)
        return {f"customers:{one}": row["person_id"] for row in rows for one in row["customer_ids"].split(", ")}

    assert of_gold() == who and shop.gold() is None
    resolve_lake(shop.lake, shop.run("resolve"), [("apart", ("C3", "C103"))])
    assert shop.gold() is not None and of_gold() == persons(shop) != who


def event(number, minute, customer=None, session="S1", day=1, **more):
    return {"EVENT_ID": f"E{number}", "SESSION_ID": session, "CUSTOMER_ID": customer, "EVENT_TYPE": "CLICK",
            "EVENT_DATE": f"2010-05-{day:02}T10:{minute:02}:00Z"} | more  # fmt: skip


def test_visits_before_a_login_are_the_persons(shop):
    visits = [event(1, 1), event(2, 5, "C3"), event(3, 7), event(4, 1, None, "S2")]
    shop.bronze(CUSTOMER_BEHAVIORAL_EVENTS=write_lines(shop.root / "events" / "e.jsonl", visits))
    feed(shop, ROWS)
    assert stitch(shop.lake, shop.run("resolve")).counts.accepted == 4
    who = persons(shop)["customers:C103"]
    rows = read_table(shop.lake.visitors).to_pylist()
    found = {(row["device"], row["CUSTOMER_ID"], row["stitch_rule"]): row["person_id"] for row in rows}
    rules = ("before_login", "own", "after_login")
    assert found == {("S1", "C3", rule): who for rule in rules} | {("S2", None, None): None}
    assert {row["login_at"] for row in rows if row["device"] == "S1"} == {datetime(2010, 5, 1, 10, 5, tzinfo=UTC)}
    assert stitch(shop.lake, shop.run("resolve")) is None
    shop.gold()
    rows = {row["person_id"]: row for row in read_table(shop.lake.gold("customer_360")).to_pylist()}
    assert rows[who]["events_count"] == 3 and sum(row["events_count"] for row in rows.values()) == 3
    assert shop.gold() is None


def test_a_device_is_one_visitor_over_sessions_within_the_look_back_and_is_cut_where_another_logs_in(shop):
    """The device is a column that no contract knows; of session S2 only the session's row names it."""
    visits = [
        event(1, 0, None, "S0", 1, DEVICE_ID="D"),  # 9 days before the login: not within 5
        event(2, 0, None, "S1", 8, DEVICE_ID="D"),
        event(3, 0, "C3", "S2", 10),
        event(4, 5, None, "S2", 10),
        event(5, 30, "C4", "S2", 10),
        event(6, 45, None, "S2", 10),
        event(7, 0, None, "S3", 10, DEVICE_ID="E"),
    ]
    session = {"SESSION_ID": "S2", "SESSION_START": "2010-05-10T10:00:00Z", "DEVICE_ID": "D"}
    places = {"CUSTOMER_BEHAVIORAL_EVENTS": visits, "CUSTOMER_SESSION_DATA": [session]}
    shop.bronze(**{name: write_lines(shop.root / name / "e.jsonl", rows) for name, rows in places.items()})
    feed(shop, ROWS)
    assert stitch(shop.lake, shop.run("resolve"), rules=StitchRules(5 * 86_400, 86_400)) is not None
    who = persons(shop) | {"customers:None": None}
    rows = read_table(shop.lake.visitors).sort_by("first_at").to_pylist()
    assert all(row["person_id"] == who[f"customers:{row['CUSTOMER_ID']}"] for row in rows)
    found = [(row["device"], row["SESSION_ID"], row["CUSTOMER_ID"], row["visits"]) for row in rows]
    assert sorted(found, key=str) == sorted([
        ("D", "S0", None, 1), ("D", "S1", "C3", 1), ("D", "S2", "C3", 1), ("D", "S2", "C3", 2), ("D", "S2", "C4", 1),
        ("D", "S2", "C4", 1), ("E", "S3", None, 1),
    ], key=str)  # fmt: skip
    assert stitch(shop.lake, shop.run("resolve")) is None  # the look-back stays, until there is another
    assert stitch(shop.lake, shop.run("resolve"), rules=StitchRules()) is not None
    assert {row["SESSION_ID"]: row["CUSTOMER_ID"] for row in read_table(shop.lake.visitors).to_pylist()}["S0"] == "C3"


def test_the_report_tells_who_is_who_without_naming_anybody(shop):
    feed(shop, [*ROWS, record(300, 2, DATE_OF_BIRTH=None, EMAIL_ADDRESS=None, PHONE_NUMBER=None)])
    resolve_lake(shop.lake, shop.run("resolve"), [("apart", ("C3", "C103"))])
    facts = gather(shop.lake)
    assert facts.identity["records"] == 86 and facts.identity["split_today"] == 1
    assert facts.identity["persons"] == sum(row["persons"] for row in facts.rows("identity_sizes"))
    links = read_table(shop.lake.identity_links)
    assert sum(row["pairs"] for row in facts.rows("identity_scores")) == links.num_rows
    drawn = identity(facts)
    largest = facts.rows("identity_largest")
    assert [row["records"] for row in largest] == sorted((row["records"] for row in largest), reverse=True)
    assert len(largest) == 10 and all(row["links"] >= row["records"] - 1 and row["weakest"] >= 0.5 for row in largest)
    assert 0 < len(facts.rows("identity_borderline")) <= 10
    assert "Persons by their number of records" in drawn and drawn.count("<tr>") <= 22
    for word in ("Farid", "Okafor", "mail.org", "High Street", "C103", *set(persons(shop).values())):
        assert word.lower() not in drawn.lower()
    assert identity(ReportFacts()) == ""


def test_the_command_decides_and_says_what_it_touched(shop):
    feed(shop, ROWS)
    facts = json.loads(c360("resolve", "--lake", shop.lake.uri, "--together", "C1", "C2", "--json"))
    assert (facts["persons"], facts["touched_persons"], facts["events"]) == (59, 2, {"merged": 2})
    assert "for own files" in c360("resolve", "--lake", shop.lake.uri, "--out", "people.csv", code=2)


def test_personal_values_are_where_they_are_declared_and_in_no_message(shop):
    """Silver's customers, the persons and gold hold them; no other table of identities does, nor what commands say."""
    feed(shop, ROWS[:12] + ROWS[60:72])
    said = run("resolve", "--lake", shop.lake.uri, "--together", "C1", "C2", "--verbose")
    assert said.returncode == 0 and "persons" in said.stdout
    c360("report", "--lake", shop.lake.uri, "--out", str(shop.root / "report.html"))
    personal = [name for name in PERSONS.names if (PERSONS.field(name).metadata or {}).get(b"personal")]
    told = [SAID[name] for name in CUSTOMERS.personal]
    assert sorted(personal) == sorted([*told, "national_id", "loyalty_id"])
    golden = pl.DataFrame(read_table(shop.lake.persons))
    values = {str(v).lower() for name in personal for v in golden[name].drop_nulls() if len(str(v)) > 4}
    assert {"anna", "farid"} & {v.lower() for v in golden["given_name"]} and len(values) > 40
    open_tables = (*(getattr(shop.lake, name) for name in IDENTITY), shop.lake.identity_map, shop.lake.identity_events)
    held = [str(read_table(uri).to_pylist()) for uri in open_tables if open_table(uri) is not None]
    rest = golden.drop(personal)
    seen = [*held, str(rest.to_dicts()), said.stdout, said.stderr, (shop.root / "report.html").read_text()]
    for text in seen:
        assert not [value for value in values if value in text.lower()]


def test_wrong_use_is_told(shop):
    with pytest.raises(UserError, match="no customers in silver"):
        resolve_lake(shop.lake, shop.run("resolve"))
    feed(shop, ROWS)
    for pair, told in ((("C3", "C999"), "no customer 'C999'"), (("C3", "c3"), "named twice")):
        with pytest.raises(UsageError, match=told):
            resolve_lake(shop.lake, shop.run("resolve"), [("together", pair)])
    rows, verdict = explain_in_lake(shop.lake, ("C1", "C101"))
    assert verdict.startswith("one person") and rows["comparison"][0].as_py() == "start"
    shop.at -= timedelta(days=9)
    with pytest.raises(UserError, match="later --run-time"):
        resolve_lake(shop.lake, shop.run("resolve"), rebuild=True)
