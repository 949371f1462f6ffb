"""The command line as a user meets it: a few lines, JSON, one clear line for a mistake, never a traceback."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.pipelines.conftest import customer, transaction, write_lines

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipelines", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def c360(*arguments: str, code: int = 0) -> str:
    """Runs the command, checks its exit code and gives what it printed."""
    done = run(*arguments)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said, said
    return said


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    """A lake made by the commands from a person's own CSV with other column names."""
    root = tmp_path_factory.mktemp("cli")
    (root / "orders.csv").write_text(
        "order id;customer;date;type;amount;gift\n"
        "1;A;2010-05-01 10:00:00;PURCHASE;12.50;yes\n"
        "2;B;2010-05-02;PURCHASE;x;no\n"
    )
    said = c360(
        "bronze", "--table", "transactions", "--input", root / "orders.csv", "--lake", root / "lake",
        "--map", "TRANSACTION_TYPE=type",
    )  # fmt: skip
    assert "TRANSACTION_ID = order id (common name)" in said and "TRANSACTION_TYPE = type (given)" in said
    assert "kept as they are: gift" in said
    facts = json.loads(c360("silver", "--lake", root / "lake", "--json"))
    assert facts["silver"][0]["accepted"] == 1
    c360("gold", "--lake", root / "lake")
    return root / "lake"


def test_show_prints_a_table_and_a_customer(lake):
    assert "12.50" in c360("show", "transactions", "--lake", lake)
    assert "12.50" in c360("show", "customer", "A", "--lake", lake)
    rejects = json.loads(c360("show", "rejects", "--lake", lake, "--json"))
    assert [row["rule"] for row in rejects["rows"]] == ["not_a_number"]
    assert (
        json.loads(c360("show", "transactions", "--layer", "bronze", "--lake", lake, "--json"))["rows"][0]["GIFT"]
        == "yes"
    )


def test_maintain_and_report_and_replay(lake):
    assert "maintain:" in c360("maintain", "--lake", lake)
    assert "0 of 1" in c360("replay", "--lake", lake)
    out = lake.parent / "report.html"
    c360("report", "--lake", lake, "--out", out)
    page = out.read_text()
    assert page.startswith("<!doctype html>") or page.lower().startswith("<!doctype html>")
    assert "http://" not in page.replace("http://www.w3.org", "") and "src=" not in page


def test_generate_makes_a_data_set_that_bronze_reads_whole(tmp_path):
    c360("generate", "--out", tmp_path / "data", "--customers", 50, "--days", 60)
    facts = json.loads(c360("bronze", "--input", tmp_path / "data", "--lake", tmp_path / "lake", "--json"))
    assert len(facts["bronze"]) == 12
    assert all(t["read"] == t["accepted"] + t["rejected"] + t["duplicates"] for t in facts["bronze"])
    again = c360("bronze", "--input", tmp_path / "data", "--lake", tmp_path / "lake")
    assert "nothing new" in again


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("bronze", "--input", "nowhere"), "no such folder"),
        (("bronze", "--input", "nowhere.csv", "--table", "transactions"), "no such file or folder"),
        (("silver", "--lake", "nowhere"), "no bronze table"),
        (("gold", "--lake", "nowhere"), "no silver table"),
        (("maintain", "--lake", "nowhere"), "no table"),
        (("show", "transactions", "--lake", "nowhere"), "no table transactions"),
        (("show", "customer", "1", "--lake", "nowhere"), "no customer_360"),
        (("report", "--lake", "nowhere"), "nowhere"),
        (("demo", "--orders", "nowhere.parquet", "--out", "/tmp/c360-none"), "orders are not there"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments, expected):
    said = c360(*arguments, code=1)
    assert expected in said
    assert len([line for line in said.splitlines() if "error:" in line]) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("goldd",), "No such command"),
        (("show", "transactions", "--limit", "0"), "--limit"),
        (("bronze", "--input", ".", "--table", "orders"), "no table named 'orders'"),
        (("bronze", "--input", ".", "--decimal", ";"), "--decimal"),
        (("bronze", "--input", ".", "--map", "A=b"), "--table"),
        (("gold", "--as-of", "tomorrow"), "no time"),
        (("silver", "--lake", "nowhere", "--country", "Atlantis"), "no country"),
        (("replay", "--lake", "nowhere", "--country", "gb"), "no country"),
        (("show", "nosuch"), "customer ID, live_sessions, "),
    ],
)
def test_wrong_use_exits_with_2_and_as_json_too(arguments, expected):
    assert expected in c360(*arguments, code=2)
    done = run(*arguments, "--json")
    assert done.returncode == 2 and not done.stdout
    assert expected in " ".join(json.loads(done.stderr)["error"].values())


def test_a_failure_is_json_for_machines(tmp_path):
    done = run("silver", "--lake", tmp_path / "nowhere", "--json")
    assert done.returncode == 1 and not done.stdout
    error = json.loads(done.stderr)["error"]
    assert error["what"] == "there is no bronze table" and set(error) == {"what", "where", "remedy"}


