"""Bronze, silver and gold over small files: nothing lost, nothing twice, whatever the order, split or rerun."""

import gzip
import json
import random
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.replay import replay
from tests.pipelines.conftest import customer, item, transaction, write_lines
from transforms.counts import Counts
from transforms.errors import UserError
from transforms.io.delta import read_table


def counts_of(result, table="CUSTOMER_TRANSACTIONS"):
    return next(t.counts for t in result.tables if t.table == table)


def test_a_row_goes_the_whole_way(shop):
    write_lines(shop.root / "c" / "1.jsonl", [customer(1)])
    write_lines(
        shop.root / "t" / "1.jsonl", [transaction(1), transaction(6, TRANSACTION_TYPE="RETURN", TOTAL_AMOUNT=-4)]
    )
    shop.bronze(customers=shop.root / "c", transactions=shop.root / "t")
    shop.silver()
    shop.gold()
    stored = shop.rows("bronze", "customers")[0]
    assert stored["EMAIL_ADDRESS"] == " Ada1@Example.COM "  # bronze keeps a row as it came
    assert (stored["_position"], stored["_file"]) == (0, str(shop.root / "c" / "1.jsonl"))
    assert 0 < stored["_quality_score"] <= 1 and "missing:CITY" in stored["_quality_issues"]
    clean = shop.rows("silver", "customers")[0]
    assert (clean["EMAIL_ADDRESS"], clean["PHONE_NUMBER"], clean["COUNTRY_CODE"], clean["FIRST_NAME"]) == (
        "ada1@example.com",
        "+442079460018",
        "GBR",
        "Ada",
    )
    view = shop.everything()["customer_360"][0]
    assert (view["customer_id"], view["orders_count"], view["returns_count"]) == ("C1", 1, 1)
    assert view["net_revenue"] == Decimal("7.25")  # a return reduces revenue


def test_running_again_changes_nothing_and_says_so(shop):
    write_lines(shop.root / "t" / "1.jsonl", [transaction(i) for i in range(9)])
    shop.bronze(transactions=shop.root / "t")
    shop.silver(), shop.gold()
    before = shop.everything()
    again = shop.bronze(transactions=shop.root / "t")
    assert (again.tables, again.known_files) == ((), 1)
    assert shop.silver().tables == () and shop.gold() is None
    assert shop.everything() == before


def test_a_file_that_changed_under_its_name_is_new(shop):
    path = write_lines(shop.root / "t" / "1.jsonl", [transaction(1)])
    shop.bronze(transactions=shop.root / "t")
    write_lines(path, [transaction(2)])
    assert counts_of(shop.bronze(transactions=shop.root / "t")).accepted == 1
    assert {row["TRANSACTION_ID"] for row in shop.rows("bronze", "transactions")} == {"T1", "T2"}


def test_only_new_files_are_read(shop):
    write_lines(shop.root / "t" / "1.jsonl", [transaction(1)])
    shop.bronze(transactions=shop.root / "t")
    write_lines(shop.root / "t" / "2.jsonl", [transaction(2)])
    result = shop.bronze(transactions=shop.root / "t")
    assert counts_of(result) == Counts(read=1, accepted=1) and result.known_files == 1


def messy_rows():
    rows = [transaction(i) for i in range(60)]
    rows += [transaction(i, TOTAL_AMOUNT=99) for i in range(0, 60, 7)]  # same key and time, other content
    rows += [transaction(i) for i in range(0, 60, 5)]  # exact duplicates
    rows += [transaction(i, TRANSACTION_DATE="2011-02-01T00:00:00Z") for i in range(0, 60, 11)]  # later versions
    rows += [transaction(100 + i, CHANNEL="CARRIER PIGEON") for i in range(3)]
    rows += [b'{"TRANSACTION_ID": "cut', b"not json"]
    return rows


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shuffled_and_split_input_gives_the_same_silver_and_gold(make_shop, seed):
    rows, customers, items = messy_rows(), [customer(i) for i in range(4)], [item(i) for i in range(70)]
    plain, other = make_shop(), make_shop()
    write_lines(plain.root / "t" / "a.jsonl", rows)
    write_lines(plain.root / "c" / "a.jsonl", customers)
    write_lines(plain.root / "i" / "a.jsonl", items)
    draw = random.Random(seed)
    for folder, part in (("t", rows), ("c", customers), ("i", items)):
        mixed = part.copy()
        draw.shuffle(mixed)
        cuts = [0, *sorted(draw.sample(range(1, len(mixed)), 3)), len(mixed)]
        for n, (a, b) in enumerate(pairwise(cuts)):
            path = other.root / folder / f"{9 - n}.jsonl"
            write_lines(path, mixed[a:b])
            if n % 2:
                path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
    for one in (plain, other):
        one.bronze(transactions=one.root / "t", customers=one.root / "c", items=one.root / "i")
        one.silver(), one.gold()
    assert other.everything() == plain.everything()
    assert len(plain.rejects()) == len(other.rejects()) == 5


