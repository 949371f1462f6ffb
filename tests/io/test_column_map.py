"""The column mapper: what is given wins, then names, then common names; what is unclear is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import UserError
from transforms.io.column_map import SYNONYMS, Target, parse_map, plain, recognise

ORDERS = [
    Target("CUSTOMER_ID", required=True),
    Target("TRANSACTION_ID"),
    Target("TRANSACTION_DATE", required=True),
    Target("TOTAL_AMOUNT"),
]


@pytest.mark.parametrize(
    "seen",
    [
        ["customer id", "invoice", "date", "amount"],
        ["CustomerID", "InvoiceNo", "InvoiceDate", "Total Price"],
        ["cust_no", "order-id", "timestamp", "revenue"],
        ["user", "order", "created_at", "total"],
        ["client_id", "receipt id", "Purchase Date", "spend"],
        ["CUSTOMER_ID", "TRANSACTION_ID", "TRANSACTION_DATE", "TOTAL_AMOUNT"],
    ],
)
def test_common_headers_are_recognised(seen):
    found = recognise(seen, ORDERS, {})
    assert list(found.columns.values()) == seen and found.left_over == ()


def test_accents_do_not_matter_and_a_visitor_is_no_customer():
    names = recognise(["Prénom", "NOM"], [Target("given", synonyms=("prenom",)), Target("last", synonyms=("nom",))], {})
    assert list(names.columns.values()) == ["Prénom", "NOM"]
    assert recognise(["visitor_id", "date"], [Target("CUSTOMER_ID")], {}).left_over == ("visitor_id", "date")


def test_what_is_given_wins_and_is_said():
    found = recognise(["customer", "date", "gross", "amount", "shop"], ORDERS, {"total_amount": "gross"})
    assert found.columns == {"CUSTOMER_ID": "customer", "TRANSACTION_DATE": "date", "TOTAL_AMOUNT": "gross"}
    assert found.how == {"CUSTOMER_ID": "common name", "TRANSACTION_DATE": "common name", "TOTAL_AMOUNT": "given"}
    assert found.left_over == ("amount", "shop")
    line = found.describe()
    assert "\n" not in line and "TOTAL_AMOUNT = gross (given)" in line and line.endswith("amount, shop")


@pytest.mark.parametrize(
    ("seen", "explicit", "words"),
    [
        (["Customer", "customer", "date"], {}, r"Customer, customer could each be CUSTOMER_ID.*--map CUSTOMER_ID="),
        (
            ["customer", "amount"],
            {},
            r"no column for TRANSACTION_DATE.*customer, amount.*--map TRANSACTION_DATE=column",
        ),
        (["customer", "date"], {"CUSTOMER_ID": "kunde"}, r"'kunde'.*customer, date"),
        (["customer", "date"], {"PRICE": "date"}, r"PRICE.*CUSTOMER_ID"),
    ],
)
def test_what_is_unclear_is_asked_in_one_line(seen, explicit, words):
    with pytest.raises(UserError, match=words) as caught:
        recognise(seen, ORDERS, explicit)
    assert "\n" not in str(caught.value)


def test_the_better_of_two_common_names_is_taken():
    found = recognise(["price", "amount", "user", "customer number", "date"], ORDERS, {})
    assert (found.columns["TOTAL_AMOUNT"], found.columns["CUSTOMER_ID"]) == ("amount", "customer number")
    assert found.left_over == ("price", "user")


def test_two_targets_cannot_be_given_one_column():
    with pytest.raises(UserError, match="twice"):
        recognise(["a", "date"], ORDERS, {"CUSTOMER_ID": "a", "TRANSACTION_ID": "a"})


def test_a_map_is_read_from_the_command_line():
    assert parse_map(["TOTAL_AMOUNT=amount", " CUSTOMER_ID = my id "]) == {
        "TOTAL_AMOUNT": "amount",
        "CUSTOMER_ID": "my id",
    }
    for wrong in (["amount"], ["=x"], ["A="], ["A=x", "A=y"]):
        with pytest.raises(UserError, match="--map"):
            parse_map(wrong)


@given(seen=st.lists(st.sampled_from([*SYNONYMS, "customer", "date", "price", "x", "Order-ID", "qty"]), unique=True))
def test_a_column_serves_one_target_and_none_is_forgotten(seen):
    try:
        found = recognise(seen, [Target(name) for name in SYNONYMS], {})
    except UserError as error:
        assert "could each be" in str(error)
        return
    used = list(found.columns.values())
    assert len(set(used)) == len(used) and sorted([*used, *found.left_over]) == sorted(seen)
    assert all(
        plain(column) == plain(target) for target, column in found.columns.items() if found.how[target] == "same name"
    )


def test_synonyms_are_written_as_they_are_compared():
    assert all(plain(name) == name for names in SYNONYMS.values() for name in names)


@pytest.mark.parametrize(
    ("seen", "keyed", "shown"),
    [
        (["C1", "Ann", "Lee"], False, False),
        (["Ann", "Price"], False, False),  # a surname and a common name
        (["C1", "Ann", "Lee"], True, True),
        (["foo", "amount", "email"], False, True),
    ],
)
def test_columns_are_shown_where_they_are_names(seen, keyed, shown):
    with pytest.raises(UserError) as caught:
        recognise(seen, [Target("TRANSACTION_ID", required=True)], {}, keyed)
    assert [name in str(caught.value) for name in seen] == [shown] * len(seen)
    assert ("is there a header line?" in str(caught.value)) is not shown
