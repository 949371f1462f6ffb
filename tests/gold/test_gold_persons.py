"""Rows of records become rows of persons, and the records of a person one, against a plain version."""

from datetime import date

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gold.buckets import AS_OF, to_arrow, transaction
from transforms.contracts import CONTRACTS
from transforms.gold.customer_360 import INPUTS, summarise_customers
from transforms.gold.persons import LEAD, RECORD, RECORDS, join_records, key_by_person

COLUMNS = INPUTS["CUSTOMERS"]


def customers(*rows: dict) -> pa.Table:
    schema = pa.schema([CONTRACTS["CUSTOMERS"].arrow.field(name) for name in COLUMNS])
    whole = pa.Table.from_pylist([dict.fromkeys(COLUMNS) | row for row in rows], schema)
    return whole.append_column(RECORD, pa.array([row[RECORD] for row in rows], pa.string()))


_row = st.fixed_dictionaries(
    {
        "CUSTOMER_ID": st.sampled_from(["P1", "P2", "P3"]),
        "FIRST_NAME": st.sampled_from(["Ada", "Ad", None]),
        "LOYALTY_TIER": st.sampled_from(["GOLD", "SILVER", None]),
        "REGISTRATION_DATE": st.none() | st.dates(date(2009, 1, 1), date(2009, 1, 9)),
        "LAST_LOGIN_DATE": st.none() | st.dates(date(2009, 2, 1), date(2009, 2, 9)),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_row, max_size=8), st.randoms(use_true_random=False))
def test_a_person_is_one_row_whatever_the_order_of_records(rows, random):
    rows = [row | {RECORD: f"C{n}"} for n, row in enumerate(rows)]
    found = join_records(customers(*rows))
    assert found.equals(join_records(customers(*random.sample(rows, len(rows)))))
    people = {row["CUSTOMER_ID"]: row for row in found.to_pylist()}
    assert list(people) == sorted({row["CUSTOMER_ID"] for row in rows})
    for person, row in people.items():
        mine = [r for r in rows if r["CUSTOMER_ID"] == person]
        registered = [r["REGISTRATION_DATE"] for r in mine if r["REGISTRATION_DATE"]]
        logged = [r["LAST_LOGIN_DATE"] for r in mine if r["LAST_LOGIN_DATE"]]
        assert row["REGISTRATION_DATE"] == min(registered, default=None)
        assert row["LAST_LOGIN_DATE"] == max(logged, default=None)
        assert row[RECORDS] == ", ".join(sorted(r[RECORD] for r in mine))
        lead = min(mine, key=lambda r: (r["REGISTRATION_DATE"] or date.max, r[RECORD]))
        assert row[LEAD] == lead[RECORD]
        used = sorted(
            (r for r in mine if r["LOYALTY_TIER"]),
            key=lambda r: (-(r["LAST_LOGIN_DATE"] or r["REGISTRATION_DATE"] or date.min).toordinal(), r[RECORD]),
        )
        assert row["LOYALTY_TIER"] == (used[0]["LOYALTY_TIER"] if used else None)
        names = {r["FIRST_NAME"] for r in mine} - {None}
        assert (row["FIRST_NAME"] in names) if names else row["FIRST_NAME"] is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["C1", "C2", "C3", None]), max_size=9))
def test_rows_get_their_person_or_keep_their_record(ids):
    rows = pa.table({"n": list(range(len(ids))), "CUSTOMER_ID": pa.array(ids, pa.string())})
    persons = pa.table({"customer_id": ["C1", "C3"], "person_id": ["P", "P"]})
    expected = [{"C1": "P", "C3": "P"}.get(one, one) for one in ids]
    found = key_by_person(rows, persons)
    assert found["CUSTOMER_ID"].to_pylist() == expected and found["n"].to_pylist() == list(range(len(ids)))


def test_two_records_of_a_person_are_one_row_with_the_orders_of_both():
    both = customers(
        {"CUSTOMER_ID": "P", RECORD: "C2", "REGISTRATION_DATE": date(2009, 5, 1), "EMAIL_ADDRESS": "a@b.c"},
        {"CUSTOMER_ID": "P", RECORD: "C1", "REGISTRATION_DATE": date(2010, 5, 1), "LOYALTY_TIER": "GOLD"},
    )
    orders = to_arrow({"CUSTOMER_TRANSACTIONS": [transaction(n, CUSTOMER_ID="P") for n in range(3)]})
    (row,) = summarise_customers({"CUSTOMERS": join_records(both), **orders}, AS_OF).to_pylist()
    assert (row["person_id"], row["customer_id"], row["customer_ids"]) == ("P", "C2", "C1, C2")
    assert (row["customer_records_count"], row["orders_count"], row["loyalty_tier"]) == (2, 3, "GOLD")
    assert (row["email_address"], row["registration_date"]) == ("a@b.c", date(2009, 5, 1))


def test_a_record_without_identity_is_its_own_person_and_a_buyer_nobody_registered_has_no_record():
    orders = to_arrow({"CUSTOMER_TRANSACTIONS": [transaction(1)], "CUSTOMERS": []})
    (row,) = summarise_customers(orders, AS_OF).to_pylist()
    assert (row["person_id"], row["customer_id"], row["customer_ids"], row["customer_records_count"]) == (*"AAA", 0)
