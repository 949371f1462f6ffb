"""Replay: what passes now is taken up once, whoever dies or does the same at the same moment."""

import json
import signal
import subprocess
import sys
import zlib
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import replay as module
from pipelines.config import Lake, Run
from pipelines.replay import replay, waiting
from tests.pipelines.conftest import Shop, customer, transaction, write_lines
from tests.pipelines.test_crash import CHILD, die
from transforms.bronze.envelope import bronze_schema
from transforms.bronze.stream import STREAM
from transforms.contracts import CONTRACTS, contract
from transforms.counts import Counts
from transforms.errors import UserError
from transforms.io.dead_letter import dead_letters
from transforms.io.delta import append_rows, read_table
from transforms.io.delta_committer import PositionCommitter
from transforms.io.delta_positions import take_over
from transforms.io.delta_ranges import Range, StreamWrite

HUGE = 123456789012.5  # more digits than the contract has, until a Parquet file widens the column


def widen(shop: Shop) -> None:
    """The fix: bronze learns that amounts may have two digits more."""
    wide = {
        "TRANSACTION_ID": ["W1"],
        "TRANSACTION_DATE": ["2010-01-01"],
        "TRANSACTION_TYPE": ["PURCHASE"],
        "TOTAL_AMOUNT": pa.array([Decimal("123456789012.50")], pa.decimal128(14, 2)),
    }
    (shop.root / "w").mkdir(exist_ok=True)
    pq.write_table(pa.table(wide), shop.root / "w" / "1.parquet")
    shop.bronze(transactions=shop.root / "w")


def refused(shop: Shop, rows: int = 6, broken: int = 2) -> Shop:
    """A lake with `rows` rows that overflow and `broken` that nothing will mend; the fix is in."""
    lines = [transaction(i, TOTAL_AMOUNT=HUGE) for i in range(rows)]
    write_lines(shop.root / "t" / "1.jsonl", [*lines, *[b"broken"] * broken, transaction(99)])
    shop.bronze(transactions=shop.root / "t")
    widen(shop)
    return shop


def ids(shop: Shop) -> list[str]:
    return sorted(row["TRANSACTION_ID"] for row in shop.rows("bronze", "transactions"))


def statuses(shop: Shop) -> list[tuple]:
    return sorted((row["position"], row["status"]) for row in shop.rejects())


def told(shop: Shop, command: str) -> Counts:
    """The sum of what the runs of a command say, each of which adds up."""
    total = Counts()
    for row in read_table(shop.lake.runs, where=(("command", "=", command),)).to_pylist():
        counts = Counts(*(row[name] for name in ("read", "accepted", "rejected", "duplicates")))
        assert counts.balanced
        total += counts
    return total


def test_what_passes_now_is_in_bronze_once_and_closed(shop):
    refused(shop)
    (done,) = replay(shop.lake, shop.run("replay"))
    assert done.counts == Counts(read=8, accepted=6, rejected=2)
    assert ids(shop) == sorted([*(f"T{i}" for i in range(6)), "T99", "W1"])
    assert [status for _, status in statuses(shop)] == ["replayed"] * 6 + ["open"] * 2
    (again,) = replay(shop.lake, shop.run("replay"))
    assert again.counts == Counts(read=2, rejected=2)
    assert len(ids(shop)) == 8


def test_small_parts_give_the_same_as_one(make_shop, monkeypatch):
    whole, parts = refused(make_shop(), 9, 3), refused(make_shop(), 9, 3)
    replay(whole.lake, whole.run("replay"))
    monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    monkeypatch.setattr(module, "_BATCH_ROWS", 1)
    (done,) = replay(parts.lake, parts.run("replay"))
    assert done.counts == Counts(read=12, accepted=9, rejected=3) == told(parts, "replay")
    assert (ids(parts), statuses(parts)) == (ids(whole), statuses(whole))


