"""`resolve --state`: day after day in a folder, with the persons of all files at once and ids that stay."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.config import Run
from pipelines.people_state import load_state, save_state
from pipelines.records import plan_records
from pipelines.resolve_files import FilesRequest, resolve_files
from tests.identity.planted import planted_customers
from tests.pipelines.test_cli import c360
from transforms.errors import UsageError, UserError
from transforms.identity.fold import sound

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Three days of customers; the files of all days have one name, as an export has, so that ids are the same."""
    folder = tmp_path_factory.mktemp("days")
    records = pl.DataFrame(pl.from_arrow(planted_customers(600)[0])).rename({"record_key": "customer_id"})
    for day, (start, end) in enumerate([(0, 450), (450, 600), (600, records.height)]):
        (folder / str(day)).mkdir()
        records[start:end].write_parquet(folder / str(day) / "crm.parquet")
    records.write_parquet(folder / "crm.parquet")
    return folder


def resolve(file, day, out, state=None, **asked):
    request = FilesRequest((str(file),), out=str(out), state=state and str(state), **asked)
    return resolve_files(plan_records(request.locations, {}), request, Run("resolve", START + timedelta(days=day)))


def grouped(people):
    groups = {}
    for row in people.to_pylist():
        groups.setdefault(row["person_id"], set()).add(row["record_id"])
    return {frozenset(group) for group in groups.values()}


def test_days_in_a_folder_end_in_the_persons_and_probabilities_of_all_at_once(days, tmp_path):
    at_once = resolve(days / "crm.parquet", 9, tmp_path / "all.parquet")
    before = {}
    for day in range(3):
        done = resolve(days / str(day) / "crm.parquet", day, tmp_path / "people.parquet", tmp_path / "state")
        now = {row["record_id"]: row["person_id"] for row in done.people.to_pylist()}
        shared = [record for record in before if now[record] != before[record]]
        assert len(shared) < 0.05 * max(1, len(before))  # merged into an older person
        before = now
    assert grouped(done.people) == grouped(at_once.people)
    for name in ("record_id", "probability"):  # in the order they were read in
        assert done.people[name].to_pylist() == at_once.people[name].to_pylist()
    assert done.scored.compared < at_once.scored.compared / 2
    assert pl.read_parquet(tmp_path / "people.parquet").equals(pl.DataFrame(done.people))
    assert [p.name[:4] for p in (tmp_path / "state").iterdir() if p.is_dir()] == ["run-"]


def test_a_day_again_changes_nothing(days, tmp_path):
    first = resolve(days / "0" / "crm.parquet", 0, tmp_path / "p.csv", tmp_path / "state")
    again = resolve(days / "0" / "crm.parquet", 1, tmp_path / "p.csv", tmp_path / "state")
    assert again.people.equals(first.people) and again.scored.compared == 0


def test_apart_then_together_then_withdrawn_give_back_who_was_who(days, tmp_path):
    def run(day, *decided, file=days / "0" / "crm.parquet"):
        done = resolve(file, day, tmp_path / "p.csv", tmp_path / "state", decided=decided)
        return {row["record_id"]: row["person_id"] for row in done.people.to_pylist()}

    first = run(0)
    person = next(p for p in first.values() if list(first.values()).count(p) == 2)
    pair = tuple(record for record, who in first.items() if who == person)
    apart = run(1, ("apart", pair))
    assert len({apart[record] for record in pair}) == 2 and person in apart.values()
    assert {r: p for r, p in apart.items() if r not in pair} == {r: p for r, p in first.items() if r not in pair}
    assert run(2, ("together", pair)) == first
    assert run(3, ("withdrawn", pair)) == first
    assert run(4, ("apart", pair)) == apart  # the part gets back the id that it had


def test_the_command_keeps_and_explains_and_says_what_it_knew(days, tmp_path):
    def run(day, *more):
        records = ("--records", days / str(day) / "crm.parquet", "--run-time", f"2024-01-0{day + 1}T00:00:00Z")
        return json.loads(c360("resolve", *records, "--state", tmp_path / "s", "--json", *more))

    first, second = (run(day, "--out", tmp_path / "p.parquet") for day in (0, 1))
    assert (first["records_before"], second["records_before"], second["records"]) == (0, 450, 600)
    old, new = (pl.read_parquet(days / str(day) / "crm.parquet")["customer_id"][0] for day in (0, 1))
    third = run(2, "--explain", old, new)
    assert third["explanation"][0]["comparison"] == "start" and not (tmp_path / "s" / "state.json.part").exists()


def test_other_folders_other_times_and_other_runs_are_refused(days, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    file = days / "0" / "crm.parquet"
    with pytest.raises(UserError, match="no folder that resolve keeps"):
        resolve(file, 0, tmp_path / "p.csv", tmp_path / "other")
    resolve(file, 1, tmp_path / "p.csv", tmp_path / "state")
    with pytest.raises(UserError, match="later --run-time"):
        resolve(file, 1, tmp_path / "p.csv", tmp_path / "state")
    with pytest.raises(UsageError, match="two whole files"):
        FilesRequest(("a", "b"), out="p.csv", state="s", duplicates_within=False)


def test_a_run_that_was_overtaken_keeps_nothing(days, tmp_path):
    file = days / "0" / "crm.parquet"
    resolve(file, 0, tmp_path / "p.csv", tmp_path / "state")
    mine = load_state(str(tmp_path / "state"))
    resolve(file, 1, tmp_path / "p.csv", tmp_path / "state")
    with pytest.raises(UserError, match="at the same time"):
        save_state(str(tmp_path / "state"), mine)
    assert load_state(str(tmp_path / "state")).generation == 2


def test_what_other_rules_left_is_compared_anew_and_ids_stay(days, tmp_path):
    first = resolve(days / "0" / "crm.parquet", 0, tmp_path / "p.csv", tmp_path / "state")
    said = json.loads((tmp_path / "state" / "state.json").read_text())
    (tmp_path / "state" / "state.json").write_text(json.dumps(said | {"rules": "others"}))
    again = resolve(days / "0" / "crm.parquet", 1, tmp_path / "p.csv", tmp_path / "state")
    assert again.people.equals(first.people) and again.scored.compared == first.scored.compared > 0


def test_what_was_made_of_values_is_kept_and_only_added_to(days, tmp_path, monkeypatch):
    resolve(days / "0" / "crm.parquet", 0, tmp_path / "p.csv", tmp_path / "state")
    kept = load_state(str(tmp_path / "state")).compared.records.columns
    assert {"sound"} <= kept["surname"].derived.keys() and {"mailbox"} <= kept["email"].derived.keys()
    asked = []
    monkeypatch.setattr("transforms.identity.keys.sound", lambda values: asked.extend(values) or sound(values))
    resolve(days / "1" / "crm.parquet", 1, tmp_path / "p.csv", tmp_path / "state")
    assert asked and not set(asked) & set(kept["surname"].values.to_list())
