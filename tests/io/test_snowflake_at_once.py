"""Two loads into Snowflake at once, each in a process of its own: nothing lost, nothing twice."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.warehouse.small_lake import DAY, customer, event, fill, transaction, write
from tests.warehouse.snowflake_account import StandIn, contents
from tests.warehouse.snowflake_loader import at_once
from transforms.io.duckdb import DuckDb
from transforms.warehouse.targets import targets

pytestmark = pytest.mark.slow
NAMES = [target.name for target in targets()]
TIERS = ("SILVER", "GOLD", "PLATINUM")


def test_of_loads_at_once_each_table_is_loaded_by_one(snowflake_account, tmp_path):
    lake, environment = fill(tmp_path / "lake"), snowflake_account.environment
    with StandIn() as warehouse, DuckDb(str(tmp_path / "w.duckdb")) as embedded:
        warehouse.init()
        embedded.init()
        for number in range(3):
            day = DAY + timedelta(days=number)
            write(lake, "CUSTOMERS", [customer(n, LOYALTY_TIER=TIERS[number]) for n in range(3)])
            write(lake, "TRANSACTIONS", [transaction(n, TAX_AMOUNT=Decimal(number)) for n in range(number, number + 6)])
            write(lake, "BEHAVIORAL", [event(n) for n in range(12 + number)])
            first, second = at_once(environment, lake, day, tmp_path)
            changed = {name for name in first if "loaded" in (first[name], second[name])}
            assert changed == set(NAMES) if number == 0 else "CUSTOMER_360.DIM_CUSTOMER" in changed
            assert all({first[name], second[name]} == {"loaded", "unchanged"} for name in changed)
            embedded.load(str(lake), day)
            assert contents(warehouse, NAMES) == contents(embedded, NAMES)
        doubled = "SELECT COUNT(*) FROM (SELECT 1 FROM OPS.LOAD_LEDGER GROUP BY TARGET, SEQUENCE HAVING COUNT(*) > 1)"
        assert warehouse.run(f"{doubled} AS d") == [(0,)]
        assert [table for table in warehouse.check(str(lake)) if not table.good] == []
        left = "SELECT COUNT(*) FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME LIKE 'LOAD_%'"
        assert warehouse.run(left) == [(1,)]  # the one that `check` has just used
