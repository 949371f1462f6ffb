"""Every clean table keeps its contract: types, lengths, values, keys, parents, ranges and rules."""

from __future__ import annotations

import polars as pl
import pytest

from transforms.contracts import CONTRACTS
from transforms.generator.shard import Shard

REAL = ("CUSTOMER_TRANSACTIONS", "CUSTOMER_TRANSACTION_ITEMS")  # what is real may break rules


@pytest.mark.parametrize("name", CONTRACTS)
def test_schema_is_the_contracts_and_no_table_is_empty(world, name):
    table = world.shard.tables[name]
    assert table.schema.equals(CONTRACTS[name].arrow)
    assert table.num_rows > 10


@pytest.mark.parametrize("name", CONTRACTS)
def test_required_values_lengths_and_enumerations(world, name):
    frame = world.tables[name]
    for column in CONTRACTS[name].columns:
        values = frame[column.name]
        if not column.nullable:
            assert values.null_count() == 0, column.name
        if column.type.max_length and values.null_count() < len(values):
            assert values.str.len_chars().max() <= column.type.max_length, column.name
            assert values.drop_nulls().str.strip_chars().str.len_chars().min() > 0, column.name
        if column.allowed:
            assert set(values.drop_nulls().unique()) <= set(column.allowed), column.name


@pytest.mark.parametrize("name", CONTRACTS)
def test_keys_are_unique_and_parents_exist(world, name):
    contract, frame = CONTRACTS[name], world.tables[name]
    assert frame.select(contract.key).n_unique() == frame.height
    for key in contract.foreign_keys:
        parents = world.tables[key.table][CONTRACTS[key.table].key[0]]
        children = frame[key.column].drop_nulls()
        assert children.is_in(parents.implode()).all(), key
        assert len(children) > 0, key


@pytest.mark.parametrize("name", CONTRACTS)
def test_ranges_and_rules_hold_for_what_is_made_up(made_up, real, name):
    contract = CONTRACTS[name]
    for world in (made_up, real):
        if world is real and name in REAL:
            continue
        frame = world.tables[name]
        for column in contract.columns:
            values = frame[column.name].cast(pl.Float64) if column.low is not None else None
            if values is not None and values.null_count() < len(values):
                assert values.min() >= column.low, column.name
                assert column.high is None or values.max() <= column.high, column.name
        for rule in contract.rules:
            assert frame.filter(pl.sql_expr(rule.violated)).is_empty(), rule.name


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_column_is_filled_somewhere(made_up, name):
    empty = {column for column in CONTRACTS[name].names if made_up.tables[name][column].is_null().all()}
    assert empty <= {"COUPON_CODE"}


def test_rows_with_an_event_time_are_in_order_of_it(world):
    for name, contract in CONTRACTS.items():
        if contract.event_time and not (name in REAL and "13085" in world.tables["CUSTOMERS"]["CUSTOMER_ID"]):
            assert world.tables[name][contract.event_time].is_sorted(), name


def test_a_shard_holds_the_tables_in_the_order_of_the_contracts(made_up):
    assert isinstance(made_up.shard, Shard)
    assert list(made_up.shard.tables) == list(CONTRACTS)
