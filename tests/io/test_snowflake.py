"""The Snowflake warehouse through the real connector against a stand-in: the same rows as the embedded one, once."""

from decimal import Decimal

import pyarrow as pa
import pytest
import snowflake.connector as connector

from tests.warehouse.small_lake import DAY, NEXT_DAY, customer, fill, transaction, write
from tests.warehouse.snowflake_account import VIEWS, StandIn, contents
from transforms.errors import UserError
from transforms.io.duckdb import DuckDb
from transforms.io.snowflake import SnowflakeConfig, _explained, _files
from transforms.warehouse.ddl import migrations
from transforms.warehouse.targets import targets

KNOWN = {"SNOWFLAKE_ACCOUNT": "fake", "SNOWFLAKE_USER": "u", "SNOWFLAKE_DATABASE": "DW"}


def test_the_environment_says_how_to_log_in():
    key = KNOWN | {"SNOWFLAKE_PRIVATE_KEY_FILE": "key.p8", "SNOWFLAKE_PORT": "443", "SNOWFLAKE_ROLE": "LOADER"}
    assert SnowflakeConfig().options(key) == {
        "account": "fake", "user": "u", "database": "DW", "private_key_file": "key.p8", "port": 443, "role": "LOADER",
    }  # fmt: skip
    oauth = KNOWN | {"SNOWFLAKE_AUTHENTICATOR": "oauth", "SNOWFLAKE_TOKEN": "t"}
    assert SnowflakeConfig().options(oauth)["authenticator"] == "oauth"
    assert SnowflakeConfig("loader").options({}) == {"connection_name": "loader"}


@pytest.mark.parametrize("missing", [*KNOWN, "credential"])
def test_what_the_environment_lacks_is_said_and_no_secret_with_it(missing):
    said = {name: value for name, value in (KNOWN | {"SNOWFLAKE_PASSWORD": "hush"}).items() if name != missing}
    if missing == "credential":
        del said["SNOWFLAKE_PASSWORD"]
    with pytest.raises(UserError, match=missing) as raised:
        SnowflakeConfig().options(said)
    assert "hush" not in str(raised.value)


def test_staged_files_hold_every_row_once(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.io.snowflake.FILE_ROWS", 25)
    table = pa.table({"N": range(100)})
    read = []
    for path in _files(tmp_path, table.schema, iter(table.to_batches(10))):
        read.append(pa.parquet.read_table(path)["N"].to_pylist())
    assert [len(part) for part in read] == [30, 30, 30, 10]
    assert [number for part in read for number in part] == list(range(100))
    assert list(_files(tmp_path, table.schema, iter(()))) == []


LOST = "HTTP request failed after retries: query request. Connection reset by peer (os error 104)"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (connector.DatabaseError("Failed to login: Login error: Incorrect", 390100), "user name or password is wrong"),
        (connector.DatabaseError("Role 'X' specified in", 390189), "the role does not exist or is not granted"),
        (connector.DatabaseError("Connection refused (os error 111)", 250001), "no connection to Snowflake"),
        (connector.ProgrammingError("No active warehouse.\n", 606, "57P03"), "no active warehouse"),
        (connector.OperationalError(LOST, 4), "the connection to Snowflake was lost"),
        (connector.OperationalError("Failed to upload files. " + LOST, 4), "the connection to Snowflake was lost"),
        (connector.ProgrammingError("'X'\n does not exist.", 2003, "02000"), "Snowflake: 'X' does not exist."),
    ],
)  # fmt: skip
def test_what_the_connector_raises_is_one_clear_line(error, line):
    """Numbers and words as connector 5.2 raised them against the stand-in, and through a line that was cut."""
    said = _explained(error, "snowflake://")
    assert said.what == line and "\n" not in str(said)


@pytest.mark.slow
def test_both_warehouses_hold_the_same_rows_through_restatements_and_crashes(snowflake_account, tmp_path):
    lake = fill(tmp_path / "lake", TRANSACTIONS=[transaction(n) for n in range(6)])
    names = [target.name for target in targets()]
    with DuckDb(str(tmp_path / "w.duckdb")) as embedded, StandIn() as warehouse:
        assert warehouse.init() == embedded.init() == [migration.name for migration in migrations()]
        for each in (embedded, warehouse):
            assert {table.status for table in each.load(str(lake), DAY)} == {"loaded"}
        assert contents(warehouse, VIEWS) == contents(embedded, VIEWS)
        before = contents(warehouse, names)
        assert before == contents(embedded, names)

        write(lake, "CUSTOMERS", [customer(0), customer(1, LOYALTY_TIER="PLATINUM"), customer(9)])
        write(lake, "TRANSACTIONS", [transaction(n, TAX_AMOUNT=Decimal("1.50")) for n in range(2, 9)])
        for fatal in ("staged", "apply CUSTOMER_360.FACT_TRANSACTION", "commit", "committed"):

            def die(step, fatal=fatal):
                if step == fatal:
                    raise KeyboardInterrupt

            with StandIn() as dying:
                dying.on_step = die
                with pytest.raises(KeyboardInterrupt):
                    dying.load(str(lake), NEXT_DAY)
            if fatal != "committed":
                assert contents(warehouse, names) == before
        assert {table.status for table in warehouse.load(str(lake), NEXT_DAY)} == {"unchanged"}
        embedded.load(str(lake), NEXT_DAY)
        assert contents(warehouse, names) == contents(embedded, names)
        assert contents(warehouse, VIEWS) == contents(embedded, VIEWS)
        assert [table for table in warehouse.check(str(lake)) if not table.good] == []
        assert warehouse.run("SELECT COUNT(*) FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME LIKE 'LOAD_%'") == [
            (1,)
        ]


@pytest.mark.slow
def test_an_older_load_that_comes_last_undoes_nothing(snowflake_account, tmp_path):
    lake = fill(tmp_path / "lake")

    def overtake(step):
        if step == "staged":
            write(lake, "TRANSACTIONS", [transaction(n) for n in range(3, 9)])
            with StandIn() as other:
                other.load(str(lake), NEXT_DAY)

    with StandIn() as warehouse:
        warehouse.init()
        warehouse.on_step = overtake
        done = {table.table: table.status for table in warehouse.load(str(lake), DAY)}
        assert done["CUSTOMER_360.FACT_TRANSACTION"] == "newer"
        found = warehouse.run("SELECT TRANSACTION_ID FROM CUSTOMER_360.FACT_TRANSACTION ORDER BY 1")
        assert found == [(f"T{n}",) for n in range(3, 9)]
