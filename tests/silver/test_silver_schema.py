import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given

from tests.silver.tables import any_tables, rows_of
from transforms.contracts import CONTRACTS, contract
from transforms.silver.schema import as_silver, silver_schema
from transforms.silver.to_silver import to_silver

TRANSACTIONS = contract("transactions")


@pytest.mark.parametrize("table_contract", CONTRACTS.values(), ids=lambda c: c.name)
def test_silver_is_business_columns_flags_score_and_partition(table_contract):
    schema = silver_schema(table_contract)
    assert schema.names == [*table_contract.names, "_flags", "_quality_score", "_orphan", *table_contract.partition_by]
    assert all(not schema.field(name).nullable for name in table_contract.key)


def test_evolution_adds_columns_and_widens_declared_ones():
    extra = pa.schema(
        [("Z_NEW", pa.string()), ("A_NEW", pa.float64()), ("LOYALTY_POINTS_EARNED", pa.float64()), ("_x", pa.int8())]
    )
    schema = silver_schema(TRANSACTIONS, extra)
    assert schema.names == [*TRANSACTIONS.names, "A_NEW", "Z_NEW", "_flags", "_quality_score", "_orphan", "_month"]
    assert schema.field("LOYALTY_POINTS_EARNED").type == pa.float64()


@given(any_tables())
def test_accepted_rows_fit_the_silver_table_and_know_nothing_of_their_run(case):
    table_contract, table = case
    accepted = to_silver(table, table_contract).accepted
    extra = pa.schema([("NEW_COLUMN", pa.string())])
    silver = as_silver(accepted, table_contract, extra)
    silver.validate(full=True)
    assert silver.schema == silver_schema(table_contract, extra)
    for field in silver.schema:
        assert field.nullable or silver[field.name].null_count == 0
    assert silver.select(table_contract.names).equals(accepted.select(table_contract.names).cast(table_contract.arrow))
    assert {"_ingested_at", "_file", "_position"}.isdisjoint(silver.column_names)


def test_partition_is_the_month_of_the_event_in_utc():
    days = [dt.datetime(2010, 1, 31, 23, 59, tzinfo=dt.UTC), dt.datetime(2010, 2, 1, tzinfo=dt.UTC)]
    accepted = to_silver(rows_of(TRANSACTIONS, *({"TRANSACTION_DATE": day} for day in days)), TRANSACTIONS).accepted
    assert as_silver(accepted, TRANSACTIONS)["_month"].to_pylist() == ["2010-01", "2010-02"]


def test_a_column_that_the_rows_lack_is_null():
    accepted = to_silver(rows_of(TRANSACTIONS, {}), TRANSACTIONS).accepted
    assert as_silver(accepted, TRANSACTIONS, pa.schema([("LATER", pa.string())]))["LATER"].to_pylist() == [None]
