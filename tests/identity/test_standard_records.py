"""One spelling for each value, whatever type and form it came in."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import UserError
from transforms.identity.standard import standardise_records


def standard(column, values, **more):
    table = pa.table({"record_key": [str(i) for i in range(len(values))], column: values, **more})
    return standardise_records(table)


@pytest.mark.parametrize("values", [
    [dt.date(1985, 3, 4)], [dt.datetime(1985, 3, 4, 12)], [19850304], [19850304.0], ["1985-03-04"],
    ["1985-03-04T00:00:00Z"], ["4.3.1985"], ["04/03/1985"], ["4.3.85"], ["4 March 1985"], ["Mar 4th, 1985"],
    ["4 mar 1985"], ["٠٤/٠٣/١٩٨٥"],
])  # fmt: skip
def test_a_date_of_any_type_and_form(values):
    assert standard("birth_date", values)["birth_date"].to_pylist() == ["19850304"]


def test_american_dates_are_known_by_one_that_cannot_be_european():
    assert standard("birth_date", ["03/04/1985", "03/31/1990"])["birth_date"].to_pylist() == ["19850304", "19900331"]


def test_a_birth_date_in_parts():
    table = standard("birth_year", [1985, 1990, None], birth_month=[3.0, None, 1.0], birth_day=["4", "5", "6"])
    assert table["birth_date"].to_pylist() == ["19850304", "1990", None]


@pytest.mark.parametrize(("column", "value", "standard_value"), [
    ("given_name", " Dr. Jürgen-Marie ", "jurgen marie"), ("surname", "O’BRIEN", "obrien"), ("surname", "N/A", None),
    ("surname", "Unknown", None), ("phone", 447700900123, "00900123"), ("phone", "1111111", None),
    ("phone", "12", None),
    ("email", "nobody", None), ("postcode", 4223.0, "4223"), ("postcode", "12345-6789", "12345"),
    ("gender", "Frau", "f"),
    ("national_id", "000-00-0000", None), ("city", "MÜNCHEN", "munchen"), ("city", "Saint Albans", "st albans"),
])  # fmt: skip
def test_values(column, value, standard_value):
    assert standard(column, [value])[column].to_pylist() == [standard_value]


def test_a_house_number_of_its_own_goes_before_the_street():
    table = standard("street", ["High Street", "Mill Lane", None], street_number=["12", None, "7"])
    assert table["street"].to_pylist() == ["12 high st", "mill ln", None]


def test_a_whole_name_is_parted_where_others_have_given_names():
    table = standard("name", ["Ann Mary Lee", None], given_name=[None, "Bob"], surname=[None, "Ray"])
    assert table.select(["given_name", "surname"]).to_pylist() == [
        {"given_name": "ann mary", "surname": "lee"}, {"given_name": "bob", "surname": "ray"}]  # fmt: skip


def test_a_whole_name_beside_a_birth_date_is_a_person_s():
    table = standard("name", ["Lee, Ann Mary", "Cher"], birth_date=["1985-03-04", None])
    assert table.select(["given_name", "surname"]).to_pylist() == [
        {"given_name": "ann mary", "surname": "lee"}, {"given_name": None, "surname": "cher"}]  # fmt: skip
    assert standard("name", ["The Palm"])["name"].to_pylist() == ["the palm"]


def test_a_column_of_lists_is_refused():
    with pytest.raises(UserError, match="column email holds list"):
        standard("email", [["a@b.de"]])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.none(), st.text(max_size=30)), min_size=1, max_size=20))
def test_any_text_is_taken_and_only_keys_are_kept_as_they_are(values):
    columns = ("given_name", "birth_date", "email", "phone", "street", "postcode", "gender", "city", "national_id")
    table = pa.table(
        {"record_key": [str(i) for i in range(len(values))], **dict.fromkeys(columns, pa.array(values, pa.string()))}
    )
    found = standardise_records(table)
    assert found.num_rows == len(values)
    assert all(value != "" for name in columns for value in found[name].to_pylist())
