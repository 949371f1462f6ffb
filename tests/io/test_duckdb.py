"""The embedded warehouse: what a load leaves is worked out by hand; crashes, repeats and late rows change nothing."""

import shutil
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.warehouse.small_lake import DAY, NEXT_DAY, at, customer, event, fill, item, key, session, transaction, write
from transforms.errors import UserError
from transforms.io.duckdb import DuckDb
from transforms.warehouse.targets import targets


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lake and a warehouse without rows, made once and copied by each test."""
    root = tmp_path_factory.mktemp("made")
    fill(root / "lake")
    with DuckDb(str(root / "w.duckdb")) as warehouse:
        warehouse.init()
    return root


@pytest.fixture
def lake(tmp_path, made):
    return Path(shutil.copytree(made / "lake", tmp_path / "lake"))


@pytest.fixture
def warehouse(tmp_path, made):
    shutil.copy(made / "w.duckdb", tmp_path)
    with DuckDb(str(tmp_path / "w.duckdb")) as opened:
        yield opened


def rows(warehouse, sql):
    return warehouse.query(sql).to_pylist()


def contents(warehouse):
    """All of every table, in one order."""
    return {t.name: sorted(rows(warehouse, f"SELECT * FROM {t.name}"), key=repr) for t in targets()}


def test_facts_are_as_worked_out_by_hand(warehouse, lake):
    warehouse.load(str(lake), DAY)
    facts = rows(warehouse, "SELECT * FROM CUSTOMER_360.FACT_TRANSACTION ORDER BY TRANSACTION_ID")
    for number, fact in enumerate(facts):
        assert fact["TRANSACTION_KEY"] == key(f"T{number}")
        assert fact["CUSTOMER_KEY"] == key(f"C{number % 3}")
        assert fact["CHANNEL_KEY"] == key("ORDER", "ECOMMERCE")
        assert fact["TIME_KEY"] == 2010_11_00_14 + (number + 1) * 100
        assert fact["TOTAL_AMOUNT"] == Decimal("10.25") + number
    assert len(facts) == 6
    items = rows(warehouse, "SELECT * FROM CUSTOMER_360.FACT_TRANSACTION_ITEM ORDER BY ITEM_ID")
    assert [(i["PRODUCT_KEY"], i["CUSTOMER_KEY"], i["IS_ORPHAN"]) for i in items] == [
        (key(f"P{number % 2}"), key(f"C{number % 3}"), False) for number in range(6)
    ]
    [day] = rows(warehouse, "SELECT * FROM CUSTOMER_360.DIM_TIME WHERE TIME_KEY = 2010112714")
    assert (day["DAY_OF_WEEK"], day["IS_WEEKEND"], day["ISO_WEEK"], day["DAY_PART"]) == (6, True, 47, "AFTERNOON")
    assert rows(warehouse, "SELECT COUNT(*) AS N FROM CUSTOMER_360.DIM_TIME")[0]["N"] == 365 * 24 + 1


def test_a_load_is_good_and_repeating_it_changes_nothing(warehouse, lake):
    first = warehouse.load(str(lake), DAY)
    assert {table.status for table in first} == {"loaded"}
    before = contents(warehouse)
    assert {table.status for table in warehouse.load(str(lake), NEXT_DAY)} == {"unchanged"}
    for name in ("TRANSACTIONS", "CUSTOMERS"):  # the same rows, as another version
        write(lake, name, fill_rows(name))
    again = {table.table: table.status for table in warehouse.load(str(lake), NEXT_DAY)}
    assert again["CUSTOMER_360.FACT_TRANSACTION"] == "loaded"
    assert again["CUSTOMER_BEHAVIOR.FACT_INTERACTION"] == "unchanged"
    assert contents(warehouse) == before
    assert [table for table in warehouse.check(str(lake)) if not table.good] == []


def fill_rows(name):
    make, count = {"TRANSACTIONS": (transaction, 6), "CUSTOMERS": (customer, 3)}[name]
    return [make(number) for number in range(count)]


def test_keys_are_the_same_in_a_rebuilt_warehouse(tmp_path, made, lake):
    found = []
    for name in ("a", "b"):
        shutil.copy(made / "w.duckdb", tmp_path / name)
        with DuckDb(str(tmp_path / name)) as warehouse:
            warehouse.load(str(lake), DAY)
            found.append(contents(warehouse))
    assert found[0] == found[1]


def test_a_changed_customer_has_a_history_that_old_facts_keep(warehouse, lake):
    warehouse.load(str(lake), DAY)
    write(lake, "CUSTOMERS", [customer(0), customer(1, LOYALTY_TIER="PLATINUM"), customer(2)])
    write(lake, "TRANSACTIONS", [*(transaction(n) for n in range(6)), transaction(7, TRANSACTION_DATE=NEXT_DAY)])
    warehouse.load(str(lake), NEXT_DAY)
    versions = rows(
        warehouse, f"SELECT * FROM CUSTOMER_360.DIM_CUSTOMER WHERE CUSTOMER_KEY = '{key('C1')}' ORDER BY VALID_FROM"
    )
    naive = NEXT_DAY.replace(tzinfo=None)
    assert [(v["LOYALTY_TIER"], v["VALID_TO"] == naive, v["IS_CURRENT"]) for v in versions] == [
        ("GOLD", True, False),
        ("PLATINUM", False, True),
    ]
    assert versions[1]["VALID_FROM"] == naive
    then = rows(warehouse, "SELECT TRANSACTION_ID, LOYALTY_TIER FROM CUSTOMER_360.V_TRANSACTION_THEN")
    assert {row["TRANSACTION_ID"]: row["LOYALTY_TIER"] for row in then} == {
        **{f"T{n}": "GOLD" for n in range(6)},
        "T7": "PLATINUM",
    }
    assert len(rows(warehouse, "SELECT * FROM CUSTOMER_360.V_CUSTOMER")) == 3
    assert all(table.good for table in warehouse.check(str(lake)))


def test_a_clock_that_went_back_makes_no_version_that_ends_before_it_begins(warehouse, lake):
    warehouse.load(str(lake), NEXT_DAY)
    for tier, moment in (("SILVER", NEXT_DAY), ("BRONZE", DAY)):
        write(lake, "CUSTOMERS", [customer(0, LOYALTY_TIER=tier), customer(1), customer(2)])
        warehouse.load(str(lake), moment)
    assert rows(warehouse, "SELECT COUNT(*) AS N FROM CUSTOMER_360.DIM_CUSTOMER WHERE VALID_FROM >= VALID_TO") == [
        {"N": 0}
    ]
    assert all(table.good for table in warehouse.check(str(lake)))


def test_a_late_customer_fills_the_place_that_its_facts_held(warehouse, lake):
    write(lake, "TRANSACTIONS", [transaction(0), transaction(1, CUSTOMER_ID="C9"), transaction(2, CUSTOMER_ID=None)])
    warehouse.load(str(lake), DAY)
    seen = "SELECT IS_INFERRED, FIRST_NAME, VALID_FROM FROM CUSTOMER_360.DIM_CUSTOMER WHERE CUSTOMER_ID = 'C9'"
    [inferred] = rows(warehouse, seen)
    assert (inferred["IS_INFERRED"], inferred["FIRST_NAME"]) == (True, None)
    assert all(table.good for table in warehouse.check(str(lake)))
    write(lake, "CUSTOMERS", [*(customer(number) for number in range(3)), customer(9)])
    warehouse.load(str(lake), NEXT_DAY)
    [real] = rows(warehouse, seen)
    assert (real["IS_INFERRED"], real["FIRST_NAME"], real["VALID_FROM"].year) == (False, "Ada9", 1)


def test_a_forgotten_customer_is_nowhere_in_any_version(warehouse, lake):
    warehouse.load(str(lake), DAY)
    write(lake, "CUSTOMERS", [customer(0), customer(1, FIRST_NAME="Adele"), customer(2)])
    warehouse.load(str(lake), NEXT_DAY)
    write(lake, "CUSTOMERS", [customer(0), customer(2)])
    warehouse.load(str(lake), NEXT_DAY + timedelta(days=1))
    everything = repr(contents(warehouse))
    assert "Ada1" not in everything and "Adele" not in everything and "Ada0" in everything
    assert len(rows(warehouse, "SELECT * FROM CUSTOMER_360.DIM_CUSTOMER WHERE CUSTOMER_ID = 'C1'")) == 1
    assert all(table.good for table in warehouse.check(str(lake)))


def test_restated_and_deleted_facts_follow_the_lake(warehouse, lake):
    warehouse.load(str(lake), DAY)
    write(lake, "TRANSACTIONS", [transaction(0, TOTAL_AMOUNT=Decimal("99.00")), *map(transaction, range(2, 6))])
    warehouse.load(str(lake), NEXT_DAY)
    facts = rows(warehouse, "SELECT TRANSACTION_ID, TOTAL_AMOUNT FROM CUSTOMER_360.FACT_TRANSACTION ORDER BY 1")
    assert [row["TRANSACTION_ID"] for row in facts] == ["T0", "T2", "T3", "T4", "T5"]
    assert facts[0]["TOTAL_AMOUNT"] == Decimal("99.00")
    [orphan] = rows(warehouse, "SELECT * FROM CUSTOMER_360.FACT_TRANSACTION_ITEM WHERE IS_ORPHAN")
    assert (orphan["ITEM_ID"], orphan["CUSTOMER_KEY"], orphan["TIME_KEY"]) == ("I1", "UNKNOWN", 0)
    assert all(table.good for table in warehouse.check(str(lake)))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=3))
def test_any_series_of_loads_ends_as_one_load_of_the_last_day(tmp_path_factory, made, days):
    root = tmp_path_factory.mktemp("series")
    for name in ("many", "once"):
        shutil.copy(made / "w.duckdb", root / f"{name}.duckdb")
    with DuckDb(str(root / "many.duckdb")) as many, DuckDb(str(root / "once.duckdb")) as once:
        for number, day in enumerate(days):
            shown = [transaction(n, TOTAL_AMOUNT=Decimal(number)) for n in sorted(day)]
            fill(root / "lake", TRANSACTIONS=shown, ITEMS=[item(n) for n in day], BEHAVIORAL=[event(n) for n in day])
            many.load(str(root / "lake"), DAY + timedelta(days=number))
        once.load(str(root / "lake"), DAY)
        assert contents(many) == contents(once)
        assert all(table.good for table in many.check(str(root / "lake")))


STEPS = ["stage TRANSACTIONS", "make CUSTOMER_360.FACT_TRANSACTION", "staged", "apply CUSTOMER_360.DIM_CUSTOMER"]
STEPS += ["apply CUSTOMER_360.FACT_TRANSACTION", "commit", "committed"]


@pytest.mark.parametrize("fatal", STEPS)
def test_a_load_that_dies_leaves_all_or_nothing_and_the_next_one_ends_well(warehouse, lake, fatal):
    warehouse.load(str(lake), DAY)
    before = contents(warehouse)
    write(lake, "CUSTOMERS", [customer(0, LOYALTY_TIER="SILVER"), customer(1)])
    write(lake, "TRANSACTIONS", [transaction(number) for number in range(1, 9)])

    def die(step):
        if step == fatal:
            raise KeyboardInterrupt

    warehouse.on_step = die
    with pytest.raises(KeyboardInterrupt):
        warehouse.load(str(lake), NEXT_DAY)
    warehouse.on_step = lambda step: None
    left = contents(warehouse)
    if fatal != "committed":
        assert left == before
    warehouse.load(str(lake), NEXT_DAY)
    assert fatal != "committed" or contents(warehouse) == left
    assert len(rows(warehouse, "SELECT * FROM CUSTOMER_360.FACT_TRANSACTION")) == 8
    assert all(table.good for table in warehouse.check(str(lake)))


def test_an_older_load_that_comes_last_undoes_nothing(tmp_path, warehouse, lake):
    def overtake(step):
        if step == "staged":
            write(lake, "TRANSACTIONS", [transaction(number) for number in range(3, 9)])
            with DuckDb(str(tmp_path / "w.duckdb")) as other:
                other.load(str(lake), NEXT_DAY)

    warehouse.on_step = overtake
    done = {table.table: table.status for table in warehouse.load(str(lake), DAY)}
    assert done["CUSTOMER_360.FACT_TRANSACTION"] == "newer"
    found = rows(warehouse, "SELECT TRANSACTION_ID FROM CUSTOMER_360.FACT_TRANSACTION ORDER BY 1")
    assert [row["TRANSACTION_ID"] for row in found] == [f"T{number}" for number in range(3, 9)]
    assert all(table.good for table in warehouse.check(str(lake)))


@pytest.mark.parametrize(
    "harm, found",
    [
        ("DELETE FROM CUSTOMER_360.FACT_TRANSACTION WHERE TRANSACTION_ID = 'T3'", {"missing": 1}),
        (
            "INSERT INTO CUSTOMER_360.FACT_TRANSACTION SELECT * FROM CUSTOMER_360.FACT_TRANSACTION"
            " WHERE TRANSACTION_ID = 'T3'",
            {"doubled": 1},
        ),
        ("UPDATE CUSTOMER_360.FACT_TRANSACTION SET TAX_AMOUNT = 1 WHERE TRANSACTION_ID = 'T3'", {"changed": 1}),
        ("UPDATE CUSTOMER_360.FACT_TRANSACTION SET TRANSACTION_KEY = 'x' WHERE TRANSACTION_ID = 'T3'",
         {"missing": 1, "extra": 1}),
        ("UPDATE CUSTOMER_360.FACT_TRANSACTION SET CUSTOMER_KEY = 'x' WHERE TRANSACTION_ID = 'T3'",
         {"changed": 1, "orphans": {"CUSTOMER_KEY": 1, "TIME_KEY": 0, "CHANNEL_KEY": 0}}),
        ("UPDATE CUSTOMER_360.DIM_CUSTOMER SET IS_CURRENT = FALSE WHERE CUSTOMER_ID = 'C1'",
         {"missing": 1, "history": 1}),
    ],
)  # fmt: skip
def test_check_finds_what_a_hand_did(warehouse, lake, harm, found):
    warehouse.load(str(lake), DAY)
    warehouse.run(harm)
    name = harm.replace("INSERT INTO ", "").replace("DELETE FROM ", "").replace("UPDATE ", "").split()[0]
    bad = {table.table: table for table in warehouse.check(str(lake)) if not table.good}
    assert list(bad) == [name]
    clean = {"missing": 0, "extra": 0, "changed": 0, "doubled": 0, "history": 0} | found
    assert {count: getattr(bad[name], count) for count in clean} == clean


def test_views_are_as_worked_out_by_hand(warehouse, lake):
    warehouse.load(str(lake), DAY)
    value = rows(warehouse, "SELECT * FROM CUSTOMER_360.V_CUSTOMER_VALUE ORDER BY CUSTOMER_ID")
    assert [(v["CUSTOMER_ID"], v["ORDERS"], v["NET_REVENUE"]) for v in value] == [
        (f"C{n}", 2, Decimal("20.50") + 2 * n + 3) for n in range(3)
    ]
    [cohort] = rows(warehouse, "SELECT * FROM CUSTOMER_360.V_COHORT")
    assert (cohort["COHORT_CUSTOMERS"], cohort["CUSTOMERS"], cohort["RETENTION_SHARE"]) == (3, 3, 1.0)
    [funnel] = rows(warehouse, "SELECT * FROM CUSTOMER_BEHAVIOR.V_FUNNEL")  # every session saw P0 and used the cart
    assert [funnel[n] for n in ("SESSIONS", "SAW_PRODUCT", "USED_CART", "CONVERTED")] == [6, 6, 6, 3]


def test_attribution_is_that_of_gold_with_what_campaigns_cost(warehouse, lake):
    write(lake, "CAMPAIGNS", [{"CAMPAIGN_ID": "K1", "CAMPAIGN_NAME": "Winter", "SPENT_AMOUNT": Decimal("40.00")}])
    credit = [("channel", "EMAIL", "markov_1", 2.5, 60.0), ("campaign", "K1", "shapley", 2.0, 50.0),
              ("campaign", "K1", "last", 1.0, 20.0), ("campaign", "(ORGANIC)", "last", 3.0, 70.0)]  # fmt: skip
    names = ("level", "channel", "model", "conversions", "value")
    write(lake, "ATTRIBUTION", [dict(zip(names, row, strict=True), currency="GBP") for row in credit])
    warehouse.load(str(lake), DAY)
    found = rows(warehouse, "SELECT * FROM CUSTOMER_BEHAVIOR.V_ATTRIBUTION ORDER BY ORDERS")
    assert [(r["CHANNEL_NAME"], r["CAMPAIGN_ID"], r["CAMPAIGN_NAME"], r["MODEL"], r["REVENUE"]) for r in found] == [
        (None, "K1", "Winter", "last", 20.0),
        (None, "K1", "Winter", "shapley", 50.0),
        ("EMAIL", None, None, "markov_1", 60.0),
        (None, "(ORGANIC)", None, "last", 70.0),
    ]
    assert [r["RETURN_ON_SPEND"] for r in found] == [-0.5, 0.25, None, None]
    assert all(table.good for table in warehouse.check(str(lake)))


def test_recommendations_that_are_not_there_yet_are_empty_and_count_once_they_are(warehouse, lake):
    warehouse.load(str(lake), DAY)
    view = "SELECT * FROM RECOMMENDATIONS.V_RECOMMENDATION_PERFORMANCE"
    assert rows(warehouse, view) == []
    made = [{"recommendation_id": f"R{n}", "customer_id": "C1", "product_id": "P9", "algorithm": "A"} for n in range(4)]
    steps = [("R0", "SHOWN"), ("R1", "SHOWN"), ("R0", "CLICKED"), ("R0", "CLICKED"), ("R0", "BOUGHT")]
    events = [
        {"event_id": f"V{n}", "recommendation_id": r, "customer_id": "C1", "product_id": "P9", "event_type": kind,
         "event_at": at("2010-12-01T00:00:00"), "revenue_amount": Decimal("5.00") if kind == "BOUGHT" else None}
        for n, (r, kind) in enumerate(steps)
    ]  # fmt: skip
    write(lake, "RECOMMENDATIONS", made)
    write(lake, "PERSONALIZATION_EVENTS", events)
    warehouse.load(str(lake), NEXT_DAY)
    [row] = rows(warehouse, view)
    assert (row["MADE"], row["SHOWN"], row["CLICKED"], row["BOUGHT"], row["REVENUE"]) == (4, 2, 1, 1, 5)
    assert (row["CLICK_SHARE"], row["BOUGHT_SHARE"]) == (0.5, 0.5)
    assert all(table.good for table in warehouse.check(str(lake)))


def refuses(warehouse, lake, message):
    before = contents(warehouse)
    with pytest.raises(UserError, match=message):
        warehouse.load(str(lake), NEXT_DAY)
    assert contents(warehouse) == before


def test_what_does_not_fit_is_refused_whole(warehouse, lake):
    warehouse.load(str(lake), DAY)
    good = [transaction(number) for number in range(6)]
    for bad, message in (
        (transaction(1), "1 rows have a key that another has .*FACT_TRANSACTION"),
        (transaction(9, STORE_ID="S" * 21), "STORE_ID of more than 20 characters"),
    ):
        write(lake, "TRANSACTIONS", [*good, bad])
        refuses(warehouse, lake, message)
    write(lake, "TRANSACTIONS", good)
    import pyarrow as pa
    from deltalake import write_deltalake

    from transforms.gold.fields import SCHEMA

    wide = pa.table({**{f.name: pa.nulls(0, f.type) for f in SCHEMA}, "churn_share": pa.nulls(0, pa.float64())})
    write_deltalake(str(lake / "gold/customer_360"), wide)
    refuses(warehouse, lake, "columns that the warehouse lacks: churn_share")


def test_a_table_of_the_lake_that_is_gone_is_not_taken_for_empty(tmp_path, warehouse, lake):
    warehouse.load(str(lake), DAY)
    (lake / "silver/customer360/customers").rename(tmp_path / "away")
    refuses(warehouse, lake, "silver/customer360/customers was loaded before and is gone")
    with pytest.raises(UserError, match="nothing to load"):
        warehouse.load(str(tmp_path / "nolake"), DAY)


def test_migrations_are_applied_once_and_never_changed(tmp_path, lake):
    with DuckDb(str(tmp_path / "m.duckdb")) as warehouse:
        with pytest.raises(UserError, match="run `warehouse init`"):
            warehouse.load(str(lake), DAY)
        assert warehouse.init() == sorted(
            path.name for path in (Path(__file__).parents[2] / "templates/snowflake").glob("V*.sql")
        )
        assert warehouse.init() == []
        comment = "SELECT comment FROM duckdb_columns() WHERE column_name = 'PAGE_VIEWS'"
        assert rows(warehouse, comment) == [{"comment": "Pages viewed"}]
        warehouse.run("UPDATE OPS.MIGRATION SET CHECKSUM = 'x' WHERE VERSION = 'V003'")
        with pytest.raises(UserError, match=r"V003__customer_behavior.sql was changed after it was applied"):
            warehouse.init()


LOCKED = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"


def test_a_file_that_another_process_has_open_is_one_clear_error(tmp_path):
    path = str(tmp_path / "w.duckdb")
    other = subprocess.Popen(
        [sys.executable, "-c", LOCKED, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(UserError, match="another process has the warehouse open"):
            DuckDb(path)
    finally:
        other.communicate("")
    (tmp_path / "text.duckdb").write_text("no database at all\n" * 300)
    with pytest.raises(UserError, match="no DuckDB database"):
        DuckDb(str(tmp_path / "text.duckdb"))
    with pytest.raises(UserError, match="there is no warehouse"):
        DuckDb(str(tmp_path / "none.duckdb"), read_only=True)


FULL = """
import resource, sys
from transforms.errors import UserError
from transforms.io.duckdb import DuckDb
from tests.warehouse.small_lake import DAY
with DuckDb(sys.argv[1]) as warehouse:
    warehouse.init()
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    try:
        warehouse.load(sys.argv[2], DAY)
    except UserError as error:
        print(error.what)