def test_a_history_in_two_runs_ends_like_one_run(make_shop):
    """Later versions win whether they come with the first row or a day later, also when the older comes later."""
    old = [transaction(i) for i in range(8)]
    new = [transaction(i, TRANSACTION_DATE="2011-02-01T00:00:00Z", TOTAL_AMOUNT=1) for i in range(4)]
    results = []
    for days in ([old, new], [new, old], [old + new]):
        one = make_shop()
        for n, rows in enumerate(days):
            write_lines(one.root / "t" / f"{n}.jsonl", rows)
            write_lines(one.root / "c" / f"{n}.jsonl", [customer(1)])
            one.bronze(transactions=one.root / "t", customers=one.root / "c")
            one.silver(), one.gold()
            one.at += timedelta(days=1)
        results.append(one.everything())
    assert results[0] == results[1] == results[2]


def test_orphans_are_flagged_and_a_parent_that_comes_later_clears_the_flag(make_shop):
    late, whole = make_shop(), make_shop()
    for one in (late, whole):
        write_lines(one.root / "t" / "1.jsonl", [transaction(1), transaction(2), transaction(3, CUSTOMER_ID=None)])
        write_lines(one.root / "c" / "1.jsonl", [customer(1)])
    late.bronze(transactions=late.root / "t", customers=late.root / "c")
    late.silver()
    flags = {row["TRANSACTION_ID"]: row["_flags"] for row in late.rows("silver", "transactions")}
    assert flags["T2"] == ["orphan:CUSTOMER_ID"] and not flags["T1"] and not flags["T3"]
    for one in (late, whole):
        write_lines(one.root / "c" / "2.jsonl", [customer(2)])
    late.at += timedelta(days=1)
    late.bronze(customers=late.root / "c")
    late.silver()
    whole.bronze(transactions=whole.root / "t", customers=whole.root / "c")
    whole.silver()
    assert late.rows("silver", "transactions") == whole.rows("silver", "transactions")


