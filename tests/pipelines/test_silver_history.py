"""Silver is what one run over all of bronze makes, however the history was cut into runs."""

import random
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from tests.pipelines.conftest import customer, item, transaction, write_lines
from transforms.contracts import contract
from transforms.counts import Counts
from transforms.io.delta import maintain, read_table

TRANSACTIONS = contract("transactions")


def history(seed):
    """(table, row) for a year of orders: spread amounts, a few far out, duplicates, older versions, no parents."""
    draw = np.random.default_rng(seed)
    amounts = np.exp(draw.normal(3, 0.7, 340)).round(2)
    amounts[::60] *= 10 ** draw.uniform(1, 2.5, amounts[::60].size)  # about the fences, and beyond
    orders = [
        transaction(i, CUSTOMER_ID=f"C{draw.integers(0, 60)}", TOTAL_AMOUNT=round(float(amount), 2))
        for i, amount in enumerate(amounts)
    ]
    older = [row | {"TRANSACTION_DATE": "2009-12-01T10:00:00Z", "TOTAL_AMOUNT": 7000 + i}
             for i, row in enumerate(orders[:40])]  # fmt: skip
    lines = [item(i, TRANSACTION_ID=f"T{draw.integers(0, 400)}", QUANTITY=int(draw.geometric(0.2))) for i in range(300)]
    lines += [item(900 + i, QUANTITY=10**i) for i in range(2, 6)]
    rows = [("customers", customer(i)) for i in range(50)]
    rows += [("transactions", row) for row in orders + older + orders[100:130]]
    return rows + [("items", row) for row in lines + lines[:20]]


def feed(shop, rows, number):
    """One day's files into bronze."""
    names = sorted({name for name, _ in rows})
    for name in names:
        write_lines(shop.root / name / f"{number}.jsonl", [row for table, row in rows if table == name])
    shop.bronze(**{name: shop.root / name for name in names})
    shop.at += timedelta(days=1)


def told(shop, command="silver"):
    """The sums of the run table's counts by table."""
    sums = {}
    for row in read_table(shop.lake.runs).to_pylist():
        if row["command"] == command:
            counts = Counts(*(row[name] for name in ("read", "accepted", "rejected", "duplicates")))
            assert counts.balanced
            sums[row["table"]] = sums.get(row["table"], Counts()) + counts
    return sums


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 5))])
def test_a_history_in_any_order_and_any_number_of_runs_is_the_same_silver_and_gold(make_shop, seed):
    rows, draw = history(seed), random.Random(seed)
    results = []
    for runs in (1, 2 + seed % 2):
        shop, mixed = make_shop(), rows.copy()
        draw.shuffle(mixed)
        cuts = [0, *sorted(draw.sample(range(1, len(mixed)), runs - 1)), len(mixed)]
        for number, (a, b) in enumerate(pairwise(cuts)):
            feed(shop, mixed[a:b], number)
            shop.silver()
        shop.gold()
        results.append(shop.everything())
        read = {name: counts.read for name, counts in told(shop).items()}
        assert read == {"CUSTOMERS": 50, "CUSTOMER_TRANSACTIONS": 410, "CUSTOMER_TRANSACTION_ITEMS": 324}
    flags = {flag for row in results[0]["CUSTOMER_TRANSACTIONS"] for flag in row["_flags"]}
    assert flags == {"outlier:TOTAL_AMOUNT", "orphan:CUSTOMER_ID"}
    assert results[0] == results[1]


