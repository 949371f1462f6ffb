"""`resolve` on bad files: a clear answer, within bounds of time and memory."""

import json
import random
import re
import resource
from datetime import UTC, date, datetime, timedelta
from time import perf_counter

import polars as pl
import pytest

from pipelines.config import Run
from pipelines.resolve_files import FilesRequest, run_resolve_files
from tests.pipelines.test_cli import c360
from transforms.errors import UserError

GIVEN = ["Anna", "Boris", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jakub"]
SURNAMES = ["Miller", "Stone", "Okafor", "Schmidt", "Yilmaz", "Novak", "Garcia", "Larsen", "Moreau", "Tanaka"]


@pytest.fixture
def resolve(tmp_path, capsys):
    """Runs the command on frames or texts, each a file; gives what it said, and person_id by record_id in order."""

    def run(*contents, maps=()):
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"{number}.{'csv' if isinstance(content, str | bytes) else 'parquet'}"
            if isinstance(content, pl.DataFrame):
                content.write_parquet(path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            paths.append(str(path))
        request = FilesRequest(tuple(paths), tuple(maps), out=str(tmp_path / "people.csv"))
        run_resolve_files(request, Run("resolve", datetime(2024, 1, 1, tzinfo=UTC)), as_json=True)
        people = pl.read_csv(request.out, infer_schema=False)
        return json.loads(capsys.readouterr().out), list(people.select("record_id", "person_id").iter_rows())

    return run


def persons(count, seed=3):
    draw = random.Random(seed)
    return [
        {
            "id": f"a{number}",
            "given": draw.choice(GIVEN),
            "surname": draw.choice(SURNAMES) + draw.choice(["", "s", "er", "ov"]),
            "dob": date(1940, 1, 1) + timedelta(days=draw.randrange(25_000)),
        }
        for number in range(count)
    ]


def test_records_without_a_value_are_persons_of_their_own(tmp_path):
    frame = pl.DataFrame({"id": range(3_000)}).with_columns(
        surname=pl.lit(None, pl.String), email=pl.lit(""), colour=pl.lit("red")
    )
    frame.write_parquet(tmp_path / "in.parquet")
    facts = json.loads(c360("resolve", "--records", tmp_path / "in.parquet", "--out", tmp_path / "p.csv", "--json"))
    assert (facts["records"], facts["persons"], facts["compared_pairs"]) == (3_000, 3_000, 0)
    assert "colour" in facts["columns"]
    assert facts["notes"] == ["in.parquet: 3,000 records without any value to compare, each a person of its own"]


@pytest.mark.parametrize("column", ["given", "surname", "dob", "email", "phone", "ssn", "loyaltycard"])
def test_one_value_in_half_of_all_rows_joins_nobody_and_costs_little(resolve, column):
    draw = random.Random(7)
    rows = [
        row | {"email": f"user{n}@mail.org", "phone": f"{draw.randrange(10**9, 10**10)}",
               "ssn": f"{draw.randrange(10**8, 10**9)}", "loyaltycard": f"K{draw.randrange(10**8, 10**9)}"}
        for n, row in enumerate(persons(2_000))
    ]  # fmt: skip
    shared = rows[0][column]
    for row in rows[::2]:
        row[column] = shared
    twins = [row | {"id": f"b{n}"} for n, row in enumerate(rows[:300])]
    facts, found = resolve(pl.DataFrame(rows + twins))
    assert facts["compared_pairs"] < 25 * facts["records"]
    who = dict(found)
    assert all(who[f"a{n}"] == who[f"b{n}"] for n in range(300))
    assert len(set(who.values())) >= 1_995  # strangers who agree on name and birth date are few


def test_columns_that_nobody_knows_are_named(resolve):
    facts, found = resolve("foo,surname,bar\n1,Stone,2\n2,Stone,3\n")
    assert "not used: foo, bar" in facts["columns"] and len(found) == 2
    assert facts["notes"] == ["0.csv: no column for record_id; records are named by their row"]
    for text, maps, told in (
        ("foo,bar\n1,2\n", (), "no column says anything about a person"),
        ("Anna,Stone,1970-01-01\nBoris,Novak,1980-01-01\n", (), "is there a header line"),
        ("id,surname\n1,Stone\n", ("given_name=nope",), "wants the column 'nope'"),
        ("id,surname\n1,Stone\n", ("colour=id",), "names colour, which is no column here"),
        ("id,surname\n", (), "the files have no record"),
        ("", (), "the files are empty"),
        (bytes(range(256)) * 4, (), "no column says anything about a person"),
        ("id,surname\n1,Müller\n".encode("latin-1"), (), r"no record can be read \(1 encoding\)"),
    ):
        with pytest.raises(UserError) as error:
            resolve(text, maps=maps)
        assert pl.Series([str(error.value)]).str.contains(told).all(), error.value


DATES = {
    "%m/%d/%Y": pl.String, "%d.%m.%Y": pl.String, "%Y%m%d": pl.Int64, "%d %B %Y": pl.String, "%d/%m/%y": pl.String,
    "%Y-%m-%d": pl.Binary, "timestamp": pl.Datetime("ns"), "%Y%m%d ": pl.Float64,
}  # fmt: skip


@pytest.mark.parametrize("form", DATES)
def test_files_whose_dates_have_other_types_are_linked(resolve, form):
    crm = pl.DataFrame(persons(120))
    dob = pl.col("dob") if form == "timestamp" else pl.col("dob").dt.strftime(form.strip())
    other = crm.with_columns(dob.cast(DATES[form]).alias("dob"))
    facts, found = resolve(crm, other)
    assert facts["persons"] == 120 and "notes" not in facts
    assert [who for _, who in found[:120]] == [who for _, who in found[120:]]


def test_dates_that_are_none_are_said_to_be_so(resolve):
    crm = pl.DataFrame(persons(120))
    facts, _ = resolve(crm, crm.with_columns(pl.col("dob").cast(pl.Datetime("us")).dt.epoch("s")))
    assert facts["records"] == 240
    (note,) = facts["notes"]  # some numbers of seconds look like dates
    assert re.fullmatch(r"1.parquet: \d of 120 values of birth_date are understood", note)


SCRIPTS = {
    "cyrillic": ("Иван Мария Сергей Ольга Дмитрий Наталья Алексей", "Иванов Смирнов Кузнецов Попова Васильев"),
    "greek": ("Γιώργος Μαρία Κωνσταντίνος Ελένη Νικόλαος Σοφία", "Παπαδόπουλος Νικολάου Γεωργίου Αντωνίου Οικονόμου"),
    "arabic": ("محمد أحمد فاطمة عائشة يوسف خديجة مريم", "الهاشمي المصري الحداد النجار الخطيب البغدادي"),
    "chinese": ("伟明 芳华 秀英 敏静 建国 志强 丽娟 海洋", "王 李 张 刘 陈 杨 黄 欧阳"),
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_names_in_any_script_match_themselves_and_with_a_typo_and_no_others(resolve, script):
    draw = random.Random(5)
    given, surnames = (words.split() for words in SCRIPTS[script])
    rows = [
        row | {"given": draw.choice(given), "surname": draw.choice(surnames), "postcode": f"{draw.randrange(40):05}"}
        for row in persons(150)
    ]
    twins = [row | {"id": row["id"].replace("a", "b")} for row in rows[:60]]
    for row in twins[:20]:
        at = draw.randrange(1, len(row["given"]))
        row["given"] = row["given"][:at] + row["given"][at + 1 :]
    facts, found = resolve(pl.DataFrame(rows + twins))
    who = dict(found)
    missed = [n for n in range(60) if who[f"a{n}"] != who[f"b{n}"]]
    assert len(missed) <= 2 and min(missed, default=0) < 20, missed
    assert facts["persons"] >= 149 + len(missed)  # of 11,000 pairs of strangers one at most agrees on nearly all


def test_ids_that_are_missing_or_repeated_lose_no_record(resolve):
    rows = persons(9)
    for row, id in zip(rows, ["1", "1", "", "2", None, " 3", "3", "#5", "1"], strict=True):
        row["id"] = id
    facts, found = resolve(pl.DataFrame(rows))
    assert len(found) == len({who for _, who in found}) == 9
    assert facts["notes"] == [
        "0.parquet: 2 records without an id, named by row", "0.parquet: 3 records with the id of another, named by row",
    ]  # fmt: skip


@pytest.mark.slow
def test_two_hundred_thousand_records_with_one_phone_end_soon_and_small(tmp_path):
    n = 200_000
    start = perf_counter()
    number = pl.int_range(n, eager=True)
    letters = [chr(97 + i) for i in range(26)]
    names = [f"name{letters[i % 26]}{letters[i // 26 % 26]}{letters[i // 676 % 26]}" for i in range(n)]
    frame = pl.DataFrame({"id": number, "phone": ["030 1234567"] * n, "surname": names})
    frame.write_parquet(tmp_path / "in.parquet")
    facts = json.loads(c360("resolve", "--records", tmp_path / "in.parquet", "--out", tmp_path / "p.csv", "--json"))
    assert facts["records"] == n and facts["compared_pairs"] < 100 * n and facts["left_out"] > 0.9 * n * n / 2
    assert perf_counter() - start < 300
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3 * 2**20  # KiB
