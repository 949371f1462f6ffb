"""A table more is one declaration: a contract that is not among the product's goes through every command."""

import json
import subprocess
import sys

from tests.pipelines.conftest import customer, write_lines
from transforms.contracts import CONTRACTS

# Registers one more contract before anything reads the list, then runs the commands one after the other.
CHILD = """
import json, sys
from types import MappingProxyType
from transforms import contracts
from transforms.contracts.schema import TIMESTAMP, Arrival, Column, Contract, ForeignKey, Partition, decimal, varchar
visits = Contract(
    name="STORE_VISITS", system="Doors", path="customer360/visits", arrival=Arrival.BATCH, key=("VISIT_ID",),
    foreign_keys=(ForeignKey("CUSTOMER_ID", "CUSTOMERS"),), event_time="VISITED_AT",
    partition=Partition("VISITED_AT", "month"),
    columns=(
        Column("VISIT_ID", varchar(10), nullable=False, standard="code"),
        Column("CUSTOMER_ID", varchar(20), standard="code"),
        Column("VISITED_AT", TIMESTAMP, nullable=False),
        Column("DOOR", varchar(5), allowed=("NORTH", "SOUTH"), standard="code"),
        Column("MINUTES", decimal(5, 1), low=0),
    ),
)
contracts.CONTRACTS = MappingProxyType({**contracts.CONTRACTS, visits.name: visits})
from pipelines.__main__ import app
for command in json.loads(sys.argv[1]):
    app(command, standalone_mode=False)
    print("\\0")
"""


def run(*commands: list) -> list[dict]:
    """What each command answers; they share a process, since starting one takes longer than their work."""
    asked = json.dumps([[*map(str, command), "--json"] for command in commands])
    done = subprocess.run([sys.executable, "-c", CHILD, asked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(answer) for answer in done.stdout.split("\0")[:-1]]


def visit(number: int, **changes) -> dict:
    row = {"VISIT_ID": f"v{number}", "CUSTOMER_ID": f"C{number}", "VISITED_AT": "2010-05-01T10:00:00Z", "DOOR": "north"}
    return row | changes


def test_a_thirteenth_table_goes_through_every_command(tmp_path):
    data, lake, report = tmp_path / "data", tmp_path / "lake", tmp_path / "report.html"
    again = visit(2, VISITED_AT="2010-05-02T10:00:00Z")
    rows = [visit(1), visit(2, MINUTES=1), again, visit(3, DOOR="roof"), visit(4, VISITED_AT="x")]
    write_lines(tmp_path / "in" / "visits" / "a.jsonl", rows)
    write_lines(tmp_path / "in" / "customers" / "a.jsonl", [customer(1)])
    generated, bronze, silver, shown, _ = run(
        ["generate", "--out", data, "--customers", 20, "--days", 30],
        ["bronze", "--input", tmp_path / "in", "--lake", lake],
        ["silver", "--lake", lake],
        ["show", "visits", "--lake", lake],
        ["report", "--lake", lake, "--out", report],
    )
    assert set(generated["rows"]) == set(CONTRACTS) and not (data / "visits").exists()
    counts = {row["table"]: (row["read"], row["accepted"], row["rejected"]) for row in bronze["bronze"]}
    assert counts == {"customers": (1, 1, 0), "store_visits": (5, 4, 1)}
    assert {row["table"]: row["accepted"] for row in silver["silver"]} == {"customers": 1, "store_visits": 2}
    found = {row["VISIT_ID"]: (row["DOOR"], row["MINUTES"], row["_flags"]) for row in shown["rows"]}
    assert found == {"V1": ("NORTH", None, []), "V2": ("NORTH", None, ["orphan:CUSTOMER_ID"])}
    assert "visits" in report.read_text()