BROKEN = {
    "cut line": (b'{"TRANSACTION_ID": "T1", "CUST', "json_syntax"),
    "invalid UTF-8": (b'{"TRANSACTION_ID": "\xff"}', "encoding"),
    "NUL byte": (b'{"TRANSACTION_ID": "a\x00"}', "nul_byte"),
    "decimal overflow": (transaction(1, TOTAL_AMOUNT=12345678901.5), "decimal_overflow"),
    "no number": (transaction(1, TOTAL_AMOUNT="twelve"), "not_a_number"),
    "impossible date": (transaction(1, TRANSACTION_DATE="2010-02-30T00:00:00Z"), "not_a_timestamp"),
    "no key": (transaction(1, TRANSACTION_ID=None), "required"),
    "blank key": (transaction(1, TRANSACTION_ID=" "), "required"),
    "points with a fraction": (transaction(1, LOYALTY_POINTS_EARNED=1.5), "not_an_integer"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_a_reject_in_its_place_and_its_neighbours_live(shop, name):
    row, rule = BROKEN[name]
    path = write_lines(shop.root / "t" / "1.jsonl", [transaction(7), row, transaction(8)])
    counts = counts_of(shop.bronze(transactions=path))
    assert counts == Counts(read=3, accepted=2, rejected=1)
    (reject,) = shop.rejects()
    assert (reject["rule"], reject["stage"], reject["status"], reject["attempts"]) == (rule, "bronze", "open", 1)
    assert path.read_bytes()[reject["position"] :].startswith(reject["raw"])
    assert reject["raw"] == path.read_bytes().split(b"\n")[1]


@pytest.mark.parametrize(
    ("table", "row", "rule"),
    [
        ("items", item(1, QUANTITY=-2, TOTAL_PRICE=-7), "negative_quantity_sold"),
        ("transactions", transaction(1, TOTAL_AMOUNT=-1), "negative_purchase"),
        ("transactions", transaction(1, CHANNEL="PIGEON"), "allowed_values"),
    ],
)
def test_a_row_that_breaks_a_rule_is_in_bronze_and_a_reject_of_silver(shop, table, row, rule):
    write_lines(shop.root / "x" / "1.jsonl", [row])
    shop.bronze(**{table: shop.root / "x"})
    result = shop.silver()
    assert result.tables[0].counts == Counts(read=1, rejected=1)
    assert len(shop.rows("bronze", table)) == 1 and not shop.rows("silver", table)
    (reject,) = shop.rejects()
    assert (reject["rule"], reject["stage"]) == (rule, "silver")


def test_personal_values_never_reach_a_reason(shop):
    write_lines(
        shop.root / "c" / "1.jsonl", [customer(1, DATE_OF_BIRTH="secret-date"), customer(2, CUSTOMER_SEGMENT="VIP")]
    )
    shop.bronze(customers=shop.root / "c")
    shop.silver()
    assert {r["rule"] for r in shop.rejects()} == {"not_a_date", "allowed_values"}
    assert not any("secret" in r["reason"] or "Lovelace" in r["reason"] for r in shop.rejects())


def test_csv_rejects_replay_with_their_header(shop):
    path = shop.root / "t.csv"
    path.write_text(
        "TRANSACTION_ID,TRANSACTION_DATE,TRANSACTION_TYPE,TOTAL_AMOUNT\nT1,never,PURCHASE,1\nT2,2010-01-01,PURCHASE,2\n"
    )
    assert counts_of(shop.bronze(transactions=path)) == Counts(read=2, accepted=1, rejected=1)
    (done,) = replay(shop.lake, shop.run("replay"))
    assert done.counts == Counts(read=1, rejected=1)
    assert shop.rejects()[0]["rule"] == "not_a_timestamp"


def test_columns_evolve_and_each_change_is_registered(shop):
    write_lines(shop.root / "t" / "1.jsonl", [transaction(1)])
    shop.bronze(transactions=shop.root / "t")
    shop.at += timedelta(days=1)
    write_lines(shop.root / "t" / "2.jsonl", [transaction(2, GIFT_WRAP="yes")])
    shop.bronze(transactions=shop.root / "t")
    shop.at += timedelta(days=1)
    wide = pa.table(
        {
            "TRANSACTION_ID": ["T3"],
            "TRANSACTION_DATE": ["2010-01-01"],
            "TRANSACTION_TYPE": ["PURCHASE"],
            "TOTAL_AMOUNT": pa.array([Decimal("123456789012.50")], pa.decimal128(14, 2)),
        }
    )
    pq.write_table(wide, shop.root / "t" / "3.parquet")
    shop.bronze(transactions=shop.root / "t")
    by_id = {row["TRANSACTION_ID"]: row for row in shop.rows("bronze", "transactions")}
    assert by_id["T1"]["GIFT_WRAP"] is None and by_id["T2"]["GIFT_WRAP"] == "yes"
    assert [by_id[key]["_schema_version"] for key in ("T1", "T2", "T3")] == [1, 2, 3]
    assert by_id["T3"]["TOTAL_AMOUNT"] == Decimal("123456789012.50")
    assert by_id["T1"]["TOTAL_AMOUNT"] == Decimal("11.25")
    registry = read_table(shop.lake.schemas).to_pylist()
    changes = [r for r in registry if r["change"] not in ("declared", "missing")]
    assert {(r["column"], r["change"], r["version"]) for r in changes} == {
        ("GIFT_WRAP", "added", 2),
        ("TOTAL_AMOUNT", "widened", 3),
    }
    missing = {r["column"]: r["version"] for r in registry if r["change"] == "missing"}
    assert missing["STORE_ID"] == 1 and missing["CHANNEL"] == 3  # seen in JSON lines, and in Parquet
    shop.silver()
    silver = {row["TRANSACTION_ID"]: row for row in shop.rows("silver", "transactions")}
    assert silver["T2"]["GIFT_WRAP"] == "yes" and silver["T3"]["TOTAL_AMOUNT"] == Decimal("123456789012.50")


def test_every_run_is_recorded_with_what_it_read_and_made(shop):
    write_lines(shop.root / "t" / "1.jsonl", messy_rows())
    shop.bronze(transactions=shop.root / "t")
    shop.silver(), shop.gold()
    runs = {row["command"]: row for row in read_table(shop.lake.runs).to_pylist()}
    assert set(runs) == {"bronze", "silver", "gold"}
    for row in runs.values():
        assert row["read"] == row["accepted"] + row["rejected"] + row["duplicates"]
    assert runs["silver"]["inputs"] == ["bronze/customer360/transactions@1"]
    assert runs["silver"]["conflicts"] > 0
    assert runs["bronze"]["inputs"][0].startswith(str(shop.root / "t" / "1.jsonl") + "@")


def test_profiles_and_their_drift_are_kept(shop):
    write_lines(shop.root / "t" / "1.jsonl", [transaction(i) for i in range(200)])
    shop.bronze(transactions=shop.root / "t")
    shop.silver()
    shop.at += timedelta(days=1)
    write_lines(
        shop.root / "t" / "2.jsonl", [transaction(1000 + i, CHANNEL="SOCIAL", STORE_ID="S1") for i in range(200)]
    )
    shop.bronze(transactions=shop.root / "t")
    shop.silver()
    drift = {row["column_name"]: row for row in read_table(shop.lake.drift).to_pylist()}
    assert drift["CHANNEL"]["verdict"] == "major" and drift["CURRENCY_CODE"]["verdict"] == "stable"


def test_an_empty_file_is_read_once_and_leaves_an_empty_table(shop):
    write_lines(shop.root / "t" / "1.jsonl", [])
    assert counts_of(shop.bronze(transactions=shop.root / "t")) == Counts()
    assert shop.bronze(transactions=shop.root / "t").tables == ()
    assert counts_of(shop.silver()) == Counts()


def test_missing_input_is_one_clear_line(shop):
    with pytest.raises(UserError, match="no such file or folder"):
        shop.bronze(transactions=shop.root / "nowhere")


def test_positions_lead_back_to_each_row_of_bronze(shop):
    path = write_lines(shop.root / "t" / "1.jsonl", [transaction(i) for i in range(50)])
    data = path.read_bytes()
    shop.bronze(transactions=path)
    for row in shop.rows("bronze", "transactions"):
        line = data[row["_position"] :].split(b"\n", 1)[0]
        assert json.loads(line)["TRANSACTION_ID"] == row["TRANSACTION_ID"]


def test_an_event_from_the_future_does_not_set_the_day_of_reference(shop):
    rows = [transaction(1), transaction(2, TRANSACTION_DATE="2999-01-01T00:00:00Z")]
    write_lines(shop.root / "t" / "1.jsonl", rows)
    shop.bronze(transactions=shop.root / "t")
    shop.silver(), shop.gold()
    days = {row["customer_id"]: row["recency_days"] for row in shop.everything()["customer_360"]}
    assert days["C1"] == 0
    flags = {row["TRANSACTION_ID"]: row["_flags"] for row in shop.rows("silver", "transactions")}
    assert flags["T2"] and any(flag.startswith("future") for flag in flags["T2"])


def test_odd_parquet_columns_are_kept_once_and_under_one_name(shop):
    (shop.root / "t").mkdir(parents=True)
    odd = pa.table(
        {
            "Transaction_Id": ["T1", "T2"],
            "TRANSACTION_DATE": ["2010-01-01"] * 2,
            "TRANSACTION_TYPE": ["PURCHASE"] * 2,
            "TOTAL_AMOUNT": [1.5, 2.5],
            "my col": ["a", "b"],
            "took": pa.array([1, 2], pa.duration("ms")),
            "CHANNEL": pa.array([b"POS", b"\xff"], pa.binary()),
        }
    )
    pq.write_table(odd, shop.root / "t" / "1.parquet")
    assert counts_of(shop.bronze(transactions=shop.root / "t")) == Counts(read=2, accepted=1, rejected=1)
    (row,) = shop.rows("bronze", "transactions")
    assert (row["TRANSACTION_ID"], row["MY_COL"], row["TOOK"]) == ("T1", "a", "0:00:00.001000")
    assert "my col" not in row
    assert shop.rejects()[0]["rule"] == "encoding"