def test_rejects_of_a_run_that_died_wait_for_the_run_that_reads_their_file(shop):
    """Taken by replay before, they would be in bronze twice: the next run takes them too."""
    write_lines(shop.root / "t" / "1.jsonl", [transaction(1, TOTAL_AMOUNT=HUGE), transaction(2), b"broken"])
    die(shop, "bronze", "after", "1")  # the rejects are in, the rows are not
    assert len(shop.rejects()) == 2
    widen(shop)
    assert replay(shop.lake, shop.run("replay")) == ()
    assert ids(shop) == ["W1"] and {status for _, status in statuses(shop)} == {"open"}
    shop.bronze(transactions=shop.root / "t")
    assert ids(shop) == ["T1", "T2", "W1"]
    replay(shop.lake, shop.run("replay"))
    assert ids(shop) == ["T1", "T2", "W1"]
    assert sorted((r["rule"], r["status"]) for r in shop.rejects()) == [
        ("decimal_overflow", "replayed"),
        ("json_syntax", "open"),
    ]
    assert told(shop, "bronze") == Counts(read=4, accepted=3, rejected=1)
    assert told(shop, "replay") == Counts(read=1, rejected=1)


def test_a_file_that_changed_under_its_name_keeps_its_rejects(shop):
    """The same place in two contents: one refused by a run that died, one accepted later."""
    path = write_lines(shop.root / "t" / "1.jsonl", [transaction(1, TOTAL_AMOUNT=HUGE)])
    shop.bronze(transactions=path)
    write_lines(path, [transaction(2)])
    shop.bronze(transactions=path)
    widen(shop)
    replay(shop.lake, shop.run("replay"))
    assert ids(shop) == ["T1", "T2", "W1"]


def test_a_closed_reject_stays_closed_when_it_is_refused_again(shop):
    """As by a run of an older program over the same file, whose rejects are committed before it finds it is late."""
    refused(shop)
    before = [row for row in shop.rejects() if row["rule"] == "decimal_overflow"]
    replay(shop.lake, shop.run("replay"))
    from transforms.io.dead_letter import MODE, REJECTS
    from transforms.io.delta import TableWrite, write_rows

    write_rows(TableWrite(shop.lake.rejects, REJECTS, MODE), pa.Table.from_pylist(before, schema=REJECTS))
    after = [row for row in shop.rejects() if row["rule"] == "decimal_overflow"]
    assert {(row["status"], row["attempts"]) for row in after} == {("replayed", 2)}


MEND = """
from transforms.bronze.envelope import bronze_schema
from transforms.bronze.stream import STREAM
from transforms.contracts import CONTRACTS, contract
status = CONTRACTS["CUSTOMERS"]["CUSTOMER_STATUS"]
object.__setattr__(status, "allowed", (*status.allowed, "ASLEEP"))
"""
STATUS = CONTRACTS["CUSTOMERS"]["CUSTOMER_STATUS"]
ALLOWED = STATUS.allowed


@pytest.fixture
def mend():
    """The fix for what silver refuses: the contract allows one value more."""
    yield lambda: exec(MEND, {})
    object.__setattr__(STATUS, "allowed", ALLOWED)


def asleep(shop: Shop) -> Shop:
    """Three customers whom silver refuses, one of them for two reasons, with transactions that are orphans then."""
    rows = [customer(i, CUSTOMER_STATUS="ASLEEP") for i in range(2)]
    rows += [customer(2, CUSTOMER_STATUS="ASLEEP", CUSTOMER_SEGMENT="nobody"), customer(3)]
    write_lines(shop.root / "c" / "1.jsonl", rows)
    write_lines(shop.root / "t" / "1.jsonl", [transaction(i) for i in range(8)])
    shop.bronze(customers=shop.root / "c", transactions=shop.root / "t")
    shop.silver()
    return shop


