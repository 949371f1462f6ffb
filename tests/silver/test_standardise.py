import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.silver.tables import BLANKS, MESSY, any_tables, rows_of
from transforms.contracts import CONTRACTS, contract
from transforms.errors import UserError
from transforms.silver.email import CLEAN_EMAIL, standard_email
from transforms.silver.name import CLEAN_NAME, standard_city, standard_name
from transforms.silver.standardise import standardise
from transforms.silver.text import CLEAN_CODE, CLEAN_TEXT, standard_code, standard_text

CUSTOMERS, TRANSACTIONS = contract("customers"), contract("transactions")


@given(any_tables())
def test_same_rows_same_order_same_columns(case):
    table_contract, table = case
    done = standardise(table, table_contract)
    assert done.column_names == [*table.column_names, "_flags"]
    assert done.drop_columns("_flags").schema.types == table.schema.types
    untouched = [c.name for c in table_contract.columns if not pa.types.is_string(c.type.arrow)]
    untouched += ["NEW_COLUMN", "_ingested_at", "_position"]
    assert done.select(untouched).equals(table.select(untouched))


@given(any_tables())
def test_twice_is_once(case):
    table_contract, table = case
    once = standardise(table, table_contract)
    assert standardise(once, table_contract).to_pylist() == once.to_pylist()


@given(any_tables(), st.integers(1, 3))
def test_batches_make_no_difference(case, size):
    table_contract, table = case
    whole = standardise(table, table_contract).to_pylist()
    parts = [standardise(table.slice(at, size), table_contract) for at in range(0, table.num_rows, size)]
    assert [row for part in parts for row in part.to_pylist()] == whole


@given(any_tables())
def test_a_value_is_lost_only_with_a_flag_or_when_blank(case):
    table_contract, table = case
    done = standardise(table, table_contract)
    for column in table_contract.columns:
        for before, after, flags in zip(
            table[column.name].to_pylist(), done[column.name].to_pylist(), done["_flags"].to_pylist(), strict=True
        ):
            assert (f"invalid:{column.name}" in flags) <= (after is None)
            if before is not None and after is None and f"invalid:{column.name}" not in flags:
                assert column.standard and not any(c.isalnum() for c in before)


@given(any_tables())
def test_flags_are_sorted_and_unique_and_lengths_hold(case):
    table_contract, table = case
    done = standardise(table, table_contract)
    assert all(flags == sorted(set(flags)) for flags in done["_flags"].to_pylist())
    uncut = {*table_contract.key, *(key.column for key in table_contract.foreign_keys)}
    for column in table_contract.columns:
        if column.type.max_length and column.name not in uncut:
            assert all(len(v or "") <= column.type.max_length for v in done[column.name].to_pylist()), column.name


@pytest.mark.parametrize(
    ("clean", "function"),
    [
        (CLEAN_TEXT, standard_text),
        (CLEAN_CODE, standard_code),
        (CLEAN_NAME, standard_name),
        (CLEAN_NAME, standard_city),
        (CLEAN_EMAIL, standard_email),
    ],
)
def test_what_the_fast_path_lets_through_is_standard(clean, function):
    @given(st.from_regex(clean.removesuffix("$"), fullmatch=True))
    def holds(value):
        assert function(value) == value

    holds()


@pytest.mark.parametrize("function", [standard_text, standard_code, standard_name, standard_city])
@given(value=st.text())
@example(value="\u200b a \u200b b\x00 ")
@example(value=",\x1f")
@example(value="ŉ")
@example(value="J\u030c AB")
def test_text_standards_are_idempotent_for_any_text(function, value):
    once = function(value)
    assert function(once) == once
    assert once == " ".join(once.split())


@pytest.mark.parametrize("standard", sorted({c.standard for t in CONTRACTS.values() for c in t.columns}))
def test_every_declared_standard_is_known_and_tried_here(standard):
    assert standard in MESSY


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_becomes_null_without_a_flag(blank):
    columns = {c.name: blank for c in CUSTOMERS.columns if c.standard and c.nullable}
    done = standardise(rows_of(CUSTOMERS, columns), CUSTOMERS).to_pylist()[0]
    assert all(done[name] is None for name in columns)
    assert done["_flags"] == []