def test_what_a_worker_raises_is_one_line_unless_asked_for():
    """A user's error inside a pipeline: without Beam's traceback, and with it under --verbose."""
    program = textwrap.dedent("""
        import logging; logging.basicConfig(level="ERROR")
        import apache_beam as beam, pipelines.__main__ as main
        from pipelines.cli.options import Json
        from pipelines.options import Engine
        from transforms.errors import UserError
        def refuse(x): raise UserError("no disk", "here", "buy one")
        @main.app.command()
        def fail(json: Json = False) -> None:
            with Engine().pipeline() as root:
                root | beam.Create([1]) | beam.Map(refuse)
        main.main()
    """)
    outcomes = {}
    for flag in ((), ("--json",), ("--verbose",)):
        command = [sys.executable, "-c", program, "fail", *flag]
        outcomes[flag] = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert [done.returncode for done in outcomes.values()] == [1, 1, 1]
    assert outcomes[()].stderr == "error: no disk (here); buy one\n"
    assert json.loads(outcomes["--json",].stderr)["error"]["what"] == "no disk"
    assert "Traceback" in outcomes["--verbose",].stderr and "error: no disk" in outcomes["--verbose",].stderr


def test_one_is_no_plural_and_what_maintain_advises_can_be_done(tmp_path):
    write_lines(tmp_path / "t" / "1.jsonl", [transaction(1)])
    said = c360("bronze", "--table", "transactions", "--input", tmp_path / "t", "--lake", tmp_path / "lake")
    assert "1 row in" in said
    again = c360("bronze", "--table", "transactions", "--input", tmp_path / "t", "--lake", tmp_path / "lake")
    assert "1 file in the lake" in again
    assert "--force" in c360("maintain", "--lake", tmp_path / "lake", "--retention-hours", "0", code=1)
    c360("maintain", "--lake", tmp_path / "lake", "--retention-hours", "0", "--force")


def test_a_header_of_another_table_is_one_clear_line(tmp_path):
    (tmp_path / "x.csv").write_text("foo,bar\n1,2\n")
    said = c360("bronze", "--table", "transactions", "--input", tmp_path / "x.csv", "--lake", tmp_path / "lake", code=1)
    assert "its first line names none of the columns" in said and "--map" in said


def test_a_lake_without_permission_is_one_clear_line(tmp_path):
    write_lines(tmp_path / "t" / "1.jsonl", [transaction(1)])
    # A file where the lake's folder should be refuses root as well.
    (tmp_path / "lake").write_text("")
    said = c360("bronze", "--table", "transactions", "--input", tmp_path / "t", "--lake", tmp_path / "lake", code=1)
    assert "lake" in said


def test_a_lake_written_by_a_newer_version_is_refused(tmp_path):
    write_lines(tmp_path / "t" / "1.jsonl", [transaction(1)])
    arguments = ("bronze", "--table", "transactions", "--input", tmp_path / "t", "--lake", tmp_path / "lake")
    c360(*arguments)
    log = tmp_path / "lake" / "bronze" / "customer360" / "transactions" / "_delta_log"
    newer = {"protocol": {"minReaderVersion": 99, "minWriterVersion": 99}}
    (log / f"{len(list(log.glob('*.json'))):020d}.json").write_text(json.dumps(newer) + "\n")
    write_lines(tmp_path / "t" / "2.jsonl", [transaction(2)])
    assert "newer" in c360(*arguments, code=1)


def test_personal_values_are_not_in_what_is_printed(tmp_path):
    write_lines(tmp_path / "c" / "1.jsonl", [customer(1, DATE_OF_BIRTH="not-a-date-77"), customer(2)])
    said = c360("bronze", "--table", "customers", "--input", tmp_path / "c", "--lake", tmp_path / "lake")
    said += c360("silver", "--lake", tmp_path / "lake")
    assert "Lovelace" not in said and "not-a-date-77" not in said and "Example" not in said


@pytest.mark.slow
def test_the_demo_runs_twice_and_the_second_time_changes_nothing(tmp_path):
    first = json.loads(c360("demo", "--out", tmp_path / "demo", "--json"))
    assert (
        first["changed"]
        and next(t for t in first["bronze"] if t["table"] == "customer_transaction_items")["read"] == 525_461
    )
    assert 4_000 < first["persons"] < first["customer_records"]
    page = (tmp_path / "demo" / "report.html").read_bytes()
    assert b"Persons by their number of records" in page
    second = json.loads(c360("demo", "--out", tmp_path / "demo", "--json"))
    assert second["changed"] is False
    assert (tmp_path / "demo" / "report.html").read_bytes() == page


def test_a_first_line_of_data_is_not_shown(tmp_path):
    (tmp_path / "x.csv").write_text("jane@doe.com,Jane Doe,1980-01-01\njo@doe.com,Jo Doe,1981-01-01\n")
    said = c360("bronze", "--table", "customers", "--input", tmp_path / "x.csv", "--lake", tmp_path / "lake", code=1)
    assert "Jane" not in said and "doe.com" not in said and "is there a header line?" in said


def test_a_misspelt_option_is_refused(tmp_path):
    assert "--tabel" in c360("silver", "--lake", tmp_path, "--tabel", "x", code=2)


def test_one_file_by_two_spellings_of_its_path_is_read_once(tmp_path):
    write_lines(tmp_path / "t" / "1.jsonl", [transaction(1)])
    arguments = ("bronze", "--table", "transactions", "--lake", tmp_path / "lake", "--input")
    c360(*arguments, tmp_path / "t" / "1.jsonl")
    assert "nothing new" in c360(*arguments, f"{tmp_path}/t/../t/./1.jsonl")
