"""The Snowflake warehouse through the real connector against a stand-in: the same rows as the embedded one, once."""

import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from tests.warehouse.small_lake import DAY, NEXT_DAY, customer, fill, transaction, write
from transforms.errors import UserError
from transforms.io.duckdb import DuckDb
from transforms.io.snowflake import Snowflake, SnowflakeConfig, _files
from transforms.warehouse.ddl import POLICY, migrations, tables
from transforms.warehouse.targets import targets

PINS = ("fakesnow[server]==0.12.1", "snowflake-connector-python==4.8.1")
VIEWS = ("CUSTOMER_360.V_CUSTOMER", "CUSTOMER_360.V_TRANSACTION_THEN", "CUSTOMER_360.V_CUSTOMER_VALUE")
VIEWS += ("CUSTOMER_360.V_COHORT", "CUSTOMER_BEHAVIOR.V_FUNNEL", "CUSTOMER_BEHAVIOR.V_ATTRIBUTION")
VIEWS += ("RECOMMENDATIONS.DIM_CONTENT", "RECOMMENDATIONS.V_RECOMMENDATION_PERFORMANCE")
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


class StandIn(Snowflake):
    """Without the policies, which fakesnow does not know."""

    def migrate(self, migration):
        for statement in migration.statements:
            if not POLICY.match(statement):
                self.run(statement)


def _python() -> str:
    """The Python of the stand-in's own environment, made where there is none."""
    home = os.environ.get("FAKESNOW_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "customer360-fakesnow"
    python = Path(home or cache) / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PINS], check=True, timeout=600)
    return str(python)


@pytest.fixture
def account(free_port, monkeypatch):
    """A fresh account with an empty database; the environment points at it during the test."""
    import snowflake.connector as connector

    program = Path(__file__).parents[1] / "fakesnow_server.py"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen([_python(), program, str(free_port)], env=environment)
    reach = KNOWN | {"SNOWFLAKE_PASSWORD": "p", "SNOWFLAKE_HOST": "127.0.0.1"}
    for name, value in (reach | {"SNOWFLAKE_PORT": str(free_port), "SNOWFLAKE_PROTOCOL": "http"}).items():
        monkeypatch.setenv(name, value)
    options = SnowflakeConfig().options()
    del options["database"]
    try:
        for _ in range(60):
            try:
                with connector.connect(**options, login_timeout=10) as session:
                    session.cursor().execute("CREATE DATABASE IF NOT EXISTS DW")
                break
            except connector.Error:
                assert server.poll() is None, "the stand-in has ended"
                time.sleep(1)
        yield
    finally:
        server.terminate()
        server.wait(20)


def _columns(name):
    """Of a table, its times as text: the stand-in cannot hand out a time that is null."""
    if name in VIEWS:
        return "*"
    columns = {c.name: c.type.sql().startswith("TIMESTAMP") for c in tables()[name].columns}
    return ", ".join(f"CAST({column} AS VARCHAR) AS {column}" if at else column for column, at in columns.items())


def contents(warehouse, names):
    def plain(value):
        return int(value) if isinstance(value, Decimal) and value == int(value) else value

    found = {}
    for name in names:
        query = f"SELECT {_columns(name)} FROM {name}"
        rows = [tuple(map(plain, row.values())) for row in warehouse.query(query).to_pylist()]
        found[name] = sorted(rows, key=repr)
    return found


@pytest.mark.slow
def test_both_warehouses_hold_the_same_rows_through_restatements_and_crashes(account, tmp_path):
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
def test_an_older_load_that_comes_last_undoes_nothing(account, tmp_path):
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
