"""Runs that die anywhere: the next run finishes the work, no row lost, none twice."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.pipelines.conftest import Shop, customer, item, transaction, write_lines
from transforms.contracts import CONTRACTS
from transforms.io.delta import open_table, read_table

# The child stops itself just before or after the n-th commit of a layer, as a kill at that moment would.
CHILD = """
import os, signal, sys
from tests.pipelines.conftest import Shop
from pathlib import Path
from transforms.io import delta_commit
layer, where, number = sys.argv[2], sys.argv[3], int(sys.argv[4])
real, seen = delta_commit._commit_once, [0]
def commit_once(*arguments):
    seen[0] += 1
    if where == "before" and seen[0] == number:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*arguments)
    if where == "after" and seen[0] == number:
        os.kill(os.getpid(), signal.SIGKILL)
delta_commit._commit_once = commit_once
shop = Shop(Path(sys.argv[1]))
if layer == "bronze":
    folders = {"transactions": shop.root / "t", "customers": shop.root / "c", "items": shop.root / "i"}
    shop.bronze(**{name: folder for name, folder in folders.items() if folder.exists()})
else:
    getattr(shop, layer)()
"""

# What a run says whose files another run committed meanwhile.
CAME_TOO_LATE = re.compile(r"PartlyCommitted.*were committed by another run meanwhile.*run again")


def feed(shop: Shop) -> Shop:
    rows = [transaction(i) for i in range(40)] + [
        transaction(3, TOTAL_AMOUNT=1),
        b"broken",
        transaction(90, CHANNEL="X"),
    ]
    write_lines(shop.root / "t" / "1.jsonl", rows[:20])
    write_lines(shop.root / "t" / "2.jsonl", rows[20:])
    write_lines(shop.root / "c" / "1.jsonl", [customer(i) for i in range(3)])
    write_lines(shop.root / "i" / "1.jsonl", [item(i) for i in range(45)])
    return shop


def bronze_of(shop: Shop) -> dict[str, list]:
    places = ("_file", "_position")
    return {
        name: sorted((os.path.basename(row[places[0]]), row[places[1]]) for row in shop.rows("bronze", name))
        for name in CONTRACTS
        if open_table(shop.lake.bronze(CONTRACTS[name])) is not None
    }


def runs_of(shop: Shop) -> dict[tuple, dict]:
    """(command, table) -> what all its runs read and made; each piece of work is told once, whoever finished it."""
    found: dict[tuple, dict] = {}
    for row in read_table(shop.lake.runs).to_pylist():
        assert row["read"] == row["accepted"] + row["rejected"] + row["duplicates"]
        told = found.setdefault((row["command"], row["table"]), {"inputs": [], "outputs": []})
        told["inputs"] = sorted([*told["inputs"], *(name.replace(str(shop.root), "") for name in row["inputs"])])
        told["outputs"] = sorted([*told["outputs"], (row["output"].replace(str(shop.root), ""), row["output_version"])])
        for name in ("read", "accepted", "rejected", "duplicates", "conflicts"):
            told[name] = told.get(name, 0) + row[name]
    return found


def schemas_of(shop: Shop) -> list[tuple]:
    rows = read_table(shop.lake.schemas).to_pylist()
    return sorted((row["table"], row["version"], row["column"], row["change"], row["new_type"]) for row in rows)


def profiles_of(shop: Shop) -> list[str]:
    """Those that count: of tables that their run committed."""
    runs = {(row["run_id"], row["table"]) for row in read_table(shop.lake.runs).to_pylist()}
    rows = read_table(shop.lake.profiles).to_pylist()
    kept = [row for row in rows if (row["run_id"], row["table_name"]) in runs]
    return sorted(str({name: value for name, value in row.items() if name != "run_id"}) for row in kept)


def finish(shop: Shop) -> tuple:
    shop.bronze(transactions=shop.root / "t", customers=shop.root / "c", items=shop.root / "i")
    shop.silver(), shop.gold()
    shop.bronze(transactions=shop.root / "t")  # nothing new, but the next command after a death tells what it left
    rejects = [(os.path.basename(r["file"]), r["position"], r["rule"]) for r in shop.rejects()]
    return bronze_of(shop), shop.everything(), rejects, runs_of(shop), schemas_of(shop), profiles_of(shop)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return finish(feed(Shop(tmp_path_factory.mktemp("whole"))))


def die(shop: Shop, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(shop.root), *arguments], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 8])  # rejects, three tables, three schemas, runs
def test_bronze_killed_around_each_commit(tmp_path, expected, where, number):
    shop = feed(Shop(tmp_path))
    die(shop, "bronze", where, str(number))
    assert finish(shop) == expected


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 7])  # rejects, profiles, outlier summaries, three tables, runs
def test_silver_killed_around_each_commit(tmp_path, expected, where, number):
    shop = feed(Shop(tmp_path))
    shop.bronze(transactions=shop.root / "t", customers=shop.root / "c", items=shop.root / "i")
    die(shop, "silver", where, str(number))
    assert finish(shop) == expected


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])  # customer_360, runs
def test_gold_killed_around_each_commit(tmp_path, expected, where, number):
    shop = feed(Shop(tmp_path))
    shop.bronze(transactions=shop.root / "t", customers=shop.root / "c", items=shop.root / "i")
    shop.silver()
    die(shop, "gold", where, str(number))
    assert finish(shop) == expected


@pytest.mark.slow
def test_new_files_between_a_death_and_the_next_run(tmp_path, expected):
    """What died half-way is finished, and what arrived since is read as well, once each."""
    shop = feed(Shop(tmp_path))
    late = shop.root / "t" / "2.jsonl"
    kept = late.read_bytes()
    late.unlink()
    die(shop, "bronze", "after", "3")
    late.write_bytes(kept)
    bronze, _, rejects, runs, schemas, _ = finish(shop)
    assert (bronze, rejects, schemas) == (expected[0], expected[2], expected[4])
    told = [runs["bronze", "CUSTOMER_TRANSACTIONS"], expected[3]["bronze", "CUSTOMER_TRANSACTIONS"]]
    assert told[0]["inputs"] == told[1]["inputs"]
    assert told[0]["accepted"] == told[1]["accepted"]


@pytest.mark.slow
def test_two_runs_over_the_same_files_at_once(tmp_path, expected):
    shop = feed(Shop(tmp_path))
    command = [sys.executable, "-c", CHILD, str(shop.root), "bronze", "never", "0"]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in started]
    codes = [process.returncode for process in started]
    lost = [text for code, text in zip(codes, said, strict=True) if code]
    assert len(lost) < 2, lost  # one of the two has all it asked for; the other may have come too late
    assert all(CAME_TOO_LATE.search(text.rstrip().splitlines()[-1]) for text in lost), lost
    assert bronze_of(shop) == expected[0]  # what the two left, before anything is run again
    assert finish(shop) == expected
