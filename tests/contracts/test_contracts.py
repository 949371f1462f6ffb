"""The contracts against the column lists the product was asked for (tests/data/source_tables.json)."""

import json
import pickle
from pathlib import Path

import polars as pl
import pytest

from transforms.contracts import CONTRACTS, Contract, contract
from transforms.contracts.schema import Arrival, Column, Rule, varchar
from transforms.errors import UserError

ASKED = json.loads((Path(__file__).parents[1] / "data" / "source_tables.json").read_text())


def test_every_asked_table_is_declared_and_no_other():
    assert set(CONTRACTS) == set(ASKED)


@pytest.mark.parametrize("name", sorted(ASKED))
def test_columns_types_and_order_are_as_asked(name):
    declared = [{"name": column.name, "type": str(column.type)} for column in CONTRACTS[name].columns]
    assert declared == ASKED[name]["columns"]


@pytest.mark.parametrize("name", sorted(ASKED))
def test_bronze_path_is_as_asked(name):
    asked = ASKED[name]["bronze_path"]
    assert asked is None or asked == f"/bronze/{CONTRACTS[name].path}/"


def test_foreign_keys_point_at_the_key_of_a_declared_parent_and_parents_stand_first():
    order = list(CONTRACTS)
    for child in CONTRACTS.values():
        for key in child.foreign_keys:
            parent = CONTRACTS[key.table]
            assert child[key.column].type == parent[parent.key[0]].type, (child.name, key)
            assert order.index(key.table) < order.index(child.name)


def test_enumerations_fit_their_columns():
    for table in CONTRACTS.values():
        for column in table.columns:
            assert all(len(value) <= (column.type.max_length or 0) for value in column.allowed), column.name


@pytest.mark.parametrize("table", CONTRACTS.values(), ids=lambda t: t.name)
def test_rules_can_be_evaluated_over_the_declared_types(table):
    empty = pl.from_arrow(table.arrow.empty_table())
    for rule in table.rules:
        assert empty.select(pl.sql_expr(rule.violated).alias("violated")).schema["violated"] == pl.Boolean


def test_names_and_contact_data_are_marked_personal():
    assert {
        "FIRST_NAME",
        "LAST_NAME",
        "EMAIL_ADDRESS",
        "PHONE_NUMBER",
        "DATE_OF_BIRTH",
        "ADDRESS_LINE_1",
        "ZIP_CODE",
    } <= CONTRACTS["CUSTOMERS"].personal


def test_a_contract_survives_pickling():
    for table in CONTRACTS.values():
        assert pickle.loads(pickle.dumps(table)) == table


@pytest.mark.parametrize("name", ["CUSTOMER_TRANSACTIONS", "transactions", "customer360/transactions", "Transactions "])
def test_a_table_is_found_by_name_folder_or_path(name):
    assert contract(name).name == "CUSTOMER_TRANSACTIONS"


def test_an_unknown_table_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match="transactions"):
        contract("orders")


def test_a_contract_that_names_an_undeclared_column_is_refused():
    with pytest.raises(ValueError, match="MISSING"):
        Contract(
            name="T",
            system="S",
            path="t",
            arrival=Arrival.BATCH,
            key=("ID",),
            columns=(Column("ID", varchar(3), nullable=False),),
            rules=(Rule("r", "MISSING > 1", "", ("MISSING",)),),
        )
