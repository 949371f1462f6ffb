"""Each file's header is its own: recognised, told, grouped, and read again by replay as it was read first."""

import json
from decimal import Decimal

import pytest

from pipelines import bronze
from pipelines.bronze import TableInput
from pipelines.replay import replay
from tests.pipelines.conftest import transaction, write_lines
from transforms.bronze.cells import Spelling
from transforms.contracts import contract
from transforms.errors import UserError

TRANSACTIONS = contract("transactions")


def ingest(shop, place, maps=(), **options):
    one = TableInput(TRANSACTIONS, str(place), maps=tuple(maps), **options)
    return bronze.ingest(shop.lake, shop.run("bronze"), [one])


def amounts(shop):
    return {row["TRANSACTION_ID"]: row["TOTAL_AMOUNT"] for row in shop.rows("bronze", "transactions")}


def put(shop, name, text):
    path = shop.root / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_files_of_one_folder_may_have_headers_of_their_own(shop):
    put(shop, "0.csv", "")
    put(shop, "1.csv", "order id;date;transaction type;amount\n1;2010-01-01;PURCHASE;1.5\n")
    put(shop, "2.csv", "Total,Invoice,transaction_type,Order Date\n2.5,2,PURCHASE,2010-01-01\n")
    put(shop, "3.csv", "order id;date;transaction type;amount\n3;2010-01-01;PURCHASE;3.5\n")
    put(shop, "4.jsonl", '{"orderId": 4, "date": "2010-01-01", "transactionType": "PURCHASE", "amount": 4.5, "x": 1}\n')
    put(shop, "5.parquet", b"no Parquet")
    result = ingest(shop, shop.root / "in")
    assert amounts(shop) == {"1": Decimal("1.5"), "2": Decimal("2.5"), "3": Decimal("3.5"), "4": Decimal("4.5")}
    told = {tuple(path[-6:] for path in one.files): one.said for one in result.recognised}
    assert len(told) == 4 and "TOTAL_AMOUNT = amount (common name)" in told["/1.csv", "/3.csv"]
    assert any("no readable first line" in said for said in told.values())
    assert [row["rule"] for row in shop.rejects()] == ["truncated_file"]


def test_a_given_name_holds_where_the_file_has_it(shop):
    head = "transaction_id,transaction_date,transaction_type,{}\n{},2010-01-01,PURCHASE,1.5\n"
    put(shop, "1.csv", head.format("Betrag", 1))
    put(shop, "2.csv", head.format("total_amount", 2))
    ingest(shop, shop.root / "in", [("TOTAL_AMOUNT", "betrag")])
    assert set(amounts(shop)) == {"1", "2"}
    with pytest.raises(UserError, match="wants the column 'sum'"):
        put(shop, "3.csv", head.format("Betrag", 3))
        ingest(shop, shop.root / "in", [("TOTAL_AMOUNT", "sum")])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "id,what\n1,2\n", "no column for .*TRANSACTION_TYPE.*a.csv.*--map"),
        ("a.jsonl", '{"id": 1, "what": 2}\n', "no key for .*TRANSACTION_TYPE.*a.jsonl.*--map"),
        ("a.csv", "x\r1\r", "a.csv.*save the file"),
    ],
)
def test_what_cannot_be_recognised_is_said_with_the_file(shop, name, text, words):
    put(shop, name, text)
    with pytest.raises(UserError, match=words):
        ingest(shop, shop.root / "in")


def test_a_file_of_other_columns_is_answered_with_what_was_expected(shop):
    with pytest.raises(UserError, match=r"Email, City.*TRANSACTION_ID.*--map"):
        shop.bronze(transactions=put(shop, "f.csv", "Email,City\n1,2\n"))


@pytest.mark.parametrize("maps", [None, (), (("CUSTOMER_ID", "kunde"),)])
@pytest.mark.parametrize("line", ["C1,Ann,Lee", "C1,Ann,Price", "Ann,Lee,ann@example.com"])
def test_a_first_line_that_is_no_header_is_somebodys_and_is_not_shown(shop, line, maps):
    path = put(shop, "c.csv", f"{line}\nC2,Bob,Day\n")
    with pytest.raises(UserError, match=r"its first line .*is there a header line\?") as told:
        bronze.ingest(shop.lake, shop.run("bronze"), [TableInput(contract("customers"), str(path), maps=maps)])
    assert not any(cell in str(told.value) for cell in line.split(","))


def test_keys_written_differently_are_one_column_and_one_bad_record_stops_nothing(shop):
    other = {key.lower(): value for key, value in transaction(2).items()}
    write_lines(shop.root / "in" / "a.jsonl", [transaction(1), other, {"note": "no transaction"}])
    write_lines(shop.root / "in" / "b.jsonl", [{"note": "no transaction"}])
    result = ingest(shop, shop.root / "in")
    assert (result.tables[0].counts.accepted, result.tables[0].counts.rejected) == (2, 2)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_rejects_of_mapped_and_spelt_files_replay_as_they_were_read(shop, format, monkeypatch):
    rows = {
        "csv": 'Nr;Datum;Art;Summe\n1;31.12.2010;PURCHASE;"1.234,50"\n2;31.12.2010;PURCHASE;x\n',
        "jsonl": "".join(
            json.dumps({"Nr": i, "Datum": "31.12.2010", "Art": "PURCHASE", "Summe": v}) + "\n"
            for i, v in ((1, 1234.5), (2, "x"))
        ),
    }
    path = put(shop, f"a.{format}", rows[format])
    names = {"TRANSACTION_ID": "Nr", "TRANSACTION_DATE": "Datum", "TRANSACTION_TYPE": "Art", "TOTAL_AMOUNT": "Summe"}
    ingest(shop, path, names.items(), spelling=Spelling(",", "day-first"))
    assert amounts(shop) == {"1": Decimal("1234.50")}
    (reject,) = shop.rejects()
    assert reject["rule"] == "not_a_number" and reject["raw_header"] == (
        "Nr;Datum;Art;Summe" if format == "csv" else None
    )
    (still,) = replay(shop.lake, shop.run("replay"))
    assert (still.counts.accepted, still.counts.rejected) == (0, 1)
    assert shop.rejects()[0]["reason"] == reject["reason"]  # the amount alone: all else is read as it was