def test_customer_by_hand():
    row = {
        "CUSTOMER_ID": " c-1 ",
        "FIRST_NAME": "ANNE-MARIE",
        "LAST_NAME": "o'brien",
        "EMAIL_ADDRESS": " Anne@X.CO.UK ",
        "PHONE_NUMBER": "06 12 34 56 78",
        "ADDRESS_LINE_1": "12 RUE ST",
        "CITY": "la rochelle",
        "ZIP_CODE": "17000",
        "COUNTRY_CODE": "France",
        "CUSTOMER_SEGMENT": "Premium",
        "GENDER": "f",
    }
    done = standardise(rows_of(CUSTOMERS, row), CUSTOMERS).to_pylist()[0]
    assert {name: done[name] for name in row} == {
        "CUSTOMER_ID": "C-1",
        "FIRST_NAME": "Anne-Marie",
        "LAST_NAME": "O'Brien",
        "EMAIL_ADDRESS": "anne@x.co.uk",
        "PHONE_NUMBER": "+33612345678",
        "ADDRESS_LINE_1": "12 Rue Street",
        "CITY": "La Rochelle",
        "ZIP_CODE": "17000",
        "COUNTRY_CODE": "FRA",
        "CUSTOMER_SEGMENT": "PREMIUM",
        "GENDER": "F",
    }
    assert done["_flags"] == []


def test_unusable_values_become_null_with_a_flag():
    bad = {"EMAIL_ADDRESS": "at example", "PHONE_NUMBER": "none", "COUNTRY_CODE": "Atlantis", "STATE_CODE": "Nowhere"}
    done = standardise(rows_of(CUSTOMERS, bad), CUSTOMERS).to_pylist()[0]
    assert [done[name] for name in bad] == [None] * 4
    assert done["_flags"] == sorted(f"invalid:{name}" for name in bad)


def test_text_is_cut_but_an_address_that_would_be_another_is_not():
    row = {"FIRST_NAME": "Anna" * 20, "EMAIL_ADDRESS": "a@" + "b" * 60 + "." + "c" * 60 + ".com"}
    done = standardise(rows_of(CUSTOMERS, row), CUSTOMERS).to_pylist()[0]
    assert done["FIRST_NAME"] == ("Anna" * 20)[:50]
    assert done["EMAIL_ADDRESS"] is None
    assert done["_flags"] == ["invalid:EMAIL_ADDRESS", "too_long:FIRST_NAME"]


def test_keys_are_never_cut():
    done = standardise(rows_of(TRANSACTIONS, {"TRANSACTION_ID": "T" * 31, "CUSTOMER_ID": "C" * 21}), TRANSACTIONS)
    assert done["TRANSACTION_ID"].to_pylist() == ["T" * 31]
    assert done["CUSTOMER_ID"].to_pylist() == ["C" * 21]


@pytest.mark.parametrize("written", ["in person", "In-Person", "IN_PERSON"])
def test_an_enumeration_is_spelt_as_declared(written):
    service = contract("service")
    done = standardise(rows_of(service, {"INTERACTION_TYPE": written}), service)
    assert done["INTERACTION_TYPE"].to_pylist() == ["IN_PERSON"]


def test_flags_that_are_there_already_stay():
    table = rows_of(CUSTOMERS, {"EMAIL_ADDRESS": "no"}, {}).append_column("_flags", pa.array([["zz", "aa"], None]))
    done = standardise(table, CUSTOMERS)
    assert done["_flags"].to_pylist() == [["aa", "invalid:EMAIL_ADDRESS", "zz"], []]


@pytest.mark.parametrize("country", ["UK?", "", "gb", "GBR"])
def test_a_wrong_default_country_is_refused_early(country):
    with pytest.raises(UserError, match="alpha-2"):
        standardise(rows_of(CUSTOMERS, {}), CUSTOMERS, country)


def test_work_is_done_once_a_distinct_value():
    from transforms.silver.distinct import per_distinct, per_distinct_pair

    seen = []
    values = pa.array(["a", "b", None, "a"] * 50)
    context = pa.array(["x", None] * 100)
    assert per_distinct(values, lambda v: seen.append(v) or v + "!").to_pylist() == ["a!", "b!", None, "a!"] * 50
    assert seen == ["a", "b"]
    found = per_distinct_pair(values, context, lambda v, c: seen.append((v, c)) or f"{v}{c}")
    assert found.to_pylist() == ["ax", "bNone", None, "aNone"] * 50
    assert len(seen) == 2 + 3
    assert np.array(found.is_null()).sum() == 50