def test_fences_that_move_restate_the_stored_rows_between_them(make_shop):
    """A row that is far out among the first is ordinary among all, and one that was ordinary is far out later."""
    shop = make_shop()
    few = [transaction(i, TOTAL_AMOUNT=10 + i % 7) for i in range(150)] + [transaction(500, TOTAL_AMOUNT=90)]
    feed(shop, [("transactions", row) for row in few], 1)
    shop.silver()
    far = lambda: [r["TRANSACTION_ID"] for r in shop.rows("silver", "transactions") if r["_flags"]]  # noqa: E731
    assert far() == ["T500"]
    wide = [transaction(1000 + i, TOTAL_AMOUNT=1 + i) for i in range(200)]
    feed(shop, [("transactions", row) for row in wide], 2)
    (result,) = shop.silver().tables
    assert far() == [] and result.counts == Counts(read=200, accepted=200, restated=1)
    narrow = [transaction(2000 + i, TOTAL_AMOUNT=12 + i % 3) for i in range(3000)]
    feed(shop, [("transactions", row) for row in narrow], 3)
    shop.silver()
    assert len(far()) > 100 and "T500" in far()


def ties():
    """Days of bronze whose rows tie with those of other days, and when each day says it came."""
    days = [
        [("transactions", transaction(i, TOTAL_AMOUNT=10 * day + i)) for i in range(8)]
        + [("customers", customer(i, FIRST_NAME=f"Ada{'abcd'[day]}")) for i in range(5) if (i + day) % 3]
        for day in range(4)
    ]
    return days, [3, 1, 1, 2]


@pytest.mark.parametrize(
    "silver_after",
    [{0, 1, 2, 3}, *(pytest.param(runs, marks=pytest.mark.slow) for runs in ({3}, {0, 3}, {1, 3}, {2, 3}))],
)
def test_of_rows_that_tie_the_one_ingested_last_wins_whenever_silver_runs(make_shop, silver_after):
    """Runs with a set-back clock, and two with the same time: silver goes by what bronze says, not by its own runs."""
    shop, start = make_shop(), make_shop().at
    for number, (rows, day) in enumerate(zip(*ties(), strict=True)):
        shop.at = start + timedelta(days=day)
        feed(shop, rows, number)
        if number in silver_after:
            shop.silver()
    amounts = {row["TRANSACTION_ID"]: float(row["TOTAL_AMOUNT"]) for row in shop.rows("silver", "transactions")}
    assert amounts == {f"T{i}": i for i in range(8)}  # those of day 0, which came last
    names = {row["CUSTOMER_ID"]: row["FIRST_NAME"] for row in shop.rows("silver", "customers")}
    assert names == {"C0": "Adac", "C1": "Adaa", "C2": "Adaa", "C3": "Adac", "C4": "Adaa"}  # a tie in time: by content
    counts = told(shop)["CUSTOMER_TRANSACTIONS"]
    assert counts.read == 32


def test_a_ticket_reopened_in_a_later_run_is_open_again_and_stages_order_one_run(shop):
    ticket = {"TICKET_ID": "K1", "CREATION_DATE": "2010-12-01T00:00:00Z"}
    resolved = ticket | {"TICKET_STATUS": "RESOLVED", "RESOLUTION_DATE": "2010-12-02T00:00:00Z"}
    order = transaction(1)
    paid = [("transactions", order), ("transactions", order | {"TRANSACTION_STATUS": "PENDING"})]
    feed(shop, [("tickets", resolved), ("tickets", ticket | {"TICKET_STATUS": "OPEN"}), *paid], 1)
    shop.silver()
    state = lambda: [(r["TICKET_STATUS"], r["RESOLUTION_DATE"] is None) for r in shop.rows("silver", "tickets")]  # noqa: E731
    assert state() == [("RESOLVED", False)]
    assert [row["TRANSACTION_STATUS"] for row in shop.rows("silver", "transactions")] == ["COMPLETED"]
    feed(shop, [("tickets", ticket | {"TICKET_STATUS": "IN_PROGRESS"})], 2)
    shop.silver()
    assert state() == [("IN_PROGRESS", True)]
    once_more = shop.silver(rebuild=True)
    assert once_more.unchanged == 0 and state() == [("IN_PROGRESS", True)]


