"""What goes wrong with Snowflake is one clear line, without a secret or a person in it, and nothing is half loaded."""

from datetime import timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.prism import free_port
from tests.warehouse.small_lake import DAY, customer, fill, transaction, write
from tests.warehouse.snowflake_account import Line, StandIn, account, contents
from transforms.errors import UserError
from transforms.gold.fields import SCHEMA
from transforms.io.snowflake import SnowflakeConfig
from transforms.warehouse.targets import targets

pytestmark = pytest.mark.slow
NAMES = [target.name for target in targets()]
TIERS = ("SILVER", "GOLD", "PLATINUM")


class Loading:
    """A warehouse that is loaded, and its lake, which changes with each test."""

    def __init__(self, reached, folder):
        self.account, self.folder, self.loads = reached, folder, 0
        self.lake = fill(folder / "lake")
        with self.connect() as warehouse:
            warehouse.init()
            self.load(warehouse)

    def connect(self, **changes):
        """The warehouse by a connections file with these changes."""
        return StandIn(SnowflakeConfig(self.account.connection(self.folder, **changes)))

    def change(self):
        """Other tiers of the customers, other transactions."""
        tiers = [TIERS[(number + self.loads) % 3] for number in range(3)]
        write(self.lake, "CUSTOMERS", [customer(n, LOYALTY_TIER=tier) for n, tier in enumerate(tiers)])
        write(self.lake, "TRANSACTIONS", [transaction(n) for n in range(self.loads, self.loads + 6)])

    def load(self, warehouse):
        self.loads += 1
        return warehouse.load(str(self.lake), DAY + timedelta(days=self.loads))

    def fails(self, on_step=lambda step: None, mended=lambda: None, **changes):
        """The line that a load says when it fails; what was there before is there, and the next load does it."""
        with self.connect() as warehouse:
            before = contents(warehouse, NAMES)
        self.change()
        with pytest.raises(UserError) as raised, self.connect(**changes) as warehouse:
            warehouse.on_step = on_step
            self.load(warehouse)
        mended()
        with self.connect() as warehouse:
            assert contents(warehouse, NAMES) == before
            assert "loaded" in {table.status for table in self.load(warehouse)}
            assert [table for table in warehouse.check(str(self.lake)) if not table.good] == []
        return said(raised)


@pytest.fixture(scope="module")
def loading(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loading")
    with pytest.MonkeyPatch.context() as patch, account(free_port()) as reached:
        patch.setenv("SNOWFLAKE_HOME", str(folder))
        yield Loading(reached, folder)


@pytest.fixture
def line(loading):
    made = Line(loading.account.port)
    yield made
    made.close()


def said(raised):
    line = str(raised.value)
    assert "\n" not in line and "Ada" not in line and "hush" not in line and len(line) < 300
    return line


def test_a_login_that_is_refused_says_why(loading):
    for refused, words in (
        ({"password": "hush"}, ("user name or password is wrong", "SNOWFLAKE_USER")),
        ({"role": "NOBODY"}, ("the role does not exist or is not granted", "SNOWFLAKE_ROLE")),
    ):
        with pytest.raises(UserError) as raised:
            loading.connect(**refused)
        assert all(word in said(raised) for word in words)


def test_an_account_that_does_not_answer_is_said(loading, line):
    line.is_cut = True
    with pytest.raises(UserError) as raised:
        loading.connect(port=line.port)
    assert "no connection to Snowflake" in said(raised)
    assert line.cuts > 1  # it was tried again


@pytest.mark.parametrize("when", ["stage CUSTOMERS", "apply CUSTOMER_360.FACT_TRANSACTION"])
def test_a_warehouse_that_is_suspended_is_said_and_nothing_is_half_loaded(loading, when):
    def suspend(step):
        if step == when:
            loading.account.warehouse(runs=False)

    line = loading.fails(suspend, lambda: loading.account.warehouse(runs=True))
    assert "no active warehouse" in line and "SNOWFLAKE_WAREHOUSE" in line


@pytest.mark.parametrize("when", ["an upload", "apply CUSTOMER_360.FACT_TRANSACTION", "commit"])
def test_a_network_that_is_cut_is_said_and_nothing_is_half_loaded(loading, line, when):
    line.upload_bytes = 1_000 if when == "an upload" else None

    def cut(step):
        line.is_cut |= step == when

    assert "the connection to Snowflake was lost" in loading.fails(cut, port=line.port)
    assert line.cuts > 1


def test_an_upload_that_is_cut_once_is_made_again(loading, line):
    loading.change()
    line.upload_bytes, line.mends_after = 1_000, 2
    with loading.connect(port=line.port) as warehouse:
        loading.load(warehouse)
        assert line.cuts == 2
        assert [table for table in warehouse.check(str(loading.lake)) if not table.good] == []


def test_what_does_not_fit_is_refused_whole(loading):
    with loading.connect() as warehouse:
        before = contents(warehouse, NAMES)
        write(loading.lake, "TRANSACTIONS", [transaction(1), transaction(9, STORE_ID="S" * 21)])
        with pytest.raises(UserError, match="1 rows have a STORE_ID of more than 20 characters") as raised:
            loading.load(warehouse)
        assert "SSS" not in said(raised)
        wide = {f.name: pa.nulls(0, f.type) for f in SCHEMA} | {"churn_share": pa.nulls(0, pa.float64())}
        write_deltalake(str(loading.lake / "gold/customer_360"), pa.table(wide))
        with pytest.raises(UserError, match="columns that the warehouse lacks: churn_share") as raised:
            loading.load(warehouse)
        said(raised)
        assert contents(warehouse, NAMES) == before