"""


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path):
    """A limit on the size of a file stands in for a disk: a write past it fails as on a full one."""
    path, lake = tmp_path / "w.duckdb", fill(tmp_path / "lake", TRANSACTIONS=[transaction(n) for n in range(3000)])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(lake), str(400_000)], capture_output=True, text=True, cwd="."
    )
    assert done.stdout.strip() == "the disk is full; nothing was loaded", done.stderr
    with DuckDb(str(path)) as warehouse:
        assert rows(warehouse, "SELECT COUNT(*) AS N FROM OPS.LOAD_LEDGER") == [{"N": 0}]
        warehouse.load(str(lake), DAY)
        assert all(table.good for table in warehouse.check(str(lake)))


def test_sessions_that_only_events_name_are_members_too(warehouse, lake):
    write(lake, "SESSIONS", [session(0)])
    warehouse.load(str(lake), DAY)
    assert all(table.good for table in warehouse.check(str(lake)))
    assert len(rows(warehouse, "SELECT * FROM CUSTOMER_BEHAVIOR.DIM_SESSION WHERE SESSION_ID LIKE 'S%'")) == 6


def test_what_went_wrong_first_is_what_is_said(tmp_path):
    """A session that is lost can neither be rolled back nor closed in order; that is not the news."""

    class Lost(DuckDb):
        lost = False

        def run(self, statement):
            if self.lost:
                raise UserError(f"lost at {statement.split()[0]}")
            return super().run(statement)

        def close(self):
            super().close()
            raise UserError("lost at close")

    path, raised = str(tmp_path / "w.duckdb"), pytest.raises(UserError, match="lost at UPDATE")
    with raised, Lost(path) as warehouse, warehouse.transaction():
        warehouse.lost = True
        warehouse.run("UPDATE X SET Y = 1")
    with pytest.raises(UserError, match="lost at close"), Lost(path):
        pass