def test_a_late_older_version_is_a_duplicate(shop):
    feed(shop, [("transactions", transaction(i)) for i in range(5)], 1)
    shop.silver()
    late = [transaction(i, TRANSACTION_DATE="2009-01-01T00:00:00Z") for i in range(3)] + [transaction(9)]
    feed(shop, [("transactions", row) for row in late], 2)
    (result,) = shop.silver().tables
    assert result.counts == Counts(read=4, accepted=1, duplicates=3)


def test_rows_nobody_checked_are_orphans_once_their_parents_table_is_there(make_shop):
    late, whole = make_shop(), make_shop()
    orders = [("transactions", transaction(i)) for i in range(10)]
    parents = [("customers", customer(i)) for i in range(2)]
    feed(late, orders, 1)
    late.silver()
    assert not any(row["_flags"] for row in late.rows("silver", "transactions"))
    feed(late, parents, 2)
    late.silver()
    feed(whole, orders + parents, 1)
    whole.silver()
    assert late.rows("silver", "transactions") == whole.rows("silver", "transactions")
    assert sum(row["_orphan"] for row in whole.rows("silver", "transactions")) == 6


def test_vacuumed_bronze_is_read_whole_and_says_so(make_shop):
    behind, whole = make_shop(), make_shop()
    days = [[("transactions", transaction(i, TOTAL_AMOUNT=i)) for i in range(n, n + 20)] for n in (0, 10, 20)]
    for number, rows in enumerate(days):
        feed(behind, rows, number)
        if number == 0:
            behind.silver()
        feed(whole, rows, number)
    maintain(behind.lake.bronze(TRANSACTIONS), retention_hours=0, force=True)
    result = behind.silver()
    (note,) = result.notes
    assert "vacuumed" in note and "read all of bronze" in note
    assert whole.silver().notes == ()
    assert behind.rows("silver", "transactions") == whole.rows("silver", "transactions")
    assert behind.silver().tables == ()
    feed(behind, [("transactions", transaction(77))], 9)
    (after,) = behind.silver().tables
    assert after.counts == Counts(read=1, accepted=1)


def test_compacted_bronze_is_seen_through_without_reading_it_whole(shop):
    feed(shop, [("transactions", transaction(i)) for i in range(20)], 1)
    shop.silver()
    feed(shop, [("transactions", transaction(i)) for i in range(20, 25)], 2)
    maintain(shop.lake.bronze(TRANSACTIONS))
    result = shop.silver()
    assert result.notes == () and result.tables[0].counts == Counts(read=5, accepted=5)


@pytest.mark.slow
def test_rebuilding_gives_the_same_and_leaves_nothing_else(shop):
    for number, part in enumerate(np.array_split(np.arange(len(history(5))), 3)):
        feed(shop, [history(5)[i] for i in part], number)
        shop.silver()
    before = shop.everything()
    again = shop.silver(rebuild=True)
    assert {t.table: t.counts.read for t in again.tables} == {
        "CUSTOMERS": 50,
        "CUSTOMER_TRANSACTIONS": 410,
        "CUSTOMER_TRANSACTION_ITEMS": 324,
    }
    assert shop.everything() == before
    assert shop.silver().tables == ()


def test_only_new_rows_are_profiled(shop):
    """A run that only finds parents for orphans has nothing to profile, and no drift."""
    feed(shop, [("transactions", transaction(i)) for i in range(200)] + [("customers", customer(0))], 1)
    shop.silver()
    feed(shop, [("customers", customer(i)) for i in range(1, 3)], 2)
    shop.silver()
    profiles = read_table(shop.lake.profiles, where=(("table_name", "=", TRANSACTIONS.name),)).to_pylist()
    assert {row["rows_count"] for row in profiles} == {200} and len({row["run_id"] for row in profiles}) == 1
    assert TRANSACTIONS.name not in set(read_table(shop.lake.drift)["table_name"].to_pylist())
