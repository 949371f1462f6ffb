"""What `show` prints of personal values: a trace, in every table."""

from datetime import date

from pipelines.config import Lake
from pipelines.console import Output
from pipelines.masking import is_personal, masked
from pipelines.show import show_table
from tests.pipelines.conftest import customer, write_lines
from transforms.contracts import CONTRACTS
from transforms.gold.fields import SCHEMA
from transforms.io.delta import open_table


def test_what_a_contract_calls_personal_is_masked_in_every_layer():
    for table in CONTRACTS.values():
        assert all(is_personal(name) and is_personal(name.lower()) for name in table.personal)
    row = dict.fromkeys(SCHEMA.names) | {"first_name": "Ada", "date_of_birth": date(1950, 2, 3), "orders_count": 2}
    found = masked(row | {"raw": b"a@b.example", "GENDER": ""})
    assert (found["first_name"], found["date_of_birth"], found["orders_count"]) == ("A***", "1950", 2)
    assert (found["last_name"], found["raw"], found["GENDER"]) == (None, "*** (11 bytes)", "")


def test_no_table_of_a_lake_shows_a_personal_value_unless_asked(shop, capsys):
    ada = {"FIRST_NAME": "Adalovelace", "EMAIL_ADDRESS": "adalovelace@example.com", "ADDRESS_LINE_1": "Adalovelace Rd"}
    bad = customer(99, **ada) | {"REGISTRATION_DATE": "soon"}
    write_lines(shop.root / "c" / "1.jsonl", [customer(1, **ada), bad])
    shop.bronze(customers=shop.root / "c")
    shop.silver()
    shop.gold()
    assert open_table(shop.lake.rejects).count() == 1
    shown = list(_tables(shop.lake))
    assert {"rejects", "customer_360", "customers"} <= {name for name, _ in shown}
    for name, layer in shown:
        for out in (Output(), as_json := Output(as_json=True)):
            show_table(shop.lake, name, layer, 10, out)
        said = capsys.readouterr().out + str(as_json.facts)
        assert "adalovelace" not in said.lower(), (name, layer)
    for name in ("rejects", "customer_360", "customers"):
        out = Output(as_json=True)
        show_table(shop.lake, name, None, 10, out, personal=True)
        assert "adalovelace" in str(out.facts).lower()


def _tables(lake: Lake):
    """Name and layer of every table there is."""
    for path, uri in lake.tables.items():
        layer, _, name = path.partition("/")
        if open_table(uri) is not None:
            yield name.rpartition("/")[2], layer if path not in lake.named else None