def silver_of(shop: Shop) -> tuple:
    """Silver, but for the score that bronze gave by the rules of its day, and the size of bronze."""
    tables = [shop.rows("silver", name) for name in ("customers", "transactions")]
    rows = [[{k: v for k, v in row.items() if k != "_quality_score"} for row in table] for table in tables]
    return rows, len(shop.rows("bronze", "customers"))


@pytest.fixture
def awake(make_shop):
    """What a lake has that never refused them; the fix is undone again."""
    exec(MEND, {})
    try:
        return silver_of(asleep(make_shop()))
    finally:
        object.__setattr__(STATUS, "allowed", ALLOWED)


def test_what_silver_refused_goes_to_silver_and_bronze_keeps_it_once(make_shop, awake, mend):
    shop = asleep(make_shop())
    (first,) = shop.replay()
    assert first.counts == Counts(read=3, rejected=3)  # nothing was mended
    assert {(r["status"], r["attempts"]) for r in shop.rejects()} == {("open", 2)}
    mend()
    (second,) = shop.replay()
    assert second.counts == Counts(read=3, accepted=2, rejected=1)
    assert sorted((r["status"], r["attempts"], r["rule"]) for r in shop.rejects()) == [
        ("open", 3, "allowed_values"),
        *[("replayed", 3, "allowed_values")] * 2,
    ]
    assert silver_of(shop) == awake  # orphans have their parents as well
    assert told(shop, "replay").balanced
    versions = shop.rows("silver", "customers")
    assert [t.counts for t in shop.replay()] == [Counts(read=1, rejected=1)]
    assert shop.silver().tables == () and shop.rows("silver", "customers") == versions


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 8])
def test_replay_of_silver_killed_around_each_commit(make_shop, awake, mend, where, number):
    shop = asleep(make_shop())
    child = CHILD.replace("layer, where", MEND + "layer, where", 1)
    command = [sys.executable, "-c", child, str(shop.root), "replay", where, str(number)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    mend()
    shop.replay()
    assert silver_of(shop) == awake
    assert sorted(r["status"] for r in shop.rejects()) == ["open", "replayed", "replayed"]
    assert told(shop, "replay").balanced


def test_replay_of_a_lake_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no table of rejects"):
        replay(Lake(str(tmp_path / "nowhere")), Run("replay"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    shop = refused(Shop(tmp_path_factory.mktemp("whole")))
    replay(shop.lake, shop.run("replay"))
    return ids(shop), statuses(shop)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])  # bronze, rejects, runs
def test_replay_killed_around_each_commit(tmp_path, expected, where, number):
    shop = refused(Shop(tmp_path))
    die(shop, "replay", where, str(number))
    replay(shop.lake, shop.run("replay"))
    assert (ids(shop), statuses(shop)) == expected
    assert told(shop, "replay").accepted == 6  # each row is told once, by the run that took it up
    assert told(shop, "bronze") == Counts(read=10, accepted=2, rejected=8)


@pytest.mark.slow
def test_two_replays_and_a_bronze_run_at_once(tmp_path, expected):
    shop = refused(Shop(tmp_path))
    write_lines(shop.root / "t" / "2.jsonl", [transaction(i) for i in range(200, 230)])
    child = CHILD.replace('"before"', '"never"').replace('"after"', '"never"')
    started = [
        subprocess.Popen([sys.executable, "-c", child, str(shop.root), layer, "x", "1"], stderr=subprocess.DEVNULL)
        for layer in ("replay", "replay", "bronze", "bronze")
    ]
    ended = [process.wait(timeout=180) for process in started]
    assert ended[:2] == [0, 0] and 0 in ended[2:]
    replay(shop.lake, shop.run("replay"))
    assert ids(shop) == sorted([*expected[0], *(f"T{i}" for i in range(200, 230))])
    assert [s for _, s in statuses(shop)] == ["replayed"] * 6 + ["open"] * 2
    assert told(shop, "replay").accepted == 6
    assert told(shop, "bronze").accepted == 32


def test_an_events_reject_waits_until_bronze_has_passed_its_position(shop):
    """A stream that died between the two commits begins before the reject, and looks at the event itself."""
    table = contract("transactions")
    schema = bronze_schema(table)
    take_over(shop.lake.bronze(table), schema, table.partition_by, "events")
    rejected = pa.table(
        {
            "_position": pa.array([7], pa.int64()),
            "_raw": pa.array([json.dumps(transaction(1)).encode()], pa.binary()),
            "_raw_bytes": pa.array([100], pa.int64()),
            "rule": ["required"],
            "reason": ["TRANSACTION_ID is missing"],
        }
    )
    letters = dead_letters(
        rejected,
        table=table.name,
        stage="bronze",
        source="s",
        file="transactions/0",
        raw_format="jsonl",
        raw_header=None,
        at=shop.at,
        run_id="r",
        fingerprint=STREAM + "events",
        marks=["row 0"],
    )
    append_rows(shop.lake.rejects, letters)
    shop.replay()
    assert [row["status"] for row in shop.rejects()] == ["open"] and shop.rows("bronze", "transactions") == []
    write = StreamWrite(shop.lake.bronze(table), schema, "events", table.partition_by, idle_seconds=0)
    PositionCommitter(write).offer([Range("transactions/0", 0, 9)])
    shop.replay()
    assert [row["status"] for row in shop.rejects()] == ["replayed"] and len(shop.rows("bronze", "transactions")) == 1


@pytest.mark.parametrize("name", ["cut.csv.gz", "cut.jsonl.gz", "cut.parquet"])
def test_what_a_cut_file_ended_with_waits_for_the_whole_file(shop, name):
    """The rest of a cut CSV looks like a row here: "100" of "100.50"."""
    text = {
        "cut.csv.gz": b"TRANSACTION_ID,TRANSACTION_DATE,TRANSACTION_TYPE,TOTAL_AMOUNT\nT1,2010-01-01,PURCHASE,100",
        "cut.jsonl.gz": json.dumps(transaction(1)).encode(),
        "cut.parquet": b"no Parquet",
    }[name]
    stream = zlib.compressobj(wbits=31)
    whole = stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)  # and no end
    (shop.root / "t").mkdir()
    (shop.root / "t" / name).write_bytes(whole if name.endswith("gz") else text)
    shop.bronze(transactions=shop.root / "t")
    before = shop.rejects()
    assert {row["rule"] for row in before} <= {"truncated_gzip", "truncated_file"} and len(before) == 1
    assert shop.replay() == () and waiting(shop.lake) == 1
    assert waiting(shop.lake, rule="required") == waiting(shop.lake, table="customers") == 0
    assert shop.rejects() == before and shop.rows("bronze", "transactions") == []


def test_a_reject_that_cannot_be_read_by_itself_keeps_its_rule_and_reason(shop):
    row = {"TRANSACTION_ID": ["T1"], "TRANSACTION_DATE": ["2010-01-01"], "TRANSACTION_TYPE": ["PURCHASE"]}
    (shop.root / "t").mkdir()
    pq.write_table(pa.table(row | {"TOTAL_AMOUNT": [float("nan")]}), shop.root / "t" / "1.parquet")  # no JSON has it
    header = "TRANSACTION_ID,TRANSACTION_DATE,TRANSACTION_TYPE,TOTAL_AMOUNT\n"
    (shop.root / "t" / "2.csv").write_text(header + "T2,2010-01-01,PURCHASE\n" + 'T3,2010-01-01,PURCHASE,"1\n')
    shop.bronze(transactions=shop.root / "t")
    why = [(row["rule"], row["reason"]) for row in shop.rejects()]
    assert sorted(rule for rule, _ in why) == ["column_count", "csv_syntax", "not_a_number"]
    shop.replay()
    assert [(row["rule"], row["reason"]) for row in shop.rejects()] == why
    assert {row["attempts"] for row in shop.rejects()} == {2}
