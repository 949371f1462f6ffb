"""A day's run: every step once, taken up again where it failed, fenced against a second process."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipelines import bronze, silver
from pipelines import day as days
from pipelines.config import Lake, Run
from pipelines.dataset import inputs_of
from pipelines.day import DONE, FAILED, STARTED, Day, Step, day_of, run_command, run_day
from pipelines.day_journal import Entry, Journal
from pipelines.gates import Gate, GateRules
from tests.pipelines.conftest import WHEN, customer, item, transaction, write_lines
from transforms.errors import UsageError, UserError
from transforms.io.delta import open_table, read_table

ROOT = Path(__file__).parents[2]
DATE = date(2010, 12, 31)
STEPS = ["bronze", "bronze gate", "silver", "silver gate", "gold", "gold gate", "warehouse", "warehouse gate"]


def fill(root: Path) -> Day:
    folder = root / "in" / str(DATE)
    write_lines(folder / "transactions/a.jsonl", [transaction(n) for n in range(20)])
    write_lines(folder / "items/a.jsonl", [item(n) for n in range(20)])
    write_lines(folder / "customers/a.jsonl", [customer(n) for n in range(5)])
    return Day(DATE, str(root / "lake"), str(root / "in" / "{date}"), str(root / "w.duckdb"))


def run(day: Day, now=WHEN, **options) -> tuple[bool, list[Entry]]:
    """Whether all is done, and the entries of steps that were worked on in this attempt and have ended."""
    told: list[Entry] = []
    good = run_day(day, now, on_step=told.append, **options)
    return good, [entry for entry in told if entry.status != STARTED and entry.said != "done by an earlier attempt"]


def names(entries) -> list[str]:
    return [entry.step for entry in entries]


def journal(day: Day) -> list[Entry]:
    return Journal(Lake(day.lake), day.date).read()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Day:
    """A day that was really run, twice: tests look at it."""
    day = fill(tmp_path_factory.mktemp("day"))
    good, ended = run(day)
    assert good and names(ended) == STEPS and {entry.status for entry in ended} == {DONE}
    return day


def test_a_day_runs_whole_and_its_table_says_so(made):
    lake = Lake(made.lake)
    assert read_table(lake.gold("customer_360")).num_rows == 5
    assert [(e.step, e.status) for e in journal(made)] == [(s, t) for s in STEPS for t in (STARTED, DONE)]
    runs = read_table(lake.runs).to_pylist()
    assert {row["started_at"] for row in runs} == {WHEN}
    inputs = next(row["inputs"] for row in runs if row["table"] == "customer_360")
    assert "as_of@2010-12-31T23:59:59.999999+00:00" in inputs  # gold is as of the end of the day


def test_a_finished_day_begins_anew_and_changes_nothing(made):
    tables = [uri for name, uri in Lake(made.lake).tables.items() if name != "ops/days"]
    before = [table and table.version() for table in map(open_table, tables)]
    good, ended = run(made, datetime(2011, 1, 2, tzinfo=UTC))
    assert good and names(ended) == STEPS
    assert [table and table.version() for table in map(open_table, tables)] == before


def test_a_warehouse_that_was_tampered_with_is_found(made):
    gate = Gate("warehouse", Lake(made.lake), warehouse=made.warehouse)
    with days.open_warehouse(made.warehouse) as warehouse:
        warehouse.run("DELETE FROM CUSTOMER_360.FACT_TRANSACTION WHERE TRANSACTION_ID = 'T1'")
    assert [finding.table for finding in gate.judge() if not finding.good] == ["CUSTOMER_360.FACT_TRANSACTION"]


def test_gold_that_lost_its_customers_or_lags_behind_is_not_loaded(made):
    lake = Lake(made.lake)
    gate = Gate("gold", lake)
    assert all(finding.good for finding in gate.judge())
    open_table(lake.gold("customer_360")).delete("customer_id IN ('C0', 'C1')")
    shrunk = {finding.measure: finding for finding in gate.judge()}["share lost"]
    assert (shrunk.value, shrunk.good) == (pytest.approx(0.4), False)
    write_lines(Path(made.folder) / "items/b.jsonl", [item(30)])
    bronze.ingest(lake, Run("bronze"), inputs_of(made.folder))
    waiting = [finding.table for finding in Gate("silver", lake).judge() if not finding.good]
    assert waiting == ["CUSTOMER_TRANSACTION_ITEMS"]
    silver.refine(lake, Run("silver"))
    behind = {finding.measure: finding for finding in gate.judge()}["silver tables not taken up"]
    assert (behind.value, behind.good) == (1, False)


class TestBronzeGate:
    """Of bronze alone, which is quick."""

    @pytest.fixture
    def day(self, tmp_path, monkeypatch) -> Day:
        whole = days.steps
        monkeypatch.setattr(days, "steps", lambda *args: whole(*args)[:2])
        return fill(tmp_path)

    def test_it_opens_when_what_was_missing_has_come(self, day):
        day = replace(day, gates=GateRules(required=("service",)))
        good, ended = run(day)
        assert not good and names(ended) == ["bronze", "bronze gate"]
        assert "CUSTOMER_SERVICE_INTERACTIONS: no rows came 1, limit 0" in ended[-1].said
        row = {"INTERACTION_ID": "X1", "CUSTOMER_ID": "C1", "INTERACTION_DATE": "2010-11-30T08:00:00Z"}
        write_lines(Path(day.folder) / "service/a.jsonl", [row])
        good, ended = run(day)
        assert good and names(ended) == ["bronze", "bronze gate"]

    def test_too_many_refused_rows_shut_it_until_its_limit_is_raised(self, day):
        bad = [transaction(n, TOTAL_AMOUNT="much") for n in range(100, 105)]
        write_lines(Path(day.folder) / "transactions/bad.jsonl", bad)
        good, ended = run(day)
        assert not good and "CUSTOMER_TRANSACTIONS: share rejected 0.2, limit 0.05" in ended[-1].said
        assert run(replace(day, gates=GateRules(max_rejected=0.2)))[0]

    def test_a_folder_that_is_not_there_fails_the_first_step(self, day, capsys):
        with pytest.raises(SystemExit) as ended:
            run_command(replace(day, date=date(2011, 1, 1)), WHEN, False, True)
        assert ended.value.code == 1
        said = json.loads(capsys.readouterr().out)
        assert not said["good"] and said["steps"][0]["status"] == FAILED
        assert "there is no such folder" in said["steps"][0]["said"]


class TestOrderOfSteps:
    """What is worked on, and when, with steps that only say so."""

    @pytest.fixture
    def day(self, tmp_path, monkeypatch) -> Day:
        self.broken: dict[str, BaseException] = {}
        self.times: list[datetime] = []

        def step(name: str) -> Step:
            def work() -> str:
                if name in self.broken:
                    raise self.broken[name]
                return name

            return Step(name, work)

        def steps(day: Day, at: datetime, times: tuple[datetime, ...]) -> list[Step]:
            self.times.append(at)
            return [step(name) for name in STEPS]

        monkeypatch.setattr(days, "steps", steps)
        return Day(DATE, str(tmp_path / "lake"), "in")

    @pytest.mark.parametrize("broken", STEPS)
    def test_a_failed_step_is_where_the_next_attempt_goes_on(self, day, broken):
        self.broken[broken] = UserError("the disk is full", "somewhere", "make room")
        good, ended = run(day)
        assert not good and names(ended) == STEPS[: STEPS.index(broken) + 1]
        assert (ended[-1].status, ended[-1].said) == (FAILED, "the disk is full (somewhere); make room")
        self.broken.clear()
        good, ended = run(day, datetime(2011, 1, 9, tzinfo=UTC))
        # Behind a gate that was shut the layer is looked at again.
        assert good and names(ended) == STEPS[STEPS.index(broken.removesuffix(" gate")) :]
        assert {(entry.attempt, entry.run_time) for entry in ended} == {(2, WHEN)}

    def test_a_third_attempt_knows_what_the_first_two_did(self, day):
        for broken in ("silver", "warehouse"):
            self.broken = {broken: UserError("no")}
            run(day)
        self.broken = {}
        good, ended = run(day)
        assert good and names(ended) == ["warehouse", "warehouse gate"]

    def test_what_broke_inside_is_named_by_its_class_never_by_its_text(self, day):
        self.broken["gold"] = ValueError("ada@example.com")
        assert not run(day)[0]
        assert journal(day)[-1].said == "ValueError, see the log"

    def test_other_options_and_again_begin_anew_other_limits_do_not(self, day):
        self.broken["gold"] = UserError("no")
        run(day)
        assert names(run(day, again=True)[1]) == STEPS[:5]
        self.broken.clear()
        assert names(run(replace(day, gates=GateRules(max_rejected=1)))[1]) == STEPS[4:]
        self.broken["gold"] = UserError("no")
        run(day)
        assert names(run(replace(day, gap="10m"))[1]) == STEPS[:5]

    def test_a_finished_day_has_a_time_of_its_own_the_second_time(self, day):
        later = datetime(2011, 1, 2, tzinfo=UTC)
        run(day)
        assert {entry.run_time for entry in run(day, later)[1]} == {later}

    def test_of_two_processes_the_later_one_has_the_day(self, day, monkeypatch):
        whole = days.steps

        def overtake() -> str:
            other = Journal(Lake(day.lake), day.date)
            other.add(Entry(day.date, 2, "bronze", STARTED, other.read()[-1].run_time))
            return "done"

        monkeypatch.setattr(days, "steps", lambda *a: [Step("bronze", overtake), *whole(*a)[1:]])
        with pytest.raises(UserError, match="another process has taken over the day 2010-12-31"):
            run(day)
        assert [(entry.step, entry.attempt) for entry in journal(day)] == [("bronze", 1), ("bronze", 2)]

    def test_days_do_not_stand_in_each_others_way(self, day):
        run(day)
        assert names(run(replace(day, date=date(2011, 1, 1)))[1]) == STEPS
        assert names(journal(day)) == [step for step in STEPS for _ in range(2)]


@pytest.mark.parametrize("text", ["yesterday", "2010-13-01", "31/12/2010"])
def test_what_is_no_day_is_wrong_use(text):
    with pytest.raises(UsageError, match="is no day"):
        day_of(text)


@pytest.mark.parametrize("rules", [{"max_rejected": 1.5}, {"max_shrink": -1}, {"required": ("nothing",)}])
def test_limits_that_make_no_sense_are_wrong_use(rules):
    with pytest.raises(UsageError):
        GateRules(**rules)


def test_a_gate_nobody_knows_is_wrong_use():
    with pytest.raises(UsageError, match="there is no layer 'platinum'"):
        Gate("platinum", Lake("lake"))
    with pytest.raises(UsageError, match="which warehouse"):
        Gate("warehouse", Lake("lake"))


@pytest.mark.slow
def test_killed_in_the_middle_the_command_finishes_the_day(tmp_path):
    """kill -9 while gold is made; the same command then makes what an unbroken day makes."""
    day = fill(tmp_path)
    command = [sys.executable, "-m", "pipelines", "run", "--date", str(DATE), "--input", day.input, "--json"]
    command += ["--identity", "--warehouse", day.warehouse, "--lake"]
    code = (
        "import os, signal, sys; from pipelines import gold; "
        "gold.build = lambda *a: os.kill(os.getpid(), signal.SIGKILL); "
        "from pipelines.__main__ import main; main()"
    )
    killed = [sys.executable, "-c", code, *command[3:], day.lake]
    assert subprocess.run(killed, cwd=ROOT, capture_output=True).returncode == -9
    done = subprocess.run([*command, day.lake], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["attempt"] == 2
    worked = [step["step"] for step in said["steps"] if step["said"] != "done by an earlier attempt"]
    assert worked == ["gold", "gold gate", "warehouse", "warehouse gate"]
    plain = Day(DATE, str(tmp_path / "plain"), day.input, str(tmp_path / "p.duckdb"), identity=True)
    assert run(plain)[0]

    def rows(lake):
        found = read_table(Lake(lake).gold("customer_360")).to_pylist()
        return sorted(({k: v for k, v in row.items() if k != "person_id"} for row in found), key=str)

    assert rows(day.lake) == rows(plain.lake)
