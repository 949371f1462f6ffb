"""The command `resolve` on people's own files: planted persons are found, ids do not clash, decisions last."""

import json
import random
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from pipelines.config import Run
from pipelines.own_files import Refusals
from pipelines.records import find_record, plan_records, read_records
from pipelines.resolve_files import FilesRequest, resolve_files
from tests.pipelines.test_cli import c360
from transforms.errors import UsageError, UserError

GIVEN = ["Anna", "Boris", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jakub", "Kofi", "Lena"]
SURNAMES = ["Miller", "Stone", "Okafor", "Schmidt", "Yilmaz", "Novak", "Garcia", "Larsen", "Moreau", "Tanaka", "Rossi"]


def people(count: int, seed: int = 4) -> list[dict]:
    draw = random.Random(seed)
    return [
        {
            "given": draw.choice(GIVEN),
            "surname": draw.choice(SURNAMES) + draw.choice(["", "s", "er", "ov"]),
            "born": date(1940, 1, 1) + timedelta(days=draw.randrange(25_000)),
            "email": f"user{number}@mail{number % 7}.org" if draw.random() < 0.7 else None,
            "city": draw.choice(["York", "Bath", "Leeds", "Hull"]),
            "zip": f"{draw.randrange(10_000, 99_999)}",
        }
        for number in range(count)
    ]


def typo(text: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(text))
    return text[:at] + draw.choice("aeiou") + text[at + 1 :]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A CRM in CSV with 300 persons; a shop in Parquet with 150 of them, its own ids, real dates and typos."""
    folder, draw = tmp_path_factory.mktemp("own"), random.Random(8)
    everybody = people(300)
    crm = pl.DataFrame([{"id": number, "First Name": p["given"], "Surname": p["surname"], "DOB": str(p["born"]),
                         "E-Mail": p["email"], "town": p["city"], "ZIP": p["zip"]}
                        for number, p in enumerate(everybody)])  # fmt: skip
    shop = pl.DataFrame([{"id": number, "vorname": p["given"],
                          "nachname": typo(p["surname"], draw) if draw.random() < 0.3 else p["surname"],
                          "date_of_birth": p["born"], "mail": p["email"], "city": p["city"], "plz": p["zip"],
                          "basket": number} for number, p in enumerate(everybody[:150])])  # fmt: skip
    crm.write_csv(folder / "crm.csv", separator=";")
    shop.write_parquet(folder / "shop.parquet")
    return folder


def resolve(files, *names, day=1, **asked):
    request = FilesRequest(tuple(str(files / name) for name in names), **{"out": str(files / "people.csv"), **asked})
    sources = plan_records(request.locations, {})
    return resolve_files(sources, request, Run("resolve", datetime(2024, 1, day, tzinfo=UTC)))


def test_planted_persons_are_found_over_two_files_whose_ids_and_date_types_clash(files, tmp_path):
    done = resolve(files, "crm.csv", "shop.parquet", out=str(tmp_path / "p.csv"), pairs=str(tmp_path / "pairs.parquet"))
    people = pl.read_csv(tmp_path / "p.csv", schema_overrides={"record_id": pl.String})
    assert people.height == 450 and people["source"].value_counts().sort("source")["count"].to_list() == [300, 150]
    person = {(source, id): who for id, source, who, _ in people.iter_rows()}
    hits = sum(person["crm.csv", str(n)] == person["shop.parquet", str(n)] for n in range(150))
    assert hits >= 147
    assert 300 <= people["person_id"].n_unique() <= 303
    linked = people.filter(pl.len().over("person_id") > 1)
    assert linked["probability"].min() >= 0.9 and people["probability"].is_null().sum() >= 147
    pairs = pl.read_parquet(tmp_path / "pairs.parquet")
    bits = pairs.select(pl.sum_horizontal(name for name in pairs.columns if name.startswith("bits_"))).to_series()
    model = pairs["kind"] == "probabilistic"
    odds = 2.0**bits
    assert ((odds / (1 + odds) - pairs["probability"]).abs().filter(model) < 1e-6).all()
    assert pairs["same_person"].sum() >= 147 and done.scored.compared >= 150


def test_the_same_files_in_another_order_give_the_same_persons(files, tmp_path):
    one = resolve(files, "crm.csv", "shop.parquet", out=str(tmp_path / "a.parquet"))
    other = resolve(files, "shop.parquet", "crm.csv", out=str(tmp_path / "b.parquet"))
    key = ["source", "record_id"]
    assert pl.DataFrame(one.people).sort(key).equals(pl.DataFrame(other.people).sort(key))


def test_two_files_without_duplicates_are_only_linked_across(files, tmp_path):
    done = resolve(files, "crm.csv", "shop.parquet", out=str(tmp_path / "p.csv"), duplicates_within=False)
    sources = pl.DataFrame(done.scored.edges).select(pl.col("left", "right").str.split(":").list.first())
    assert (sources["left"] != sources["right"]).all()


def test_decisions_last_until_they_are_withdrawn(files, tmp_path):
    out, days = str(tmp_path / "people.csv"), iter(range(1, 31))

    def persons(*decided):
        done = resolve(files, "crm.csv", "shop.parquet", out=out, decided=decided, day=next(days))
        return {(row["source"], row["record_id"]): row["person_id"] for row in done.people.to_pylist()}

    mine, theirs, other = ("crm.csv", "7"), ("shop.parquet", "7"), ("crm.csv", "8")
    before = persons()
    assert before[mine] == before[theirs] != before[other]
    assert persons(("apart", ("crm.csv:7", "shop.parquet:7")))[mine] != persons()[theirs]
    joined = persons(("together", ("crm.csv:7", "crm.csv:8")))
    assert joined[mine] == joined[other] != joined[theirs]
    assert persons() == joined
    persons(("withdrawn", ("shop.parquet:7", "crm.csv:7")))
    assert persons(("withdrawn", ("crm.csv:8", "crm.csv:7"))) == before


def test_ids_that_are_missing_or_repeated_are_told_and_named_by_row(tmp_path):
    (tmp_path / "a.csv").write_text("id,name\n1,Ann Li\n,Bo Ek\n1,Cy Dal\n1#3,Di Ott\n")
    (tmp_path / "b.csv").write_text("full name,phone\nAnn Li,030 1234567\n")
    records = read_records(plan_records([str(tmp_path)], {}), Refusals())
    assert records.named["record_key"].to_list() == ["a.csv:1", "a.csv:#2", "a.csv:1#3", "a.csv:1#3#4#4", "b.csv:1"]
    assert records.notes == (
        "a.csv: 1 record without an id, named by row",
        "a.csv: 1 record with the id of another, named by row",
        "b.csv: no column for record_id; records are named by their row",
    )


@pytest.mark.parametrize(
    ("text", "explicit", "told"),
    [
        ("id,colour\n1,red\n", {}, "no column says anything about a person"),
        ("id,surname\n1,Li\n", {"given_name": "FIRST"}, "FIRST"),
        ("id,surname\n1,Li\n", {"shoe_size": "surname"}, "shoe_size"),
        ("", {}, "empty"),
        ("id,dob,birthday,surname\n", {}, "no record"),
    ],
)
def test_what_cannot_be_resolved_is_one_clear_line(tmp_path, text, explicit, told):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=told):
        read_records(plan_records([str(tmp_path / "a.csv")], explicit), Refusals())


def test_the_command_explains_and_writes_json(files, tmp_path):
    inputs = ("--records", files / "crm.csv", "--records", files / "shop.parquet")
    explain = ("--explain", "crm.csv:3", "shop.parquet:3")
    facts = json.loads(c360("resolve", *inputs, *explain, "--out", tmp_path / "p.jsonl", "--json"))
    assert facts["records"] == 450 and facts["persons"] == len(
        {json.loads(line)["person_id"] for line in (tmp_path / "p.jsonl").read_text().splitlines()}
    )
    assert facts["same_person"] and [row["comparison"] for row in facts["explanation"]][:2] == ["start", "given_name"]
    assert facts["explanation"][-1]["sum"] == pytest.approx(sum(row["bits"] for row in facts["explanation"]), abs=0.1)


def test_an_id_of_several_files_is_asked_for_with_its_file(files):
    records = read_records(plan_records([str(files)], {}), Refusals())
    assert find_record("shop.parquet:3", records) == "shop.parquet:3" and find_record("299", records) == "crm.csv:299"
    for asked, told in (("3", "several records have the id '3'"), ("x", "no record has the id 'x'")):
        with pytest.raises(UserError, match=told):
            find_record(asked, records)


def test_nothing_asked_for_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="nothing is asked for"):
        FilesRequest(("a.csv",))
    with pytest.raises(UsageError, match="a decision needs a file"):
        FilesRequest(("a.csv",), explain=("a", "b"), decided=(("apart", ("a", "b")),))
